"""Objects of a labels target, with the history of all writes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from psygnal import Signal

from napari_mobilesam.measure.table_columns import MEASURED
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.history import (
    MAX_BYTES,
    Entry,
    History,
    joined,
)
from napari_mobilesam.session.objects.measured_rows import (
    changed_rows,
    described_rows,
    pixel_changes,
)
from napari_mobilesam.session.objects.object_store import ObjectStore
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.staging import StagedObjects
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    LabelTarget,
    label_at,
    rows_of,
    set_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.session.objects.patch import Patch


class Objects(ObjectStore):
    """Objects of one labels target, with the history of all its writes.

    Parameters
    ----------
    target : LabelTarget
        Labels that hold the pixels.
    max_bytes : int
        Memory limit of the history.
    clock : callable, optional
        Clock shared with other histories; see `History`.

    Attributes
    ----------
    changed : Signal()
        Emitted when objects, pixels or history change.
    forgotten : Signal()
        Emitted before the prompts of a closed image are dropped.
    identity : str
        Random; identifies these objects in session files.
    history : History
        Steps to undo and redo.
    """

    changed = Signal()
    forgotten = Signal()

    def __init__(
        self,
        target: LabelTarget,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(target)
        self.identity = uuid4().hex
        self.history = History(max_bytes, clock)
        self._shape = target.shape
        target.edited.connect(self._follow_brush)

    def note_painted(self, labels: Collection[int]) -> None:
        """Note labels that gained or lost pixels by hand."""
        self._brushed.update(labels)
        self._painted.update(
            (id(record.views), record.views)
            for record in self
            if record.label in labels
        )

    def _follow_brush(self, changes: Mapping[int, int]) -> None:
        """Update rows of the feature table of painted labels."""
        self.note_painted(changes)
        table = self.target.features()
        measured = any(MEASURED.fullmatch(str(name)) for name in table)
        if measured and table['index'].isin(list(changes)).any():
            # rows keep their order
            self.target.set_features(changed_rows(table, changes))

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

    def at(
        self, plane: ImagePlane, row: float, column: float
    ) -> ObjectRecord | None:
        """Return the object at a position of a plane, if there is one.

        Pixels painted with its label belong to it.
        """
        label = label_at(self.target, plane, row, column)
        if label == 0:
            return None
        place = (round(row), round(column))
        same = [r for r in self if r.label == label and r.view(plane)]
        for record in reversed(same):
            view = record.view(plane)
            if view and view.mask and _covers(view.mask, place):
                return record
        if len(same) == 1 and self.is_painted(same[0]):
            return same[0]
        return None

    def number_for(self, label: int) -> int:
        """Return a number for a new object: its label if that is free."""
        if label not in self._records:
            return label
        return max(self._records) + 1

    # writing; see also `step` and `begin`

    def stage(self) -> StagedObjects:
        """Return a copy of the objects on which a step can be staged.

        Call on the viewer's thread. The step can be made on any thread;
        `commit` writes it.
        """
        self._settle_reshaped()
        history = self.history
        return StagedObjects(self, None if history.redoable else history.last)

    def commit(self, staged: StagedObjects) -> bool:
        """Write a staged step.

        Parameters
        ----------
        staged : StagedObjects
            Result of `stage`, with at most one finished step.

        Returns
        -------
        bool
            False if objects, pixels or rows have changed since; nothing is
            written then.

        Raises
        ------
        LabelsError
            The labels are not editable, or a job is writing one of the
            objects.
        """
        self.target.check()
        change = staged.change
        if staged.base != self.version or not staged.labels.up_to_date():
            return False
        if change is None:
            return True
        for number, record in change.records.items():
            now = self.get(number) or record
            if now is not None:
                self.check_idle(now)
        if change.pixels is not None and not change.pixels.write(self.target):
            return False
        self.put_records(change.records)
        staged.labels.write_rows()
        if change.joins:
            self.history.replace_last(change.entry)
        else:
            self.history.push(change.entry)
        self.writes = staged.writes
        self.changed.emit()
        return True

    @property
    def name(self) -> str:
        """Name of the labels."""
        return self.target.name

    def undo(self) -> str | None:
        """Undo the last step; return its title, None if there is none.

        Pixels painted over since then stay unchanged. If that leaves none to
        undo, the title says so.

        Raises
        ------
        LabelsError
            A job is still writing, or the labels are not editable.
        """
        self._check_writable(self.history.undoable)
        entry = self.history.pop_undo()
        if entry is None:
            return None
        done = [patch.undo(self.target) for patch in reversed(entry.patches)]
        if sum(map(len, done)) < sum(map(len, entry.patches)):
            self.history.replace_undone(
                replace(entry, patches=tuple(reversed(done)))
            )
        self.put_records(entry.records_before)
        return self._restored(entry, entry.rows_before, done, -1)

    def redo(self) -> str | None:
        """Redo the step that was undone last; return its title.

        Raises
        ------
        LabelsError
            A job is still writing, or the labels are not editable.
        """
        self._check_writable(self.history.redoable)
        entry = self.history.pop_redo()
        if entry is None:
            return None
        done = [patch.redo(self.target) for patch in entry.patches]
        self.put_records(entry.records_after)
        return self._restored(entry, entry.rows_after, done, 1)

    def _restored(
        self,
        entry: Entry,
        rows: pd.DataFrame | None,
        done: Sequence[Patch],
        sign: int,
    ) -> str:
        """Set rows of a step, with the areas of what was painted since.

        Parameters
        ----------
        entry : Entry
            The step.
        rows : DataFrame or None
            Rows before or after it.
        done : sequence of Patch
            What was undone or redone of its pixels.
        sign : {-1, 1}
            -1 if it was undone.

        Returns
        -------
        str
            Title of the step.
        """
        if rows is not None:
            now = rows_of(self.target, entry.labels)
            # an empty table has lost its columns
            if 'area' in rows and ('area' in now or now.empty):
                # all pixels of a label without a row are those of the step,
                # unless a brush has painted it
                new = set(rows['index']).difference(now['index'])
                grown = Counter(dict.fromkeys(new, 0))
                for patch in done:
                    grown.update(pixel_changes(patch))
                changes = {label: sign * n for label, n in grown.items()}
                changes |= self.brushed_areas(new)
                rows = described_rows(rows, now, changes)
            set_rows(self.target, entry.labels, rows)
        self.changed.emit()
        if any(map(len, done)) or not any(map(len, entry.patches)):
            return entry.title
        return f'{entry.title} (all of its pixels were painted over since)'

    def _check_writable(self, title: str | None) -> None:
        """Raise `LabelsError` if the next step cannot be written."""
        if self._open_steps:
            raise LabelsError(
                f'“{self.target.name}” is still being written to: stop that '
                'first, or wait for it.'
            )
        if title is not None:
            self.target.check()
            self._settle_reshaped()

    def _settle_reshaped(self) -> None:
        """Make all steps permanent if the array changed its shape."""
        if self.target.shape != self._shape:
            self._shape = self.target.shape
            self.history.settle()

    def push(self, entry: Entry) -> None:
        """Add a finished step to the history."""
        self._settle_reshaped()
        last = self.history.last
        if (
            last is not None
            and entry.joins(last)
            and not self.history.redoable
        ):
            self.history.replace_last(joined(last, entry))
        else:
            self.history.push(entry)
        self.changed.emit()

    def delete(self, which: int | ObjectRecord) -> None:
        """Erase an object on all its planes, as one step.

        Pixels painted with its label are erased, too. For labels not written
        by a session, other pixels and their row stay.

        Parameters
        ----------
        which : int or ObjectRecord
            Number, or record, which may also be that of labelled pixels
            without an object.

        Raises
        ------
        LabelsError
            There is no such object, the labels are not editable, or a job is
            writing the object.
        """
        record = self[which] if isinstance(which, int) else which
        number = record.number
        with self.step(f'deleting {record.text}') as step:
            if number in self:
                step.replay_code = ReplayCode(
                    (f'session.open({number})', 'session.delete()')
                )
            step.erase(record)
            painted = self.painted_pixels(record)
            if painted is not None:
                step.put_at(painted, 0)
            if number in self or self.has_loose_pixels(record.label) is False:
                step.remove(record)

    def review(self, number: int) -> ObjectRecord:
        """Mark an object as reviewed, as one step."""
        record = self[number]
        if not record.reviewed:
            record = replace(record, reviewed=True)
            with self.step(f'keeping {record.text}') as step:
                step.replay_code = ReplayCode(
                    (f'session.open({number})', 'session.accept()')
                )
                step.put(record)
        return record

    def forget_planes(self, gone: Callable[[ImagePlane], bool]) -> None:
        """Drop the prompts on planes, such as those of a closed image.

        Labelled pixels stay and can be undone; references to the planes, and
        thus to the image, are released.
        """
        kept = {
            number: record.without_planes(gone)
            for number, record in self._records.items()
        }
        if any(kept[n] is not record for n, record in self._records.items()):
            self.forgotten.emit()
        painted = list(self._painted.values())
        painted += [
            record.views
            for n, record in kept.items()
            if record is not None and self.is_painted(self._records[n])
        ]
        self._painted = {
            id(views): views
            for views in painted
            if not any(gone(view.plane) for view in views.values())
        }
        self._records = {n: r for n, r in kept.items() if r is not None}
        self.version += 1
        self.history.map_records(lambda record: record.without_planes(gone))
        self.changed.emit()

    # navigation

    def least_certain(self, after: int = 0) -> ObjectRecord | None:
        """Return the unreviewed object with the lowest score.

        Parameters
        ----------
        after : int
            Number of the current object: return the next one in the order of
            scores, cyclically.
        """
        waiting = sorted(
            (r for r in self.remaining() if not r.reviewed),
            key=_certainty,
        )
        if not waiting:
            return None
        here = self.get(after)
        if here is None:
            return waiting[0]
        later = [r for r in waiting if _certainty(r) > _certainty(here)]
        return (later or waiting)[0]

    def remaining(self) -> list[ObjectRecord]:
        """Return the objects that were not erased by hand."""
        painted = {r.label for r in self if self.is_painted(r)}
        there = self.target.present(painted) if painted else set()
        return [r for r in self if r.label not in painted - there]


def _certainty(record: ObjectRecord) -> tuple[float, int]:
    # unknown scores come last
    score = record.score
    return (math.inf if math.isnan(score) else score), record.number


def _covers(mask: Any, place: tuple[int, int]) -> bool:
    row, column = place[0] - mask.box[0], place[1] - mask.box[1]
    height, width = mask.data.shape
    return (
        0 <= row < height
        and 0 <= column < width
        and bool(mask.data[row, column])
    )
