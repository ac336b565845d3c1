"""Undo and redo of label writes, across commits, planes and whole runs.

napari forgets the history of a Labels layer whenever another plane is shown.
This history belongs to the labels, not to the view. An entry stores the
changes as runs of pixels; see `Patch`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from napari_mobilesam.session.objects.patch import Patch
from napari_mobilesam.session.objects.targets import with_rows

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.session.objects.records import ObjectRecord
    from napari_mobilesam.session.objects.replay_code import ReplayCode

MAX_BYTES = 256 * 1024 * 1024

Records = Mapping[int, 'ObjectRecord | None']


@dataclass(frozen=True, eq=False)
class Entry:
    """One step that can be undone.

    Attributes
    ----------
    title : str
        Name for the user: ``'object 5'``.
    patches : tuple of Patch
        Changes of pixels, in the order of writing.
    records_before, records_after : mapping
        Records of the changed objects, by number; None for a missing
        object.
    rows_before, rows_after : pandas.DataFrame or None
        Rows of the feature table of the changed labels.
    labels : tuple of int
        The changed labels.
    key : object
        Consecutive steps with the same key are merged; None is never merged.
    replay_code : ReplayCode or None
        Code that repeats the step; None if there is none.
    note : object
        Data of the caller.
    """

    title: str
    patches: tuple[Patch, ...] = ()
    records_before: Records = field(default_factory=dict)
    records_after: Records = field(default_factory=dict)
    rows_before: pd.DataFrame | None = None
    rows_after: pd.DataFrame | None = None
    labels: tuple[int, ...] = ()
    key: object = None
    replay_code: ReplayCode | None = None
    note: object = None

    def joins(self, before: Entry) -> bool:
        """Return whether the entry is merged with the previous one."""
        return self.key is not None and self.key == before.key

    @cached_property
    def nbytes(self) -> int:
        """Approximate memory of this entry in bytes."""
        records = [*self.records_before.values(), *self.records_after.values()]
        tables = (self.rows_before, self.rows_after)
        return (
            sum(patch.nbytes for patch in self.patches)
            + sum(record.nbytes for record in records if record is not None)
            + sum(
                int(table.memory_usage(index=True).sum())
                for table in tables
                if table is not None
            )
        )


def joined(first: Entry, second: Entry) -> Entry:
    """Return two consecutive entries merged into one."""
    patches = [*first.patches, *second.patches]
    return Entry(
        second.title,
        (Patch.of_all(patches),) if patches else (),
        {**second.records_before, **first.records_before},
        {**first.records_after, **second.records_after},
        _merged(second.rows_before, first.rows_before, first.labels),
        _merged(first.rows_after, second.rows_after, second.labels),
        tuple(sorted({*first.labels, *second.labels})),
        second.key,
        _merged_code(first.replay_code, second.replay_code),
        second.note,
    )


def _merged_code(
    first: ReplayCode | None, second: ReplayCode | None
) -> ReplayCode | None:
    if first is None or second is None:
        return None
    return first.then(second)


def _merged(
    rows: pd.DataFrame | None,
    others: pd.DataFrame | None,
    labels: tuple[int, ...],
) -> pd.DataFrame | None:
    """Return rows, with others instead for their labels."""
    if rows is None or others is None:
        return rows if others is None else others
    return with_rows(rows, labels, others)


@dataclass(frozen=True)
class _Replayed:
    """Steps as replayed by a script, and the objects it lacks."""

    codes: list[tuple[str, ReplayCode | None]] = field(default_factory=list)
    missing: frozenset[int] = frozenset()

    def with_steps(self, entries: Sequence[Entry]) -> _Replayed:
        codes, missing = list(self.codes), set(self.missing)
        for entry in entries:
            before = {n for n, r in entry.records_before.items() if r}
            after = {n for n, r in entry.records_after.items() if r}
            code = None if before & missing else entry.replay_code
            missing -= entry.records_after.keys()
            if code is None:
                missing |= after
            codes.append((entry.title, code))
        return _Replayed(codes, frozenset(missing))


class History:
    """Steps that can be undone and redone, within a memory limit.

    Parameters
    ----------
    max_bytes : int
        Memory limit; the oldest steps beyond it are dropped, but never the
        newest.
    clock : callable, optional
        Returns increasing numbers. Histories that share a clock can be undone
        in the order of all their steps; see `undo_order`.
    """

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock or itertools.count(1).__next__
        # when the newest step was made; when each step, by its id, was last
        # done or undone
        self._pushed = 0
        self._moved: dict[int, int] = {}
        self._done: list[Entry] = []
        self._undone: list[Entry] = []
        self._sizes: dict[int, int] = {}
        # steps dropped from the undo history, for the script
        self._settled = _Replayed()

    @property
    def replay_codes(self) -> list[tuple[str, ReplayCode | None]]:
        """Title and replay code of every step that is done.

        A step without code makes objects that a script does not have, so
        changes to these have no code either.
        """
        return self._settled.with_steps(self._done).codes

    @property
    def undoable(self) -> str | None:
        """Title of the step that `undo` would undo; None if there is none."""
        return self._done[-1].title if self._done else None

    @property
    def redoable(self) -> str | None:
        """Title of the step that `redo` would redo; None if there is none."""
        return self._undone[-1].title if self._undone else None

    @property
    def last(self) -> Entry | None:
        """The last step."""
        return self._done[-1] if self._done else None

    @property
    def done(self) -> Sequence[Entry]:
        """Steps that can be undone, newest last."""
        return tuple(self._done)

    @property
    def undone(self) -> Sequence[Entry]:
        """Steps that can be redone, next one last."""
        return tuple(self._undone)

    @property
    def push_order(self) -> int:
        """Time of the newest step on the clock; 0 if there was none."""
        return self._pushed

    @property
    def undo_order(self) -> int:
        """Time at which the last step was done; 0 if there is none."""
        return self._moved[id(self._done[-1])] if self._done else 0

    @property
    def redo_order(self) -> int:
        """Time at which a step was last undone; 0 if there is none."""
        return self._moved[id(self._undone[-1])] if self._undone else 0

    @property
    def nbytes(self) -> int:
        """Approximate memory in bytes."""
        return sum(self._sizes.values())

    def __len__(self) -> int:
        """Return the number of steps that can be undone."""
        return len(self._done)

    def push(self, entry: Entry) -> None:
        """Add a step, dropping undone steps."""
        self._forget(self._undone)
        self._undone = []
        self._done.append(entry)
        self._sizes[id(entry)] = entry.nbytes
        self._pushed = self._moved[id(entry)] = self._clock()
        while self.nbytes > self._max_bytes and len(self._done) > 1:
            oldest = self._done.pop(0)
            self._settled = self._settled.with_steps([oldest])
            self._forget([oldest])

    def replace_last(self, entry: Entry) -> None:
        """Replace the last step."""
        self._forget([self._done.pop()])
        self.push(entry)

    def replace(self, before: Entry, entry: Entry) -> None:
        """Replace a step that is done."""
        self._done[self._done.index(before)] = entry
        self._rename(before, entry)

    def replace_undone(self, entry: Entry) -> None:
        """Replace the step that was undone last."""
        before = self._undone.pop()
        self._undone.append(entry)
        self._rename(before, entry)

    def pop_undo(self) -> Entry | None:
        """Remove and return the last step, to be undone."""
        return self._move(self._done, self._undone)

    def pop_redo(self) -> Entry | None:
        """Remove and return the step undone last, to be redone."""
        return self._move(self._undone, self._done)

    def map_records(
        self, change: Callable[[ObjectRecord], ObjectRecord | None]
    ) -> None:
        """Map the records of all steps; None drops a record."""

        def mapped(records: Records) -> Records:
            return {
                number: None if record is None else change(record)
                for number, record in records.items()
            }

        for entries in (self._done, self._undone):
            times = [self._moved.pop(id(entry)) for entry in entries]
            entries[:] = [
                replace(
                    entry,
                    records_before=mapped(entry.records_before),
                    records_after=mapped(entry.records_after),
                )
                for entry in entries
            ]
            self._moved.update(zip(map(id, entries), times, strict=True))
        self._sizes = {
            id(entry): entry.nbytes for entry in (*self._done, *self._undone)
        }

    def settle(self) -> None:
        """Make all steps permanent: none can be undone any more."""
        self._settled = self._settled.with_steps(self._done)
        self._forget([*self._done, *self._undone])
        self._done, self._undone = [], []

    def clear(self) -> None:
        """Drop all steps."""
        self._done, self._undone, self._sizes = [], [], {}
        self._moved = {}
        self._settled = _Replayed()

    def _move(self, source: list[Entry], target: list[Entry]) -> Entry | None:
        if not source:
            return None
        entry = source.pop()
        target.append(entry)
        self._moved[id(entry)] = self._clock()
        return entry

    def _rename(self, before: Entry, entry: Entry) -> None:
        """Give a step the time of the one that it replaces."""
        self._sizes.pop(id(before), None)
        self._moved[id(entry)] = self._moved.pop(id(before))
        self._sizes[id(entry)] = entry.nbytes

    def _forget(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._sizes.pop(id(entry), None)
            self._moved.pop(id(entry), None)


class Undoable(Protocol):
    """Object of the viewer with its own history.

    Attributes
    ----------
    history : History
        Steps; histories of a viewer share a clock.
    """

    history: History

    @property
    def name(self) -> str:
        """Name for messages."""

    def undo(self) -> str | None:
        """Undo the last step; return its title, None if there is none."""

    def redo(self) -> str | None:
        """Redo the step undone last; see `undo`."""
