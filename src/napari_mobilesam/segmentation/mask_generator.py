"""Segment everything: masks of all objects of an image.

Segment Anything, appendix B: a grid of points is asked one by one, the
answers are filtered by predicted IoU and stability, and duplicates are
dropped, first within a region, then between regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.candidates import Candidates
from napari_mobilesam.segmentation.crops import Region, crop_regions
from napari_mobilesam.segmentation.diameter import estimate_diameter
from napari_mobilesam.segmentation.image import ContrastLimits, as_rgb_plane
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.parameters import (
    Thresholds,
    checked_parameters,
    thresholds_for,
)
from napari_mobilesam.segmentation.run import Hooks, Progress, Run
from napari_mobilesam.segmentation.scope import Scope, checked_scope
from napari_mobilesam.segmentation.windows import (
    plan_windows,
    window_regions,
)
from napari_mobilesam.types import EverythingParameters, Mask, ModelRecord

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


def generate_masks(
    image: Any,
    model: Sam,
    *,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    parameters: EverythingParameters | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_masks: Callable[[list[Mask]], None] | None = None,
    **overrides: Any,
) -> list[Mask]:
    """Find the masks of all objects of an image.

    Parameters
    ----------
    image : array
        (H, W), (H, W, 3 or 4), or with ``channels`` (C, H, W) or (H, W, C);
        see `Predictor.embed`, also for contrast limits and gamma.
    model : Sam
        Model of `napari_mobilesam.load_model`.
    parameters : EverythingParameters, optional
        All parameters of the run; the defaults if None.
    progress : callable, optional
        ``progress(done, total, message)``, counted in prompts.
    cancelled : callable, optional
        Asked between batches; True ends the run with what was found.
    on_masks : callable, optional
        Called with the masks of each batch of prompts; duplicates are
        dropped only at the end.
    **overrides
        Single fields of `EverythingParameters`, for example
        ``points_per_side=16`` or ``diameter=30``.

    Returns
    -------
    list of Mask
        Box-cropped masks, the highest predicted IoU first.

    Raises
    ------
    ImageError
        If the image cannot be used; the message says why.
    SegmentationError
        If a parameter is out of range.
    TypeError
        If a parameter is unknown.

    Warns
    -----
    UserWarning
        If pixels are NaN or infinite.
    """
    candidates = generate_candidates(
        image,
        model,
        channels=channels,
        contrast_limits=contrast_limits,
        gamma=gamma,
        parameters=parameters,
        progress=progress,
        cancelled=cancelled,
        on_masks=on_masks,
        **overrides,
    )
    return candidates.select()


def generate_candidates(
    image: Any,
    model: Sam,
    *,
    region: Any = None,
    skip: Any = None,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    parameters: EverythingParameters | None = None,
    floor: Thresholds | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_masks: Callable[[list[Mask]], None] | None = None,
    **overrides: Any,
) -> Candidates:
    """Ask the prompts of segment everything and keep all that is found.

    Parameters
    ----------
    image, model, channels, contrast_limits, gamma, parameters, progress, \
cancelled, on_masks, **overrides
        As `generate_masks`.
    region : tuple of int or array, optional
        (row0, column0, row1, column1), half open, or (H, W) bool: only
        prompts on these pixels are asked. Masks may reach beyond.
    skip : array, optional
        (H, W) bool, or labels: prompts on these pixels are not asked, and
        masks do not cover them; a mask of which they take more than 30 % is
        dropped.
    floor : Thresholds, optional
        (predicted IoU, stability) below which masks are not kept. A floor
        below the thresholds of the run lets `Candidates.select` lower them
        later, and costs the time to draw these masks. The thresholds
        themselves if None.

    Returns
    -------
    Candidates
        To be sorted out with `Candidates.select`; of a cancelled run what
        was found.

    Raises
    ------
    ImageError, SegmentationError, TypeError
        As `generate_masks`; also if region or skip do not suit the image.
    """
    chosen = checked_parameters(parameters, overrides)
    rgb = as_rgb_plane(
        image,
        channels=channels,
        contrast_limits=contrast_limits,
        gamma=gamma,
    )
    shape = (rgb.shape[0], rgb.shape[1])
    scope = checked_scope(shape, region, skip)
    regions = in_scope(plan_regions(rgb, model.record, chosen), scope)
    hooks = Hooks.of(progress, cancelled, on_masks)
    thresholds = thresholds_for(chosen, model.record)
    total = sum(len(part.points) for part in regions)
    run = Run(model, rgb, chosen, floor or thresholds, hooks, total)
    collector = Collector(scope, thresholds, hooks)
    for worker in run.workers(regions):
        for points in run.batches(worker.region.points):
            collector.add(worker.propose(points))
    return Candidates(
        tuple(collector.masks),
        shape,
        model.record,
        run.complete,
        run.prompts,
        chosen,
        scope,
        image,
        channels,
    )


def plan_regions(
    rgb: NDArray[np.uint8],
    record: ModelRecord,
    parameters: EverythingParameters,
) -> list[Region]:
    """Decide what is embedded and which points are asked.

    A given diameter asks for windows; ``whole_image`` or crop layers for the
    procedure of the paper; otherwise a quick look at the image decides.
    """
    decided = (
        parameters.diameter is not None
        or parameters.whole_image
        or parameters.crop_layers > 0
    )
    seen = None if decided else estimate_diameter(rgb)
    return plan_for_shape(
        (rgb.shape[0], rgb.shape[1]), record, parameters, seen
    )


def plan_for_shape(
    image_shape: tuple[int, int],
    record: ModelRecord,
    parameters: EverythingParameters,
    seen: float | None = None,
) -> list[Region]:
    """Plan a run on an image of which only the shape is known.

    ``seen`` is the object diameter that `estimate_diameter` sees in it.
    """
    diameter = parameters.diameter
    if diameter is None and not (
        parameters.whole_image or parameters.crop_layers
    ):
        worthwhile = len(plan_windows(image_shape, seen, record)) > 1
        diameter = seen if worthwhile else None
    if diameter is not None:
        return window_regions(image_shape, diameter, record, parameters)
    return crop_regions(image_shape, parameters)


def in_scope(regions: Sequence[Region], scope: Scope) -> list[Region]:
    """Regions with those of their points that may be asked, if any."""
    admitted = [
        replace(region, points=region.points[scope.admits(region.points)])
        for region in regions
    ]
    return [region for region in admitted if len(region.points)]


class Collector:
    """Gathers the masks of a run and shows the good ones."""

    def __init__(
        self, scope: Scope, thresholds: Thresholds, hooks: Hooks
    ) -> None:
        self.scope = scope
        self.thresholds = thresholds
        self.hooks = hooks
        self.masks: list[Mask] = []

    def add(self, proposed: Sequence[Mask]) -> list[Mask]:
        """Take masks; return those that the run is looking for."""
        trimmed = [self.scope.trim(mask) for mask in proposed]
        masks = [mask for mask in trimmed if mask is not None]
        self.masks += masks
        good = [
            mask
            for mask in masks
            if mask.score > self.thresholds.predicted_iou
            and mask.stability >= self.thresholds.stability
        ]
        if good:
            self.hooks.on_masks(good)
        return good
