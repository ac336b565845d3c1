"""Drawn shapes and existing masks as prompts: plain geometry.

An outline becomes a box and a region, a path becomes points along it, and a
region becomes the low-res logits that the prompt encoder takes as a mask
(Segment Anything, section 3, "dense prompts").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import LOW_RES_STRIDE, Box, Frame, Mask

# Logit of a pixel entirely inside a drawn region; about what a model predicts
# inside an object it is sure of.
CERTAIN = 10.0
# Samples along each side of a low-res cell.
SAMPLES = 4
ELLIPSE_VERTICES = 72
# More points along a scribble take longer, and confuse more than they help.
SCRIBBLE_POINTS = 6


def ellipse_outline(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the outline of an ellipse in a parallelogram.

    Parameters
    ----------
    corners : ndarray
        (4, 2) corners in order. The ellipse touches the middle of each side,
        so rotated and sheared ellipses need no special case.

    Returns
    -------
    ndarray
        (N, 2) float64 vertices.
    """
    corners = np.asarray(corners, dtype=np.float64)
    center = corners.mean(axis=0)
    first = (corners[1] - corners[0]) / 2
    second = (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_VERTICES, endpoint=False)
    return np.asarray(
        center
        + np.cos(angle)[:, None] * first
        + np.sin(angle)[:, None] * second
    )


def box_of(
    outline: NDArray[np.float64], image_shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the half open box around an outline, cut to the image.

    Parameters
    ----------
    outline : ndarray
        (N, 2) row and column with pixel centres at integers.
    image_shape : tuple of int
        (H, W).

    Returns
    -------
    ndarray
        (4,) float64 (row0, column0, row1, column1); of zero area if the
        outline is outside the image.
    """
    # edges of a half open box lie between pixels
    low = np.clip(outline.min(axis=0) + 0.5, 0, image_shape)
    high = np.clip(outline.max(axis=0) + 0.5, 0, image_shape)
    return np.concatenate([low, high])


def region_of(
    outline: NDArray[np.float64], image_shape: tuple[int, int]
) -> Mask | None:
    """Fill an outline.

    Parameters
    ----------
    outline : ndarray
        (N, 2) row and column with pixel centres at integers.
    image_shape : tuple of int
        (H, W).

    Returns
    -------
    Mask or None
        Pixels whose centre is inside (even-odd rule); None if there are none
        in the image.
    """
    box = box_of(outline, image_shape)
    origin = np.floor(box[:2]).astype(int)
    shape = np.ceil(box[2:]).astype(int) - origin
    if (shape <= 0).any():
        return None
    filled = _filled(outline - origin, shape)
    data, tight = crop_to_mask(filled, (int(origin[0]), int(origin[1])))
    return Mask(data, tight, 1.0) if data.size else None


def _filled(
    outline: NDArray[np.float64], shape: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Fill an outline, row by row.

    A hundred times faster than a test of each pixel, as this is needed while
    the user draws.
    """
    height, width = shape
    crossed = np.zeros((height, width + 1), dtype=bool)
    for ends in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        (top, start), (bottom, stop) = sorted(map(tuple, ends))
        first, last = np.clip(np.ceil([top, bottom]), 0, height).astype(int)
        if first == last:
            continue
        rows = np.arange(first, last)
        columns = start + (rows - top) * (stop - start) / (bottom - top)
        crossed[rows, np.clip(np.ceil(columns), 0, width).astype(int)] ^= True
    # a pixel is inside after an odd number of crossings
    return np.logical_xor.accumulate(crossed[:, :-1], axis=1)


def points_along(
    path: NDArray[np.float64], most: int = SCRIBBLE_POINTS
) -> NDArray[np.float64]:
    """Return points at equal distances along a path.

    Points stay half a spacing away from both ends, where scribbles most easily
    leave an object.

    Parameters
    ----------
    path : ndarray
        (N, 2) row and column of its vertices.
    most : int
        Maximum number of points; shorter paths get one per four pixels.

    Returns
    -------
    ndarray
        (M, 2) float64, 1 <= M <= most.
    """
    path = np.asarray(path, dtype=np.float64)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    count = int(np.clip(along[-1] // 4, 1, most))
    places = (np.arange(count) + 0.5) * along[-1] / count
    return np.stack(
        [np.interp(places, along, path[:, axis]) for axis in (0, 1)], axis=1
    )


def low_res_logits(mask: Mask, frame: Frame) -> NDArray[np.float32]:
    """Return the mask input that represents a mask.

    Parameters
    ----------
    mask : Mask
        Region in data pixels, clipped to the window.
    frame : Frame
        Window that is prompted.

    Returns
    -------
    ndarray
        (s, s) float32 logits, ``s = input_size // 4``: `CERTAIN` inside,
        ``-CERTAIN`` outside, and in between according to coverage.
    """
    size = frame.input_size // LOW_RES_STRIDE
    rows, columns = (_samples(frame, axis) for axis in (0, 1))
    inside = sampled(mask, rows, columns).astype(np.float32)
    cover = inside.reshape(size, SAMPLES, size, SAMPLES).mean(axis=(1, 3))
    return (2 * cover - 1) * np.float32(CERTAIN)


def sampled(
    mask: Mask, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Sample a mask at rows and columns of the image; False outside its box.

    Returns
    -------
    ndarray
        (len(rows), len(columns)) bool.
    """
    rows, columns = rows - mask.box[0], columns - mask.box[1]
    height, width = mask.data.shape
    known_rows = (rows >= 0) & (rows < height)
    known_columns = (columns >= 0) & (columns < width)
    values = np.zeros((len(rows), len(columns)), dtype=bool)
    values[np.ix_(known_rows, known_columns)] = mask.data[
        np.ix_(rows[known_rows], columns[known_columns])
    ]
    return values


def part_of(mask: Mask, box: Box) -> NDArray[np.bool_]:
    """Return a mask as (h, w) bool within a box; False where not covered."""
    row0, column0, row1, column1 = box
    return sampled(mask, np.arange(row0, row1), np.arange(column0, column1))


def _samples(frame: Frame, axis: int) -> NDArray[np.intp]:
    """Return the data pixels sampled for all low-res cells."""
    start, stop = frame.window[axis], frame.window[axis + 2]
    cells = frame.input_size // LOW_RES_STRIDE
    pixels = LOW_RES_STRIDE * (stop - start) / frame.input_shape[axis]
    offsets = (np.arange(cells * SAMPLES) + 0.5) * pixels / SAMPLES
    places = np.floor(start + offsets).astype(np.intp)
    # the padding of the input is outside every mask
    places[offsets >= stop - start] = -1
    return places
