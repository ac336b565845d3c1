"""Segment everything: masks of all objects of an image.

Segment Anything, appendix B: a grid of points is asked one by one, the
answers are filtered by predicted IoU and stability, and duplicates are
dropped, first within a region, then between regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.crops import Region, crop_regions
from napari_mobilesam.segmentation.diameter import estimate_diameter
from napari_mobilesam.segmentation.image import ContrastLimits, as_rgb_plane
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.masks import by_score, clean, suppress
from napari_mobilesam.segmentation.parameters import checked_parameters
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.windows import (
    plan_windows,
    window_regions,
)
from napari_mobilesam.types import EverythingParameters, Mask, ModelRecord

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

Progress = Callable[[int, int, str], None]


def _ignore_progress(done: int, total: int, message: str) -> None:
    """Report to nobody."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """How a run talks to whoever started it.

    Attributes
    ----------
    progress : callable
        Called with prompts done, prompts in all, and a line for people.
    cancelled : callable
        Asked between batches of prompts; True ends the run, and what was
        found is returned.
    on_masks : callable
        Called with the masks of each region when it is done.
    """

    progress: Progress = _ignore_progress
    cancelled: Callable[[], bool] = _never
    on_masks: Callable[[list[Mask]], None] = field(default=lambda masks: None)


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
        Called with the masks of each region of the image when it is done;
        duplicates between regions are dropped only at the end.
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
    chosen = checked_parameters(parameters, overrides)
    rgb = as_rgb_plane(
        image,
        channels=channels,
        contrast_limits=contrast_limits,
        gamma=gamma,
    )
    hooks = Hooks(
        progress or _ignore_progress,
        cancelled or _never,
        on_masks or (lambda masks: None),
    )
    regions = plan_regions(rgb, model.record, chosen)
    return _run(rgb, regions, model, chosen, hooks)


def plan_regions(
    rgb: NDArray[np.uint8],
    record: ModelRecord,
    parameters: EverythingParameters,
) -> list[Region]:
    """Decide what is embedded and which points are asked.

    A given diameter asks for windows; ``whole_image`` or crop layers for the
    procedure of the paper; otherwise a quick look at the image decides.
    """
    shape = (rgb.shape[0], rgb.shape[1])
    diameter = parameters.diameter
    if diameter is not None:
        return window_regions(shape, diameter, record, parameters)
    if not (parameters.whole_image or parameters.crop_layers):
        diameter = estimate_diameter(rgb)
        if len(plan_windows(shape, diameter, record)) > 1:
            assert diameter is not None
            return window_regions(shape, diameter, record, parameters)
    return crop_regions(shape, parameters)


def _run(
    rgb: NDArray[np.uint8],
    regions: Sequence[Region],
    model: Sam,
    parameters: EverythingParameters,
    hooks: Hooks,
) -> list[Mask]:
    shape = (rgb.shape[0], rgb.shape[1])
    total = sum(len(region.points) for region in regions)
    found: list[Mask] = []
    origin: list[int] = []
    done = 0
    for number, region in enumerate(regions):
        if hooks.cancelled():
            break
        where = (
            f'window {number + 1} of {len(regions)}'
            if len(regions) > 1
            else 'image'
        )
        hooks.progress(done, total, f'Embedding {where}')
        worker = RegionWorker(model, parameters, region, rgb)
        candidates: list[Mask] = []
        for start in range(0, len(region.points), parameters.batch_size):
            if hooks.cancelled():
                break
            points = region.points[start : start + parameters.batch_size]
            with model.threads():
                candidates += worker.propose(points)
            done += len(points)
            hooks.progress(done, total, f'Segmenting {where}')
        masks = suppress(candidates, parameters.box_nms)
        hooks.on_masks(masks)
        found += masks
        origin += [number] * len(masks)
    if len(regions) > 1:
        found = _merge(found, origin, regions, parameters)
    if parameters.min_area > 0:
        threshold = max(parameters.box_nms, parameters.crop_nms)
        found = clean(found, parameters.min_area, shape, threshold)
    return by_score(found)


def _merge(
    found: Sequence[Mask],
    origin: Sequence[int],
    regions: Sequence[Region],
    parameters: EverythingParameters,
) -> list[Mask]:
    """Drop duplicates between regions: of two the smaller crop's stays."""
    scores = np.array([mask.score for mask in found])
    keys = [scores]
    if parameters.crop_layers and parameters.diameter is None:
        areas = np.array([regions[i].area for i in origin])
        keys = [-areas, -np.array(origin), scores]
    return suppress(found, parameters.crop_nms, keys)
