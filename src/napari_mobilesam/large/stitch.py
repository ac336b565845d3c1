"""Merge the masks of tiles into the objects of a plane.

Everything here depends only on the records, in one total order (score,
stability, position), not on when and by which worker they were written.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.journal import MaskRecordReader
from napari_mobilesam.large.mask_table import (
    MaskTable,
    Neighbours,
    pairs_between,
    pairs_within,
    part,
    shared_pixels,
)
from napari_mobilesam.segmentation.linking import Overlaps
from napari_mobilesam.segmentation.nms import BoxOverlaps
from napari_mobilesam.segmentation.painting import VISIBLE_FRACTION


def without_duplicates(found: MaskTable, threshold: float) -> MaskTable:
    """Apply greedy non-maximum suppression; return masks best first.

    Parameters
    ----------
    found : MaskTable
        Complete masks of one plane.
    threshold : float
        Box IoU above which the lower-scored mask is dropped.
    """
    overlaps = BoxOverlaps(found.boxes, threshold)
    kept = overlaps.suppress(np.arange(len(found)), [found.scores], threshold)
    found = found.take(kept)
    return found.take(found.best_first())


def visible(
    found: MaskTable,
    reader: MaskRecordReader,
    least: float = VISIBLE_FRACTION,
) -> MaskTable:
    """Return masks that get a label when better masks are painted on top.

    This is the rule of `paint_labels` for a plane of any size: the visible
    part of a mask depends only on the better masks that overlap it.

    Parameters
    ----------
    found : MaskTable
        Masks of one plane, best first.
    reader : MaskRecordReader
        Reader of the mask pixels.
    least : float
        Minimum share of a mask not covered by better masks.
    """
    pairs = pairs_within(found.boxes)
    better = Neighbours.of(len(found), pairs[:, ::-1])
    unknown, no, yes = 0, 1, 2
    state = np.full(len(found), unknown, np.int8)
    # Process neighbours in the plane consecutively, so that records are read
    # once.
    for first in np.lexsort((found.index, found.record)).tolist():
        waiting = [first]
        while waiting:
            number = waiting[-1]
            rivals = better[number]
            open_rivals = rivals[state[rivals] == unknown]
            if state[number] == unknown and len(open_rivals):
                waiting.extend(open_rivals.tolist())
                continue
            waiting.pop()
            if state[number] == unknown:
                painted = rivals[state[rivals] == yes]
                left = _left_over(found, reader, number, painted)
                seen = left > 0 and left >= least * found.areas[number]
                state[number] = yes if seen else no
    return found.take(state == yes)


def _left_over(
    found: MaskTable,
    reader: MaskRecordReader,
    number: int,
    rivals: NDArray[np.int64],
) -> int:
    """Return the pixels of a mask not covered by any of its rivals."""
    if not len(rivals):
        return int(found.areas[number])
    left = found.pixels(reader, number).copy()
    for rival in rivals.tolist():
        mine, theirs = shared_pixels(
            left,
            found.boxes[number],
            found.pixels(reader, rival),
            found.boxes[rival],
        )
        mine[theirs] = False
    return int(np.count_nonzero(left))


def unexplained(
    cut: MaskTable, whole: MaskTable, reader: MaskRecordReader
) -> MaskTable:
    """Return the cut masks that no complete mask replaces.

    A cut mask is dropped if a complete one looks the same within the tile, or
    if better complete masks leave too little of it.
    """
    rivals = Neighbours.of(len(cut), pairs_between(cut.boxes, whole.boxes))
    keep = np.ones(len(cut), bool)
    for number in range(len(cut)):
        if len(rivals[number]):
            keep[number] = not _is_explained(
                cut, number, whole, rivals[number], reader
            )
    return cut.take(keep)


def _is_explained(
    cut: MaskTable,
    number: int,
    whole: MaskTable,
    rivals: NDArray[np.int64],
    reader: MaskRecordReader,
) -> bool:
    mine = cut.pixels(reader, number)
    left = mine.copy()
    area = int(cut.areas[number])
    for rival in rivals.tolist():
        theirs = whole.pixels(reader, rival)
        places = cut.boxes[number], whole.boxes[rival]
        ours, shared = shared_pixels(mine, places[0], theirs, places[1])
        common = np.count_nonzero(ours & shared)
        seen = np.count_nonzero(part(theirs, places[1], cut.windows[number]))
        if common >= VISIBLE_FRACTION * (area + seen - common):
            return True
        if whole.scores[rival] > cut.scores[number]:
            part(left, places[0], places[1])[shared] = False
    return bool(np.count_nonzero(left) < VISIBLE_FRACTION * area)


def mask_overlaps(
    earlier: MaskTable, later: MaskTable, reader: MaskRecordReader
) -> Overlaps:
    """Return the overlaps of the masks of two planes, for linking."""
    pairs = pairs_between(earlier.boxes, later.boxes)
    shared = np.zeros(len(pairs))
    for row, (one, other) in enumerate(pairs.tolist()):
        mine, theirs = shared_pixels(
            earlier.pixels(reader, one),
            earlier.boxes[one],
            later.pixels(reader, other),
            later.boxes[other],
        )
        shared[row] = np.count_nonzero(mine & theirs)
    first, second = pairs[:, 0], pairs[:, 1]
    union = earlier.areas[first] + later.areas[second] - shared
    return Overlaps(first, second, shared / union)
