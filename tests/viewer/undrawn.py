"""Hidden windows without drawing, without style, without napari's controls.

For each layer napari makes a tree of OpenGL visuals and a panel of controls,
which takes four times as long as all else about the layer. Tests that look at
them, or at what is drawn, show the window.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from napari._qt import qt_main_window, qt_viewer
from napari._qt.layer_controls import qt_layer_controls_container
from napari._qt.qt_viewer import QtViewer
from napari._vispy import canvas
from napari._vispy.canvas import VispyCanvas
from napari.layers import Layer
from qtpy.QtWidgets import QWidget
from vispy.scene import Node

NAPARI = tuple(map(int, version('napari').split('.')[:2]))
OLDEST_KNOWN = (0, 9)


class UndrawnLayer:
    """Place of a layer in the scene, with nothing to draw.

    Parameters
    ----------
    layer : Layer
        Layer of napari.
    **options
        Ignored: what napari tells visuals.
    """

    events = None
    world_units: Any = None
    first_visible = False

    def __init__(self, layer: Layer, **options: Any) -> None:
        self.layer = layer
        self.node = Node()

    @property
    def order(self) -> int:
        """Place in the order of drawing."""
        return self.node.order

    @order.setter
    def order(self, order: int) -> None:
        self.node.order = order

    def close(self) -> None:
        """Take the node off the canvas."""
        self.node.parent = None

    def _on_matrix_change(self) -> None:
        """Ignore the transform, for lack of anything to draw."""

    def _on_blending_change(self) -> None:
        """Ignore the blending, for lack of anything to draw."""

    def _on_view_direction_change(self, view: Any, up: Any) -> None:
        """Ignore the camera, for lack of anything to draw."""

    def _on_camera_move(self, event: Any = None) -> None:
        """Ignore the camera; napari before 0.8 calls this."""


class NoControls(QWidget):
    """Empty panel in place of napari's controls of a layer."""

    ndisplay = 2

    def __init__(self, layer: Layer) -> None:
        super().__init__()


def _refuse(*args: Any, **options: Any) -> None:
    """Keep tests from looking at a canvas on which nothing is drawn."""
    raise AssertionError('nothing is drawn: mark the test with `window`')


def leave_drawing_out(patch: pytest.MonkeyPatch) -> None:
    """Leave out visuals, controls and style until `patch` is undone.

    Not in older versions of napari, which call other private methods.
    """
    if NAPARI < OLDEST_KNOWN:
        return
    patch.setattr(qt_viewer, 'create_vispy_layer', UndrawnLayer)
    patch.setattr(
        qt_layer_controls_container, 'create_qt_layer_controls', NoControls
    )
    patch.setattr(
        VispyCanvas, '_update_layer_overlays', lambda self, layer: None
    )
    patch.setattr(QtViewer, 'screenshot', _refuse)
    # every widget that gets another parent is styled again
    patch.setattr(qt_main_window, 'get_stylesheet', lambda *args, **kw: '')


def count_every_move(patch: pytest.MonkeyPatch) -> None:
    """Have new canvases answer each move of the mouse, and at once.

    napari puts off a move that comes within 5 ms of the one before, which
    makes the outcome of a test depend on how fast the machine is.
    """
    patch.setattr(canvas, 'qthrottled', lambda callback, timeout: callback)
