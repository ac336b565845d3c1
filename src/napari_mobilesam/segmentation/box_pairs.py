"""Pairs of overlapping boxes, found without comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.int64]
Indices = NDArray[np.intp]

# Number of boxes looked up together, which bounds the memory of a search.
QUERIES_AT_ONCE = 1 << 14
# Boxes up to this large share the finest grid.
SMALLEST_CELL = 16


def meeting_pairs(boxes: Boxes) -> Iterator[tuple[Indices, Indices]]:
    """Yield pairs of boxes that share pixels, each pair once.

    Boxes are sorted by size into grids whose cells are at least as large, so
    that a box touches at most four cells. Each is looked up in its own grid
    and in the coarser ones.

    Parameters
    ----------
    boxes : ndarray
        (N, 4) int (row0, column0, row1, column1), half open.

    Yields
    ------
    first, second : ndarray
        (P,) indices of boxes, in chunks of bounded size.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=1)
    cells = np.maximum(SMALLEST_CELL, 1 << _bits(sides))
    for cell in np.unique(cells).tolist():
        own = np.flatnonzero(cells == cell)
        # Within a grid, each pair is found in both orders.
        others = np.flatnonzero(cells <= cell)
        grid = _Cells(boxes, own, cell)
        for start in range(0, len(others), QUERIES_AT_ONCE):
            queries = others[start : start + QUERIES_AT_ONCE]
            first, second = grid.lookup(boxes, queries)
            keep = (cells[first] < cell) | (first < second)
            yield first[keep], second[keep]


def _bits(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bits needed for value - 1, so that 2 ** bits >= value."""
    bits = np.zeros(len(values), np.int64)
    rest = np.maximum(values - 1, 0)
    while rest.any():
        bits += rest > 0
        rest >>= 1
    return bits


class _Cells:
    """Boxes indexed by the grid cells that they touch."""

    def __init__(self, boxes: Boxes, members: Indices, cell: int) -> None:
        self._cell = cell
        self._columns = int(boxes[:, 3].max() // cell) + 2
        numbers, which = self._met(boxes, members)
        order = np.argsort(numbers, kind='stable')
        self._numbers, self._boxes = numbers[order], which[order]

    def _met(
        self, boxes: Boxes, which: Indices
    ) -> tuple[NDArray[np.int64], Indices]:
        """Return (cell, box) for all cells touched, up to four per box."""
        low = boxes[which, :2] // self._cell
        high = (boxes[which, 2:] - 1) // self._cell
        numbers, owners = [], []
        for down in (0, 1):
            for right in (0, 1):
                there = (low + (down, right) <= high).all(axis=1)
                corner = low[there] + (down, right)
                numbers.append(corner[:, 0] * self._columns + corner[:, 1])
                owners.append(which[there])
        return np.concatenate(numbers), np.concatenate(owners)

    def lookup(
        self, boxes: Boxes, queries: Indices
    ) -> tuple[Indices, Indices]:
        """Return overlapping (query, member) pairs, each once."""
        numbers, owners = self._met(boxes, queries)
        start = np.searchsorted(self._numbers, numbers, 'left')
        stop = np.searchsorted(self._numbers, numbers, 'right')
        counts = stop - start
        first = np.repeat(owners, counts)
        within = np.arange(len(first)) - np.repeat(
            np.cumsum(counts) - counts, counts
        )
        second = self._boxes[np.repeat(start, counts) + within]
        low = np.maximum(boxes[first, :2], boxes[second, :2])
        high = np.minimum(boxes[first, 2:], boxes[second, 2:])
        # Count a pair only in the cell of its first common pixel.
        corner = low // self._cell
        here = corner[:, 0] * self._columns + corner[:, 1]
        once = (low < high).all(axis=1) & (here == np.repeat(numbers, counts))
        return first[once], second[once]
