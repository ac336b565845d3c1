"""Prompt objects that a window cut off again, in their own window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_mobilesam.segmentation.embedding_grid import EmbeddingGrid
from napari_mobilesam.segmentation.masks import center_of
from napari_mobilesam.segmentation.nms import suppress
from napari_mobilesam.segmentation.region import DecoderBlock, Region, cut_edge
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.run import Collector, Run
from napari_mobilesam.types import Mask, slices_of

# A cut mask is prompted again unless whole masks cover this share of it, or
# another box has a larger IoU than this with its own.
COVERED = 0.5
RIVAL = 0.5
# Side of the window, relative to the side of the visible part of the object.
ROOM = 2


def ask_again(run: Run, collector: Collector) -> None:
    """Prompt what windows cut off again, in windows centred on it.

    Masks that such a window cuts off as well are more than twice as long as
    the part seen first, and are dropped.
    """
    left = _uncovered(
        collector.cut,
        collector.good(collector.masks),
        run.image.image_shape,
    )
    regions = [
        _centred_on(mask, run.image.grid) for mask in suppress(left, RIVAL)
    ]
    for group in run.groups(regions):
        asked = [
            (
                worker,
                worker.region.points[
                    collector.scope.admits(worker.region.points)
                ],
            )
            for worker in run.embed(group)
        ]
        for _, (masks, _) in run.ask(asked, RegionWorker.divide):
            collector.add(masks)


def _uncovered(
    cut: Sequence[Mask], whole: Sequence[Mask], shape: tuple[int, int]
) -> list[Mask]:
    covered = np.zeros(shape, dtype=bool)
    for mask in whole:
        covered[slices_of(mask.box)] |= mask.data
    left = []
    for mask in cut:
        share = covered[slices_of(mask.box)][mask.data].mean()
        if share < COVERED:
            left.append(mask)
    return left


def _centred_on(mask: Mask, grid: EmbeddingGrid) -> Region:
    """Return a decoder block centred on a mask, and two points to prompt."""
    row0, column0, row1, column1 = mask.box
    center = (row0 + row1) / 2, (column0 + column1) / 2
    side = max(
        mask.crop_box[2] - mask.crop_box[0],
        mask.crop_box[3] - mask.crop_box[1],
        *(ROOM * n for n in mask.data.shape),
    )
    least = min(side, max(grid.image_shape)) / grid.cells
    pitch = min(p for p in grid.pitches if p >= least)
    block = DecoderBlock(center, pitch)
    points = np.array([mask.point, center_of(mask)])
    return Region(grid.frame_at(*block).window, points, cut_edge(pitch), block)
