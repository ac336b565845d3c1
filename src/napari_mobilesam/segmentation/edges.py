"""Edges of an image (Segment Anything, section 7.2 and appendix D.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_dilation,
    gaussian_filter,
    map_coordinates,
    sobel,
)
from scipy.special import expit
from skimage.feature import hessian_matrix

from napari_mobilesam.argument_checks import check_flag
from napari_mobilesam.segmentation.everything_plan import plan_run
from napari_mobilesam.segmentation.image import ContrastLimits, as_rgb_plane
from napari_mobilesam.segmentation.image_embedding import (
    ImageEmbedding,
    embedding_of,
)
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.nms import suppress
from napari_mobilesam.segmentation.parameters import (
    Thresholds,
    checked_parameters,
    thresholds_for,
)
from napari_mobilesam.segmentation.region_worker import (
    PromptMask,
    RegionWorker,
)
from napari_mobilesam.segmentation.run import Hooks, Run
from napari_mobilesam.segmentation.scope import checked_scope
from napari_mobilesam.segmentation.upscaling import (
    as_mask,
    upscale_mask,
    upscaler,
)
from napari_mobilesam.types import (
    Box,
    EverythingParameters,
    Frame,
    Mask,
    Progress,
    slices_of,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

# Sobel's filter of a step from 0 to 1 gives 4.
STEP = 4.0
# Sigma of the smoothing used to find the direction of an edge, in pixels.
SMOOTHING = 2.0


class _Drawn(NamedTuple):
    """A mask and its edge within its box, padded by one pixel."""

    mask: Mask
    box: Box
    edge: NDArray[np.float32]


def edge_map(
    image: Any,
    model: Sam,
    points_per_side: int = 16,
    *,
    thin: bool = True,
    region: Any = None,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    parameters: EverythingParameters | None = None,
    embedding: ImageEmbedding | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    **overrides: Any,
) -> NDArray[np.float32]:
    """Detect the edges of all objects and object parts.

    A grid of points is prompted, duplicates are dropped, and a Sobel filter is
    applied to the unthresholded probabilities of each mask; values off the
    border of the mask are set to zero. The edge strength of a pixel is its
    maximum over all masks (Segment Anything, 7.2). Unlike in the paper, masks
    of low predicted IoU are left out: with a small model, their borders in the
    background are noise.

    Parameters
    ----------
    image, model, region, channels, contrast_limits, gamma, embedding, \
progress, cancelled
        As `generate_candidates`.
    points_per_side : int
        Prompts along each side of the image (16 in the paper). Overrides
        ``parameters``.
    thin : bool
        Keep a pixel only where the edge is strongest across it (edge
        non-maximum suppression).
    parameters, **overrides
        As `generate_candidates`; stability is ignored.

    Returns
    -------
    ndarray
        (H, W) float32 from 0 to 1; the edges found so far if cancelled.

    Raises
    ------
    ImageError, SegmentationError, TypeError
        As `generate_candidates`.
    """
    check_flag('thin', thin)
    chosen = checked_parameters(
        parameters,
        {'points_per_side': points_per_side, 'adaptive': False, **overrides},
    )
    rgb = as_rgb_plane(
        image,
        channels=channels,
        contrast_limits=contrast_limits,
        gamma=gamma,
    )
    shape = (rgb.shape[0], rgb.shape[1])
    scope = checked_scope(shape, region)
    image_embedding = embedding_of(model, rgb, embedding)
    plans = plan_run(image_embedding, rgb, chosen, scope)
    least = thresholds_for(chosen, model.record).predicted_iou
    floor = Thresholds(least, stability=float('-inf'))
    hooks = Hooks.of(progress, cancelled)
    total = sum(plan.points for plan in plans)
    run = Run(image_embedding, rgb, chosen, floor, hooks, total)
    edges = np.zeros(shape, dtype=np.float32)
    for region in (r for plan in plans for r in plan.regions):
        asked = [(worker, region.points) for worker in run.embed([region])]
        drawn = [one for _, some in run.ask(asked, _draw_all) for one in some]
        for one in _without_duplicates(drawn, chosen.box_nms):
            part = edges[slices_of(one.box)]
            np.maximum(part, one.edge, out=part)
    edges = np.minimum(edges / np.float32(STEP), 1)
    return thin_edges(edges) if thin else edges


def _draw_all(
    worker: RegionWorker, points: NDArray[np.float64]
) -> list[_Drawn]:
    """Return the masks and edges of the answers to some points."""
    drawn = [_draw(worker, a, points) for a in worker.ask_points(points)]
    return [one for one in drawn if one is not None]


def _draw(
    worker: RegionWorker, answer: PromptMask, points: NDArray[np.float64]
) -> _Drawn | None:
    """Return the mask and edge of an answer; None if empty or cut off."""
    frame = worker.embedding.frame
    threshold = worker.model.mask_threshold
    row, column = points[answer.prompt].tolist()
    mask = as_mask(
        upscale_mask(answer.logits, frame, threshold),
        answer.score,
        (row, column),
        frame.window,
    )
    if not mask.data.size or worker.region.cuts(mask, worker.shape):
        return None
    box = _around(mask.box, frame.window)
    logits = _upscaled(answer.logits, frame, box) - threshold
    probability = expit(logits)
    strength = np.hypot(sobel(probability, 0), sobel(probability, 1))
    inside = logits > 0
    near = binary_dilation(inside) & binary_dilation(~inside)
    return _Drawn(mask, box, np.where(near, strength, 0).astype(np.float32))


def _around(box: Box, window: Box) -> Box:
    """Pad a box by one pixel, within a window."""
    return (
        max(box[0] - 1, window[0]),
        max(box[1] - 1, window[1]),
        min(box[2] + 1, window[2]),
        min(box[3] + 1, window[3]),
    )


def _upscaled(
    logits: NDArray[np.float32], frame: Frame, box: Box
) -> NDArray[np.float32]:
    """Return the logits of the pixels of a box of the image."""
    rows, columns = (
        upscaler(
            logits.shape[0],
            frame.input_size,
            frame.input_shape[axis],
            frame.window_shape[axis],
        ).weights[box[axis] - origin : box[axis + 2] - origin]
        for axis, origin in enumerate(frame.window[:2])
    )
    return np.asarray(rows @ logits @ columns.T, dtype=np.float32)


def _without_duplicates(drawn: list[_Drawn], threshold: float) -> list[_Drawn]:
    of_mask = {id(one.mask): one for one in drawn}
    kept = suppress([one.mask for one in drawn], threshold)
    return [of_mask[id(mask)] for mask in kept]


def thin_edges(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep edges only where they are strongest across their direction.

    Parameters
    ----------
    edges : ndarray
        (H, W) float32 strength.

    Returns
    -------
    ndarray
        (H, W) float32; zero where a neighbour across the edge is stronger.
    """
    if min(edges.shape) < 2:
        return edges
    smooth = gaussian_filter(edges, SMOOTHING / 2)
    rr, rc, cc = hessian_matrix(
        smooth, sigma=SMOOTHING / 2, use_gaussian_derivatives=False
    )
    # Across a ridge the surface curves most: direction of the Hessian's
    # lowest eigenvalue.
    angle = 0.5 * np.arctan2(2 * rc, rr - cc) + np.pi / 2
    across = np.stack([np.cos(angle), np.sin(angle)])
    places = np.indices(edges.shape)
    neighbours = [
        map_coordinates(edges, places + side * across, order=1, mode='nearest')
        for side in (-1, 1)
    ]
    return np.where(edges >= np.maximum(*neighbours), edges, 0).astype(
        np.float32
    )
