"""Segment everything with fewer prompts for the same masks.

The points of the full grid are prompted in rounds of growing density. A point
is skipped if a confident mask already covers it, or if it resembles points
that gave no mask. A last round prompts the centre of every object, where the
answer is best.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.coverage import Coverage, confident_iou
from napari_mobilesam.segmentation.everything_plan import Plan
from napari_mobilesam.segmentation.lattice import Lattice
from napari_mobilesam.segmentation.masks import center_of
from napari_mobilesam.segmentation.nms import suppress
from napari_mobilesam.segmentation.painting import paint_labels
from napari_mobilesam.segmentation.point_classifier import (
    PointClassifier,
    describe,
)
from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.segmentation.region_worker import Divided, RegionWorker
from napari_mobilesam.segmentation.run import Collector, Run
from napari_mobilesam.types import Box, Mask

# Offsets of the points of each round, in cells of 4 x 4 grid points, and the
# likelihood of a mask above which a point is prompted. On validation images,
# fewer prompts lose objects and more find nothing new.
CELL = 4
ROUNDS: tuple[tuple[tuple[tuple[int, int], ...], float], ...] = (
    (((1, 1),), 0.1),
    (((3, 3),), 0.1),
    (((1, 3), (3, 1)), 0.1),
    (((0, 0), (0, 2), (2, 0), (2, 2)), 0.2),
    (((0, 1), (0, 3), (2, 1), (2, 3)), 0.2),
    (((1, 0), (1, 2), (3, 0), (3, 2)), 0.2),
)
# Typical diameter, in units of the grid spacing, if no object has been seen.
SPACINGS = 2.5


class Chooser:
    """Choose the points of the full grid that are worth prompting.

    Parameters
    ----------
    rgb : ndarray
        (H, W, 3) uint8.
    lattice : Lattice
        All points of the full grid.
    diameter : float
        Typical object diameter in data pixels.
    confident : float
        Predicted IoU above which the pixels of a mask are explained.

    Attributes
    ----------
    coverage : Coverage
        Pixels that masks explain; points on them are skipped.
    """

    def __init__(
        self,
        rgb: NDArray[np.uint8],
        lattice: Lattice,
        diameter: float,
        confident: float,
    ) -> None:
        self._lattice = lattice
        self.coverage = Coverage(
            (rgb.shape[0], rgb.shape[1]), diameter, confident
        )
        self._appearance = PointClassifier(
            describe(rgb, lattice.rows, lattice.columns, diameter)
        )

    def choose(
        self,
        region: Region,
        offsets: Sequence[tuple[int, int]],
        least: float = 0.0,
    ) -> NDArray[np.float64]:
        """Return points of a region with these offsets that may be objects."""
        index = self._lattice.index(region.points)
        due = np.zeros((CELL, CELL), dtype=bool)
        due[tuple(np.transpose(offsets))] = True
        row, column = index.T % CELL
        points, index = (x[due[row, column]] for x in (region.points, index))
        left = ~self.coverage.at(points)
        points, index = points[left], index[left]
        return points[self._appearance.likelihood(index) >= least]

    def learn(
        self, points: NDArray[np.float64], masks: Sequence[Mask]
    ) -> None:
        """Note which points of the grid gave good masks."""
        gave = {mask.point for mask in masks}
        hits = [tuple(point) in gave for point in points.tolist()]
        self._appearance.learn(
            self._lattice.index(points), np.array(hits, dtype=bool)
        )


def ask_adaptively(run: Run, plan: Plan, collector: Collector) -> None:
    """Prompt part of the full grid, embedding only where needed."""
    least = collector.thresholds.predicted_iou
    chooser = Chooser(
        run.rgb,
        plan.lattice,
        plan.diameter or SPACINGS * plan.lattice.spacing,
        confident=confident_iou(least),
    )
    # Do not prompt again what another scale has found.
    chooser.coverage.explain(collector.good(collector.masks))
    for group in run.groups(plan.regions):
        _ask_group(run, group, chooser, collector)


def _ask_group(
    run: Run,
    regions: Sequence[Region],
    chooser: Chooser,
    collector: Collector,
) -> None:
    """Prompt windows in rounds; each round thins out the next."""
    workers: dict[Box, RegionWorker] = {}
    found: list[Mask] = []
    for offsets, least in ROUNDS:
        if run.cancelled():
            return
        # Choose before prompting: the batch must not depend on which answer
        # comes first.
        wanted = [
            (region, chooser.choose(region, offsets, least))
            for region in regions
        ]
        masks: list[Mask] = []
        for points, proposed in _ask_points(run, workers, wanted):
            good = collector.add(*proposed)
            chooser.learn(points, good)
            masks += good
        chooser.coverage.explain(masks)
        found += masks
    masks = [mask for mask in found if chooser.coverage.is_object(mask)]
    _, objects = paint_labels(
        suppress(masks, run.parameters.box_nms), run.rgb.shape[:2]
    )
    centers: dict[Box, list[tuple[float, float]]] = {}
    for mask in objects:
        centers.setdefault(mask.crop_box, []).append(center_of(mask))
    asked = []
    for box, at in centers.items():
        points = np.array(at)
        asked.append((workers[box], points[collector.scope.admits(points)]))
    for _, proposed in run.ask(asked, RegionWorker.divide):
        collector.add(*proposed)


def _ask_points(
    run: Run,
    workers: dict[Box, RegionWorker],
    wanted: Sequence[tuple[Region, NDArray[np.float64]]],
) -> Iterator[tuple[NDArray[np.float64], Divided]]:
    """Prompt points of regions; regions not embedded yet join ``workers``."""
    wanted = [(region, points) for region, points in wanted if len(points)]
    new = [region for region, _ in wanted if region.window not in workers]
    workers |= {worker.region.window: worker for worker in run.embed(new)}
    asked = [
        (workers[region.window], points)
        for region, points in wanted
        if region.window in workers
    ]
    return run.ask(asked, RegionWorker.divide)
