"""The objects of a labels target: written, undone, found again, described."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_mobilesam.session.engine import ImagePlane
from napari_mobilesam.session.history import (
    MAX_BYTES,
    Entry,
    History,
    Records,
    joined,
)
from napari_mobilesam.session.recipe import Recipe
from napari_mobilesam.session.records import ObjectRecord
from napari_mobilesam.session.step import Step
from napari_mobilesam.session.targets import (
    LabelsError,
    LabelTarget,
    label_at,
)

if TYPE_CHECKING:
    import pandas as pd


class Objects:
    """Objects of one labels target, with one history of all writes to it.

    Parameters
    ----------
    target : LabelTarget
        Where the pixels are.
    max_bytes : int
        Memory of the history.

    Attributes
    ----------
    changed : Signal()
        Objects, pixels or history are others than before.
    history : History
        What can be undone and redone.
    """

    changed = Signal()

    def __init__(
        self, target: LabelTarget, max_bytes: int = MAX_BYTES
    ) -> None:
        self.target = target
        self.history = History(max_bytes)
        self._records: dict[int, ObjectRecord] = {}
        self._open_steps = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[ObjectRecord]:
        """Objects in the order of their numbers."""
        return iter([self._records[n] for n in sorted(self._records)])

    def __contains__(self, number: int) -> bool:
        """Whether there is an object of this number."""
        return number in self._records

    def __getitem__(self, number: int) -> ObjectRecord:
        """Return an object by its number.

        Raises
        ------
        LabelsError
            There is no such object.
        """
        if number not in self._records:
            raise LabelsError(
                f'There is no object {number} in “{self.target.name}”; there '
                f'are {sorted(self._records) or "none"}.'
            )
        return self._records[number]

    def get(self, number: int) -> ObjectRecord | None:
        """Return an object by its number, None if there is none."""
        return self._records.get(number)

    def at(
        self, plane: ImagePlane, row: float, column: float
    ) -> ObjectRecord | None:
        """Return the object whose pixel lies at a position of a plane."""
        label = label_at(self.target, plane, row, column)
        if label == 0:
            return None
        place = (round(row), round(column))
        for record in reversed(list(self)):
            view = record.view(plane)
            if (
                record.label == label
                and view is not None
                and view.mask is not None
                and _covers(view.mask, place)
            ):
                return record
        return None

    def number_for(self, label: int) -> int:
        """Return a number for a new object: its label, if that is free."""
        if label not in self._records:
            return label
        return max(self._records) + 1

    def free_label(self, count: int = 1) -> int:
        """Return the lowest of ``count`` labels above all that are there.

        Raises
        ------
        LabelsError
            The target cannot be edited, or has not as many labels left.
        """
        self.target.check()
        first = self.target.highest() + 1
        if first + count - 1 > self.target.limit:
            raise LabelsError(
                f'“{self.target.name}” is full: it holds labels up to '
                f'{self.target.limit}. Convert it to a larger type '
                '(right-click the layer), or choose another one.'
            )
        return first

    # writing

    def begin(self, title: str, key: object = None) -> Step:
        """Begin a step; what it writes is seen at once, `Step.finish` ends it.

        Parameters
        ----------
        title : str
            What people call it: ``'object 5'``.
        key : object, optional
            A step with the key of the last one becomes one with it, as the
            movements of a slider do.

        Raises
        ------
        LabelsError
            The target cannot be edited.
        """
        self.target.check()
        self._open_steps += 1
        return Step(self, title, key)

    @contextmanager
    def step(self, title: str, key: object = None) -> Iterator[Step]:
        """Write as one step; an error takes back what was written.

        See `begin`.
        """
        step = self.begin(title, key)
        try:
            yield step
        except BaseException:
            step.roll_back()
            raise
        step.finish()

    def undo(self) -> str | None:
        """Take the last step back; return its title, None if there is none.

        Pixels that somebody else has changed since stay as they are.

        Raises
        ------
        LabelsError
            A long job is still writing.
        """
        self._check_closed()
        entry = self.history.pop_undo()
        if entry is None:
            return None
        for patch in reversed(entry.patches):
            patch.undo(self.target)
        self.put_records(entry.records_before)
        if entry.rows_before is not None:
            self.target.set_rows(entry.labels, entry.rows_before)
        self.changed.emit()
        return entry.title

    def redo(self) -> str | None:
        """Repeat the step that was undone last; return its title.

        Raises
        ------
        LabelsError
            A long job is still writing.
        """
        self._check_closed()
        entry = self.history.pop_redo()
        if entry is None:
            return None
        for patch in entry.patches:
            patch.redo(self.target)
        self.put_records(entry.records_after)
        if entry.rows_after is not None:
            self.target.set_rows(entry.labels, entry.rows_after)
        self.changed.emit()
        return entry.title

    def _check_closed(self) -> None:
        if self._open_steps:
            raise LabelsError(
                f'“{self.target.name}” is still being written to: stop that '
                'first, or wait for it.'
            )

    def end(self, entry: Entry | None) -> None:
        """End a step; None if it left nothing behind."""
        self._open_steps -= 1
        if entry is not None:
            self.push(entry)

    def put_records(self, records: Records) -> None:
        """Set records by number, None removes one; not a step of its own."""
        for number, record in records.items():
            if record is None:
                self._records.pop(number, None)
            else:
                self._records[number] = record

    def push(self, entry: Entry) -> None:
        """Add what a step did to the history."""
        last = self.history.last
        if (
            last is not None
            and entry.key is not None
            and last.key == entry.key
            and not self.history.redoable
        ):
            self.history.replace_last(joined(last, entry))
        else:
            self.history.push(entry)
        self.changed.emit()

    def delete(self, which: int | ObjectRecord) -> None:
        """Erase an object on all its planes, as one step.

        Parameters
        ----------
        which : int or ObjectRecord
            Its number, or itself: it need not be one of these objects.

        Raises
        ------
        LabelsError
            There is no such object, or the labels cannot be edited.
        """
        record = self[which] if isinstance(which, int) else which
        number = record.number
        with self.step(f'deleting object {number}') as step:
            step.recipe = Recipe(
                (f'session.open({number})', 'session.delete()')
            )
            step.erase(record)
            step.remove(record)

    def review(self, number: int) -> ObjectRecord:
        """Remember that somebody has looked at an object and kept it.

        No step of its own: there is nothing to be seen or taken back.
        """
        record = replace(self[number], reviewed=True)
        self.put_records({number: record})
        self.changed.emit()
        return record

    def forget_planes(self, gone: Callable[[ImagePlane], bool]) -> None:
        """Forget what was asked on planes, such as those of a closed image.

        Their pixels stay, and can still be undone; the planes, and with them
        the image, are not kept alive.
        """
        kept = {
            number: record.without_planes(gone)
            for number, record in self._records.items()
        }
        self._records = {n: r for n, r in kept.items() if r is not None}
        self.history.map_records(lambda record: record.without_planes(gone))
        self.changed.emit()

    # walking

    def following(self, number: int, by: int = 1) -> ObjectRecord | None:
        """Return the object after (or before) a number, counted around."""
        numbers = sorted(self._records)
        if not numbers:
            return None
        if number in self._records:
            place = numbers.index(number) + by
        else:
            place = int(np.searchsorted(numbers, number))
            place += by - 1 if by > 0 else by
        return self._records[numbers[place % len(numbers)]]

    def least_certain(self, after: int = 0) -> ObjectRecord | None:
        """Return the object to look at next: the lowest score not reviewed.

        Parameters
        ----------
        after : int
            Number of the object that is looked at now: the next one in the
            order of certainty is returned, and the first one again after
            the last.
        """
        waiting = sorted(
            (record for record in self if not record.reviewed),
            key=_certainty,
        )
        if not waiting:
            return None
        here = self.get(after)
        if here is None:
            return waiting[0]
        later = [r for r in waiting if _certainty(r) > _certainty(here)]
        return (later or waiting)[0]

    def rows(self, labels: tuple[int, ...]) -> pd.DataFrame:
        """Return one row for the feature table per label of objects.

        Of objects that share a label the lowest score counts, and their
        prompts are added.

        Returns
        -------
        pandas.DataFrame
            index (the label), score (predicted IoU), stability, prompts,
            class.
        """
        import pandas as pd

        wanted = set(labels)
        members: dict[int, list[ObjectRecord]] = {}
        for record in self:
            if record.label in wanted:
                members.setdefault(record.label, []).append(record)
        return pd.DataFrame(
            {
                'index': list(members),
                'score': [_least(m, 'score') for m in members.values()],
                'stability': [
                    _least(m, 'stability') for m in members.values()
                ],
                'prompts': [
                    sum(record.prompts for record in m)
                    for m in members.values()
                ],
                'class': [m[0].class_name for m in members.values()],
            }
        )


def _certainty(record: ObjectRecord) -> tuple[float, int]:
    # what nobody knows the score of comes last
    score = record.score
    return (math.inf if math.isnan(score) else score), record.number


def _least(records: list[ObjectRecord], name: str) -> float:
    values = [getattr(record, name) for record in records]
    known = [value for value in values if not math.isnan(value)]
    return min(known, default=math.nan)


def _covers(mask: Any, place: tuple[int, int]) -> bool:
    row, column = place[0] - mask.box[0], place[1] - mask.box[1]
    height, width = mask.data.shape
    return (
        0 <= row < height
        and 0 <= column < width
        and bool(mask.data[row, column])
    )
