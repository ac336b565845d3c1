"""Labels for images that do not fit in memory, stored sparsely.

An empty label image of a slide of 100,000 x 100,000 pixels takes 20 GB, its
objects only a few. `SparseLabels` stores only the squares that contain a
label; a pyramid of them lets a viewer draw such a layer at any zoom.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = tuple[NDArray[np.intp], ...]

# Side of a square, which is stored as a whole.
SIDE = 256
# Number of points indexed at once, which bounds the memory.
AT_ONCE = 1 << 22
# Longest side of the coarsest level of a pyramid.
COARSEST = 2048
# Labels with more bytes than this are stored sparsely.
DENSE_BYTES = 1 << 32
# Planes with more pixels are drawn level by level.
PLANE_PIXELS = 1 << 29


class SparseLabels:
    """Sparse n-D array of integers.

    Read and written like a NumPy array, with integers and slices or with one
    index array per axis.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    dtype : dtype
        Integer type.
    axes : tuple of int
        Axes of the stored squares, for instance rows and columns.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: Any = np.uint16,
        axes: tuple[int, int] = (-2, -1),
    ) -> None:
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)
        self._square = [1] * self.ndim
        for axis in axes:
            self._square[axis] = SIDE
        self._kept: dict[tuple[int, ...], NDArray[Any]] = {}

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(square.nbytes for square in self._kept.values())

    def __len__(self) -> int:
        return self.shape[0]

    def max(self) -> int:
        """Return the largest value."""
        return max((int(s.max()) for s in self._kept.values()), default=0)

    def squares(self) -> Iterator[NDArray[Any]]:
        """Yield the stored squares."""
        yield from self._kept.values()

    def __array__(
        self, dtype: Any = None, copy: bool | None = None
    ) -> NDArray[Any]:
        values = self[...]
        return values if dtype is None else values.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, np.ndarray) for part in keys):
            return self._read_points(keys)
        ranges, drop = self._box_of(keys)
        low, high = _ends(ranges)
        shape = [max(0, b - a) for a, b in zip(low, high, strict=True)]
        values = np.zeros(shape, self.dtype)
        for number in self._squares_between(low, high):
            square = self._kept.get(number)
            if square is not None:
                here, there = self._overlap(number, low, high)
                values[here] = square[there]
        steps = tuple(slice(None, None, r.step) for r in ranges)
        return values[steps][drop]

    def __setitem__(self, key: Any, values: Any) -> None:
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, np.ndarray) for part in keys):
            self._write_points(keys, values)
            return
        ranges, drop = self._box_of(keys)
        low, high = _ends(ranges)
        if any(r.step != 1 for r in ranges):
            raise IndexError('Only slices without a step can be written.')
        box = np.empty([len(r) for r in ranges], self.dtype)
        box[drop] = values
        for number in self._squares_between(low, high, bool(box.any())):
            here, there = self._overlap(number, low, high)
            if number in self._kept or box[here].any():
                self._square_at(number)[there] = box[here]

    def _square_at(self, number: tuple[int, ...]) -> NDArray[Any]:
        if number not in self._kept:
            self._kept[number] = np.zeros(self._square, self.dtype)
        return self._kept[number]

    # single pixels

    def _write_points(self, indices: Sequence[Any], values: Any) -> None:
        arrays = np.broadcast_arrays(*indices)
        flat = tuple(array.ravel() for array in arrays)
        values = np.broadcast_to(
            np.asarray(values, self.dtype), arrays[0].shape
        ).ravel()
        for part, start in _in_parts(flat):
            new = values[start : start + len(part[0])]
            for number, inside in self._by_square(part):
                if number in self._kept or new[inside].any():
                    where = self._within(part, inside)
                    self._square_at(number)[where] = new[inside]

    def _read_points(self, indices: Sequence[Any]) -> NDArray[Any]:
        arrays = np.broadcast_arrays(*indices)
        flat = tuple(array.ravel() for array in arrays)
        values = np.zeros(flat[0].shape, self.dtype)
        for part, start in _in_parts(flat):
            for number, inside in self._by_square(part):
                square = self._kept.get(number)
                if square is not None:
                    values[start + inside] = square[self._within(part, inside)]
        return values.reshape(arrays[0].shape)

    def _by_square(
        self, flat: Indices
    ) -> list[tuple[tuple[int, ...], NDArray[np.intp]]]:
        """Return the squares of points, and the points of each square."""
        if not len(flat[0]):
            return []
        counts = [
            -(-size // side)
            for size, side in zip(self.shape, self._square, strict=True)
        ]
        numbers = tuple(
            part // side for part, side in zip(flat, self._square, strict=True)
        )
        keys = np.ravel_multi_index(numbers, counts)
        squares, which = _distinct(keys)
        order = np.argsort(which, kind='stable')
        ends = np.cumsum(np.bincount(which))[:-1]
        names = np.stack(np.unravel_index(squares, counts), axis=1)
        return list(
            zip(
                map(tuple, names.tolist()),
                np.split(order, ends),
                strict=True,
            )
        )

    def _within(self, flat: Indices, inside: NDArray[np.intp]) -> Indices:
        return tuple(
            part[inside] % side
            for part, side in zip(flat, self._square, strict=True)
        )

    # boxes

    def _box_of(
        self, keys: tuple[Any, ...]
    ) -> tuple[list[range], tuple[Any, ...]]:
        """Return ranges on each axis, and the index that drops single ones."""
        full = [slice(None)] * (self.ndim - len(keys))
        if Ellipsis in keys:
            place = keys.index(Ellipsis)
            keys = (*keys[:place], *full, slice(None), *keys[place + 1 :])
        else:
            keys = (*keys, *full)
        ranges = []
        for part, size in zip(keys, self.shape, strict=True):
            if not isinstance(part, slice):
                start = int(part) + (size if part < 0 else 0)
                if not 0 <= start < size:
                    raise IndexError(f'{part} is not within {size}')
                part = slice(start, start + 1)
            ranges.append(range(*part.indices(size)))
        drop = tuple(
            slice(None) if isinstance(part, slice) else 0 for part in keys
        )
        return ranges, drop

    def _overlap(
        self,
        number: tuple[int, ...],
        low: Sequence[int],
        high: Sequence[int],
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return slices of a square in a box, and of the box in the square."""
        here, there = [], []
        for n, side, a, b in zip(number, self._square, low, high, strict=True):
            start, stop = max(a, n * side), min(b, (n + 1) * side)
            here.append(slice(start - a, stop - a))
            there.append(slice(start - n * side, stop - n * side))
        return tuple(here), tuple(there)

    def _squares_between(
        self, low: Sequence[int], high: Sequence[int], new: bool = False
    ) -> list[tuple[int, ...]]:
        """Return the stored squares in a box, or all of them if ``new``."""
        reach = [
            range(a // side, -(-b // side))
            for a, b, side in zip(low, high, self._square, strict=True)
        ]
        if new or math.prod(len(r) for r in reach) < len(self._kept):
            return list(itertools.product(*reach))
        return [
            number
            for number in self._kept
            if all(n in r for n, r in zip(number, reach, strict=True))
        ]


def _in_parts(flat: Indices) -> Iterator[tuple[Indices, int]]:
    """Yield points in parts, with the number of the first point of each."""
    for start in range(0, len(flat[0]), AT_ONCE):
        yield tuple(part[start : start + AT_ONCE] for part in flat), start


def _distinct(
    keys: NDArray[np.intp],
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return `numpy.unique` with inverse, faster if keys are close."""
    first = int(keys.min())
    span = int(keys.max()) - first + 1
    if span > AT_ONCE:
        squares, which = np.unique(keys, return_inverse=True)
        return squares, which
    there = np.zeros(span, bool)
    there[keys - first] = True
    places = np.flatnonzero(there)
    # 16-bit numbers are sorted in one pass
    kind = np.uint16 if len(places) < 1 << 16 else np.intp
    ranks = np.zeros(span, kind)
    ranks[places] = np.arange(len(places))
    return places + first, ranks[keys - first]


def _ends(ranges: Sequence[range]) -> tuple[list[int], list[int]]:
    """Return the first index of each range, and the end of the last."""
    low = [min(r, default=0) for r in ranges]
    return low, [max(r, default=-1) + 1 for r in ranges]


def empty_labels(
    shape: Sequence[int], dtype: Any, axes: tuple[int, int]
) -> NDArray[Any] | SparseLabels | list[SparseLabels | NDArray[Any]]:
    """Return all-zero labels for an image of any size.

    Parameters
    ----------
    shape : sequence of int
        Shape of the labels.
    dtype : dtype
        Integer type.
    axes : tuple of int
        Row and column axes.

    Returns
    -------
    ndarray, SparseLabels or list of those
        An array if small, a sparse array for many planes, or a pyramid for
        planes too large to be drawn as a whole.
    """
    if math.prod(shape[axis] for axis in axes) > PLANE_PIXELS:
        return label_pyramid(shape, dtype, axes)
    if math.prod(shape) * np.dtype(dtype).itemsize > DENSE_BYTES:
        return SparseLabels(shape, dtype, axes)
    return np.zeros(shape, dtype=dtype)


def label_pyramid(
    shape: Sequence[int],
    dtype: Any = np.uint16,
    axes: tuple[int, int] = (-2, -1),
) -> list[SparseLabels | NDArray[Any]]:
    """Return the empty levels of a pyramid, each half the size of the last.

    The coarsest level is an array: napari converts that level once, so later
    writes to a sparse one would not be shown.

    Parameters
    ----------
    shape : sequence of int
        Shape of the finest level.
    dtype : dtype
        Integer type.
    axes : tuple of int
        Axes that get coarser: rows and columns.
    """
    sizes = [int(size) for size in shape]
    levels: list[SparseLabels] = [SparseLabels(sizes, dtype, axes)]
    while max(sizes[axis] for axis in axes) > COARSEST:
        for axis in axes:
            sizes[axis] = -(-sizes[axis] // 2)
        levels.append(SparseLabels(sizes, dtype, axes))
    return [*levels[:-1], np.zeros(sizes, dtype=dtype)]


def write_levels(
    levels: Sequence[SparseLabels | NDArray[Any]],
    indices: Indices,
    values: NDArray[Any],
) -> None:
    """Write pixels into all levels of a `label_pyramid`.

    A coarser level holds every second pixel of the finer one, so the levels
    always agree.

    Parameters
    ----------
    levels : sequence of array
        Finest first.
    indices : tuple of ndarray
        One (N,) array per axis of the finest level.
    values : ndarray
        (N,) integers.
    """
    levels[0][indices] = values
    for finer, coarser in itertools.pairwise(levels):
        halved = [
            axis
            for axis in range(finer.ndim)
            if coarser.shape[axis] < finer.shape[axis]
        ]
        even = np.ones(len(values), dtype=bool)
        for axis in halved:
            even &= indices[axis] % 2 == 0
        indices = tuple(
            part[even] // 2 if axis in halved else part[even]
            for axis, part in enumerate(indices)
        )
        values = values[even]
        coarser[indices] = values
