"""Checks of prompts before they reach a model."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mobilesam.argument_checks import quoted
from napari_mobilesam.text import counted
from napari_mobilesam.types import LOW_RES_STRIDE, Frame, PromptError, Prompts


def checked_prompts(
    frame: Frame,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    box: ArrayLike | None = None,
    mask_input: ArrayLike | None = None,
) -> Prompts:
    """Validate the prompts of one object.

    Parameters
    ----------
    frame : Frame
        Image and window the prompts are for.
    points : array-like, optional
        (N, 2) (row, column) in data pixels; pixel centres are integers.
    labels : array-like, optional
        (N,) 1 positive, 0 negative; all positive if None.
    box : array-like, optional
        (row0, column0, row1, column1); clipped to the image.
    mask_input : array-like, optional
        (s, s) or (1, s, s) low-res logits.

    Raises
    ------
    PromptError
        If there is no prompt, or one is malformed, outside the image, or
        outside the embedded window.
    """
    prompts = Prompts(
        *_checked_points(points, labels, frame),
        _checked_box(box, frame),
        _checked_mask(mask_input, frame),
    )
    if (
        not len(prompts.points)
        and prompts.box is None
        and prompts.mask_input is None
    ):
        raise PromptError(
            'There is no prompt: give at least a point, a box or a mask.'
        )
    return prompts


def _numbers(values: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise PromptError(
            f'{what}: {quoted(values)} is not an array of numbers.'
        ) from error
    if not np.isfinite(array).all():
        raise PromptError(
            f'{what}: {quoted(values)} contains NaN or infinity.'
        )
    return array


def checked_path(values: Any, name: str) -> NDArray[np.float64]:
    """Return the (N, 2) vertices (row, column) of a drawn path.

    Raises
    ------
    PromptError
        If there are no vertices, or they are not a finite (N, 2) array.
    """
    path = _numbers(values, name)
    if path.ndim != 2 or path.shape[1] != 2 or not len(path):
        raise PromptError(
            f'{name} has the shape {path.shape}; give (N, 2): a (row, '
            'column) for each vertex.'
        )
    return path


def _checked_points(
    points: ArrayLike | None, labels: ArrayLike | None, frame: Frame
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    positions = _numbers([] if points is None else points, 'points')
    if positions.size == 0:
        positions = positions.reshape(0, 2)
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise PromptError(
            f'points have the shape {positions.shape}; give (N, 2): a (row, '
            'column) for each.'
        )
    kinds = np.ones(len(positions)) if labels is None else np.asarray(labels)
    if kinds.shape != (len(positions),):
        raise PromptError(
            f'{counted(len(positions), "point")} but labels of shape '
            f'{kinds.shape}; give one label per point, 1 positive or 0 '
            'negative.'
        )
    if not np.isin(kinds, (0, 1)).all():
        raise PromptError(
            f'labels are {kinds.tolist()}; each has to be 1 (positive) or 0 '
            '(negative).'
        )
    for index, point in enumerate(positions):
        _check_point(index, point, frame)
    return positions, kinds.astype(np.int64)


def _check_point(index: int, point: NDArray[np.float64], frame: Frame) -> None:
    row, column = (float(value) for value in point)
    height, width = frame.image_shape
    # A pixel extends half a pixel around its centre.
    if not (-0.5 <= row < height - 0.5 and -0.5 <= column < width - 0.5):
        raise PromptError(
            f'Point {index} at (row, column) ({row:g}, {column:g}) is outside '
            f'the image of shape {frame.image_shape}.'
        )
    row0, column0, row1, column1 = frame.window
    if not (row0 - 0.5 <= row <= row1 and column0 - 0.5 <= column <= column1):
        raise PromptError(
            f'Point {index} at (row, column) ({row:g}, {column:g}) is outside '
            f'the embedded window {frame.window}; embed one that contains it.'
        )


def _checked_box(
    box: ArrayLike | None, frame: Frame
) -> NDArray[np.float64] | None:
    if box is None:
        return None
    corners = _numbers(box, 'box')
    if corners.shape != (4,):
        raise PromptError(
            f'box has the shape {corners.shape}; give four numbers: row0, '
            'column0, row1, column1.'
        )
    name = f'Box {tuple(float(value) for value in corners)}'
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        raise PromptError(
            f'{name} has no area: row1 has to be larger than row0, and '
            'column1 larger than column0.'
        )
    clipped = _clip(corners, (0, 0, *frame.image_shape))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise PromptError(
            f'{name} is outside the image of shape {frame.image_shape}.'
        )
    if not np.array_equal(clipped, _clip(clipped, frame.window)):
        raise PromptError(
            f'{name} is not within the embedded window {frame.window}; embed '
            'one that contains it.'
        )
    return clipped


def _clip(
    box: NDArray[np.float64], window: tuple[Any, ...]
) -> NDArray[np.float64]:
    low = np.array([window[0], window[1]] * 2, dtype=np.float64)
    high = np.array([window[2], window[3]] * 2, dtype=np.float64)
    return np.clip(box, low, high)


def reach_beyond(
    boxes: NDArray[Any], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return which boxes reach more than a pixel beyond an image.

    Parameters
    ----------
    boxes : ndarray
        (..., 4) row0, column0, row1, column1.
    shape : tuple of int
        (H, W) of the image.
    """
    beyond = (boxes[..., :2] < -1) | (boxes[..., 2:] > np.array(shape) + 1)
    return np.asarray(beyond.any(axis=-1))


def warn_beyond(
    what: str, box: ArrayLike | None, shape: tuple[int, int]
) -> None:
    """Warn if a box given by the user reaches beyond the image.

    Such a box is cut to the image, while one without a pixel of it is refused.
    """
    corners = np.zeros(4) if box is None else np.asarray(box, np.float64)
    if not reach_beyond(corners, shape):
        return
    text = ', '.join(f'{corner:g}' for corner in corners)
    warnings.warn(
        f'{what} ({text}) reaches beyond the image of {shape[0]} × '
        f'{shape[1]} pixels: only the part inside counts.',
        UserWarning,
        stacklevel=4,
    )


def _checked_mask(
    mask: ArrayLike | None, frame: Frame
) -> NDArray[np.float32] | None:
    if mask is None:
        return None
    size = frame.input_size // LOW_RES_STRIDE
    logits = _numbers(mask, 'mask_input').astype(np.float32)
    if logits.shape not in ((size, size), (1, size, size)):
        raise PromptError(
            f'mask_input has the shape {logits.shape}; give low-res logits '
            f'of an earlier prediction of this model, ({size}, {size}).'
        )
    return logits.reshape(size, size)
