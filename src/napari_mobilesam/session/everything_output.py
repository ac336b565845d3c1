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
        now = {
            label: self.objects.get(record.number)
            for label, record in self._records.items()
        }
        # an undo may have brought back earlier ones
        mine = {
            label: record
            for label, record in now.items()
            if record is not None and id(record) in self._made
        }
        self._records.update(mine)
        before = set(mine)
        frozen = set(self._frozen())
        wanted = set(result.masks) - frozen
        old = dict(self._records)
        new = self._number(result, wanted)
        gone, come = before - wanted, (wanted - before) | new
        boxes = self._boxes(
            [old[label] for label in (gone | come) & set(old)]
            + [self._records[label] for label in come]
        )
        count = len(wanted)
        title = f'{count} object{"" if count == 1 else "s"}'
        with self._own_step(title, key) as step:
            covered = sum(
                self._paint(step, index, result.pictures[index], box, frozen)
                for index, box in boxes.items()
            )
            if wanted and not before and not covered:
                raise LabelsError(
                    f'“{self.objects.target.name}” does not cover the '
                    'objects: choose or create another labels layer.'
                )
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

    def _boxes(self, records: Sequence[ObjectRecord]) -> dict[int, Box]:
        """Return the box around objects on each plane that they are on."""
        numbers = {plane.place: n for n, plane in enumerate(self._planes)}
        found: dict[int, list[Box]] = {}
        for record in records:
            for place, view in record.views.items():
                if view.mask is not None:
                    found.setdefault(numbers[place], []).append(view.mask.box)
        ends = {index: np.array(boxes) for index, boxes in found.items()}
        return {
            index: (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))
            for index, boxes in ends.items()
        }

    def _paint(
        self,
        step: Step,
        index: int,
        whole: NDArray[Any],
        box: Box,
        frozen: set[int],
    ) -> int:
        """Write what differs in a box; return how many pixels do.

        Beyond the objects that come and go nothing differs.
        """
        plane = self._planes[index]
        row0, column0, row1, column1 = box
        picture = whole[row0:row1, column0:column1]
        there = self.objects.target.picture(plane, box)
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
                self._protect(plane, label, box, there, old, new)
        if self._overwrite:
            old = np.where(new > 0, there, old)
        return step.replace_picture(plane, old, new, box[:2])

    def _protect(
        self,
        plane: ImagePlane,
        label: int,
        box: Box,
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
        covered = np.zeros(there.shape, dtype=bool)
        low = np.maximum(view.mask.box[:2], box[:2])
        high = np.minimum(view.mask.box[2:], box[2:])
        if (low >= high).any():
            return
        own = _cut(low, high, view.mask.box)
        covered[_cut(low, high, box)] = view.mask.data[own]
        covered &= there == record.label
        old[covered] = new[covered] = record.label

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


def _cut(
    low: NDArray[np.int64], high: NDArray[np.int64], box: Box
) -> tuple[slice, slice]:
    """Slices of a picture of ``box`` that hold the pixels low … high."""
    row0, column0 = box[:2]
    return (
        slice(low[0] - row0, high[0] - row0),
        slice(low[1] - column0, high[1] - column0),
    )
