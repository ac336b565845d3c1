"""Outlines of labels as polygons, for a Shapes layer or a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours, regionprops

from napari_mobilesam.argument_checks import (
    check_number,
    check_pixels,
    checked_array,
)
from napari_mobilesam.types import ImageError

# Vertices that move the outline by less than this, in pixels, are left out.
TOLERANCE = 0.5


def mask_outlines(
    labels: NDArray[Any], tolerance: float = TOLERANCE
) -> list[NDArray[np.float64]]:
    """Return the outline of each label.

    Parameters
    ----------
    labels : ndarray
        (H, W) integer label image; 0 is background.
    tolerance : float
        Maximum distance, in pixels, of the outline from the label's border.

    Returns
    -------
    list of ndarray
        (N, 2) float64 (row, column) in data pixels for each label, in
        ascending order. A label in several pieces gets the longest outline;
        holes are ignored. Pixel centres are integers, so the outline runs half
        a pixel outside the centres of a label's outermost pixels.
    """
    check_number('tolerance', tolerance, 0, 1e6)
    labels = checked_array(labels, 'labels')
    if labels.ndim != 2 or labels.dtype.kind not in 'iu':
        raise ImageError(
            f'labels have the shape {labels.shape} and the type '
            f'{labels.dtype}; give a (H, W) plane of integers.'
        )
    check_pixels(labels.shape, 'labels')
    labels = np.asarray(labels)
    if not labels.size:
        return []
    if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
        raise ImageError(
            f'labels are from {labels.min()} to {labels.max()}; number the '
            'objects from 1 to 2,147,483,647.'
        )
    # regionprops uses labels as list indices
    _, compact = np.unique(np.append(labels, 0), return_inverse=True)
    compact = compact[:-1].reshape(labels.shape)
    outlines = []
    for region in regionprops(compact):
        padded = np.pad(region.image, 1).astype(np.float64)
        contours = find_contours(padded, 0.5, fully_connected='high')
        longest = max(contours, key=len)
        polygon = approximate_polygon(longest, tolerance)
        # The last vertex repeats the first; a single pixel or line would be
        # left with no more than two.
        if len(polygon) < 4:
            polygon = longest
        origin = np.array(region.bbox[:2]) - 1
        outlines.append(polygon[:-1] + origin)
    return outlines
