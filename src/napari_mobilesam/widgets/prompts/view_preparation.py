"""Embedding of the visible region before the first click."""

from __future__ import annotations

from typing import Any

from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane, camera_of

# sliders, panning and zooming change in many small steps
PAUSE_MS = 150


class ViewPreparation:
    """Embed the visible plane once sliders and camera are still.

    Parameters
    ----------
    dock : ViewerWidget
        Listens while it is docked.
    """

    def __init__(self, dock: ViewerWidget) -> None:
        self._dock = dock
        self._scene = dock.scene
        self._before: LayerPlane | None = None
        self._later = DelayedCall(self._prepare, PAUSE_MS, dock)

    @property
    def pending(self) -> bool:
        """True while a change of the view is not prepared yet."""
        return self._later.pending

    def attach(self) -> None:
        """Follow the sliders and the camera of the viewer."""
        camera = camera_of(self._dock.viewer)
        for event in ('zoom', 'center'):
            self._dock.listen(getattr(camera.events, event), self.start)
        dims = self._dock.viewer.dims
        for event in ('current_step', 'order'):
            self._dock.listen(getattr(dims.events, event), self.start)

        self._dock.listen(self._scene.planes_gone, self._forget)

    def detach(self) -> None:
        """Forget the view; the dock disconnects the events."""
        self._later.cancel()
        self._forget()

    def _forget(self, gone: Any = None) -> None:
        self._before = None

    def start(self, event: Any = None) -> None:
        """Prepare the view after a pause."""
        if self._dock.attached:
            self._later.restart()

    def _prepare(self) -> None:
        try:
            shown = self._scene.shown()
        except SegmentationError:
            return
        neighbours = shown.plane.neighbours(self._before)
        self._dock.session.prepare(
            shown.source, [other.source() for other in neighbours]
        )
        self._before = shown.plane
