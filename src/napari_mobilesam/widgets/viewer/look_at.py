"""Bring a part of a layer into view."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer
from numpy.typing import ArrayLike, NDArray

from napari_mobilesam.widgets.viewer.layer_plane import camera_of
from napari_mobilesam.widgets.viewer.layers import (
    apply,
    data_of,
    data_to_world_matrix,
    world_units,
)

# Screen pixels of the smallest object that is not magnified, and the size
# that smaller ones are magnified to.
SMALLEST_SHOWN = 40
ZOOMED_TO = 160
# Share of the canvas that an object may fill; the view zooms out for larger
# ones.
MOST_OF_CANVAS = 0.8


def look_at(
    viewer: ViewerModel, layer: Layer, low: ArrayLike, high: ArrayLike
) -> None:
    """Move sliders and camera to a box of a layer.

    The zoom is kept if the box is seen well: entirely, with a margin, and not
    too small.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    layer : napari.layers.Layer
        Layer in whose data the box is given.
    low, high : array_like
        First and last pixel along each axis of the layer.
    """
    world = move_sliders(viewer, layer, low, high)
    seen = world[:, list(viewer.dims.displayed)]
    matrix = data_to_world_matrix(layer, viewer.dims.ndim, world_units(viewer))
    pixel = float(np.linalg.norm(matrix[:-1, -2]))
    look_at_world(viewer, seen, pixel)


def move_sliders(
    viewer: ViewerModel, layer: Layer, low: ArrayLike, high: ArrayLike
) -> NDArray[np.float64]:
    """Move the sliders to the middle of a box of a layer; see `look_at`.

    Returns
    -------
    ndarray
        (2, D) first and last corner in world coordinates.
    """
    ndim = viewer.dims.ndim
    corners = np.zeros((2, ndim))
    corners[:, ndim - layer.ndim :] = [low, high]
    matrix = data_to_world_matrix(layer, ndim, world_units(viewer))
    world = apply(matrix, corners)
    for axis in viewer.dims.not_displayed:
        if axis >= ndim - layer.ndim:
            viewer.dims.set_point(axis, float(world[:, axis].mean()))
    return world


def slider_pixels(viewer: ViewerModel, layer: Layer) -> NDArray[np.intp]:
    """Return the pixel of a layer at the slider positions, for each axis."""
    ndim = viewer.dims.ndim
    matrix = data_to_world_matrix(layer, ndim, world_units(viewer))
    point = apply(np.linalg.inv(matrix), np.array([viewer.dims.point]))[0]
    last = np.array(data_of(layer).shape[: layer.ndim]) - 1
    return np.clip(np.round(point[-layer.ndim :]), 0, last).astype(np.intp)


def look_at_world(
    viewer: ViewerModel, corners: NDArray[np.float64], least_size: float = 1e-9
) -> None:
    """Move the camera to a box, and zoom if it is not seen well.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    corners : ndarray
        (2, D) first and last corner along the displayed axes, in world
        coordinates.
    least_size : float
        Side in world coordinates assumed for a smaller box.
    """
    camera = camera_of(viewer)
    sides = np.maximum(np.abs(corners[1] - corners[0]), least_size)
    room = MOST_OF_CANVAS * np.asarray(canvas_size(viewer))
    whole = float((room / sides[-2:]).min())
    size = float(sides.max())
    if size * camera.zoom < SMALLEST_SHOWN:
        camera.zoom = min(ZOOMED_TO / size, whole)
    elif camera.zoom > whole:
        camera.zoom = whole
    camera.center = (
        *camera.center[: len(camera.center) - corners.shape[1]],
        *corners.mean(axis=0),
    )


def canvas_size(viewer: ViewerModel) -> tuple[int, int]:
    """Return height and width of the canvas in screen pixels."""
    canvas = getattr(viewer, 'canvas', None)
    # private before napari 0.9
    size = viewer._canvas_size if canvas is None else canvas.size
    return int(size[0]), int(size[1])
