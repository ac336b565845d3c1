"""Upscale low-res logits to masks in data pixels, only where needed.

The reference upscales logits twice, bilinearly (``align_corners=False``): to
the model's input, whose padding is then cut off, and to the image. Each step
is linear in rows and in columns, so both together are ``R @ logits @ C.T``
with two banded matrices. An upscaled value is a mean of the low-res values
around it: it can exceed a threshold only where one of those does, which gives
the box to compute before anything is upscaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from napari_mobilesam.types import Frame, Mask, slices_of

# Rows upscaled at once: few enough for the cache.
STRIP_ROWS = 64


class Upscaler(NamedTuple):
    """Interpolation of low-res logits along one axis.

    Attributes
    ----------
    weights : ndarray
        (n, s) float32; rows sum to one.
    first, last : ndarray
        (n,) int, columns of the first and last non-zero weight.
    strips : tuple of csr_matrix
        The same weights as sparse strips of `STRIP_ROWS` rows: a mask is
        upscaled eight times as fast as with the full matrix.
    """

    weights: NDArray[np.float32]
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    strips: tuple[csr_matrix, ...]

    def reach(self, low: NDArray[np.bool_]) -> tuple[int, int]:
        """Return the half-open range of outputs that inputs reach."""
        hit = np.flatnonzero(low)
        if not hit.size:
            return 0, 0
        start = int(np.searchsorted(self.last, hit[0], side='left'))
        stop = int(np.searchsorted(self.first, hit[-1], side='right'))
        return start, stop

    def apply(
        self, low: NDArray[np.float32], start: int, stop: int
    ) -> Iterator[NDArray[np.float32]]:
        """Yield outputs start … stop of (s, m) rows, in strips of rows."""
        height = self.strips[0].shape[0]
        for number in range(start // height, -(-stop // height)):
            rows = self.strips[number] @ low
            origin = number * height
            yield rows[max(start - origin, 0) : stop - origin]


@lru_cache(maxsize=16)
def upscaler(
    low_size: int, input_size: int, cropped: int, size: int
) -> Upscaler:
    """Return the interpolation from ``low_size`` via the input to ``size``.

    Parameters
    ----------
    low_size : int
        Side of the low-res logits.
    input_size : int
        Side of the model's input.
    cropped : int
        Rows (or columns) of the input that are not padding.
    size : int
        Rows (or columns) of the window in data pixels.
    """
    to_input = _interpolated(np.eye(low_size), input_size)[:cropped]
    weights = _interpolated(to_input, size).astype(np.float32)
    nonzero = weights != 0
    first = nonzero.argmax(axis=1)
    last = low_size - 1 - nonzero[:, ::-1].argmax(axis=1)
    strips = tuple(
        csr_matrix(weights[start : start + STRIP_ROWS])
        for start in range(0, size, STRIP_ROWS)
    )
    return Upscaler(weights, first, last, strips)


def _interpolated(rows: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Interpolate (n, s) rows to (size, s), corners not aligned."""
    last = len(rows) - 1
    center = (np.arange(size) + 0.5) * (len(rows) / size) - 0.5
    center = np.clip(center, 0, last)
    left = np.floor(center).astype(np.intp)
    fraction = (center - left)[:, None]
    interpolated: NDArray[np.float64] = (1 - fraction) * rows[left]
    interpolated += fraction * rows[np.minimum(left + 1, last)]
    return interpolated


class UpscaledMask(NamedTuple):
    """One upscaled mask in the coordinates of the whole image.

    Attributes
    ----------
    data : ndarray
        Bool, cropped to ``box``.
    box : tuple of int
        (row0, column0, row1, column1), half open and tight; all zero if the
        mask is empty.
    stability : float
        IoU of the masks thresholded ``offset`` higher and lower; NaN if both
        are empty.
    """

    data: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    stability: float


