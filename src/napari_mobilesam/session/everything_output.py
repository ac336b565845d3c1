"""Writing the objects of a run into labels, and rewriting them."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.everything_messages import (
    EverythingResult,
    Found,
)
from napari_mobilesam.session.history import Entry
from napari_mobilesam.session.objects import Objects
from napari_mobilesam.session.planes import ImagePlane
from napari_mobilesam.session.records import (
    ObjectCandidates,
    ObjectRecord,
    View,
)
from napari_mobilesam.session.targets import LabelsError
from napari_mobilesam.types import Mask, Prompts

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.session.step import Step

Box = tuple[int, int, int, int]


class Output:
    """Where the objects of one run are.

    Another selection of the same run takes the place of the one before.
    What somebody has reviewed, corrected or deleted since stays so, and so
    do pixels that are labelled as something else.

    Parameters
    ----------
    objects : Objects
        What is written to.
    planes : sequence of ImagePlane
        Planes of the run.
    overwrite : bool
        Whether the first write covers labels that are there already.
    semantic : bool
        Whether all objects get one label.
    """

    def __init__(
        self,
        objects: Objects,
        planes: Sequence[ImagePlane],
        overwrite: bool = False,
        semantic: bool = False,
    ) -> None:
        self.objects = objects
        self._planes = planes
        self._overwrite = overwrite
        self._semantic = semantic
        # what was made of each label of the run, by that label
        self._records: dict[int, ObjectRecord] = {}
        # all that were ever made, known by identity and held by it
        self._made: dict[int, ObjectRecord] = {}
        self._own: weakref.WeakSet[Entry] = weakref.WeakSet()
        self._writing = False
        self._deleted: set[int] = set()
        objects.changed.connect(self._look_for_deleted)

    def close(self) -> None:
        """Forget the run; what was written stays."""
        self.objects.changed.disconnect(self._look_for_deleted)

    @property
    def numbers(self) -> set[int]:
        """Numbers of the objects of this run that there are now."""
        known = {record.number for record in self._records.values()}
        return {number for number in known if self.objects.get(number)}

    def write(self, result: EverythingResult, key: Hashable = None) -> None:
        """Let the objects of a result take the place of those before.

        Parameters
        ----------
        result : EverythingResult
            Of the run that was written before, if any was.
        key : hashable
            Steps with the same key that follow each other become one.

        Raises
        ------
        LabelsError
            The labels cannot be edited, have not enough labels left, or do
            not cover the image. Nothing is written then.
        """
        before = {
            label
            for label, record in self._records.items()
            if id(self.objects.get(record.number)) in self._made
        }
        frozen = set(self._frozen())
        wanted = set(result.masks) - frozen
        new = self._number(result, wanted)
        count = len(wanted)
        title = f'{count} object{"" if count == 1 else "s"}'
        with self._own_step(title, key) as step:
            covered = 0
            for index, picture in enumerate(result.pictures):
                covered += self._paint(step, index, picture, frozen)
            if wanted and not before and not covered:
                raise LabelsError(
                    f'“{self.objects.target.name}” does not cover the '
                    'objects: choose or create another labels layer.'
                )
            gone, come = before - wanted, (wanted - before) | new
            for label in gone:
                step.remove(self._records[label])
            for label in come:
                step.put(self._records[label])
            if gone or come:
                self._describe(step, result.table, gone, wanted)
        self._overwrite = False

    @contextmanager
    def _own_step(self, title: str, key: object) -> Iterator[Step]:
        before = self.objects.history.last
        self._writing = True
        try:
            with self.objects.step(title, key) as step:
                yield step
        finally:
            self._writing = False
        entry = self.objects.history.last
        if entry is not None and entry is not before:
            self._own.add(entry)

    def _frozen(self) -> Iterator[int]:
        """Labels of the run that somebody else has the say about."""
        for label, record in self._records.items():
            now = self.objects.get(record.number)
            deleted = now is None and record.number in self._deleted
            if deleted or (now is not None and id(now) not in self._made):
                yield label

    def _look_for_deleted(self) -> None:
        entry = self.objects.history.last
        if not self._writing and entry is not None and entry not in self._own:
            self._deleted |= {
                number
                for number, record in entry.records_after.items()
                if record is None
            }

    def _number(self, result: EverythingResult, wanted: set[int]) -> set[int]:
        """Make records of objects not seen before, or linked differently."""
        new = sorted(wanted - set(self._records))
        other = {
            label
            for label in wanted - set(new)
            if self._differs(self._records[label], result.masks[label])
        }
        for label in other:
            old = self._records[label]
            self._make(label, old.number, old.label, result.masks[label])
        if new:
            first = self._first_label(len(new))
            known = [record.number for record in self._made.values()]
            known += [record.number for record in self.objects]
            number = max([first - 1, *known])
            for place, label in enumerate(new):
                own = first if self._semantic else first + place
                number += 1
                self._make(label, number, own, result.masks[label])
        return {*new, *other}

    def _first_label(self, count: int) -> int:
        if not self._semantic:
            return self.objects.free_label(count)
        for record in self._records.values():
            return record.label
        return self.objects.free_label()

    def _differs(self, record: ObjectRecord, masks: Sequence[Found]) -> bool:
        before = {id(mask) for mask in record.masks}
        return before != {id(found.mask) for found in masks}

    def _make(
        self, label: int, number: int, own: int, masks: Sequence[Found]
    ) -> None:
        views = {}
        for found in masks:
            plane = self._planes[found.plane]
            views[plane.place] = View(
                plane, prompts_of(found.mask), ObjectCandidates((found.mask,))
            )
        record = ObjectRecord(number, own, views, origin='everything')
        self._records[label] = self._made[id(record)] = record

    def _paint(
        self,
        step: Step,
        index: int,
        picture: NDArray[Any],
        frozen: set[int],
    ) -> int:
        """Write what differs on a plane; return how many pixels do."""
        plane = self._planes[index]
        height, width = picture.shape
        there = self.objects.target.picture(plane, (0, 0, height, width))
        highest = max(self._records, default=0)
        values = np.zeros(highest + 1, dtype=np.int64)
        for label, record in self._records.items():
            values[label] = 0 if label in frozen else record.label
        new = values[picture]
        own = {
            record.label
            for label, record in self._records.items()
            if self._semantic or label not in frozen
        }
        old = np.where(_is_in(there, own), there, 0)
        if self._semantic:
            for label in frozen:
                self._protect(plane, label, there, old, new)
        if self._overwrite:
            old = np.where(new > 0, there, old)
        box = _box_of(old != new)
        if box is None:
            return 0
        rows, columns = slice(box[0], box[2]), slice(box[1], box[3])
        return step.replace_picture(
            plane, old[rows, columns], new[rows, columns], box[:2]
        )

    def _protect(
        self,
        plane: ImagePlane,
        label: int,
        there: NDArray[Any],
        old: NDArray[Any],
        new: NDArray[Any],
    ) -> None:
        """Leave the pixels of an object as they are.

        Only needed where others have the same label.
        """
        record = self.objects.get(self._records[label].number)
        view = None if record is None else record.view(plane)
        if record is None or view is None or view.mask is None:
            return
        row0, column0, row1, column1 = view.mask.box
        part = (slice(row0, row1), slice(column0, column1))
        kept = view.mask.data & (there[part] == record.label)
        old[part][kept] = new[part][kept] = record.label

    def _describe(
        self,
        step: Step,
        table: pd.DataFrame,
        gone: set[int],
        wanted: set[int],
    ) -> None:
        """Put the table of the run into the feature table of the labels."""
        if self._semantic:
            return
        rows = table[table['label'].isin(wanted)]
        labels = {label: self._records[label].label for label in wanted}
        index = rows['label'].map(labels).astype(np.int64)
        rows = rows.drop(columns=['label', 'plane', 'planes'])
        rows.insert(0, 'index', index)
        changed = {self._records[label].label for label in gone}
        step.describe(changed | set(labels.values()), rows)


def prompts_of(mask: Mask) -> Prompts:
    """Return the prompts that a mask came from: its point, or else its box."""
    point = np.array([mask.point], dtype=np.float64)
    if np.isfinite(point).all():
        return Prompts(point, np.ones(1, np.int64))
    return Prompts(box=np.array(mask.box, dtype=np.float64))


def _is_in(picture: NDArray[Any], labels: set[int]) -> NDArray[np.bool_]:
    highest = int(picture.max(initial=0))
    known = np.zeros(highest + 1, dtype=bool)
    known[[label for label in labels if label <= highest]] = True
    return np.asarray(known[picture])


def _box_of(picture: NDArray[np.bool_]) -> Box | None:
    """Box around the pixels that are set, None if none is."""
    rows = np.flatnonzero(picture.any(axis=1))
    columns = np.flatnonzero(picture.any(axis=0))
    if not len(rows):
        return None
    return (
        int(rows[0]),
        int(columns[0]),
        int(rows[-1]) + 1,
        int(columns[-1]) + 1,
    )
