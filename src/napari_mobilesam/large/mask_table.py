"""Masks of the tiles of a plane, as columns of numbers.

The masks themselves stay in the records; the table holds only their boxes,
scores and positions in the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from napari_mobilesam.large.journal import Journal, MaskRecordReader, Record
from napari_mobilesam.segmentation.box_pairs import meeting_pairs


@dataclass(frozen=True, eq=False)
class MaskTable:
    """Masks of one plane, without their pixels.

    Attributes
    ----------
    keys : tuple of str
        Records that contain the masks.
    boxes : ndarray
        (N, 4) int64 on the working plane, half open.
    scores, stabilities : ndarray
        (N,) float64.
    areas : ndarray
        (N,) int64.
    points : ndarray
        (N, 2) float64.
    windows : ndarray
        (N, 4) int64 window of the tile of each mask.
    cut : ndarray
        (N,) bool.
    record, index : ndarray
        (N,) int64, position in ``keys`` and within that record.
    """

    keys: tuple[str, ...]
    boxes: NDArray[np.int64]
    scores: NDArray[np.float64]
    stabilities: NDArray[np.float64]
    areas: NDArray[np.int64]
    points: NDArray[np.float64]
    windows: NDArray[np.int64]
    cut: NDArray[np.bool_]
    record: NDArray[np.int64]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, chosen: NDArray[Any]) -> MaskTable:
        """Return the masks with these indices, or where (N,) bool is true."""
        columns = [getattr(self, f.name) for f in fields(self)[1:]]
        return MaskTable(self.keys, *(column[chosen] for column in columns))

    def cut_ones(self) -> MaskTable:
        """Return the masks cut off by a tile."""
        return self.take(self.cut)

    def whole_ones(self) -> MaskTable:
        """Return the complete masks."""
        return self.take(~self.cut)

    def pixels(
        self, reader: MaskRecordReader, number: int
    ) -> NDArray[np.bool_]:
        """Return the pixels of one mask, cropped to its box."""
        key = self.keys[int(self.record[number])]
        return reader.pixels(key, int(self.index[number]))

    def best_first(self) -> NDArray[np.intp]:
        """Return the order of `by_score`: score, stability, box, area."""
        ties = [self.boxes[:, axis] for axis in (3, 2, 1, 0)]
        stabilities = np.nan_to_num(self.stabilities)
        return np.lexsort([self.areas, *ties, -stabilities, -self.scores])


def gather(
    journal: Journal, keys: Sequence[str], missing: list[str] | None = None
) -> MaskTable:
    """Read the masks of tiles; a missing record counts as empty.

    Parameters
    ----------
    journal : Journal
        Journal of the run.
    keys : sequence of str
        Keys of the records; the order only matters for equal entries.
    missing : list of str, optional
        Receives the keys of missing or damaged records.
    """
    named: list[str] = []
    parts = [_columns(Record.of((), np.zeros(0, bool)))]
    for key in keys:
        record = journal.read(key)
        if record is None:
            if missing is not None:
                missing.append(key)
        elif len(record):
            named.append(key)
            parts.append(_columns(record))
    counts = [len(part[0]) for part in parts[1:]]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    columns += [
        np.repeat(np.arange(len(counts)), counts),
        np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)]),
    ]
    return MaskTable(tuple(named), *columns)


def _columns(record: Record) -> list[NDArray[Any]]:
    """Return the columns of a table from a record, in order."""
    return [getattr(record, f.name) for f in fields(MaskTable)[1:-2]]


def join(first: MaskTable, second: MaskTable) -> MaskTable:
    """Concatenate two tables."""
    columns = [
        np.concatenate([getattr(first, f.name), getattr(second, f.name)])
        for f in fields(MaskTable)[1:]
    ]
    joined = MaskTable(first.keys + second.keys, *columns)
    joined.record[len(first) :] += len(first.keys)
    return joined


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Overlapping boxes of each box.

    Attributes
    ----------
    start : ndarray
        (N + 1,) start of the neighbours of each box.
    others : ndarray
        Numbers of the neighbours, sorted per box.
    """

    start: NDArray[np.intp]
    others: NDArray[np.int64]

    @classmethod
    def of(cls, count: int, pairs: NDArray[np.int64]) -> Neighbours:
        """Create from (P, 2) pairs (one, other), in this direction only."""
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs = pairs[order]
        start = np.searchsorted(pairs[:, 0], np.arange(count + 1))
        return cls(start, pairs[:, 1])

    def __getitem__(self, number: int) -> NDArray[np.int64]:
        return self.others[self.start[number] : self.start[number + 1]]


def pairs_between(
    boxes: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return (P, 2) pairs of a box and an overlapping other box."""
    both = np.concatenate([boxes, others])
    count = len(boxes)
    found = [np.zeros((0, 2), np.int64)]
    for first, second in meeting_pairs(both):
        low, high = np.minimum(first, second), np.maximum(first, second)
        across = (low < count) & (high >= count)
        found.append(np.column_stack([low[across], high[across] - count]))
    return np.concatenate(found)


def pairs_within(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (P, 2) pairs of overlapping boxes, lower number first."""
    found = [np.zeros((0, 2), np.int64)]
    for first, second in meeting_pairs(boxes):
        pair = [np.minimum(first, second), np.maximum(first, second)]
        found.append(np.column_stack(pair))
    return np.concatenate(found)


def joined_boxes(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (M, 4) boxes around groups of overlapping boxes, in order."""
    if not len(boxes):
        return boxes
    pairs = pairs_within(boxes)
    graph = coo_matrix(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])),
        shape=(len(boxes), len(boxes)),
    )
    count, group = connected_components(graph, directed=False)
    joined = np.empty((count, 4), np.int64)
    joined[:, :2] = np.iinfo(np.int64).max
    joined[:, 2:] = 0
    np.minimum.at(joined[:, :2], group, boxes[:, :2])
    np.maximum.at(joined[:, 2:], group, boxes[:, 2:])
    return joined


def shared_pixels(
    one: NDArray[np.bool_],
    box: NDArray[np.int64],
    other: NDArray[np.bool_],
    other_box: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return views of two masks where their boxes overlap.

    Parameters
    ----------
    one, other : ndarray
        (h, w) bool, cropped to their boxes.
    box, other_box : ndarray
        (4,) int (row0, column0, row1, column1), half open.

    Returns
    -------
    tuple of ndarray
        Two bool arrays of one shape, empty if the boxes do not overlap.
    """
    return part(one, box, other_box), part(other, other_box, box)


def part(
    mask: NDArray[np.bool_],
    box: NDArray[np.int64],
    window: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return a view of the part of a mask that lies in a window."""
    row0, column0 = box[:2].tolist()
    top, left = np.maximum(box[:2], window[:2]).tolist()
    bottom, right = np.minimum(box[2:], window[2:]).tolist()
    return mask[
        top - row0 : max(top, bottom) - row0,
        left - column0 : max(left, right) - column0,
    ]