def upscale_mask(
    logits: NDArray[np.float32],
    frame: Frame,
    threshold: float = 0.0,
    offset: float = 1.0,
) -> UpscaledMask:
    """Upscale one mask and measure its stability.

    Parameters
    ----------
    logits : ndarray
        (s, s) float32 low-res logits.
    frame : Frame
        Position of the window.
    threshold : float
        Logit above which a pixel is in the mask.
    offset : float
        Offset of the stability score (Segment Anything, appendix B).
    """
    rows, columns = _axes(logits.shape[0], frame)
    support = logits > threshold - offset
    row0, row1 = rows.reach(np.asarray(support.any(axis=1)))
    column0, column1 = columns.reach(np.asarray(support.any(axis=0)))
    if row1 <= row0 or column1 <= column0:
        return UpscaledMask(np.zeros((0, 0), bool), (0, 0, 0, 0), float('nan'))
    across = columns.apply(np.ascontiguousarray(logits.T), column0, column1)
    wide = np.ascontiguousarray(np.concatenate(list(across)).T)
    mask = np.empty((row1 - row0, column1 - column0), dtype=bool)
    high = low = done = 0
    for strip in rows.apply(wide, row0, row1):
        np.greater(strip, threshold, out=mask[done : done + len(strip)])
        high += int(np.count_nonzero(strip > threshold + offset))
        low += int(np.count_nonzero(strip > threshold - offset))
        done += len(strip)
    stability = high / low if low else float('nan')
    origin = (frame.window[0] + row0, frame.window[1] + column0)
    data, box = crop_to_mask(mask, origin)
    return UpscaledMask(data, box, stability)


def upscale_plane(
    logits: NDArray[np.float32], frame: Frame, threshold: float = 0.0
) -> NDArray[np.bool_]:
    """Return (H, W) bool of the whole image; False outside the window."""
    plane = np.zeros(frame.image_shape, dtype=bool)
    mask = upscale_mask(logits, frame, threshold, 0.0)
    plane[slices_of(mask.box)] = mask.data
    return plane


def _axes(low_size: int, frame: Frame) -> tuple[Upscaler, Upscaler]:
    rows, columns = (
        upscaler(low_size, frame.input_size, cropped, size)
        for cropped, size in zip(
            frame.input_shape, frame.window_shape, strict=True
        )
    )
    return rows, columns


def crop_to_mask(
    mask: NDArray[np.bool_], origin: tuple[int, int] = (0, 0)
) -> tuple[NDArray[np.bool_], tuple[int, int, int, int]]:
    """Crop a mask to its tight box.

    Parameters
    ----------
    mask : ndarray
        (h, w) bool.
    origin : tuple of int
        (row, column) of its first pixel in the image.

    Returns
    -------
    data : ndarray
        The part within the box; (0, 0) if the mask is empty.
    box : tuple of int
        (row0, column0, row1, column1) in the image, half open.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return np.zeros((0, 0), dtype=bool), (0, 0, 0, 0)
    columns = np.flatnonzero(mask.any(axis=0))
    row0, row1 = int(rows[0]), int(rows[-1]) + 1
    column0, column1 = int(columns[0]), int(columns[-1]) + 1
    box = (
        origin[0] + row0,
        origin[1] + column0,
        origin[0] + row1,
        origin[1] + column1,
    )
    return np.ascontiguousarray(mask[row0:row1, column0:column1]), box


def as_mask(
    upscaled: UpscaledMask,
    score: float,
    point: tuple[float, float],
    crop_box: tuple[int, int, int, int],
) -> Mask:
    """Add score and origin to an upscaled mask.

    Parameters
    ----------
    upscaled : UpscaledMask
        Pixels, box and stability.
    score : float
        Predicted IoU.
    point : tuple of float
        (row, column) of the point prompt; NaN if there was none.
    crop_box : tuple of int
        (row0, column0, row1, column1) of the window that was prompted.
    """
    return Mask(
        upscaled.data,
        upscaled.box,
        float(score),
        upscaled.stability,
        point,
        crop_box,
    )
