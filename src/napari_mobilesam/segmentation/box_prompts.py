"""Boxes as prompts: the object in each (Segment Anything, section 7.4)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mobilesam.argument_checks import check_model, quoted, small_array
from napari_mobilesam.segmentation.box_tables import corners_of_table
from napari_mobilesam.segmentation.image import ContrastLimits, as_rgb_plane
from napari_mobilesam.segmentation.image_embedding import (
    ImageEmbedding,
    embedding_of,
)
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.painting import paint_objects
from napari_mobilesam.segmentation.parameters import NO_THRESHOLDS
from napari_mobilesam.segmentation.prompt_checks import (
    checked_prompts,
    reach_beyond,
)
from napari_mobilesam.segmentation.region import DecoderBlock, Region
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.run import REGIONS_AT_ONCE, Hooks, Run
from napari_mobilesam.segmentation.scale_choice import (
    holding_pitch,
    known_diameter,
)
from napari_mobilesam.types import (
    EverythingParameters,
    Frame,
    Mask,
    Progress,
    PromptError,
    Prompts,
    SegmentationError,
)

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam


def segment_boxes(
    image: Any,
    model: Sam,
    boxes: ArrayLike | pd.DataFrame,
    *,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    embedding: ImageEmbedding | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Segment the object in each box (Segment Anything, 7.4).

    Parameters
    ----------
    image, model, channels, contrast_limits, gamma, embedding, progress, \
cancelled
        As `generate_candidates`; progress is counted in boxes.
    boxes : array-like or DataFrame
        (N, 4) (row0, column0, row1, column1) in data pixels, or a table with
        these columns, such as that of `object_proposals`.

    Returns
    -------
    labels : ndarray
        (H, W) int32; box i has label i + 1, better masks over worse ones.
    table : pandas.DataFrame
        As `segment_everything`, one row per box whose object has a visible
        pixel; if cancelled, only for boxes done so far.

    Raises
    ------
    ImageError
        If the image cannot be used.
    PromptError
        If a box is malformed, without area or outside the image.
    SegmentationError
        If the embedding belongs to another model or image.
    """
    check_model(model)
    rgb = as_rgb_plane(
        image,
        channels=channels,
        contrast_limits=contrast_limits,
        gamma=gamma,
    )
    shape = (rgb.shape[0], rgb.shape[1])
    corners = _checked_boxes(boxes, shape, model.input_size)
    known = embedding_of(model, rgb, embedding)
    masks, complete = masks_of_boxes(
        rgb, model, corners, known, progress=progress, cancelled=cancelled
    )
    return paint_objects(masks, shape, complete)


def masks_of_boxes(
    rgb: NDArray[np.uint8],
    model: Sam,
    corners: NDArray[np.float64],
    known: ImageEmbedding,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_answers: Callable[[list[tuple[int, Mask]]], None] | None = None,
    on_work: Callable[[int, int], None] | None = None,
) -> tuple[list[Mask], bool]:
    """Predict a mask for each box prompt.

    Parameters
    ----------
    rgb : ndarray
        (H, W, 3) uint8.
    model, progress, cancelled, on_work
        As `segment_boxes` and `generate_candidates`.
    corners : ndarray
        (N, 4) float64 boxes within the image.
    known : ImageEmbedding
        Embedding of the image.
    on_answers : callable, optional
        Called with box indices and their masks as they come in.

    Returns
    -------
    masks : list of Mask
        One per box; empty if the model finds nothing or the call was
        cancelled.
    complete : bool
        False if cancelled.
    """
    groups: dict[DecoderBlock, list[int]] = {}
    for index, box in enumerate(corners):
        groups.setdefault(_decoder_block_for(box, known), []).append(index)
    # No mask is cut off: the box says where it ends.
    regions = [
        Region(
            known.grid.frame_at(*block).window, np.zeros((0, 2)), -1.0, block
        )
        for block in groups
    ]
    run = Run(
        known,
        rgb,
        EverythingParameters(max_area_fraction=1.0),
        # a box is an object, whatever the model thinks of its mask
        NO_THRESHOLDS,
        Hooks.of(progress, cancelled, on_work=on_work),
        len(corners),
    )
    empty = Mask(np.zeros((0, 0), dtype=bool), (0, 0, 0, 0), 0.0)
    masks = [empty] * len(corners)

    def answer(
        worker: RegionWorker, members: NDArray[np.intp]
    ) -> list[tuple[int, Mask]]:
        return worker.segment_boxes(corners[members])

    for group in run.groups(regions, REGIONS_AT_ONCE):
        asked = [
            (worker, np.array(groups[worker.region.decoder_block]))
            for worker in run.embed(group)
            if worker.region.decoder_block is not None
        ]
        for members, answers in run.ask(asked, answer):
            found = [(int(members[n]), mask) for n, mask in answers]
            for number, mask in found:
                masks[number] = mask
            if on_answers is not None:
                on_answers(found)
    return masks, run.complete


def _decoder_block_for(
    box: NDArray[np.float64], image: ImageEmbedding
) -> DecoderBlock:
    """Return the decoder block for a box; nearby boxes share one.

    Its middle lies on a lattice of cores, unless the box does not fit.
    """
    grid = image.grid
    prompts = Prompts(box=box)
    diameter = known_diameter(prompts)
    assert diameter is not None
    pitch = holding_pitch(grid, prompts, grid.pitch_for(diameter))
    side = grid.core * pitch
    row, column = box.reshape(2, 2).mean(axis=0)
    block = DecoderBlock(
        ((row // side + 0.5) * side, (column // side + 0.5) * side),
        pitch,
        large=True,
    )
    window = np.array(grid.frame_at(*block).window)
    inside = (box[:2] >= window[:2]) & (box[2:] <= window[2:])
    return block if inside.all() else DecoderBlock((row, column), pitch)


def _checked_boxes(
    boxes: ArrayLike | pd.DataFrame, shape: tuple[int, int], input_size: int
) -> NDArray[np.float64]:
    """Return (N, 4) float64 boxes within the image."""
    if hasattr(boxes, 'columns'):
        boxes = corners_of_table(cast('pd.DataFrame', boxes))
    try:
        array = small_array(boxes, 'boxes')
    except SegmentationError:
        raise
    except (TypeError, ValueError, RuntimeError):
        array = np.zeros(1)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise PromptError(
            f'boxes are {quoted(boxes)}, of shape {array.shape}; give (N, 4): '
            'row0, column0, row1, column1 of each.'
        )
    frame = Frame.of(shape, (0, 0, *shape), input_size)
    checked = []
    for number, box in enumerate(array):
        try:
            checked.append(checked_prompts(frame, box=box).box)
        except PromptError as error:
            raise PromptError(
                f'Box {number} of {len(array)}, counted from 0: {error}'
            ) from error
    beyond = np.flatnonzero(reach_beyond(array, shape))
    if len(beyond):
        warnings.warn(
            f'{len(beyond)} of {len(array)} boxes reach beyond the image of '
            f'{shape[0]} × {shape[1]} pixels, first box {beyond[0]}, counted '
            'from 0: only the part inside counts.',
            UserWarning,
            stacklevel=3,
        )
    return np.array(checked, dtype=np.float64)
