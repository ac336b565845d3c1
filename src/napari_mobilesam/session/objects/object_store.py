"""Records of the objects of labels, and the steps that write to them.

A step writes pixels, records and feature rows together, and is one entry of
the history.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.history import Entry, Records
from napari_mobilesam.session.objects.measured_rows import (
    changed_rows,
    described_rows,
    pixel_changes,
)
from napari_mobilesam.session.objects.patch import Patch
from napari_mobilesam.session.objects.records import ObjectRecord, Views
from napari_mobilesam.session.objects.targets import (
    Indices,
    LabelsError,
    LabelTarget,
    WritePolicy,
    rows_of,
    set_rows,
    with_rows,
)
from napari_mobilesam.types import Mask

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.session.objects.replay_code import ReplayCode

# Masks within so many pixels are drawn into one picture, written once.
ONE_PICTURE = 1 << 22
# (N,) values in an array → (N,) bool, which of them may be overwritten
Overwritable = Callable[[NDArray[Any]], NDArray[np.bool_]]


class ObjectStore(ABC):
    """Records of the objects of one labels target.

    Parameters
    ----------
    target : LabelTarget
        Labels that hold the pixels.

    Attributes
    ----------
    version : int
        Increases with each change of the records.
    """

    def __init__(self, target: LabelTarget) -> None:
        self.target = target
        self._records: dict[int, ObjectRecord] = {}
        self._open_steps = 0
        # highest label that a running job has reserved
        self._reserved = 0
        # highest label of the hidden objects of each run, see `hold_labels`
        self._held: dict[object, int] = {}
        # by identity, which records keep when only their class changes: views
        # of objects that were painted by hand since
        self._painted: dict[int, Views] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[ObjectRecord]:
        """Objects in the order of their numbers."""
        return iter([self._records[n] for n in sorted(self._records)])

    def __contains__(self, number: int) -> bool:
        """Return whether there is an object of this number."""
        return number in self._records

    def get(self, number: int) -> ObjectRecord | None:
        """Return an object by its number, None if there is none."""
        return self._records.get(number)

    def free_label(self, count: int = 1) -> int:
        """Return the lowest of ``count`` labels above all that are used.

        Labels of pixels, of objects (whose pixels may have been erased by
        hand) and those that a running job has reserved are used; so are
        those that are held, as long as there are others.

        Raises
        ------
        LabelsError
            The labels are not editable, or have too few free values.
        """
        self.target.check()
        used = self._highest_used()
        first = 1 + max(used, *self._held.values(), 0)
        if first + count - 1 > self.target.limit:
            first = 1 + used
        if first + count - 1 > self.target.limit:
            raise LabelsError(
                f'“{self.target.name}” is full: it holds labels up to '
                f'{self.target.limit}. Convert it to a larger type '
                '(right-click the layer), or choose another one.'
            )
        return first

    def _highest_used(self) -> int:
        objects = (record.label for record in self._records.values())
        return max(
            self.target.highest(), self._reserved, max(objects, default=0)
        )

    @property
    def last_label(self) -> int:
        """Highest label of objects, running jobs and hidden objects.

        `free_label` is one more, unless others have labelled pixels above it.
        """
        objects = (record.label for record in self._records.values())
        return max(self._reserved, *self._held.values(), *objects, 0)

    @property
    def free_labels(self) -> int:
        """Number of labels above all that are used, see `free_label`."""
        return max(0, self.target.limit - self._highest_used())

    def reserve_labels(self, count: int, first: int | None = None) -> int:
        """Reserve labels in a row until all steps end; return the first.

        For a job that writes its objects one by one, while others are
        accepted.

        Parameters
        ----------
        count : int
            Number of labels.
        first : int, optional
            The first one; `free_label` by default.

        Raises
        ------
        LabelsError
            As of `free_label`; also if one of them is used.
        """
        if first is None:
            first = self.free_label(count)
        else:
            self._check_free(range(first, first + count))
        self._reserved = max(self._reserved, first + count - 1)
        return first

    def _check_free(self, labels: range) -> None:
        """Raise `LabelsError` if labels cannot be given to new objects."""
        self.target.check()
        used = self.target.present(labels)
        used |= {each.label for each in self if each.label in labels}
        if used or labels[-1] > self.target.limit:
            raise LabelsError(
                f'Labels {labels[0]} to {labels[-1]} are not free in '
                f'“{self.target.name}”, which holds labels up to '
                f'{self.target.limit}: give another first label.'
            )

    def hold_labels(self, owner: object, highest: int) -> None:
        """Hold the labels of objects that are hidden, and may come back.

        Parameters
        ----------
        owner : object
            Whose objects they are.
        highest : int
            Highest of the labels; 0 if none is hidden.
        """
        self._held.pop(owner, None)
        if highest:
            self._held[owner] = highest

    def is_painted(self, record: ObjectRecord) -> bool:
        """Return whether pixels of an object were painted or erased by hand.

        Pixels of its label, after its masks were made.
        """
        return id(record.views) in self._painted

    def painted_pixels(self, record: ObjectRecord) -> Indices | None:
        """Return all pixels of the label of an object that was painted.

        Returns
        -------
        tuple of ndarray or None
            None if it was not painted by hand, if others have its label, or
            if the labels are not one array in memory.
        """
        array = self.target.array() if self.is_painted(record) else None
        if array is None or any(
            other.label == record.label and other.number != record.number
            for other in self
        ):
            return None
        return np.nonzero(array == record.label)

    def begin(self, title: str, key: object = None) -> Step:
        """Begin a step; its writes are shown at once, `Step.finish` ends it.

        Parameters
        ----------
        title : str
            Name for the user: ``'object 5'``.
        key : object, optional
            Consecutive steps of the same key are merged, such as those of
            one slider.

        Raises
        ------
        LabelsError
            The labels are not editable.
        """
        self.target.check()
        self._open_steps += 1
        return Step(self, title, key)

    @contextmanager
    def step(self, title: str, key: object = None) -> Iterator[Step]:
        """Write as one step; an error rolls it back.

        See `begin`.
        """
        step = self.begin(title, key)
        try:
            yield step
        except BaseException:
            step.roll_back()
            raise
        step.finish()

    def end(self, entry: Entry | None) -> None:
        """End a step; None if nothing was written."""
        self._open_steps -= 1
        if not self._open_steps:
            self._reserved = 0
        if entry is not None:
            self.push(entry)

    def composed(self, patches: Sequence[Patch]) -> Patch:
        """Return one patch with the effect of those of a step, in order."""
        return Patch.of_all(patches)

    @abstractmethod
    def push(self, entry: Entry) -> None:
        """Take the entry of a finished step."""

    def put_records(self, records: Records) -> None:
        """Set records by number, None removes one; not a step by itself."""
        self.version += 1
        for number, record in records.items():
            if record is None:
                self._records.pop(number, None)
            else:
                self._records[number] = record

    def rows(self, labels: tuple[int, ...]) -> pd.DataFrame:
        """Return one row for the feature table per label of objects.

        Objects that share a label have one row: the lowest score and the sum
        of the prompts.

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


