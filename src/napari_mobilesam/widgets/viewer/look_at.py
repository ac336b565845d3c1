"""Bringing a part of a layer into view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_mobilesam.widgets.viewer.layer_plane import camera_of
from napari_mobilesam.widgets.viewer.layers import apply, data_to_world_matrix

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

# Screen pixels of the smallest object that is not magnified, and the size
# that smaller ones are magnified to.
SMALLEST_SHOWN = 40
ZOOMED_TO = 160


def look_at(
    viewer: ViewerModel,
    layer: Layer,
    low: Sequence[float],
    high: Sequence[float],
) -> None:
    """Move sliders and camera to a box of a layer.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    layer : napari.layers.Layer
        Layer whose data the box is in.
    low, high : sequence of float
        First and last pixel along each axis of the layer.
    """
    ndim = viewer.dims.ndim
    matrix = data_to_world_matrix(layer, ndim)
    corners = np.zeros((2, ndim))
    corners[:, ndim - layer.ndim :] = [low, high]
    world = apply(matrix, corners)
    for axis in viewer.dims.not_displayed:
        if axis >= ndim - layer.ndim:
            viewer.dims.set_point(axis, float(world[:, axis].mean()))
    seen = world[:, list(viewer.dims.displayed)]
    camera = camera_of(viewer)
    size = float(np.abs(seen[1] - seen[0]).max())
    pixel = float(np.linalg.norm(matrix[:-1, -2]))
    size = max(size, pixel)
    if size * camera.zoom < SMALLEST_SHOWN:
        camera.zoom = ZOOMED_TO / size
    camera.center = (
        *camera.center[: len(camera.center) - seen.shape[1]],
        *seen.mean(axis=0),
    )
