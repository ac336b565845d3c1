"""Objects that a window cut off, asked again in a window of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_mobilesam.segmentation.collector import Collector
from napari_mobilesam.segmentation.crops import Region
from napari_mobilesam.segmentation.masks import center_of, suppress
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.run import Run
from napari_mobilesam.types import Box, Mask

# A cut mask is asked again unless whole masks cover this share of it, or the
# box of another overlaps more with its own.
COVERED = 0.5
RIVAL = 0.5
# Side of the window, in sides of what was seen of the object.
ROOM = 2


def ask_again(run: Run, collector: Collector) -> None:
    """Ask what windows cut off once more, in windows centred on it.

    What such a window cuts off in turn is longer than twice what was seen of
    it, and is dropped.
    """
    shape = (run.rgb.shape[0], run.rgb.shape[1])
    left = _uncovered(collector.cut, collector.good(collector.masks), shape)
    regions = [
        _window_around(mask, shape, run.model.input_size)
        for mask in suppress(left, RIVAL)
    ]
    for part in run.blocks(regions):
        asked = [
            (
                worker,
                worker.region.points[
                    collector.scope.admits(worker.region.points)
                ],
            )
            for worker in run.embed(part)
        ]
        for _, (masks, _) in run.ask(asked, RegionWorker.divide):
            collector.add(masks)


def _uncovered(
    cut: Sequence[Mask], whole: Sequence[Mask], shape: tuple[int, int]
) -> list[Mask]:
    covered = np.zeros(shape, dtype=bool)
    for mask in whole:
        row0, column0, row1, column1 = mask.box
        covered[row0:row1, column0:column1] |= mask.data
    left = []
    for mask in cut:
        row0, column0, row1, column1 = mask.box
        share = covered[row0:row1, column0:column1][mask.data].mean()
        if share < COVERED:
            left.append(mask)
    return left


def _window_around(
    mask: Mask, shape: tuple[int, int], input_size: int
) -> Region:
    """A window centred on a mask, and the two points asked in it."""
    row0, column0, row1, column1 = mask.crop_box
    side = max(
        row1 - row0, column1 - column0, *(ROOM * n for n in mask.data.shape)
    )
    low = []
    for axis in (0, 1):
        start = (mask.box[axis] + mask.box[axis + 2] - side) // 2
        low.append(max(0, min(start, shape[axis] - side)))
    high = [min(a + side, n) for a, n in zip(low, shape, strict=True)]
    window: Box = (low[0], low[1], high[0], high[1])
    points = np.array([mask.point, center_of(mask)])
    return Region(window, points, edge=1 + 4 * side / input_size)
