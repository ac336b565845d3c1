"""Crops and point grids of segment everything (Segment Anything, B).

A run is a list of regions; each is embedded once and prompted with its points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import (
    LOW_RES_STRIDE,
    STRIDE,
    Box,
    EverythingParameters,
    Mask,
    window_at,
)

# A mask this close to an inner edge of its crop, in data pixels, is cut off
# (as in the reference implementation).
CROP_EDGE = 20.0


def cut_edge(pitch: float) -> float:
    """Return the distance from a window edge within which masks are cut off.

    The border of a mask is blurred over one low-res logit.

    Parameters
    ----------
    pitch : float
        Data pixels along a cell of the embedding.

    Returns
    -------
    float
        Distance in data pixels, for `Region.edge`.
    """
    return 1 + LOW_RES_STRIDE * pitch / STRIDE


class Cut(NamedTuple):
    """Decoder block of an image embedding to prompt; see `ImageEmbedding`.

    Attributes
    ----------
    center : tuple of float
        (row, column) in data pixels.
    pitch : int
        Scale.
    large : bool
        Cut from a large block.
    """

    center: tuple[float, float]
    pitch: int
    large: bool = False


@dataclass(frozen=True, eq=False)
class Region:
    """Part of the image to embed, and the points to prompt in it.

    Attributes
    ----------
    window : tuple of int
        (row0, column0, row1, column1), half open.
    points : ndarray
        (N, 2) float64 (row, column) in data pixels of the image.
    edge : float
        A mask within this distance of a window edge that is not an image edge
        is cut off.
    cut : Cut or None
        Decoder block to prompt. If None, the window is one model input, as in
        the paper.
    core : tuple of int or None
        (row0, column0, row1, column1), half open: the part whose objects this
        region owns, or None. The cores of a plan do not overlap.
    """

    window: Box
    points: NDArray[np.float64]
    edge: float = CROP_EDGE
    cut: Cut | None = None
    core: Box | None = None

    def owns(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (N,) bool: which (N, 2) (row, column) lie in the core."""
        if self.core is None:
            return np.zeros(len(points), dtype=bool)
        low, high = np.array(self.core[:2]), np.array(self.core[2:])
        inside = (points >= low) & (points < high)
        return np.asarray(inside.all(axis=1))

    def cuts(self, mask: Mask, image_shape: tuple[int, int]) -> bool:
        """Return whether the mask ends at an inner edge of the window."""
        row0, column0, row1, column1 = mask.box
        # Inclusive pixel indices, as the reference compares.
        pixels = np.array([row0, column0, row1 - 1, column1 - 1])
        near_window = np.abs(pixels - self.window) <= self.edge
        image = np.array([0, 0, *image_shape])
        near_image = np.abs(pixels - image) <= self.edge
        return bool((near_window & ~near_image).any())


def point_grid(window: Box, points_per_side: int) -> NDArray[np.float64]:
    """Return (n * n, 2) points (row, column), evenly spaced in a window."""
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
