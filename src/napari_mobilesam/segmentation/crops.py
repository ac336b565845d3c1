"""Crops and point grids of the paper (Segment Anything, appendix B)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.types import Box, EverythingParameters, window_at


def point_grid(window: Box, points_per_side: int) -> NDArray[np.float64]:
    """Return a grid of points, evenly spaced in a window.

    Parameters
    ----------
    window : tuple of int
        (row0, column0, row1, column1), half open.
    points_per_side : int
        Number n of rows and of columns of points.

    Returns
    -------
    ndarray
        (n * n, 2) float64 (row, column), counted from the corner of the
        image; row by row.
    """
    offset = 1 / (2 * points_per_side)
    side = np.linspace(offset, 1 - offset, points_per_side)
    rows = window[0] + side * (window[2] - window[0])
    columns = window[1] + side * (window[3] - window[1])
    grid = np.meshgrid(rows, columns, indexing='ij')
    return np.stack(grid, axis=-1).reshape(-1, 2)


def crop_regions(
    image_shape: tuple[int, int], parameters: EverythingParameters
) -> list[Region]:
    """Return the whole image, then 2 x 2, 4 x 4 … overlapping crops.

    The overlap is ``crop_overlap`` of the shorter side in the first layer. It
    halves with each layer, as does the point grid.
    """
    regions = []
    for layer in range(parameters.crop_layers + 1):
        scale = parameters.crop_points_downscale**layer
        per_side = max(1, int(parameters.points_per_side / scale))
        regions += [
            Region(window, point_grid(window, per_side))
            for window in _crops(image_shape, layer, parameters.crop_overlap)
        ]
    return regions


def _crops(
    image_shape: tuple[int, int], layer: int, overlap_fraction: float
) -> list[Box]:
    height, width = image_shape
    count = 2**layer
    overlap = 0
    if layer:
        overlap = int(overlap_fraction * min(image_shape) * (2 / count))
    # Rounded up, as in the reference; on tiny images the last crops can be
    # empty.
    crop_height, crop_width = (
        math.ceil((overlap * (count - 1) + length) / count)
        for length in image_shape
    )
    crops = []
    for i in range(count):
        for j in range(count):
            row0 = (crop_height - overlap) * j
            column0 = (crop_width - overlap) * i
            if row0 < height and column0 < width:
                sides = crop_height, crop_width
                crops.append(window_at(row0, column0, sides, image_shape))
    return crops
