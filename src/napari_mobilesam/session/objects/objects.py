"""The objects of a labels target: written, undone, found again, described."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from psygnal import Signal

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.history import (
    MAX_BYTES,
    Entry,
    History,
    joined,
)
from napari_mobilesam.session.objects.object_store import ObjectStore
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.staging import StagedObjects
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    LabelTarget,
    label_at,
)


class Objects(ObjectStore):
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
    forgotten : Signal()
        What was asked on planes is about to be forgotten.
    history : History
        What can be undone and redone.
    """

    changed = Signal()
    forgotten = Signal()

    def __init__(
        self, target: LabelTarget, max_bytes: int = MAX_BYTES
    ) -> None:
        super().__init__(target)
        self.history = History(max_bytes)

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

    # writing

    # writing: see also `step` and `begin`

    def stage(self) -> StagedObjects:
        """Return these objects as what a step can be prepared on.

        To be called on the viewer's thread; the step can be made on any,
        and `commit` writes it.
        """
        return StagedObjects(
            self.target,
            self._records,
            self.version,
            self.history.last if not self.history.redoable else None,
        )

    def commit(self, staged: StagedObjects) -> bool:
        """Write what was prepared, as if it were done now.

        Parameters
        ----------
        draft : StagedObjects
            Of `stage`, with a step that has been finished, or none.

        Returns
        -------
        bool
            False if objects, pixels or rows have changed since: nothing is
            written then.

        Raises
        ------
        LabelsError
            The target cannot be edited.
        """
        self.target.check()
        change = staged.change
        if staged.base != self.version or not staged.up_to_date():
            return False
        if change is None:
            return True
        if change.pixels is not None and not change.pixels.write(self.target):
            return False
        self.put_records(change.records)
        staged.write_rows()
        if change.joins:
            self.history.replace_last(change.entry)
        else:
            self.history.push(change.entry)
        self.changed.emit()
        return True

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

    def push(self, entry: Entry) -> None:
        """Add what a step did to the history."""
        self.version += 1
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
            step.replay_code = ReplayCode(
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
        if any(kept[n] is not record for n, record in self._records.items()):
            self.forgotten.emit()
        self._records = {n: r for n, r in kept.items() if r is not None}
        self.version += 1
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


def _certainty(record: ObjectRecord) -> tuple[float, int]:
    # what nobody knows the score of comes last
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
