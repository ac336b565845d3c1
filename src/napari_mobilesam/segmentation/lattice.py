"""The points of the full grid of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.types import Box

# Points per object diameter: with 2.5 two or more fall on a round object.
POINTS_PER_DIAMETER = 2.5


@dataclass(frozen=True, eq=False)
class Lattice:
    """The points of the full grid.

    Attributes
    ----------
    rows, columns : ndarray
        (I,) and (J,) float64 coordinates in data pixels, ascending.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]

    @classmethod
    def of(cls, regions: Sequence[Region]) -> Lattice:
        """Return the lattice that the points of regions lie on."""
        points = np.concatenate([region.points for region in regions])
        return cls(np.unique(points[:, 0]), np.unique(points[:, 1]))

    def index(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the (N, 2) indices of (N, 2) lattice points."""
        return np.stack(
            [
                np.searchsorted(self.rows, points[:, 0]),
                np.searchsorted(self.columns, points[:, 1]),
            ],
            axis=1,
        )

    @property
    def spacing(self) -> float:
        """Distance of neighbours in pixels; 1 if there are none."""
        steps = np.concatenate([np.diff(self.rows), np.diff(self.columns)])
        return float(steps.max()) if len(steps) else 1.0


def grid_spacing(
    image_shape: tuple[int, int], points_per_side: int, diameter: float
) -> float:
    """Return the spacing of a full grid for objects of a known size.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    points_per_side : int
        Minimum number of points along the longer side of the image.
    diameter : float
        Object diameter in data pixels.

    Returns
    -------
    float
        Distance of neighbouring points in data pixels, at least 1.
    """
    spacing = min(
        max(image_shape) / points_per_side, diameter / POINTS_PER_DIAMETER
    )
    return max(spacing, 1.0)


def lattice_points(
    image_shape: tuple[int, int], spacing: float, core: Box
) -> NDArray[np.float64]:
    """Return the lattice points of an image that a core owns.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W); the lattice is the same whatever the core.
    spacing : float
        Maximum distance of neighbours along an axis, in pixels.
    core : tuple of int
        (row0, column0, row1, column1), half open.

    Returns
    -------
    ndarray
        (N, 2) float64 (row, column).
    """
    axes = []
    for axis, length in enumerate(image_shape):
        count = max(1, math.ceil(length / spacing))
        places = (np.arange(count) + 0.5) * (length / count)
        inside = (places >= core[axis]) & (places < core[axis + 2])
        axes.append(places[inside])
    grid = np.meshgrid(*axes, indexing='ij')
    return np.stack(grid, axis=-1).reshape(-1, 2)
