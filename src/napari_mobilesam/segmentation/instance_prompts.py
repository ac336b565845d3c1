"""Segment everything by prompts derived from the instance head.

The head sees all objects of the embedded image at once (Segment Anything for
Microscopy, Archit et al. 2025). Its peaks are asked as points, and the mask
decoder draws the objects. Foreground that no confident mask explains is asked
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from napari_mobilesam.model.instance_head import (
    FOREGROUND,
    MAP_PIXELS,
    MAPS,
)
from napari_mobilesam.segmentation.collector import Collector
from napari_mobilesam.segmentation.coverage import Coverage, confident_iou
from napari_mobilesam.segmentation.crops import Region
from napari_mobilesam.segmentation.embedding_grid import BlockKey
from napari_mobilesam.segmentation.everything_plan import (
    Plan,
    blocks_of,
)
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.instances import (
    LIKELY,
    find_seeds,
    local_peaks,
)
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.run import Run
from napari_mobilesam.types import Mask

# Cells at the edge of a block in which features suffer; large blocks overlap
# by twice as many.
MARGIN = 4
# Half the width in pixels of the maps of unexplained foreground that is asked
# again, and how much wider it is than its narrows.
LEFT_RADIUS, LEFT_PROMINENCE = 2.0, 1.0
# Regions of which what prompts share is kept at once.
REGIONS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class InstanceMaps:
    """Maps of the instance head over an image at one scale.

    Attributes
    ----------
    values : ndarray
        (3, h, w) float32, see `InstanceHead.forward`; 0 where the image was
        not looked at.
    pitch : int
        Data pixels along a cell, which is 4 pixels of the maps.
    image_shape : tuple of int
        (H, W) of the image.
    """

    values: NDArray[np.float32]
    pitch: int
    image_shape: tuple[int, int]

    def to_data(self, pixels: NDArray[np.intp]) -> NDArray[np.float64]:
        """Centres of (N, 2) pixels of the maps, in data pixels."""
        scale = self.pitch / MAP_PIXELS
        last = np.subtract(self.image_shape, 1)
        return np.clip((pixels + 0.5) * scale - 0.5, 0.0, last)


def maps_of(
    image: ImageEmbedding, pitch: int, keys: Sequence[BlockKey]
) -> InstanceMaps:
    """Maps of large blocks of an image, joined.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding of the image.
    pitch : int
        Scale.
    keys : sequence of BlockKey
        Blocks of this scale.
    """
    rows, columns = image.grid.shape(pitch)
    values = np.zeros(
        (MAPS, rows * MAP_PIXELS, columns * MAP_PIXELS), np.float32
    )
    for key in keys:
        features = image.block(key)[None].float()
        with image.model.threads():
            maps = image.model.instance_maps(features)[0].cpu().numpy()
        cells = image.grid.canvas(key).cells
        own = [
            (
                0 if first == 0 else MARGIN,
                min(
                    length - (MARGIN if first + length < count else 0),
                    count - first,
                ),
            )
            for first, length, count in zip(
                (key.row, key.column), cells, (rows, columns), strict=True
            )
        ]
        inner = tuple(
            slice(start * MAP_PIXELS, stop * MAP_PIXELS) for start, stop in own
        )
        place = tuple(
            slice((first + start) * MAP_PIXELS, (first + stop) * MAP_PIXELS)
            for first, (start, stop) in zip(
                (key.row, key.column), own, strict=True
            )
        )
        values[:, *place] = maps[:, *inner]
    return InstanceMaps(values, pitch, image.image_shape)


def ask_instances(run: Run, plan: Plan, collector: Collector) -> None:
    """Ask the objects that the instance head sees.

    Parameters
    ----------
    run : Run
        Run under way.
    plan : Plan
        Its regions are decoder blocks of one scale with cores; the head
        looks where they are.
    collector : Collector
        Takes the masks.
    """
    if not plan.regions:
        return
    cut = plan.regions[0].cut
    assert cut is not None and plan.diameter is not None
    coverage = Coverage(
        run.image.image_shape,
        plan.diameter,
        confident_iou(collector.thresholds.predicted_iou),
    )
    coverage.explain(collector.good(collector.masks))
    keys = run.embed_blocks(blocks_of(plan.regions, run.image.grid))
    maps = maps_of(run.image, cut.pitch, keys)
    seeds = maps.to_data(find_seeds(maps.values))
    _ask(run, plan.regions, seeds, coverage, collector)
    left = maps.to_data(_unexplained(maps, coverage))
    _ask(run, plan.regions, left, coverage, collector)


def _ask(
    run: Run,
    regions: Sequence[Region],
    points: NDArray[np.float64],
    coverage: Coverage,
    collector: Collector,
) -> None:
    """Ask points that are in scope and not explained."""
    points = points[collector.scope.admits(points) & ~coverage.at(points)]
    asked = [
        replace(region, points=points[region.owns(points)])
        for region in regions
    ]
    asked = [region for region in asked if len(region.points)]
    run.expect(sum(len(region.points) for region in asked))
    found: list[Mask] = []
    for part in run.blocks(asked, REGIONS_AT_ONCE):
        pairs = [(worker, worker.region.points) for worker in run.embed(part)]
        for _, proposed in run.ask(pairs, RegionWorker.divide):
            found += collector.add(*proposed)
    coverage.explain(found)


def _unexplained(maps: InstanceMaps, coverage: Coverage) -> NDArray[np.intp]:
    """(N, 2) pixels of the maps in the middle of unexplained foreground."""
    left = maps.values[FOREGROUND] >= LIKELY
    pixels = np.argwhere(left)
    left[tuple(pixels[coverage.at(maps.to_data(pixels))].T)] = False
    if not left.any():
        return np.zeros((0, 2), np.intp)
    return local_peaks(
        distance_transform_edt(left), LEFT_PROMINENCE, LEFT_RADIUS
    )
