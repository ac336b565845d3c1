"""Hover preview: the mask that a click under the cursor would give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel

from napari_mobilesam.session.prompts.hover import Hover
from napari_mobilesam.types import Mask, SegmentationError
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.preview import (
    HOVER_COLOR,
    HOVER_NAME,
    HOVER_OPACITY,
    Preview,
)
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane

# the cursor is at rest after this time
REST_MS = 250


class HoverView:
    """Show the mask that a click at the cursor would give.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    hover : Hover
        Hover prediction; connect its signal to `show`.
    plane : callable
        Returns the displayed plane; may raise `ImageError`.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        hover: Hover,
        plane: Callable[[], LayerPlane],
    ) -> None:
        self._viewer = viewer
        self._hover = hover
        self._plane = plane
        self._on = self._quiet = False
        self._asked: LayerPlane | None = None
        self._rest = DelayedCall(self._rests, REST_MS)
        self.preview = Preview(viewer, HOVER_NAME, HOVER_COLOR, HOVER_OPACITY)

    def switch(self, on: bool) -> None:
        """Start or stop following the mouse."""
        callbacks = self._viewer.mouse_move_callbacks
        if on and self._moved not in callbacks:
            callbacks.append(self._moved)
        elif not on and self._moved in callbacks:
            callbacks.remove(self._moved)
        self._on = on
        if on:
            self.look()
        else:
            self.hide()

    def be_quiet(self, quiet: bool) -> None:
        """Show nothing while an object has prompts."""
        if quiet and not self._quiet:
            self.hide()
        self._quiet = quiet

    def look(self) -> None:
        """Request the mask at the cursor, even if it has not moved."""
        if self._on and not self._quiet:
            self._ask(self._viewer.cursor.position)

    def hide(self) -> None:
        """Show nothing until the mouse moves again."""
        self._asked = None
        self._rest.cancel()
        self._hover.forget()
        self.preview.hide()

    def remove(self) -> None:
        """Stop following the mouse, and remove the layer."""
        self.switch(False)
        self.preview.remove()

    def show(self, mask: Mask | None) -> None:
        """Show an answer of the session."""
        if self._asked is None or self._quiet:
            return
        self.preview.show(self._asked, [] if mask is None else [mask])

    def _moved(self, viewer: Any, event: Any) -> None:
        if not self._quiet:
            self._ask(event.position)

    def _rests(self) -> None:
        self._ask(self._viewer.cursor.position, rests=True)

    def _ask(self, position: Any, rests: bool = False) -> None:
        try:
            plane = self._plane()
            point = cursor_on(plane, position)
        except SegmentationError:
            point = None
        if point is None:
            self.hide()
            return
        self._asked = plane
        self._hover.ask(plane.source(), point, rests)
        if not rests:
            self._rest.restart()


def cursor_on(plane: LayerPlane, position: Any) -> tuple[float, float] | None:
    """Return row and column of a world position; None outside the plane.

    Parameters
    ----------
    plane : LayerPlane
        Plane of an image.
    position : sequence of float
        World coordinates on all axes of the viewer.
    """
    if len(position) != plane.ndim:
        return None
    row, column = plane.at(position)
    height, width = plane.shape
    if not (-0.5 <= row < height - 0.5 and -0.5 <= column < width - 0.5):
        return None
    return row, column
