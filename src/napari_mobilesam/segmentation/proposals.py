"""Object proposals, and boxes as prompts (Segment Anything, 7.3 and 7.4)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mobilesam.argument_checks import (
    check_model,
    check_number,
    quoted,
    small_array,
)
from napari_mobilesam.segmentation.image import ContrastLimits, as_rgb_plane
from napari_mobilesam.segmentation.image_embedding import (
    ImageEmbedding,
    embedding_of,
)
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.segmentation.masks import paint_objects
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

BOX_COLUMNS = ('row0', 'column0', 'row1', 'column1')


def object_proposals(
    image: Any,
    model: Sam,
    *,
    points_per_side: int = 64,
    box_nms: float = 0.9,
    most: int = 1000,
    parameters: EverythingParameters | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Return boxes that may contain objects, most likely first.

    The boxes are those of masks from a dense grid of prompts, parts of objects
    included, with fewer duplicates dropped than for labels (Segment Anything,
    7.3).

    Parameters
    ----------
    image, model, parameters, **options
        As `generate_candidates`.
    points_per_side : int
        Prompts along each side of the image; 64 in the paper.
    box_nms : float
        Box IoU above which the lower-scored mask is dropped, within a crop and
        between crops. Like ``points_per_side``, it overrides ``parameters``.
    most : int
        Maximum number of boxes.

    Returns
    -------
    pandas.DataFrame
        row0, column0, row1, column1 (half open, data pixels), score (mean of
        predicted IoU and stability, used for ranking), predicted_iou,
        stability, area (pixels).

    Raises
    ------
    ImageError, SegmentationError, TypeError
        As `generate_candidates`.
    """
    import pandas as pd

    check_number('most', most, 1, whole=True)
    candidates = generate_candidates(
        image,
        model,
        parameters=parameters,
        points_per_side=points_per_side,
        box_nms=box_nms,
        **{'crop_nms': box_nms, 'adaptive': False, **options},
    )
    records = [
        (
            *mask.box,
            (mask.score + mask.stability) / 2,
            mask.score,
            mask.stability,
            mask.area,
        )
        for mask in candidates.select()
    ]
    columns = [*BOX_COLUMNS, 'score', 'predicted_iou', 'stability', 'area']
    table = pd.DataFrame.from_records(records, columns=columns)
    ranked = table.sort_values('score', ascending=False, kind='stable')
    return ranked.head(most).reset_index(drop=True)


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
    columns = getattr(boxes, 'columns', None)
    if columns is not None:
        missing = [name for name in BOX_COLUMNS if name not in columns]
        if missing:
            raise PromptError(
                f'The table of boxes has no column {", ".join(missing)}; it '
                f'has: {", ".join(map(str, columns))}.'
            )
        boxes = _numbers(cast('pd.DataFrame', boxes)[list(BOX_COLUMNS)])
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


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with numeric columns."""
    with contextlib.suppress(TypeError, ValueError):
        return table.astype(float)
    for name in table.columns:
        for row, value in enumerate(table[name]):
            try:
                float(value)
            except (TypeError, ValueError):
                raise PromptError(
                    f'{name} is {value!r} in row {row} of the table, counted '
                    'from 0; give a number.'
                ) from None
    return table.astype(float)


def boxes_of_table(
    table: pd.DataFrame, plane: Sequence[int] | None = None
) -> pd.DataFrame:
    """Read boxes from a table, as `segment_boxes` takes them.

    Parameters
    ----------
    table : DataFrame
        Table with the columns row0, column0, row1, column1; or as napari saves
        a Shapes layer: index, axis-0, axis-1, … of each vertex, the last two
        axes being rows and columns. Paths and lines are left out, as they
        enclose nothing.
    plane : sequence of int, optional
        Index along the axes before rows and columns; shapes on other planes
        are left out. Required if there are shapes on several planes.

    Returns
    -------
    DataFrame
        row0, column0, row1, column1.

    Raises
    ------
    PromptError
        If the table has neither form, no rows, or no box on the plane.

    Warns
    -----
    UserWarning
        If there are paths or lines.
    """
    axes = [name for name in table.columns if str(name).startswith('axis-')]
    corners_given = set(BOX_COLUMNS) <= set(table.columns)
    if not corners_given and ('index' not in table.columns or len(axes) < 2):
        raise PromptError(
            'The table has neither the columns row0, column0, row1, column1 '
            'nor those of a Shapes layer: index, axis-0, axis-1. It has '
            f'{", ".join(map(str, table.columns))}.'
        )
    if not len(table):
        raise PromptError('The table of boxes has no rows.')
    if corners_given:
        return _numbers(table[list(BOX_COLUMNS)])
    table = _on_plane(_areas(table), axes[:-2], plane)
    corners = table.groupby('index')[axes[-2:]]
    # vertices refer to pixel centres, boxes to pixel edges
    low, high = corners.min() + 0.5, corners.max() + 0.5
    low.columns, high.columns = BOX_COLUMNS[:2], BOX_COLUMNS[2:]
    return low.join(high)


def _areas(table: pd.DataFrame) -> pd.DataFrame:
    """Return the vertices of shapes that enclose an area."""
    if 'shape-type' not in table.columns:
        return table
    kinds = table['shape-type'].astype(str).str.lower()
    open_shapes = kinds.isin(('path', 'line'))
    count = int(table.loc[open_shapes, 'index'].nunique())
    if open_shapes.all():
        raise PromptError(
            f'The {count} shapes of the table are paths or lines, which '
            'enclose nothing: draw rectangles, ellipses or polygons.'
        )
    if count:
        warnings.warn(
            f'{count} shapes are paths or lines, which enclose nothing, and '
            'are left out.',
            UserWarning,
            stacklevel=3,
        )
    return table[~open_shapes]


def _on_plane(
    table: pd.DataFrame, leading: list[str], plane: Sequence[int] | None
) -> pd.DataFrame:
    """Return the vertices of shapes on one plane."""
    if not leading:
        return table
    places = table[leading].round().astype(int)
    there = sorted(set(map(tuple, places.to_numpy().tolist())))
    named = '; '.join(','.join(map(str, place)) for place in there[:5])
    more = ' …' if len(there) > 5 else ''
    if plane is None:
        if len(there) > 1:
            raise PromptError(
                f'The shapes lie on {len(there)} planes ({named}{more}): '
                'choose one with plane (--plane).'
            )
        return table
    if len(plane) != len(leading):
        raise PromptError(
            f'The shapes have {len(leading)} axes before rows and columns, '
            f'but the plane {tuple(plane)} has {len(plane)}.'
        )
    chosen = (places == list(plane)).all(axis=1)
    if not chosen.any():
        raise PromptError(
            f'No shape lies on the plane {tuple(plane)}: they are on '
            f'{named}{more}.'
        )
    return table[chosen]
