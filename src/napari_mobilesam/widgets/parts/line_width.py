"""Width of the lines of drawn shapes: the same on the screen at any zoom."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel
from napari.layers import Shapes

from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layer_plane import camera_of
from napari_mobilesam.widgets.viewer.layers import (
    data_to_world_matrix,
    world_units,
)

SCREEN_PIXELS = 3.0
# zooming changes in many small steps
PAUSE_MS = 150
# napari takes long to draw many shapes anew
MOST_SHAPES = 200


def fit_lines(viewer: ViewerModel, layer: Shapes) -> None:
    """Give the lines of a layer the same width on the screen.

    napari measures it in data pixels: in a close view of a slide, a line that
    is visible in the overview would hide the objects under it.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    layer : napari.layers.Shapes
        Layer with any transform.
    """
    matrix = data_to_world_matrix(layer, viewer.dims.ndim, world_units(viewer))
    pixel = float(np.linalg.norm(matrix[:-1, -2]))
    width = SCREEN_PIXELS / (camera_of(viewer).zoom * pixel)
    if len(layer.data) <= MOST_SHAPES:
        layer.edge_width = width
    layer.current_edge_width = width


class LineWidth:
    """Fit the lines of a layer when the zoom changes.

    Parameters
    ----------
    dock : ViewerWidget
        Listens while it is docked.
    layer : callable
        Returns the layer; None if there is none.
    """

    def __init__(
        self, dock: ViewerWidget, layer: Callable[[], Shapes | None]
    ) -> None:
        self._dock = dock
        self._layer = layer
        self._later = DelayedCall(self._fit, PAUSE_MS, dock)

    def attach(self) -> None:
        """Follow the zoom of the viewer."""
        zoom = camera_of(self._dock.viewer).events.zoom
        self._dock.listen(zoom, self._later.restart)
        # it may have changed while the dock was closed
        self._later.restart()

    def _fit(self) -> None:
        layer = self._layer()
        if layer is not None and layer in self._dock.viewer.layers:
            fit_lines(self._dock.viewer, layer)
