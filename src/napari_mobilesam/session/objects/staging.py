"""Steps staged on one thread and committed on another.

Computing the changes to thousands of objects is slow; writing them is not. The
changes are computed on `StagedObjects`, a copy that keeps what is written.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.objects.history import Entry, Records, joined
from napari_mobilesam.session.objects.object_store import ObjectStore
from napari_mobilesam.session.objects.patch import OpenWrites, Patch
from napari_mobilesam.session.objects.sparse_labels import SparseLabels
from napari_mobilesam.session.objects.targets import (
    Indices,
    LabelTarget,
    Pixels,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from napari_mobilesam.session.images.planes import ImagePlane
    from napari_mobilesam.session.objects.step import Step
    from napari_mobilesam.types import Box

Kept = SparseLabels | NDArray[Any]

# Up to so many pixels, what is written is kept in arrays: several times faster
# to write and read than sparse ones, and only their used parts take memory.
DENSE_PIXELS = 1 << 28


class StagedStep(NamedTuple):
    """Changes made by a staged step.

    Attributes
    ----------
    entry : Entry
        Entry for the history.
    joins : bool
        Whether the entry replaces the last one, which it includes.
    records : mapping
        Records to set, by number.
    pixels : PreparedPatch or None
        Pixels to write.
    """

    entry: Entry
    joins: bool
    records: Records
    pixels: PreparedPatch | None


class StagedObjects(ObjectStore):
    """Copy of objects on which a step is computed; see `Objects.stage`.

    Parameters
    ----------
    objects : ObjectStore
        The objects; their labels are only read.
    last : Entry or None
        Last step; a step with the same key is merged with it.

    Attributes
    ----------
    labels : StagedTarget
        Their labels, with the rows of the step.
    base : int
        Version of the objects.
    change : StagedStep or None
        Changes of the finished step; None if there are none.
    """

    def __init__(self, objects: ObjectStore, last: Entry | None) -> None:
        self.labels = StagedTarget(objects.target)
        super().__init__(self.labels)
        self._records.update(objects._records)
        self._reserved = objects._reserved
        self._held.update(objects._held)
        self._painted.update(objects._painted)
        self._brushed = set(objects._brushed)
        self.writes = OpenWrites(objects.writes)
        self._last = last
        self._written: list[Patch] = []
        self._pixels: PreparedPatch | None = None
        self.base = objects.version
        self.change: StagedStep | None = None

    def add_write(self, step: Step, patch: Patch) -> None:
        """Note a patch that a step will write."""
        super().add_write(step, patch)
        self._written.append(patch)

    def merge_writes(self, step: Step) -> list[Patch]:
        """Merge the patches of a step into one, if there are any."""
        # without what is erased beneath the writes of other steps: the labels
        # show those
        written = self._written
        if written:
            patch = Patch.of_all(written)
            if len(patch):
                self._pixels = PreparedPatch(patch, self.labels.target)
            if self.writes.of(step) == written:
                self.writes.forget(step)
                self.writes.add(step, patch)
        return super().merge_writes(step)

    def push(self, entry: Entry) -> None:
        """Store the changes of a step."""
        records = entry.records_after
        joins = self._last is not None and entry.joins(self._last)
        if joins and self._last is not None:
            entry = joined(self._last, entry)
        # computed here, off the viewer's thread
        _ = entry.nbytes
        self.change = StagedStep(entry, joins, records, self._pixels)


class PreparedPatch:
    """Patch expanded to arrays, ready to be written.

    Parameters
    ----------
    patch : Patch
        Pixels to write.
    target : LabelTarget
        Labels to write to.
    """

    def __init__(self, patch: Patch, target: LabelTarget) -> None:
        self._patch = patch
        self._highest = int(patch.after.max())
        self._stale = False
        row = target.row(len(patch)) if patch.dense else None
        self._parts: list[tuple[slice, NDArray[Any], NDArray[Any]]] = []
        self._indices: Indices | None = None
        if row is None:
            self._indices = np.unravel_index(patch.flat(), target.shape)
            return
        for span in patch.spans():
            before = row[span.place].copy()
            self._stale |= bool((span.changed & (before != span.before)).any())
            after = np.where(span.changed, span.after, before)
            self._parts.append((span.place, before, after))

    def write(self, target: LabelTarget) -> bool:
        """Write unless the pixels have changed; return whether that was done.

        Parameters
        ----------
        target : LabelTarget
            The same target as before.
        """
        if self._indices is not None:
            return self._write_pixels(target, self._indices)
        row = target.row(len(self._patch))
        if self._stale or row is None or not self._untouched(row):
            return False
        for place, _, after in self._parts:
            row[place] = after
        target.refresh(self._highest)
        return True

    def _untouched(self, row: NDArray[Any]) -> bool:
        return all(
            np.array_equal(row[place], before)
            for place, before, _ in self._parts
        )

    def _write_pixels(self, target: LabelTarget, indices: Indices) -> bool:
        lengths = self._patch.lengths
        before = np.repeat(self._patch.before, lengths)
        if not np.array_equal(target.read(indices), before):
            return False
        target.write(indices, np.repeat(self._patch.after, lengths))
        return True


class StagedTarget:
    """Labels target that is only read; what is written is kept beside it.

    Parameters
    ----------
    target : LabelTarget
        Labels to read.

    See Also
    --------
    LabelTarget : what the methods do.
    """

    def __init__(self, target: LabelTarget) -> None:
        self.target = target
        self.edited = target.edited
        self._shape = target.shape
        self._highest: int | None = None
        # which pixels were written, and their values
        self._kept: tuple[Kept, Kept] | None = None
        self._before: pd.DataFrame | None = None
        self._after: pd.DataFrame | None = None

    # read from the target

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.target.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.target.shape

    @property
    def limit(self) -> int:
        """Largest label that the dtype holds."""
        return self.target.limit

    @property
    def preserved(self) -> bool:
        """True if existing labels are always preserved."""
        return self.target.preserved

    def check(self) -> None:
        """Raise `LabelsError` if the labels are not editable."""
        self.target.check()

    def highest(self) -> int:
        """Return the largest label."""
        self._highest = self.target.highest()
        return self._highest

    def present(self, labels: Collection[int]) -> set[int]:
        """Return which of some labels have pixels."""
        return self.target.present(labels)

    def locate(
        self, plane: ImagePlane, picture: NDArray[Any], corner: tuple[int, int]
    ) -> Pixels:
        """Return the pixels that a picture covers."""
        return self.target.locate(plane, picture, corner)

    def channels(self, plane: ImagePlane) -> int:
        """Return the number of image channels that share the labels."""
        return self.target.channels(plane)

    # pixels, with those that were written

    def picture(
        self, plane: ImagePlane, box: Box, data: Any = None
    ) -> NDArray[Any]:
        """Return the labels in a box of a plane, in the plane's pixels."""
        seen = self.target.picture(plane, box, data)
        if self._kept is None or data is not None:
            return seen
        written, values = (
            self.target.picture(plane, box, kept) for kept in self._kept
        )
        return np.where(written, values, seen)

    def read(self, indices: Indices) -> NDArray[Any]:
        """Return the values of pixels, (N,)."""
        found = self.target.read(indices)
        if self._kept is None:
            return found
        written, values = (kept[indices] for kept in self._kept)
        return np.where(written, values, found)

    def array(self) -> NDArray[Any] | None:
        """Return all pixels; None if they are not a single array in memory."""
        array = self.target.array()
        if array is None or self._kept is None:
            return array
        written, values = (np.asarray(kept) for kept in self._kept)
        return np.where(written, values, array)

    def write(self, indices: Indices, values: NDArray[Any]) -> None:
        """Keep the values of pixels."""
        if self._kept is None:
            self._kept = self._empty(bool), self._empty(values.dtype)
        written, kept = self._kept
        written[indices] = True
        kept[indices] = values

    def _empty(self, dtype: Any) -> Kept:
        if math.prod(self._shape) <= DENSE_PIXELS:
            return np.zeros(self._shape, dtype)
        row, column = np.argsort(self._shape, kind='stable')[-2:].tolist()
        return SparseLabels(self._shape, dtype, (row, column))

    def row(self, pixels: int) -> None:
        """Return None: there is no memory to write into."""

    def refresh(self, highest: int) -> None:
        """Do nothing."""

    def features(self) -> pd.DataFrame:
        """Return the feature table with staged rows."""
        if self._before is None:
            self._before = self.target.features().copy()
        return self._before if self._after is None else self._after

    def set_features(self, table: pd.DataFrame) -> None:
        """Stage another feature table."""
        self._after = table

    def up_to_date(self) -> bool:
        """Return whether labels and rows are unchanged since staging."""
        if self.target.shape != self._shape:
            return False
        if self._highest not in (None, self.target.highest()):
            return False
        known = self._before
        return known is None or bool(known.equals(self.target.features()))

    def write_rows(self) -> None:
        """Write the staged feature table, if there is one."""
        if self._after is not None:
            self.target.set_features(self._after)
