"""Boxes that end where the mouse button is released.

vispy drops moves within 10 ms of each other, such as those of a drag while the
window was busy, and napari ignores where a drag ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

BOX_MODE = 'add_rectangle'
# data pixels
SAME_PLACE = 1e-3


def released_box(
    layer: Shapes, number: int, start: NDArray[np.float64], event: Any
) -> NDArray[np.float64] | None:
    """Return the corners of a box that was drawn by a drag.

    Parameters
    ----------
    layer : napari.layers.Shapes
        Layer in which napari is still drawing the box.
    number : int
        Number of the box.
    start : ndarray
        (ndim,) data coordinates where the mouse button was pressed.
    event : napari.utils.events.Event
        Its release.

    Returns
    -------
    ndarray or None
        (4, ndim) data coordinates; None if the box ends there already, or is
        not drawn freely: a key has ended it, or Shift makes it a square.
    """
    if not layer._is_creating or 'Shift' in event.modifiers:
        return None
    end = np.asarray(layer.world_to_data(event.position))
    if np.isclose(layer.data[number], end, atol=SAME_PLACE).all(1).any():
        return None
    columns = event.dims_displayed[-1] - (len(event.position) - layer.ndim)
    corners = np.array([start, start, end, end])
    corners[1, columns], corners[3, columns] = end[columns], start[columns]
    return corners


def end_box(layer: Shapes, number: int, corners: NDArray[np.float64]) -> None:
    """Replace a box that is being drawn, and end the drawing."""
    boxes = list(layer.data)
    boxes[number] = corners
    layer.data = boxes
