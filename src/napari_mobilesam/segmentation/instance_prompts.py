"""Segment everything by prompts derived from the instance head.

The head sees all objects of the embedded image at once (Segment Anything for
Microscopy, Archit et al. 2025). Its peaks are point prompts, from which the
mask decoder draws the objects. Foreground that no confident mask explains is
prompted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from napari_mobilesam.model.instance_head import FOREGROUND
from napari_mobilesam.segmentation.adaptive import ask_adaptively
from napari_mobilesam.segmentation.coverage import Coverage
from napari_mobilesam.segmentation.everything_plan import (
    Plan,
    expected_prompts,
)
from napari_mobilesam.segmentation.head_maps import InstanceMaps
from napari_mobilesam.segmentation.instances import local_peaks
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.plan_parts import (
    Look,
    Part,
    parts_of,
    sample_of,
)
from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.segmentation.region_worker import divide_together
from napari_mobilesam.segmentation.run import (
    REGIONS_AT_ONCE,
    Collector,
    Run,
)
from napari_mobilesam.types import Box, Mask

# A few parts of a large image decide this, if at least this share of their
# pixels shows something.
FEW_PARTS, SOMETHING = 3, 0.02
# Unexplained foreground is prompted again if it is at least this likely, and
# if its distance transform has a peak of this height and prominence, in map
# pixels.
SURE = 0.75
LEFT_RADIUS, LEFT_PROMINENCE = 2.0, 1.0
# Weights to estimate the IoU of a mask from its predicted IoU, its IoU with an
# instance of the head, and its mean foreground, plus an offset: close to the
# least-squares fit on validation images.
OF_DECODER, OF_INSTANCE, OF_FOREGROUND, OFFSET = 0.8, 0.5, 0.4, -0.6
# Amount by which the estimate may exceed the predicted IoU.
LIFT = 0.25


def ask_instances(run: Run, plan: Plan, collector: Collector) -> None:
    """Prompt the objects that the instance head sees.

    If the head is unsure, the adaptive grid is used instead.

    Parameters
    ----------
    run : Run
        Run under way.
    plan : Plan
        Plan whose regions are decoder blocks of one scale with cores, where
        the head looks.
    collector : Collector
        Takes the masks.
    """
    if not plan.regions:
        return
    block = plan.regions[0].decoder_block
    assert block is not None and plan.diameter is not None
    parts = parts_of(plan.regions, run.image.grid)
    look = Look(run, block.pitch)
    unsure = _knows_little(look, sample_of(parts, run.image.grid))
    if run.cancelled():
        return
    if unsure:
        run.expect(expected_prompts(replace(plan, source='adaptive')))
        ask_adaptively(run, plan, collector)
        return
    coverage = Coverage(
        run.image.image_shape,
        plan.diameter,
        collector.thresholds.predicted_iou,
    )
    coverage.explain(collector.good(collector.masks))
    first = run.prompts
    for number, part in enumerate(parts):
        maps = look.at(part)
        if maps is None:
            return
        if number:
            run.foresee(run.prompts - first, number / len(parts))
        found = maps.instances
        judge = Judge(maps, found.labels, run.floor.predicted_iou)
        asking = partial(
            _ask, run, part.regions, maps, coverage, collector, judge
        )
        asking(found.seeds)
        asking(_unexplained(maps, coverage))


def _knows_little(look: Look, sample: Sequence[Part]) -> bool:
    """Return True if more of the maps is unclear than is foreground.

    On validation images, the head loses objects to the grid there, and not
    elsewhere. A few parts are analysed, more if they are almost empty.
    """
    unclear = likely = pixels = 0
    for number, part in enumerate(sample, start=1):
        maps = look.at(part)
        if maps is None:
            break
        unclear += maps.unclear
        likely += maps.likely
        pixels += maps.values[FOREGROUND].size
        if number >= FEW_PARTS and unclear + likely > SOMETHING * pixels:
            break
    return unclear > likely


def _ask(
    run: Run,
    regions: Sequence[Region],
    maps: InstanceMaps,
    coverage: Coverage,
    collector: Collector,
    judge: Judge,
    pixels: NDArray[np.intp],
) -> None:
    """Prompt map pixels that are in scope and not explained."""
    points = maps.to_data(pixels)
    places = points + 0.5  # from the corner of the image
    points = points[collector.scope.admits(places) & ~coverage.at(places)]
    asked = [
        replace(region, points=points[region.owns(points)])
        for region in regions
    ]
    asked = [region for region in asked if len(region.points)]
    run.expect(sum(len(region.points) for region in asked))
    found: list[Mask] = []
    for group in run.groups(asked, REGIONS_AT_ONCE):
        workers = run.embed(group, judge.floor(run.floor))
        each = [worker for worker in workers for _ in worker.region.points]
        points = np.array([p for w in workers for p in w.region.points])
        for whole, cut in run.ask_together(each, points, divide_together):
            # a prompt is answered only once, whatever the head thinks of it
            found += collector.good(whole)
            collector.add(judge.judged(whole), cut)
    coverage.explain(found)


class Judge:
    """Estimate the IoU of masks from decoder and head.

    The decoder alone is confident about many parts of the background, and
    unsure about objects that the head sees well.

    Parameters
    ----------
    maps : InstanceMaps
        Maps of the head.
    instances : ndarray
        (h, w) int32 of `find_instances`.
    least : float
        Estimated IoU below which masks are dropped.
    """

    def __init__(
        self,
        maps: InstanceMaps,
        instances: NDArray[np.int32],
        least: float,
    ) -> None:
        self._maps = maps
        self._instances = instances
        self._least = least
        # areas of the instances within a window, in data pixels
        self._areas: dict[Box, NDArray[np.intp]] = {}

    def floor(self, floor: Thresholds) -> Thresholds:
        """Return the minimum predicted IoU that may be estimated higher."""
        return floor._replace(predicted_iou=floor.predicted_iou - LIFT)

    def judged(self, masks: Sequence[Mask]) -> list[Mask]:
        """Return masks whose estimate reaches the minimum, as their score."""
        estimated = [replace(m, score=self.estimate(m)) for m in masks]
        return [mask for mask in estimated if mask.score >= self._least]

    def estimate(self, mask: Mask) -> float:
        """Return the estimated IoU of a mask, from 0 to 1."""
        part = self._maps.pixels_of(mask.box)
        foreground = self._maps.values[FOREGROUND][part][mask.data]
        value = (
            OF_DECODER * mask.score
            + OF_INSTANCE * self._agreement(mask, part)
            + OF_FOREGROUND * float(foreground.mean())
            + OFFSET
        )
        return min(max(value, 0.0), 1.0)

    def _agreement(
        self, mask: Mask, part: tuple[NDArray[np.intp], NDArray[np.intp]]
    ) -> float:
        """Return the IoU of a mask with the instance that it covers most of.

        Only the visible part of the instance in its window counts.
        """
        counts = np.bincount(self._instances[part][mask.data])[1:]
        if not counts.any():
            return 0.0
        shared = counts.max()
        area = self._areas_in(mask.crop_box)[1 + counts.argmax()]
        return float(shared / max(mask.area + area - shared, shared))

    def _areas_in(self, window: Box) -> NDArray[np.intp]:
        if window not in self._areas:
            shown = self._instances[self._maps.pixels_of(window)]
            self._areas[window] = np.bincount(shown.ravel())
        return self._areas[window]


def _unexplained(maps: InstanceMaps, coverage: Coverage) -> NDArray[np.intp]:
    """Return (N, 2) map pixels in the middle of unexplained foreground."""
    left = maps.values[FOREGROUND] >= SURE
    pixels = np.argwhere(left)
    left[tuple(pixels[coverage.at(maps.to_data(pixels) + 0.5)].T)] = False
    if not left.any():
        return np.zeros((0, 2), np.intp)
    return local_peaks(
        distance_transform_edt(left), LEFT_PROMINENCE, LEFT_RADIUS
    )
