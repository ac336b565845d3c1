"""Segment everything: masks of all objects of an image.

Segment Anything, appendix B: the model is prompted with each point of a grid,
the answers are filtered by predicted IoU and stability, and duplicates are
dropped, first within a region, then between regions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    check_number,
    quoted,
)
from napari_mobilesam.segmentation.adaptive import ask_adaptively
from napari_mobilesam.segmentation.candidates import Candidates
from napari_mobilesam.segmentation.everything_plan import (
    Plan,
    expected_prompts,
    plan_run,
)
from napari_mobilesam.segmentation.faint_masks import without_faint
from napari_mobilesam.segmentation.image import ContrastLimits, as_rgb_plane
from napari_mobilesam.segmentation.image_embedding import (
    ImageEmbedding,
    embedding_of,
)
from napari_mobilesam.segmentation.instance_prompts import ask_instances
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.parameters import (
    Thresholds,
    checked_parameters,
    thresholds_for,
)
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.retry import ask_again
from napari_mobilesam.segmentation.run import (
    REGIONS_AT_ONCE,
    Collector,
    Hooks,
    Run,
)
from napari_mobilesam.segmentation.scope import Scope, checked_scope
from napari_mobilesam.segmentation.watershed_masks import take_instances
from napari_mobilesam.types import (
    EverythingParameters,
    Mask,
    Progress,
    SegmentationError,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

# Bytes of features kept during a run: enough for 4,096² pixels where a cell is
# 4 pixels wide. Beyond that, blocks are embedded again for each look.
RUN_BYTES = 1 << 29


def generate_masks(
    image: Any,
    model: Sam,
    *,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    parameters: EverythingParameters | None = None,
    embedding: ImageEmbedding | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_masks: Callable[[list[Mask]], None] | None = None,
    **overrides: Any,
) -> list[Mask]:
    """Find the masks of all objects of an image.

    Parameters
    ----------
    image : array
        (H, W), (H, W, 3 or 4), or with ``channels`` (C, H, W) or (H, W, C).
    model : Sam
        Model, see `napari_mobilesam.load_model`.
    channels, contrast_limits, gamma
        What the model sees of the image, see `Predictor.embed`.
    parameters : EverythingParameters, optional
        All parameters of the run; the defaults if None.
    embedding : ImageEmbedding, optional
        Embedding of the same pixels by the same model, from `Predictor.embed`.
        It is reused, and serves later prompts.
    progress : callable, optional
        ``progress(done, total, message)``, counted in prompts.
    cancelled : callable, optional
        Called between batches; if True, the run ends with the masks found so
        far.
    on_masks : callable, optional
        Called with the masks of each batch of prompts; duplicates are only
        dropped at the end.
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
        embedding=embedding,
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
    floor: tuple[float, float] | None = None,
    embedding: ImageEmbedding | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_masks: Callable[[list[Mask]], None] | None = None,
    on_work: Callable[[int, int], None] | None = None,
    **overrides: Any,
) -> Candidates:
    """Prompt as segment everything does, and keep everything found.

    Masks whose outline does not show in the image are dropped
    (`without_faint`), and tiny islands of masks removed (`without_specks`),
    except in the procedure of the paper.

    Parameters
    ----------
    image, model, channels, contrast_limits, gamma, parameters, embedding, \
progress, cancelled, on_masks, **overrides
        As `generate_masks`.
    region : tuple of int or array, optional
        (row0, column0, row1, column1), half open, or (H, W) bool: only these
        pixels are prompted. Masks may extend beyond. What lies outside the
        image is cut off, with a warning.
    skip : array, optional
        (H, W) bool, or labels: these pixels are not prompted, and masks do not
        cover them. A mask that would lose more than 30 % of its pixels to them
        is dropped.
    floor : tuple of float, optional
        (predicted IoU, stability) below which masks are not kept; by default
        the thresholds of the run. A lower floor lets `Candidates.select` lower
        the thresholds later, at the cost of drawing more masks.
    on_work : callable, optional
        Called before ``progress`` with the number of prompts answered and
        windows embedded so far.

    Returns
    -------
    Candidates
        Candidates for `Candidates.select`; those found so far if cancelled.

    Raises
    ------
    ImageError, SegmentationError, TypeError
        As `generate_masks`; also if region, skip or embedding do not suit
        the image.
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
    image_embedding = embedding_of(model, rgb, embedding)
    hooks = Hooks.of(progress, cancelled, on_masks, on_work)
    plans = _plans_unless_cancelled(hooks, image_embedding, rgb, chosen, scope)
    thresholds = thresholds_for(chosen, model.record)
    least = thresholds if floor is None else _checked_floor(floor)
    total = sum(expected_prompts(plan) for plan in plans)
    run = Run(image_embedding, rgb, chosen, least, hooks, total)
    run.complete = bool(plans)
    collector = Collector(scope, thresholds, hooks)
    with image_embedding.larger_budget(RUN_BYTES):
        for plan in plans:
            ask_plan(run, plan, collector)
        if plans and not chosen.crop_layers and not chosen.watershed:
            # The crops of the paper drop the masks that they cut off.
            ask_again(run, collector)
    masks = collector.masks
    sizes = [plan.diameter for plan in plans if plan.diameter is not None]
    if sizes:
        # the procedure of the paper keeps all masks
        masks = without_faint(masks, rgb, min(sizes))
    run.finish()
    return Candidates(
        tuple(masks),
        shape,
        model.record,
        run.complete,
        run.prompts,
        parameters=chosen,
        scope=scope,
        image=image,
        channels=channels,
        windows=run.embedded,
    )


class _CancelledError(Exception):
    pass


def _plans_unless_cancelled(
    hooks: Hooks,
    image: ImageEmbedding,
    rgb: NDArray[np.uint8],
    parameters: EverythingParameters,
    scope: Scope,
) -> list[Plan]:
    """Return the plans of a run; none if cancelled meanwhile."""

    def between() -> None:
        if hooks.cancelled():
            raise _CancelledError

    try:
        return plan_run(image, rgb, parameters, scope, between)
    except _CancelledError:
        return []


def _checked_floor(floor: Any) -> Thresholds:
    """Raise `SegmentationError` if a floor is not two numbers."""
    try:
        iou, stability = floor
    except (TypeError, ValueError):
        raise SegmentationError(
            f'floor is {quoted(floor)}; give (predicted IoU, stability).'
        ) from None
    check_number('predicted IoU of floor', iou, -math.inf)
    check_number('stability of floor', stability, -math.inf)
    return Thresholds(iou, stability)


def ask_plan(run: Run, plan: Plan, collector: Collector) -> None:
    """Prompt the points of a plan, whatever their source."""
    ask = {
        'watershed': take_instances,
        'head': ask_instances,
        'adaptive': ask_adaptively,
        'grid': ask_grid,
    }
    ask[plan.source](run, plan, collector)


def ask_grid(run: Run, plan: Plan, collector: Collector) -> None:
    """Prompt all points of the full grid (Segment Anything, appendix B)."""
    for group in run.groups(plan.regions, REGIONS_AT_ONCE):
        asked = [(worker, worker.region.points) for worker in run.embed(group)]
        for _, proposed in run.ask(asked, RegionWorker.divide):
            collector.add(*proposed)
