"""A step of changes to labels: pixels, records and feature rows together.

A step is one entry of the history.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.measure.table_columns import TIMES
from napari_mobilesam.segmentation.masks import shared_area
from napari_mobilesam.segmentation.shapes import sampled
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.history import Entry, Records
from napari_mobilesam.session.objects.measured_rows import (
    changed_rows,
    described_rows,
    pixel_changes,
)
from napari_mobilesam.session.objects.patch import OpenWrites, Patch
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.targets import (
    Indices,
    LabelTarget,
    WritePolicy,
    column_of,
    rows_of,
    set_rows,
    with_rows,
)
from napari_mobilesam.types import Mask

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.session.objects.replay_code import ReplayCode

# Masks within this many pixels are drawn into one picture, which is written
# once.
ONE_PICTURE = 1 << 22
# (N,) values in an array → (N,) bool, which of them may be overwritten
Overwritable = Callable[[NDArray[Any]], NDArray[np.bool_]]


class Store(Protocol):
    """Part of an `ObjectStore` used by its steps."""

    target: LabelTarget
    writes: OpenWrites

    def get(self, number: int) -> ObjectRecord | None:
        """Return an object by its number, None if there is none."""

    def put_records(self, records: Records) -> None:
        """Set records by number; None removes one."""

    def rows(self, labels: tuple[int, ...]) -> pd.DataFrame:
        """Return one feature table row per label of objects."""

    def add_write(self, step: Step, patch: Patch) -> None:
        """Note a patch that a step has written."""

    def merge_writes(self, step: Step) -> list[Patch]:
        """Merge the patches of a step into one, if there are any."""

    def namesakes(self, record: ObjectRecord) -> Sequence[ObjectRecord]:
        """Return the other objects with the label of an object."""

    def brushed_areas(self, labels: Collection[int]) -> dict[int, int]:
        """Return the areas of labels that were ever painted by hand."""

    def check_idle(
        self, record: ObjectRecord, but: Step | None = None
    ) -> None:
        """Raise `LabelsError` if another step is writing an object."""

    def end(self, step: Step, entry: Entry | None) -> None:
        """End a step; ``entry`` is None if nothing was written."""


class Step:
    """Writes of `ObjectStore.begin`, each shown at once.

    Parameters
    ----------
    objects : Store
        Objects that are written to.
    title : str
        Name for the user.
    key : object
        See `ObjectStore.begin`.
    propagated : ObjectRecord, optional
        See `ObjectStore.begin`.

    Attributes
    ----------
    replay_code : ReplayCode or None
        Code that repeats the step, for the script of the session.
    note : object
        See `Entry`.
    kept : bool
        Whether the step is added to the history even if it changes nothing.
    pixels : int
        Number of pixel changes; a pixel changed twice counts twice.
    overwritten : set of int
        Labels that lost pixels.
    """

    def __init__(
        self,
        objects: Store,
        title: str,
        key: object = None,
        propagated: ObjectRecord | None = None,
    ) -> None:
        self.title = title
        self.propagated = propagated
        self.replay_code: ReplayCode | None = None
        self.note: object = None
        self.kept = False
        self.pixels = 0
        self.overwritten: set[int] = set()
        self._objects = objects
        self._key = key
        self._before: dict[int, ObjectRecord | None] = {}
        self._rows: pd.DataFrame | None = None
        self._labels: set[int] = set()
        self._areas: dict[int, int] = {}

    def writes(self, record: ObjectRecord) -> bool:
        """Return whether the step writes, or is going to write, an object."""
        return (record.number > 0 and record.number in self._before) or (
            self.propagated is not None and self.propagated.same_object(record)
        )

    def pixel_changes(self) -> dict[int, int]:
        """Return by how many pixels each label has grown so far."""
        return _changes(self._objects.merge_writes(self))

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
            Mask in data pixels of the plane.
        label : int
            Value to write; 0 erases.
        policy : {'overwrite', 'keep'} or callable
            Write over everything, on background only, or where a function of
            the current labels allows it.

        Returns
        -------
        int
            Number of pixels of the mask inside the labels, written or not; 0
            if the labels do not cover it.
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
    ) -> int:
        """Write a picture of labels over all others, except its zeros.

        Parameters and return value as in `paint`; the picture is (h, w)
        integers, with its first pixel at ``corner``.
        """
        return self._write(
            plane, picture, corner, 'overwrite', lambda values: values
        )

    def paint_masks(
        self, plane: ImagePlane, masks: Sequence[tuple[Mask, int]]
    ) -> None:
        """Write masks with one label each, together if they are close.

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
        """Replace a picture of labels with another.

        Pixels that differ from the old picture were painted by others and
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
            target.channels(plane),
        )
        return len(places)

    def put_pixels(self, values: NDArray[Any]) -> None:
        """Write labels with the shape of the target, except zeros."""
        indices = np.nonzero(values)
        self.put_at(indices, values[indices])

    def put_at(self, indices: Indices, values: Any) -> None:
        """Write one or several values at pixels of the target."""
        before = self._objects.target.read(indices)
        after = np.broadcast_to(np.asarray(values), before.shape)
        self._swap(indices, before, after)

    def erase(self, record: ObjectRecord) -> None:
        """Erase the pixels of an object, sparing others with its label.

        Raises
        ------
        LabelsError
            Another step writes the object.
        """
        self._objects.check_idle(record, self)

        def own(values: NDArray[Any]) -> NDArray[np.bool_]:
            return np.asarray(values == record.label)

        others = self._objects.namesakes(record)
        for view in record.views.values():
            if view.mask is not None:
                views = (other.view(view.plane) for other in others)
                masks = [seen.mask for seen in views if seen and seen.mask]
                self.paint(view.plane, _without(view.mask, masks), 0, own)

    def put(self, record: ObjectRecord) -> None:
        """Add an object, or replace the one with its number.

        Raises
        ------
        LabelsError
            Another step writes the object.
        """
        self._remember(record)
        self._objects.put_records({record.number: record})

    def remove(self, record: ObjectRecord) -> None:
        """Remove an object but not its pixels; see `erase`.

        Raises
        ------
        LabelsError
            Another step writes the object.
        """
        self._remember(record)
        self._objects.put_records({record.number: None})

    def resize(self, record: ObjectRecord) -> int:
        """Store the area of an object; return its number of pixels."""
        pixels, area = labelled_pixels(self._objects.target, record)
        self._labels.add(record.label)
        self._areas[record.label] = area
        return pixels

    def describe(self, labels: set[int], rows: pd.DataFrame) -> None:
        """Set feature table rows in place of those of the objects.

        Parameters
        ----------
        labels : set of int
            Labels whose rows are replaced; labels without a row lose theirs.
        rows : pandas.DataFrame
            Rows with the label in a column ``index``. For objects not written
            entirely, the area is updated and other measurements are emptied.
        """
        self._labels |= labels
        self._rows = rows

    def complete(
        self, saved: pd.DataFrame, others: Collection[int] = ()
    ) -> None:
        """Complete the rows of this step's objects from those of a file.

        Parameters
        ----------
        saved : pandas.DataFrame
            Rows with the label in a column ``index``. Their numbers of prompts
            are used, and columns missing from the rows of these labels.
        others : collection of int
            Labels without an object, which get their rows unless they have
            one.
        """
        rows = self._objects.rows(tuple(sorted(self._labels)))
        if 'prompts' in saved:
            prompts = saved.set_index('index')['prompts']
            known = rows['index'].isin(saved['index'])
            read = rows['index'].map(prompts)
            rows['prompts'] = read.where(known, rows['prompts'])
        if not self.pixels:
            present = rows_of(self._objects.target, self._labels)
            present = present.dropna(axis='columns', how='all')
            rows = _with_measurements(rows, present)
        taken = self._objects.target.features()['index'].tolist()
        beside = set(others) - self._labels - set(taken)
        added = saved[saved['index'].isin(list(beside))]
        self._rows = with_rows(_with_measurements(rows, saved), (), added)
        self._labels |= set(added['index'].tolist())

    def finish(self) -> None:
        """End the step and add it to the history."""
        self._objects.writes.erase_beneath(self, self._gone())
        try:
            patches = self._objects.merge_writes(self)
            before, after = self._write_rows(patches)
        except BaseException:
            self.roll_back()
            raise
        entry = Entry(
            self.title,
            tuple(patches),
            self._before,
            {number: self._objects.get(number) for number in self._before},
            before,
            after,
            tuple(sorted(self._labels)),
            self._key,
            self.replay_code,
            self.note,
        )
        changes = entry.patches or entry.records_before or entry.labels
        self._objects.end(self, entry if changes or self.kept else None)

    def roll_back(self) -> None:
        """Undo the writes of this step."""
        writes = self._objects.writes
        writes.put_last(self)
        for patch in reversed(writes.of(self)):
            patch.undo(self._objects.target)
        self._objects.put_records(self._before)
        self._before, self._labels = {}, set()
        self._objects.end(self, None)

    def _write_rows(
        self, patches: Sequence[Patch]
    ) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
        """Update the feature table; return its rows before and after."""
        target = self._objects.target
        changes = _changes(patches)
        # overwritten labels that are not part of this step
        beside = rows_of(target, changes.keys() - self._labels)
        if not self._labels and beside.empty:
            return None, None
        before = rows_of(target, self._labels)
        new = self._labels.difference(before['index'].tolist())
        brushed = self._objects.brushed_areas(new)
        if self._rows is None:
            known = changed_rows(before, changes)
            after = _with_measurements(
                self._objects.rows(tuple(sorted(self._labels))), known
            )
            if 'area' in after:
                # computed from the masks only if it was unknown: labels may
                # have pixels of other objects, and of the brush
                areas = self._areas | self._new_areas(changes) | brushed
                areas |= column_of(known, 'area')
                # means over times that hold no more
                for label in changes.keys() & column_of(before, TIMES).keys():
                    areas.pop(label, None)
                after['area'] = after['index'].map(areas)
        else:
            after = described_rows(self._rows, before, changes | brushed)
        if len(beside):
            self._labels.update(beside['index'].tolist())
            before = rows_of(target, self._labels)
            rest = changed_rows(beside, changes)
            areas = column_of(rest, 'area')
            gone = tuple(label for label, area in areas.items() if area == 0)
            if gone:
                # labels of other programs that were overwritten as a whole
                own = self._objects.rows(gone)['index'].tolist()
                rest = rest[~rest['index'].isin({*gone} - {*own})]
            after = with_rows(after, (), rest)
        set_rows(target, self._labels, after)
        return before, after

    def _gone(self) -> set[int]:
        """Return the labels of which no object is left."""
        gone = set()
        for number, before in self._before.items():
            after = self._objects.get(number)
            if before is None or (after and after.label == before.label):
                continue
            if not self._objects.namesakes(before):
                gone.add(before.label)
        return gone

    def _new_areas(self, changes: Mapping[int, int]) -> dict[int, int]:
        """Return the areas of labels that only this step has written."""
        new = (n for n, before in self._before.items() if before is None)
        records = [r for r in map(self._objects.get, new) if r is not None]
        labels = {record.label for record in records}
        return {label: changes[label] for label in labels & changes.keys()}

    def _remember(self, record: ObjectRecord) -> None:
        self._objects.check_idle(record, self)
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
        copies = target.channels(plane)
        self._swap(indices, before, values_of(values), copies)
        return count

    def _swap(
        self,
        indices: Any,
        before: NDArray[Any],
        after: NDArray[Any],
        copies: int = 1,
    ) -> None:
        if not len(before):
            return
        target = self._objects.target
        after = np.asarray(after).astype(before.dtype, copy=False)
        patch = Patch.of(target.shape, indices, before, after, copies)
        if len(patch):
            target.write(indices, after)
            self._objects.add_write(self, patch)
            self.pixels += len(patch)
            self.overwritten.update(np.unique(patch.before).tolist())


def _changes(patches: Sequence[Patch]) -> dict[int, int]:
    """Return by how many pixels each label has grown in a merged step."""
    return pixel_changes(patches[0]) if patches else {}


def labelled_pixels(
    target: LabelTarget, record: ObjectRecord
) -> tuple[int, int]:
    """Return how many pixels of the masks of an object have its label.

    First with those in several channels counted in each, then once.
    """
    pixels = area = 0
    for view in record.views.values():
        if view.mask is None:
            continue
        indices, _ = target.locate(
            view.plane, view.mask.data, view.mask.box[:2]
        )
        found = np.count_nonzero(target.read(indices) == record.label)
        pixels += int(found)
        area += int(found) // target.channels(view.plane)
    return pixels, area


def _without(mask: Mask, others: Sequence[Mask]) -> Mask:
    """Return a mask without the pixels of others."""
    row0, column0, row1, column1 = mask.box
    rows, columns = np.arange(row0, row1), np.arange(column0, column1)
    data = mask.data
    for other in others:
        if shared_area(mask, other):
            data = data & ~sampled(other, rows, columns)
    return replace(mask, data=data)


def _with_measurements(
    rows: pd.DataFrame, known: pd.DataFrame
) -> pd.DataFrame:
    """Return rows with additional columns of rows of the same labels."""
    further = [name for name in known if name not in rows]
    if not further:
        return rows
    measured = known.drop_duplicates('index').set_index('index')[further]
    return rows.join(measured, on='index')
