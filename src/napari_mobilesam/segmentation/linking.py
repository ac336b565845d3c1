"""Link objects of neighbouring planes: z-stacks and time series.

Planes are segmented one by one. An object is linked to the object of an
earlier plane that it overlaps most, if that object overlaps it most in turn
(mutual best IoU). Objects without a partner in the previous plane are compared
with the planes before, up to the allowed gap. Each object has at most one
predecessor and one successor, so two objects of one plane are never linked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import ImageError, Progress, SegmentationError


class Overlaps(NamedTuple):
    """Pairs of objects of two planes that share pixels.

    Attributes
    ----------
    earlier, later : ndarray
        (P,) int, index of the object within its plane.
    iou : ndarray
        (P,) float, intersection over union.
    """

    earlier: NDArray[np.intp]
    later: NDArray[np.intp]
    iou: NDArray[np.float64]

    def take(self, chosen: NDArray[np.bool_]) -> Overlaps:
        """Return the chosen pairs."""
        return Overlaps(
            self.earlier[chosen], self.later[chosen], self.iou[chosen]
        )


class Linker:
    """Link objects plane after plane.

    Parameters
    ----------
    min_iou : float
        Objects that overlap less are not linked.
    gap : int
        Planes in which an object may be missing in between.

    Raises
    ------
    SegmentationError
        If ``min_iou`` is not above 0 and at most 1, or ``gap`` is negative.
    """

    def __init__(self, min_iou: float = 0.3, gap: int = 1) -> None:
        if not 0 < min_iou <= 1:
            raise SegmentationError(
                f'min_iou is {min_iou}; it has to be above 0 and at most 1.'
            )
        if gap < 0:
            raise SegmentationError(
                f'gap is {gap}; it has to be 0 or more planes.'
            )
        self.min_iou = min_iou
        # Number of each object of the last planes, newest first; 0 if a later
        # object continues it.
        self._open: deque[NDArray[np.int64]] = deque(maxlen=gap + 1)
        self._count = 0

    def add(
        self, count: int, overlaps_with: Callable[[int], Overlaps]
    ) -> NDArray[np.int64]:
        """Number the objects of the next plane.

        Parameters
        ----------
        count : int
            Objects of the plane.
        overlaps_with : callable
            ``overlaps_with(k)`` returns the overlaps with the plane k + 1
            before this one; called for the nearest plane first.

        Returns
        -------
        ndarray
            (count,) int64 numbers from 1; linked objects share a number.
        """
        numbers = np.zeros(count, dtype=np.int64)
        for distance, waiting in enumerate(self._open):
            if numbers.all() or not waiting.any():
                continue
            pairs = overlaps_with(distance)
            free = (
                (pairs.iou >= self.min_iou)
                & (waiting[pairs.earlier] > 0)
                & (numbers[pairs.later] == 0)
            )
            chosen = _mutual_best(pairs.take(free))
            numbers[chosen.later] = waiting[chosen.earlier]
            waiting[chosen.earlier] = 0
        new = numbers == 0
        numbers[new] = self._count + 1 + np.arange(np.count_nonzero(new))
        self._count += int(np.count_nonzero(new))
        self._open.appendleft(numbers.copy())
        return numbers


def _mutual_best(pairs: Overlaps) -> Overlaps:
    """Return pairs that are each other's best; ties go to the lower index."""
    best = np.ones(len(pairs.iou), dtype=bool)
    for own, other in (
        (pairs.earlier, pairs.later),
        (pairs.later, pairs.earlier),
    ):
        order = np.lexsort((other, -pairs.iou, own))
        first = np.ones(len(order), dtype=bool)
        first[1:] = own[order][1:] != own[order][:-1]
        best[order[~first]] = False
    return pairs.take(best)


class _Plane(NamedTuple):
    """Label image with labels 0 … len(values) - 1 in the given order.

    ``values[0]`` is the background, 0, whether or not it occurs in the plane.
    """

    indices: NDArray[np.intp]
    values: NDArray[Any]
    areas: NDArray[np.intp]


def link_labels(
    stack: Any,
    *,
    min_iou: float = 0.3,
    gap: int = 1,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> NDArray[Any]:
    """Give linked objects of a stack the same label in all planes.

    Parameters
    ----------
    stack : array
        (Z, H, W) integer labels; 0 is background. NumPy, dask or zarr, read
        plane by plane.
    min_iou : float
        Objects of two planes that overlap less are not linked.
    gap : int
        Planes in which an object may be missing in between.
    progress : callable, optional
        ``progress(done, total, message)``, counted in planes.
    cancelled : callable, optional
        Called before each plane; True ends the linking, and objects of the
        remaining planes get labels of their own.

    Returns
    -------
    ndarray
        (Z, H, W) uint16, or int32 if there are more than 65535 labels,
        numbered from 1 in the order of the first plane they are in.

    Raises
    ------
    ImageError
        If the stack does not have three axes, is not of integers, or has
        negative labels.
    SegmentationError
        If ``min_iou`` or ``gap`` are out of range.
    """
    shape = tuple(int(n) for n in np.shape(stack))
    if len(shape) != 3:
        raise ImageError(
            f'The labels have the shape {shape}; linking needs a stack '
            '(planes, rows, columns).'
        )
    kind = np.dtype(stack.dtype).kind
    if kind not in 'bui':
        raise ImageError(
            f'The labels have the type {stack.dtype}; linking needs integers.'
        )
    linker = Linker(min_iou, gap)
    recent: deque[_Plane] = deque(maxlen=gap + 1)
    tables: list[tuple[NDArray[Any], NDArray[np.int64]]] = []
    stopped = False
    for z in range(shape[0]):
        stopped = stopped or (cancelled is not None and cancelled())
        plane = _plane(np.asarray(stack[z]))
        if stopped:
            recent.clear()
        numbers = linker.add(
            len(plane.values) - 1,
            partial(_label_overlaps, recent, plane),
        )
        recent.appendleft(plane)
        tables.append((plane.values, np.concatenate([[0], numbers])))
        if progress is not None and not stopped:
            progress(z + 1, shape[0], f'Linking plane {z + 1} of {shape[0]}')
    most = max((int(numbers.max()) for _, numbers in tables), default=0)
    small = most <= np.iinfo(np.uint16).max
    linked = np.zeros(shape, dtype=np.uint16 if small else np.int32)
    for z, (values, numbers) in enumerate(tables):
        linked[z] = numbers[np.searchsorted(values, np.asarray(stack[z]))]
    return linked


def _plane(labels: NDArray[Any]) -> _Plane:
    values = np.union1d(np.zeros(1, labels.dtype), labels)
    if values[0] < 0:
        raise ImageError(
            f'The labels have negative values ({values[0]}): labels are '
            'numbers from 1, and 0 is background.'
        )
    indices = np.searchsorted(values, labels)
    areas = np.bincount(indices.ravel(), minlength=len(values))
    return _Plane(indices, values, areas)


def _label_overlaps(
    recent: deque[_Plane], later: _Plane, distance: int
) -> Overlaps:
    """Return the overlaps of two label images; none with a forgotten plane."""
    if distance >= len(recent):
        nothing = np.zeros(0, dtype=np.intp)
        return Overlaps(nothing, nothing, nothing.astype(np.float64))
    earlier = recent[distance]
    both = (earlier.indices > 0) & (later.indices > 0)
    code = earlier.indices[both] * len(later.values) + later.indices[both]
    codes, shared = np.unique(code, return_counts=True)
    first, second = np.divmod(codes, len(later.values))
    union = earlier.areas[first] + later.areas[second] - shared
    return Overlaps(first - 1, second - 1, shared / union)
