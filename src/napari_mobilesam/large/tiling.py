"""Tiles of one size on one grid, with cores that own the points.

All numbers are pixels of the working plane, the pyramid level from which tiles
are read. Tiles start at multiples of an embedding pixel, so every tile sees an
object at the same subpixel position of the model's masks and finds the same
mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.lattice import (
    grid_spacing,
    lattice_points,
)
from napari_mobilesam.segmentation.windows import HALO, window_side
from napari_mobilesam.types import (
    STRIDE,
    EverythingParameters,
    ModelRecord,
    Window,
    window_at,
)

# For blocks of tiles: maximum tiles along a side, minimum blocks of a plane
# with enough tiles, and maximum pixels along a side of a block of several
# tiles.
MOST_TILES = 8
TASKS = 16
BLOCK_SIDE = 2048


class TileBlock(NamedTuple):
    """Neighbouring tiles of a plane that form one task.

    Attributes
    ----------
    plane : int
        Plane of the tiles.
    row, column : int
        Row and column of the first tile.
    tiles : tuple of (int, int)
        Rows and columns of the tiles that may not be empty.
    """

    plane: int
    row: int
    column: int
    tiles: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Grid:
    """Grid of overlapping tiles of a plane.

    Attributes
    ----------
    shape : tuple of int
        (H, W) of the plane.
    side : int
        Side of a tile; the last tiles end with the axis.
    stride : int
        Distance of neighbouring tiles, at most ``side``.
    spacing : float
        Maximum distance of neighbouring points along an axis.
    grain : int
        Pixels of the plane per pixel of a tile's embedding; tiles start at
        multiples of it.
    """

    shape: tuple[int, int]
    side: int
    stride: int
    spacing: float
    grain: int = 1

    @property
    def halo(self) -> int:
        """Context around a core."""
        return (self.side - self.stride) // 2

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        rows, columns = (
            1 + max(0, math.ceil((length - self.side) / self.stride))
            for length in self.shape
        )
        return rows, columns

    @property
    def block(self) -> int:
        """Rows and columns of tiles that are processed together.

        Larger blocks save time, as tiles learn from each other. But there must
        be enough tasks for many workers, and each must have a limited number
        of pixels.
        """
        enough = math.isqrt(math.prod(self.tiles) // TASKS)
        small = 1 + max(0, BLOCK_SIDE - self.side) // self.stride
        return max(1, min(MOST_TILES, enough, small))

    def window(self, row: int, column: int) -> Window:
        """Return the window that is embedded for a tile."""
        sides = self.side, self.side
        return window_at(
            row * self.stride, column * self.stride, sides, self.shape
        )

    def core(self, row: int, column: int) -> Window:
        """Return the part of a tile's window whose points it owns."""
        (row0, row1), (column0, column1) = (
            self._core(axis, index) for axis, index in enumerate((row, column))
        )
        return row0, column0, row1, column1

    def points(self, row: int, column: int) -> NDArray[np.float64]:
        """Return the (N, 2) points (row, column) that a tile owns."""
        return lattice_points(self.shape, self.spacing, self.core(row, column))

    def _core(self, axis: int, index: int) -> tuple[int, int]:
        last = index == self.tiles[axis] - 1
        start = index * self.stride + self.halo if index else 0
        stop = (index + 1) * self.stride + self.halo
        return start, self.shape[axis] if last else stop


def plan_grid(
    shape: tuple[int, int],
    diameter: float | None,
    record: ModelRecord,
    parameters: EverythingParameters,
) -> Grid:
    """Return a grid of tiles in which objects suit the model.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the plane.
    diameter : float or None
        Object diameter in pixels of the plane; None for tiles of the size of
        the model's input.
    record : ModelRecord
        Input size and object sizes of the model.
    parameters : EverythingParameters
        Parameters; ``points_per_side`` applies to a plane of a single tile.

    Returns
    -------
    Grid
        Grid, with a single tile if that suits the model.
    """
    longest = max(shape)
    if diameter is None:
        side = min(longest, record.input_size)
        halo = side / 8
        spacing = max(1.0, side / parameters.points_per_side)
    else:
        side = window_side(shape, diameter, record)
        halo = HALO * diameter
        spacing = grid_spacing(shape, parameters.points_per_side, diameter)
    if side >= longest:
        return Grid(shape, longest, longest, spacing)
    cells = record.input_size // STRIDE
    grain = max(1, round(side / cells))
    # at most a quarter of the tile
    overlap = 2 * min(math.ceil(halo / grain), cells // 4)
    stride = max(1, cells - overlap) * grain
    return Grid(shape, grain * cells, stride, spacing, grain)


def is_cut(
    boxes: NDArray[np.int64],
    windows: NDArray[np.int64],
    shape: tuple[int, int],
    edge: float,
) -> NDArray[np.bool_]:
    """Return which boxes an inner edge of their tile cuts off.

    Parameters
    ----------
    boxes, windows : ndarray
        (N, 4) int (row0, column0, row1, column1) of masks, and of the tiles
        that show them.
    shape : tuple of int
        (H, W) of the plane, whose edges cut nothing off.
    edge : float
        Distance from the edge of a tile, see `cut_edge`.

    Returns
    -------
    ndarray
        (N,) bool.
    """
    near = np.abs(boxes - windows) < edge
    ends = np.array([0, 0, *shape])
    # A window may extend beyond the plane.
    inner = np.where(
        [True, True, False, False], windows > ends, windows < ends
    )
    return (near & inner).any(axis=1)