def _least(records: list[ObjectRecord], name: str) -> float:
    values = [getattr(record, name) for record in records]
    known = [value for value in values if not math.isnan(value)]
    return min(known, default=math.nan)


def _with_measurements(
    rows: pd.DataFrame, known: pd.DataFrame
) -> pd.DataFrame:
    """Return rows with further columns of rows of the same labels."""
    further = [name for name in known if name not in rows]
    if not further:
        return rows
    measured = known.drop_duplicates('index').set_index('index')[further]
    return rows.join(measured, on='index')


class Step:
    """Writes of `ObjectStore.step`; each is shown at once.

    Parameters
    ----------
    objects : ObjectStore
        Objects that are written to.
    title : str
        Name for the user.
    key : object
        See `ObjectStore.begin`.

    Attributes
    ----------
    replay_code : ReplayCode or None
        Code that repeats the step, for the script of the session.
    note : object
        See `Entry`.
    """

    def __init__(
        self, objects: ObjectStore, title: str, key: object = None
    ) -> None:
        self.title = title
        self.replay_code: ReplayCode | None = None
        self.note: object = None
        self._objects = objects
        self._key = key
        self._patches: list[Patch] = []
        self._before: dict[int, ObjectRecord | None] = {}
        self._rows: pd.DataFrame | None = None
        self._labels: set[int] = set()
        self._areas: dict[int, int] = {}

    @property
    def pixels(self) -> int:
        """Number of pixels that were changed."""
        return sum(len(patch) for patch in self._patches)

    def pixel_changes(self) -> dict[int, int]:
        """Return by how many pixels each label has grown so far."""
        if not self._patches:
            return {}
        # as one, which is also undone in one go: each write is drawn by itself
        whole = self._objects.composed(self._patches)
        self._patches = [whole]
        return pixel_changes(whole)

    def paint(
        self,
        plane: ImagePlane,
        mask: Mask,
        label: int,
        policy: WritePolicy | Overwritable = 'overwrite',
    ) -> int:
        """Write a mask.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the mask.
        mask : Mask
            In data pixels of the plane.
        label : int
            Value to write; 0 erases.
        policy : {'overwrite', 'keep'} or callable
            Over everything, on background only, or where a function of the
            present labels allows it.

        Returns
        -------
        int
            Number of pixels of the mask inside the labels, written or not;
            0 if the labels do not cover it.
        """
        picture = mask.data.astype(np.uint8)
        return self._write(
            plane,
            picture,
            mask.box[:2],
            policy,
            lambda values: np.full(len(values), label),
        )

    def paint_picture(
        self,
        plane: ImagePlane,
        picture: NDArray[Any],
        corner: tuple[int, int] = (0, 0),
        policy: WritePolicy | Overwritable = 'overwrite',
    ) -> int:
        """Write a picture of labels, except its zeros.

        Parameters and return value as in `paint`; the picture is (h, w)
        integers, with its first pixel at ``corner``.
        """
        return self._write(
            plane, picture, corner, policy, lambda values: values
        )

    def paint_masks(
        self, plane: ImagePlane, masks: Sequence[tuple[Mask, int]]
    ) -> None:
        """Write masks with a label each, in one go if they are close together.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the masks.
        masks : sequence of (Mask, int)
            Where masks overlap, the last one wins.
        """
        boxes = np.array([mask.box for mask, _ in masks])
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        if np.prod(high - low) > ONE_PICTURE:
            for mask, label in masks:
                self.paint(plane, mask, label)
            return
        picture = np.zeros(tuple(high - low), np.int64)
        for mask, label in masks:
            row, column = mask.box[0] - low[0], mask.box[1] - low[1]
            height, width = mask.data.shape
            part = picture[row : row + height, column : column + width]
            part[mask.data] = label
        self.paint_picture(plane, picture, (int(low[0]), int(low[1])))

    def replace_picture(
        self,
        plane: ImagePlane,
        old: NDArray[Any],
        new: NDArray[Any],
        corner: tuple[int, int] = (0, 0),
    ) -> int:
        """Replace a picture of labels by another.

        Pixels that differ from the old picture were painted by others, and
        stay.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the pictures.
        old, new : ndarray
            (h, w) integers: the labels written before, and the new ones.
        corner : tuple of int
            (row, column) of their first pixel.

        Returns
        -------
        int
            Number of pixels in the target that differ between the two.
        """
        differ = old != new
        # from 1, because `locate` skips 0
        pair = np.where(
            differ, np.arange(1, old.size + 1).reshape(old.shape), 0
        )
        target = self._objects.target
        indices, places = target.locate(plane, pair, corner)
        chosen = np.asarray(places, dtype=np.intp) - 1
        before = target.read(indices)
        mine = before == old.ravel()[chosen]
        self._swap(
            tuple(index[mine] for index in indices),
            before[mine],
            new.ravel()[chosen][mine],
        )
        return len(places)

    def put_pixels(self, values: NDArray[Any]) -> None:
        """Write labels of the shape of the target, except their zeros."""
        indices = np.nonzero(values)
        self.put_at(indices, values[indices])

    def put_at(self, indices: Indices, values: Any) -> None:
        """Write values, or one value, at pixels of the target."""
        before = self._objects.target.read(indices)
        after = np.broadcast_to(np.asarray(values), before.shape)
        self._swap(indices, before, after)

    def erase(self, record: ObjectRecord) -> None:
        """Erase the pixels of an object."""

        def own(values: NDArray[Any]) -> NDArray[np.bool_]:
            return np.asarray(values == record.label)

        for view in record.views.values():
            if view.mask is not None:
                self.paint(view.plane, view.mask, 0, own)

    def put(self, record: ObjectRecord) -> None:
        """Add an object, or replace the one with its number."""
        self._remember(record)
        self._objects.put_records({record.number: record})

    def remove(self, record: ObjectRecord) -> None:
        """Remove an object, without its pixels; see `erase`."""
        self._remember(record)
        self._objects.put_records({record.number: None})

    def resize(self, record: ObjectRecord) -> int:
        """Note the pixels that an object has now, for its row; return them."""
        target = self._objects.target
        self._labels.add(record.label)
        self._areas[record.label] = area = sum(
            int(np.count_nonzero(picture == record.label))
            for picture in (
                target.picture(view.plane, view.mask.box)
                for view in record.views.values()
                if view.mask is not None
            )
        )
        return area

    def describe(self, labels: set[int], rows: pd.DataFrame) -> None:
        """Set rows of the feature table instead of those of the objects.

        Parameters
        ----------
        labels : set of int
            Labels whose rows are replaced; labels without a row lose theirs.
        rows : pandas.DataFrame
            With the label in a column ``index``. Of objects that were not
            written as a whole, the area is set, and other measurements are
            emptied.
        """
        self._labels |= labels
        self._rows = rows

    def complete(self, saved: pd.DataFrame) -> None:
        """Add what a file has of the rows of the objects of this step.

        Parameters
        ----------
        saved : pandas.DataFrame
            With the label in a column ``index``. Its numbers of prompts are
            taken, and columns that rows of these labels do not have.
        """
        rows = self._objects.rows(tuple(sorted(self._labels)))
        if 'prompts' in saved:
            prompts = saved.set_index('index')['prompts']
            known = rows['index'].isin(saved['index'])
            read = rows['index'].map(prompts)
            rows['prompts'] = read.where(known, rows['prompts'])
        if not self._patches:
            present = rows_of(self._objects.target, self._labels)
            present = present.dropna(axis='columns', how='all')
            rows = _with_measurements(rows, present)
        self._rows = _with_measurements(rows, saved)

    def finish(self) -> None:
        """End the step and add it to the history."""
        try:
            before, after = self._write_rows()
        except BaseException:
            self.roll_back()
            raise
        entry = Entry(
            self.title,
            tuple(self._patches),
            self._before,
            {number: self._objects.get(number) for number in self._before},
            before,
            after,
            tuple(sorted(self._labels)),
            self._key,
            self.replay_code,
            self.note,
        )
        something = entry.patches or entry.records_before or entry.labels
        self._objects.end(entry if something else None)

    def roll_back(self) -> None:
        """Undo the writes of this step."""
        for patch in reversed(self._patches):
            patch.undo(self._objects.target)
        self._objects.put_records(self._before)
        self._patches, self._before, self._labels = [], {}, set()
        self._objects.end(None)

    def _write_rows(self) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
        """Bring the feature table up to date; its rows before and after."""
        target = self._objects.target
        changes = self.pixel_changes()
        # labels that were written over without being of this step
        beside = rows_of(target, changes.keys() - self._labels)
        if not self._labels and beside.empty:
            return None, None
        before = rows_of(target, self._labels)
        if self._rows is None:
            after = _with_measurements(
                self._objects.rows(tuple(sorted(self._labels))),
                changed_rows(before, changes),
            )
            if 'area' in after:
                areas = after['index'].map(self._areas)
                after['area'] = areas.fillna(after['area'])
        else:
            after = described_rows(self._rows, before, changes)
        if len(beside):
            self._labels.update(beside['index'].tolist())
            before = rows_of(target, self._labels)
            after = with_rows(after, (), changed_rows(beside, changes))
        set_rows(target, self._labels, after)
        return before, after

    def _remember(self, record: ObjectRecord) -> None:
        before = self._objects.get(record.number)
        self._before.setdefault(record.number, before)
        self._labels |= {r.label for r in (before, record) if r is not None}

    def _write(
        self,
        plane: ImagePlane,
        picture: NDArray[Any],
        corner: tuple[int, int],
        policy: WritePolicy | Overwritable,
        values_of: Callable[[NDArray[Any]], NDArray[Any]],
    ) -> int:
        target = self._objects.target
        indices, values = target.locate(plane, picture, corner)
        before = target.read(indices)
        allowed = np.ones(len(values), dtype=bool)
        if callable(policy):
            allowed &= policy(before)
        if policy == 'keep' or (target.preserved and not callable(policy)):
            allowed &= before == 0
        count = len(values)
        if not allowed.all():
            indices = tuple(index[allowed] for index in indices)
            before, values = before[allowed], values[allowed]
        self._swap(indices, before, values_of(values))
        return count

    def _swap(
        self, indices: Any, before: NDArray[Any], after: NDArray[Any]
    ) -> None:
        if not len(before):
            return
        target = self._objects.target
        after = np.asarray(after).astype(before.dtype, copy=False)
        patch = Patch.of(target.shape, indices, before, after)
        if len(patch):
            target.write(indices, after)
            self._patches.append(patch)
