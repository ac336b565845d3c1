"""Having what is looked at embedded before it is clicked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane, camera_of

if TYPE_CHECKING:
    from napari_mobilesam.widgets.parts.controls import ViewerWidget

# browsing planes, panning and zooming come in many small steps
PAUSE_MS = 150


class Anticipation:
    """Prepares the plane and the part of it that the viewer rests at.

    Parameters
    ----------
    widget : ViewerWidget
        Listens while it is docked.
    plane : callable
        Returns the plane that would be prompted; raises `SegmentationError`
        if there is none.
    """

    def __init__(
        self, widget: ViewerWidget, plane: Callable[[], LayerPlane]
    ) -> None:
        self._widget = widget
        self._plane = plane
        self._before: LayerPlane | None = None
        self._timer = QTimer(widget)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._prepare)

    @property
    def pending(self) -> bool:
        """Whether the viewer has not rested yet."""
        return self._timer.isActive()

    def attach(self) -> None:
        """Follow the sliders and the camera of the viewer."""
        camera = camera_of(self._widget.viewer)
        for event in ('zoom', 'center'):
            self._widget.listen(getattr(camera.events, event), self.start)
        dims = self._widget.viewer.dims
        for event in ('current_step', 'order'):
            self._widget.listen(getattr(dims.events, event), self.start)

    def detach(self) -> None:
        """Forget what was seen; the widget stops listening itself."""
        self._timer.stop()
        self._before = None

    def start(self, event: Any = None) -> None:
        """Prepare what is seen once the viewer rests."""
        if self._widget.attached:
            self._timer.start()

    def _prepare(self) -> None:
        try:
            plane = self._plane()
        except SegmentationError:
            return
        neighbours = plane.neighbours(self._before)
        self._widget.session.prepare(
            plane.source(), [other.source() for other in neighbours]
        )
        self._before = plane
