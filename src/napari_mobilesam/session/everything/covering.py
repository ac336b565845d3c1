"""Objects of a run and other objects that cover each other."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.everything.everything_messages import (
    EverythingResult,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.object_store import ObjectStore
from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView
from napari_mobilesam.session.objects.writing import are_crumbs
from napari_mobilesam.types import Box, Mask, slices_of


class Covering:
    """Find objects of which others leave nothing, or only a thin rim.

    Parameters
    ----------
    objects : ObjectStore
        Objects of the labels.
    planes : sequence of ImagePlane
        Planes of the run.
    others : sequence of ObjectRecord
        Objects that do not belong to the run, or were changed by the user.
    """

    def __init__(
        self,
        objects: ObjectStore,
        planes: Sequence[ImagePlane],
        others: Sequence[ObjectRecord],
    ) -> None:
        self._target = objects.target
        self._planes = planes
        self._numbers: dict[Hashable, int | None] = {
            plane.place: n for n, plane in enumerate(planes)
        }
        self._others = others

    def beneath(
        self, result: EverythingResult, labels: Collection[int]
    ) -> set[int]:
        """Return objects of a run that the others cover.

        Parameters
        ----------
        result : EverythingResult
            The run.
        labels : collection of int
            Labels of the run.
        """
        values = [record.label for record in self._others]
        boxes = self._boxes(
            (self._number(view.plane), view.mask.box)
            for record in self._others
            for view in record.views.values()
            if view.mask
        )
        return {
            label
            for label in labels
            if any(
                _meets(found.mask.box, boxes[found.plane])
                for found in result.masks[label]
            )
            and self._is_beneath(result, label, values)
        }

    def _is_beneath(
        self, result: EverythingResult, label: int, others: Sequence[int]
    ) -> bool:
        left, area = [], 0
        for found in result.masks[label]:
            box = found.mask.box
            own = result.pictures[found.plane][slices_of(box)] == label
            area += int(np.count_nonzero(own))
            there = self._target.picture(self._planes[found.plane], box)
            left.append(own & ~np.isin(there, others))
        return are_crumbs(left, area)

    def covered(
        self, result: EverythingResult, labels: Collection[int]
    ) -> Iterator[tuple[ObjectRecord, list[tuple[ImagePlane, Mask]]]]:
        """Yield the other objects that objects of a run cover, and their rest.

        Parameters
        ----------
        result : EverythingResult
            The run.
        labels : collection of int
            Labels of the run that are written.
        """
        written = np.zeros(max(labels, default=0) + 2, dtype=bool)
        written[list(labels)] = True
        boxes = self._boxes(
            (found.plane, found.mask.box)
            for label in labels
            for found in result.masks[label]
        )
        for record in self._others:
            views = [view for view in record.views.values() if view.mask]
            if not any(self._meets_any(view, boxes) for view in views):
                continue
            left = [self._left(record, v, result, written) for v in views]
            area = sum(view.mask.area for view in views if view.mask)
            if are_crumbs([mask.data for _, mask in left], area):
                yield record, left

    def _meets_any(
        self, view: ObjectView, boxes: Sequence[NDArray[np.int64]]
    ) -> bool:
        """Return whether an object meets one of the boxes on its plane."""
        number = self._number(view.plane)
        if number is None or view.mask is None:
            return False
        return _meets(view.mask.box, boxes[number])

    def _number(self, plane: ImagePlane) -> int | None:
        """Return the index of the plane of the run on the same labels.

        It may belong to another image, such as another channel or a composite.
        """
        if plane.place not in self._numbers:
            self._numbers[plane.place] = self._spots.get(self._spot(plane))
        return self._numbers[plane.place]

    @cached_property
    def _spots(self) -> dict[Hashable, int]:
        return {self._spot(plane): n for n, plane in enumerate(self._planes)}

    def _spot(self, plane: ImagePlane) -> Hashable:
        """Return the positions of three corners of a plane in the labels."""
        height, width = plane.shape
        one = np.ones((1, 1), np.uint8)
        ends: list[tuple[int, ...]] = []
        for corner in ((0, 0), (height - 1, 0), (0, width - 1)):
            found = self._target.locate(plane, one, corner)
            if not len(found.values):
                # a plane that extends beyond the labels matches no other
                return plane.place
            ends.append(tuple(int(axis[0]) for axis in found.indices))
        return plane.shape, *ends

    def _left(
        self,
        record: ObjectRecord,
        view: ObjectView,
        result: EverythingResult,
        written: NDArray[np.bool_],
    ) -> tuple[ImagePlane, Mask]:
        """Return the remaining pixels of an object on a plane."""
        mask = view.mask
        assert mask is not None
        there = self._target.picture(view.plane, mask.box) == record.label
        left = mask.data & there
        number = self._number(view.plane)
        if number is not None:
            over = result.pictures[number][slices_of(mask.box)]
            left &= ~written[np.minimum(over, len(written) - 1)]
        return view.plane, Mask(left, mask.box, mask.score)

    def _boxes(
        self, placed: Iterator[tuple[int | None, Box]]
    ) -> list[NDArray[np.int64]]:
        """Return the (N, 4) boxes on each plane."""
        boxes: list[list[Box]] = [[] for _ in self._planes]
        for number, box in placed:
            if number is not None:
                boxes[number].append(box)
        return [np.array(each, np.int64).reshape(-1, 4) for each in boxes]


def _meets(box: Box, others: NDArray[np.int64]) -> bool:
    """Return whether a box overlaps any of (N, 4) others."""
    apart = (others[:, :2] >= box[2:]) | (others[:, 2:] <= box[:2])
    return bool((~apart.any(axis=1)).any())
