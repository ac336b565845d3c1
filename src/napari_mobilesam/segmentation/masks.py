"""Box-cropped masks: overlap of two, and the innermost point of one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from napari_mobilesam.types import Mask


def shared_area(one: Mask, other: Mask) -> int:
    """Return the number of pixels that two masks share."""
    row0, column0 = map(max, one.box[:2], other.box[:2])
    row1, column1 = map(min, one.box[2:], other.box[2:])
    if row0 >= row1 or column0 >= column1:
        return 0
    first, second = (
        mask.data[
            row0 - mask.box[0] : row1 - mask.box[0],
            column0 - mask.box[1] : column1 - mask.box[1],
        ]
        for mask in (one, other)
    )
    return int(np.count_nonzero(first & second))


def mask_iou(one: Mask, other: Mask) -> float:
    """Return the IoU of two masks, of one plane or of planes of one shape."""
    shared = shared_area(one, other)
    total = one.area + other.area - shared
    return shared / total if total else 0.0


def center_of(mask: Mask) -> tuple[float, float]:
    """Return (row, column) of the middle of the innermost pixel.

    In data pixels, counted from the corner of the image like the points of a
    grid.
    """
    row, column = innermost_pixel(mask.data)
    return mask.box[0] + row + 0.5, mask.box[1] + column + 0.5


def interior_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the distance of each pixel of an (h, w) mask to its outside."""
    distance = distance_transform_edt(np.pad(mask, 1))
    return np.asarray(distance[1:-1, 1:-1], dtype=np.float32)


def innermost_pixel(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the pixel farthest from the outside of the mask.

    Parameters
    ----------
    mask : ndarray
        (h, w) bool, not empty.

    Returns
    -------
    tuple of int
        (row, column).
    """
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    peak = int(np.argmax(interior_distance(part)))
    row, column = np.unravel_index(peak, part.shape)
    return int(row + rows[0]), int(column + columns[0])
