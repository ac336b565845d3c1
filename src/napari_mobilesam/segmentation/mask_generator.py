"""Segment everything: masks of all objects of an image.

Segment Anything, appendix B: a grid of points is asked one by one, the
answers are filtered by predicted IoU and stability, and duplicates are
dropped, first within a region, then between regions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.scope import Scope, checked_scope
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
        Called with the masks of each batch of prompts.
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
    hooks = Hooks(
        progress or _ignore_progress,
        cancelled or _never,
        on_masks or (lambda masks: None),
    )
    scope = checked_scope(shape, region, skip)
    run = _Run(model, rgb, chosen, scope, hooks, floor)
    run.ask(plan_regions(rgb, model.record, chosen))
    return Candidates(
        tuple(run.found),
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


class _Run:
    """A run under way and what it has found."""

    def __init__(
        self,
        model: Sam,
        rgb: NDArray[np.uint8],
        parameters: EverythingParameters,
        scope: Scope,
        hooks: Hooks,
        floor: Thresholds | None,
    ) -> None:
        self.model = model
        self.rgb = rgb
        self.parameters = parameters
        self.scope = scope
        self.hooks = hooks
        self.thresholds = thresholds_for(parameters, model.record)
        self.floor = floor or self.thresholds
        self.found: list[Mask] = []
        self.prompts = 0
        self.complete = True

    def ask(self, regions: Sequence[Region]) -> None:
        """Ask all points of all regions that are in scope."""
        regions = [
            replace(r, points=r.points[self.scope.admits(r.points)])
            for r in regions
        ]
        regions = [region for region in regions if len(region.points)]
        total = sum(len(region.points) for region in regions)
        for number, region in enumerate(regions, start=1):
            where = (
                f'window {number} of {len(regions)}'
                if len(regions) > 1
                else 'image'
            )
            if self._cancelled():
                return
            self.hooks.progress(self.prompts, total, f'Embedding {where}')
            worker = RegionWorker(
                self.model, self.parameters, self.floor, region, self.rgb
            )
            for points in self._batches(region.points):
                if self._cancelled():
                    return
                self._propose(worker, points)
                self.hooks.progress(self.prompts, total, f'Segmenting {where}')

    def _batches(
        self, points: NDArray[np.float64]
    ) -> Iterator[NDArray[np.float64]]:
        size = self.parameters.batch_size
        for start in range(0, len(points), size):
            yield points[start : start + size]

    def _cancelled(self) -> bool:
        if self.hooks.cancelled():
            self.complete = False
        return not self.complete

    def _propose(
        self, worker: RegionWorker, points: NDArray[np.float64]
    ) -> None:
        with self.model.threads():
            proposed = worker.propose(points)
        self.prompts += len(points)
        trimmed = [self.scope.trim(mask) for mask in proposed]
        masks = [mask for mask in trimmed if mask is not None]
        self.found += masks
        good = [
            mask
            for mask in masks
            if mask.score > self.thresholds.predicted_iou
            and mask.stability >= self.thresholds.stability
        ]
        if good:
            self.hooks.on_masks(good)
