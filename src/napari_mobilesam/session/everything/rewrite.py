"""Difference between the labels in the layer and a new selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.everything.covering import Covering
from napari_mobilesam.session.everything.everything_messages import (
    EverythingResult,
    PlaneMask,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.measured_rows import pixel_changes
from napari_mobilesam.session.objects.object_store import ObjectStore
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.targets import LabelsError, rows_of
from napari_mobilesam.text import counted
from napari_mobilesam.types import Box, Mask, Prompts

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.session.objects.replay_code import ReplayCode
    from napari_mobilesam.session.objects.step import Step

# Side of the squares in which a plane is compared.
SQUARE = 512
# Title of a step that changes the selection of objects.
FILTERED = 'change of the filters'


@dataclass(frozen=True)
class RunRecords:
    """Records of the objects of a run.

    Attributes
    ----------
    records : dict
        Record of each label of the run, by that label.
    made : dict
        All records ever made, by identity.
    deleted : frozenset of int
        Numbers of objects that the user has deleted.
    """

    records: dict[int, ObjectRecord] = field(default_factory=dict)
    made: dict[int, ObjectRecord] = field(default_factory=dict)
    deleted: frozenset[int] = frozenset()

    def without(self, numbers: Collection[int]) -> RunRecords:
        """Return the records without some numbers."""
        return RunRecords(
            {n: r for n, r in self.records.items() if r.number not in numbers},
            {n: r for n, r in self.made.items() if r.number not in numbers},
            self.deleted - set(numbers),
        )


class Rewrite:
    """Replace the objects of a run with those of another result.

    Only the given objects are changed, so it can work on a staged copy.

    Parameters
    ----------
    objects : ObjectStore
        Objects of the labels, or a staged copy.
    planes : sequence of ImagePlane
        Planes of the run.
    known : RunRecords
        Records of the run so far.
    overwrite : bool
        Whether existing labels are overwritten.
    semantic : bool
        Whether all objects share one label.
    """

    def __init__(
        self,
        objects: ObjectStore,
        planes: Sequence[ImagePlane],
        known: RunRecords,
        overwrite: bool = False,
        semantic: bool = False,
    ) -> None:
        self._objects = objects
        self._planes = planes
        self._overwrite = overwrite
        self._semantic = semantic
        self._deleted = known.deleted
        self._records = dict(known.records)
        self._made = dict(known.made)

    @property
    def known(self) -> RunRecords:
        """Current records of the run."""
        return RunRecords(self._records, self._made, self._deleted)

    def write(
        self,
        result: EverythingResult,
        key: Hashable,
        note: object,
        was_written: bool = False,
        moved: bool = False,
        code: ReplayCode | None = None,
    ) -> None:
        """Write as one step; see `EverythingOutput.write`.

        Parameters
        ----------
        result : EverythingResult
            The objects.
        key : hashable
            Consecutive steps of the same key are merged.
        note : object
            See `Entry`.
        was_written : bool
            Whether a result of the run, possibly without objects, was written
            before.
        moved : bool
            Whether its selection is another than before. This is a step even
            if the objects are the same, so that an undo restores one slider.
        code : ReplayCode, optional
            Code that repeats the step.
        """
        mine = self._follow_undo()
        frozen = set(self._frozen())
        before = set(mine) - frozen
        wanted = set(result.masks) - frozen
        if not (self._overwrite or self._semantic):
            wanted -= self._covering.beneath(result, wanted - before)
        old = dict(self._records)
        replaced = self._replaced(wanted - before)
        last = self._objects.last_label
        new = self._number(result, wanted, replaced)
        gone, come = before - wanted, (wanted - before) | new
        squares = self._squares(
            [old[label] for label in (gone | come) & set(old)]
            + [self._records[label] for label in come]
        )
        with self._objects.step(FILTERED, key) as step:
            step.note, step.kept = note, moved
            fresh = new - set(old)
            if code is not None and not (
                replaced or self._above_others(fresh, last)
            ):
                # labels follow the order in which objects were first shown
                passing = 0 if new else code.passing
                step.replay_code = replace(code, passing=passing)
            covered = self._paint(
                step, result.pictures, squares, wanted, frozen, before
            )
            if wanted and not before and not covered:
                raise LabelsError(
                    f'“{self._objects.target.name}” does not cover the '
                    'objects: choose or create another labels layer.'
                )
            unseen = self._unseen(step, come - before)
            come, wanted = come - unseen, wanted - unseen
            if not (before or was_written):
                step.title = counted(len(wanted), 'object')
            for label in gone:
                step.remove(self._records[label])
            shared = set()
            if self._overwrite:
                shared = self._remove_covered(step, result, wanted)
            for label in come:
                step.put(self._records[label])
            if gone or come:
                self._describe(step, result.table, gone, wanted, shared)

    def _follow_undo(self) -> dict[int, ObjectRecord]:
        """Return the current records of objects that nobody changed."""
        now = {
            label: self._objects.get(record.number)
            for label, record in self._records.items()
        }
        # an undo may have restored earlier records
        mine = {
            label: record
            for label, record in now.items()
            if record is not None and id(record) in self._made
        }
        self._records.update(mine)
        return mine

    def _above_others(self, fresh: set[int], last: int) -> bool:
        """Return whether labels were chosen above those of other objects.

        A script does not have those objects, and would choose lower labels.
        """
        labels = [self._records[label].label for label in fresh]
        return not self._semantic and min(labels, default=0) > last + 1

    def _frozen(self) -> Iterator[int]:
        """Yield labels of objects that the user has deleted or changed."""
        for label, record in self._records.items():
            now = self._objects.get(record.number)
            if now is None:
                frozen = record.number in self._deleted
            else:
                # painting with a shared label cannot be attributed to one
                # object
                painted = not self._semantic and self._objects.is_painted(now)
                frozen = painted or id(now) not in self._made
            if frozen:
                yield label

    @property
    def _covering(self) -> Covering:
        """Finder of objects that cover each other."""
        own = {record.number for record in self._records.values()}
        others = [
            record
            for record in self._objects
            if record.number not in own or id(record) not in self._made
        ]
        return Covering(self._objects, self._planes, others)

    def _remove_covered(
        self, step: Step, result: EverythingResult, labels: set[int]
    ) -> set[int]:
        """Remove objects that are overwritten.

        Returns those of their labels that other objects share.
        """
        removed = set()
        for record, left in self._covering.covered(result, labels):
            own = partial(np.equal, record.label)
            for plane, mask in left:
                step.paint(plane, mask, 0, own)
            step.remove(record)
            removed.add(record.label)
        return removed & {record.label for record in self._objects}

    def _number(
        self, result: EverythingResult, wanted: set[int], replaced: set[int]
    ) -> set[int]:
        """Make records of new objects and of those that must change."""
        first_seen = wanted - set(self._records)
        other = {
            label
            for label in wanted - first_seen
            if _differs(self._records[label], result.masks[label])
        }
        for label in other:
            old = self._records[label]
            self._make(label, old.number, old.label, result.masks[label])
        numbered = first_seen | replaced
        new = [label for label in result.masks if label in numbered]
        if new:
            first = self._first_label(len(new))
            known = [record.number for record in self._made.values()]
            known += [record.number for record in self._objects]
            number = max([first - 1, *known])
            for place, label in enumerate(new):
                own = first if self._semantic else first + place
                number += 1
                self._make(label, number, own, result.masks[label])
        return {*new, *other}

    def _replaced(self, coming: set[int]) -> set[int]:
        """Return hidden objects whose labels others have taken since."""
        hidden = coming & self._records.keys()
        if self._semantic or not hidden:
            return set()
        labels = {self._records[label].label for label in hidden}
        used = self._objects.target.present(labels)
        used.update(record.label for record in self._objects)
        return {n for n in hidden if self._records[n].label in used}

    def _first_label(self, count: int) -> int:
        if not self._semantic:
            return self._objects.free_label(count)
        for record in self._records.values():
            return record.label
        return self._objects.free_label()

    def _make(
        self, label: int, number: int, own: int, masks: Sequence[PlaneMask]
    ) -> None:
        views = {}
        for found in masks:
            plane = self._planes[found.plane]
            views[plane.place] = ObjectView(
                plane, prompts_of(found.mask), ObjectCandidates((found.mask,))
            )
        record = ObjectRecord(number, own, views, origin='everything')
        # cached here, off the viewer's thread
        _ = record.score, record.stability, record.area, record.nbytes
        self._records[label] = self._made[id(record)] = record

    def _squares(
        self, records: Iterable[ObjectRecord]
    ) -> dict[int, set[tuple[int, int]]]:
        """Return the squares of each plane that intersect boxes of objects."""
        numbers = {plane.place: n for n, plane in enumerate(self._planes)}
        found: dict[int, set[tuple[int, int]]] = {}
        for record in records:
            for place, view in record.views.items():
                if view.mask is not None:
                    row0, column0, row1, column1 = view.mask.box
                    found.setdefault(numbers[place], set()).update(
                        (row, column)
                        for row in range(row0 // SQUARE, -(-row1 // SQUARE))
                        for column in range(
                            column0 // SQUARE, -(-column1 // SQUARE)
                        )
                    )
        return found

    def _paint(
        self,
        step: Step,
        pictures: Sequence[NDArray[Any]],
        squares: dict[int, set[tuple[int, int]]],
        wanted: set[int],
        frozen: set[int],
        before: set[int],
    ) -> int:
        """Write the changes in squares; return the number of pixels.

        Nothing changes outside the boxes of added and removed objects.
        """
        values = np.zeros(max(self._records, default=0) + 1, dtype=np.int64)
        own = set()
        for label, record in self._records.items():
            values[label] = record.label if label in wanted else 0
            if self._semantic or label in before - frozen:
                own.add(record.label)
        is_own = np.zeros(max(own, default=0) + 2, dtype=bool)
        is_own[list(own)] = True
        return sum(
            self._paint_square(
                step, index, pictures[index], square, values, is_own, frozen
            )
            for index, places in squares.items()
            for square in sorted(places)
        )

    def _paint_square(
        self,
        step: Step,
        index: int,
        whole: NDArray[Any],
        square: tuple[int, int],
        values: NDArray[np.int64],
        is_own: NDArray[np.bool_],
        frozen: set[int],
    ) -> int:
        plane = self._planes[index]
        row, column = (SQUARE * place for place in square)
        picture = whole[row : row + SQUARE, column : column + SQUARE]
        height, width = picture.shape
        box = (row, column, row + height, column + width)
        there = self._objects.target.picture(plane, box).astype(np.int64)
        new = values[picture]
        mine = is_own[np.clip(there, 0, len(is_own) - 1)]
        old = np.where(mine, there, 0)
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
        """Keep the pixels of an object.

        Only needed where objects share a label.
        """
        record = self._objects.get(self._records[label].number)
        view = None if record is None else record.view(plane)
        if record is None or view is None or view.mask is None:
            return
        low = np.maximum(view.mask.box[:2], box[:2])
        high = np.minimum(view.mask.box[2:], box[2:])
        if (low >= high).any():
            return
        covered = np.zeros(there.shape, dtype=bool)
        own = _cut(low, high, view.mask.box)
        covered[_cut(low, high, box)] = view.mask.data[own]
        covered &= there == record.label
        old[covered] = new[covered] = record.label

    def _unseen(self, step: Step, come: set[int]) -> set[int]:
        """Return new objects of which no pixel was written.

        Pixels without an object cover them, such as those of a brush, or they
        lie beyond the labels.
        """
        if self._semantic:
            return set()
        grown: Counter[int] = Counter()
        for patch in self._objects.writes.of(step):
            grown.update(pixel_changes(patch))
        return {n for n in come if not grown[self._records[n].label]}

    def _describe(
        self,
        step: Step,
        table: pd.DataFrame,
        gone: set[int],
        wanted: set[int],
        shared: set[int],
    ) -> None:
        """Copy the table of the run to the feature table of the labels."""
        import pandas as pd

        if self._semantic:
            return
        rows = table[table['label'].isin(wanted)]
        labels = {label: self._records[label].label for label in wanted}
        index = rows['label'].map(labels).astype(np.int64)
        rows = rows.drop(columns=['label', 'plane', 'planes'])
        rows.insert(0, 'index', index)
        changed = {self._records[label].label for label in gone}
        kept = rows_of(self._objects.target, shared)
        rows = rows if kept.empty else pd.concat([rows, kept])
        step.describe(changed | set(labels.values()), rows)


def prompts_of(mask: Mask) -> Prompts:
    """Return the prompts of a mask: its point, or else its box."""
    point = np.array([mask.point], dtype=np.float64)
    if np.isfinite(point).all():
        return Prompts(point, np.ones(1, np.int64))
    return Prompts(box=np.array(mask.box, dtype=np.float64))


def _differs(record: ObjectRecord, masks: Sequence[PlaneMask]) -> bool:
    before = {id(mask) for mask in record.masks}
    return before != {id(found.mask) for found in masks}


def _cut(
    low: NDArray[np.int64], high: NDArray[np.int64], box: Box
) -> tuple[slice, slice]:
    """Return the slices of a picture of ``box`` for pixels low … high."""
    row0, column0 = box[:2]
    return (
        slice(low[0] - row0, high[0] - row0),
        slice(low[1] - column0, high[1] - column0),
    )
