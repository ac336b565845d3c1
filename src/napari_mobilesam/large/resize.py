"""Masks from a coarse plane on a finer one, part by part."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import Mask, Window


def enlarge_mask(
    data: NDArray[np.bool_],
    box: Window,
    factor: tuple[float, float],
    window: Window,
) -> tuple[NDArray[np.bool_], Window]:
    """Return the part of an enlarged mask that lies in a window.

    It is where the interpolated mask exceeds one half. A pixel does not depend
    on the window.

    Parameters
    ----------
    data : ndarray
        (h, w) bool.
    box : tuple of int
        (row0, column0, row1, column1) of ``data`` on the coarse plane.
    factor : tuple of float
        Pixels of the fine plane per pixel of the coarse one, along rows and
        columns.
    window : tuple of int
        (row0, column0, row1, column1) on the fine plane, half open.

    Returns
    -------
    data : ndarray
        Bool, cropped to its box; (0, 0) if nothing is in the window.
    box : tuple of int
        Box on the fine plane.
    """
    row0, column0, row1, column1 = fine_box(box, factor)
    top, left = max(row0, window[0]), max(column0, window[1])
    bottom, right = min(row1, window[2]), min(column1, window[3])
    if top >= bottom or left >= right:
        return np.zeros((0, 0), bool), (0, 0, 0, 0)
    if factor == (1, 1):
        part = data[
            top - row0 : bottom - row0, left - column0 : right - column0
        ]
    else:
        rows = _weights(box[0], data.shape[0], factor[0], top, bottom)
        columns = _weights(box[1], data.shape[1], factor[1], left, right)
        part = _interpolated(data, rows, columns) > 0.5
    return crop_to_mask(part, (top, left))


def place_mask(
    mask: Mask,
    factor: tuple[float, float],
    window: Window,
    origin: tuple[int, int] = (0, 0),
) -> Mask | None:
    """Map a mask from a coarse plane to a finer one.

    Parameters
    ----------
    mask : Mask
        Mask in pixels of the coarse plane.
    factor : tuple of float
        Pixels of the fine plane per pixel of the coarse one.
    window : tuple of int
        (row0, column0, row1, column1) on the fine plane, to which the mask is
        clipped.
    origin : tuple of int
        (row, column) of the first pixel of the fine plane.

    Returns
    -------
    Mask or None
        None if no part of it is in the window.
    """
    data, box = enlarge_mask(mask.data, mask.box, factor, window)
    if not data.size:
        return None
    row, column = origin
    return replace(
        mask,
        data=data,
        box=(box[0] + row, box[1] + column, box[2] + row, box[3] + column),
        point=(
            mask.point[0] * factor[0] + row,
            mask.point[1] * factor[1] + column,
        ),
    )


def fine_box(box: Window, factor: tuple[float, float]) -> Window:
    """Return the box on the fine plane that a coarse box covers."""
    return (
        math.floor(box[0] * factor[0]),
        math.floor(box[1] * factor[1]),
        math.ceil(box[2] * factor[0]),
        math.ceil(box[3] * factor[1]),
    )


Weights = tuple[NDArray[np.intp], NDArray[np.float32]]


def _weights(
    origin: int, length: int, factor: float, start: int, stop: int
) -> Weights:
    """Return the coarse pixel before each fine pixel, and the offset.

    Indices count one background pixel before the first.
    """
    places = (np.arange(start, stop) + 0.5) / factor - 0.5 - origin
    before = np.floor(places)
    fraction = (places - before).astype(np.float32)
    return np.clip(before.astype(np.intp) + 1, 0, length), fraction


def _interpolated(
    data: NDArray[np.bool_], rows: Weights, columns: Weights
) -> NDArray[np.float32]:
    padded = np.pad(data, 1).astype(np.float32)
    index, fraction = rows
    between = fraction[:, None]
    tall = padded[index] * (1 - between) + padded[index + 1] * between
    index, fraction = columns
    wide = tall[:, index] * (1 - fraction) + tall[:, index + 1] * fraction
    return np.asarray(wide, np.float32)
