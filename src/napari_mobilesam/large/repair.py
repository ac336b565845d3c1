"""Repair of objects cut off by tiles, with new, larger tiles around them.

A cut object is proposed again in a tile centred on its visible part. If that
tile cannot hold it either, the object is proposed again in a tile twice as
large and half as fine, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.mask_table import MaskTable
from napari_mobilesam.large.propose import TileTask, repair_task
from napari_mobilesam.large.tiling import Grid
from napari_mobilesam.types import Window

# Maximum share of a new tile taken by the visible part of an object.
LARGEST_PART = 0.5


def repair_tasks(
    cut: MaskTable, plane: int, grid: Grid, shrink: int
) -> Iterator[TileTask]:
    """Return tiles around cut objects; neighbours share one.

    Parameters
    ----------
    cut : MaskTable
        Cut masks of one plane.
    plane : int
        The plane.
    grid : Grid
        The tiles that cut them.
    shrink : int
        Factor by which the new tiles are larger and coarser.
    """
    cut = cut.take(cut.best_first())
    side = grid.side * shrink
    waiting = np.ones(len(cut), bool)
    for number in range(len(cut)):
        if not waiting[number]:
            continue
        window = centred_window(cut.boxes[number], side, shrink, grid)
        group = waiting & held(cut.boxes, window, grid.halo * shrink, grid)
        group[number] = True
        waiting &= ~group
        points = np.unique(cut.points[group], axis=0)
        yield repair_task(plane, window, shrink, points)


def fits(cut: MaskTable, grid: Grid, shrink: int) -> NDArray[np.bool_]:
    """Return cut masks that may fit in a tile, given their visible part."""
    extents = (cut.boxes[:, 2:] - cut.boxes[:, :2]).max(axis=1, initial=0)
    return extents <= LARGEST_PART * grid.side * shrink


def centred_window(
    box: NDArray[np.int64], side: int, shrink: int, grid: Grid
) -> Window:
    """Return a window around a box, aligned to the grid and in the plane."""
    raster = grid.grain * shrink
    edges = []
    for axis, length in enumerate(grid.shape):
        start = (int(box[axis]) + int(box[axis + 2]) - side) // 2
        last = max(0, -(-(length - side) // raster) * raster)
        start = min(max(0, round(start / raster) * raster), last)
        edges.append((start, min(start + side, length)))
    (row0, row1), (column0, column1) = edges
    return row0, column0, row1, column1


def held(
    boxes: NDArray[np.int64], window: Window, halo: int, grid: Grid
) -> NDArray[np.bool_]:
    """Return whether boxes lie in a window, a halo away from inner edges."""
    low, high = np.array(window[:2]), np.array(window[2:])
    low = np.where(low > 0, low + halo, 0)
    high = np.where(high < grid.shape, high - halo, high)
    inside = (boxes[:, :2] >= low) & (boxes[:, 2:] <= high)
    return np.asarray(inside.all(axis=1))
