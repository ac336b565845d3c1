"""Points and boxes of “Segment by prompts”: tools, polarity, mouse."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from napari.layers import Image, Layer, Points, Shapes
from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]

from napari_mobilesam.types import ImageError, SegmentationError
from napari_mobilesam.widgets.layers import LayerPlane, is_ours, plane_of
from napari_mobilesam.widgets.prompt_collection import Collected
from napari_mobilesam.widgets.prompt_layers import (
    NEGATIVE,
    POLARITY,
    POSITIVE,
    add_points,
    add_shapes,
    adopt_points,
    flip,
    set_next_polarity,
)
from napari_mobilesam.widgets.prompt_panel import PromptPanel

NO_IMAGE = 'Open an image, or choose one, to begin.'
RIGHT_BUTTON = 2


class PromptTools(PromptPanel):
    """The layers that prompts are in, and what clicks on them mean.

    Layers are made when a tool is first used; those of the user's own are
    taken only if they are chosen.

    Attributes
    ----------
    prompts_settled : Signal
        The prompts, or what they refer to, are others than before.
    """

    prompts_settled = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._image: Image | None = None
        self._points: Points | None = None
        self._shapes: Shapes | None = None
        self._polarity = POSITIVE
        # number of the request, where it was asked, and what
        self._asked: tuple[int, LayerPlane, Collected] | None = None
        self._timers: list[QTimer] = []
        self._update_timer = self.timer(self.prompts_settled.emit)
        self._busy_writing = False

    def timer(self, callback: Callable[[], None]) -> QTimer:
        """Return a single-shot timer of this widget."""
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(0)
        timer.timeout.connect(callback)
        self._timers.append(timer)
        return timer

    @property
    def pending(self) -> bool:
        """Whether a change in the viewer has not been looked at yet."""
        return any(timer.isActive() for timer in self._timers)

    def _schedule(self, event: Any = None) -> None:
        """Ask anew once the events of this change are through."""
        if not self._busy_writing and self.attached:
            self._update_timer.start(0)

    def plane(self) -> LayerPlane:
        """Return the plane that prompts refer to now.

        Raises
        ------
        ImageError
            There is none; the message says why.
        """
        if self._image is None:
            raise ImageError(NO_IMAGE)
        return plane_of(self.viewer, self._image, self.channel_combo.axis)

    def _leave(
        self, layer: Layer | None, events: dict[str, Callable[..., None]]
    ) -> None:
        for name, callback in events.items():
            if layer is not None and self.attached:
                self.deafen(getattr(layer.events, name), callback)

    def _active_changed(self, event: Any = None) -> None:
        active = self.viewer.layers.selection.active
        self.points_button.setChecked(
            active is not None and active is self._points
        )
        self.boxes_button.setChecked(
            active is not None and active is self._shapes
        )
        # an object that is open keeps its image
        if isinstance(active, Image) and self._asked is None:
            self.image_combo.layer = active

    def _ready_to_click(self, plane: LayerPlane) -> None:
        """Have a Points layer that suits the image, in add mode."""
        layer = self._points
        if layer is not None:
            fits = layer.ndim == len(plane.output_axes)
            if fits or len(layer.data) or not is_ours(layer):
                return
            self.viewer.layers.remove(layer)
        self.use_points_tool()

    def use_points_tool(self) -> None:
        """Make clicks on the canvas add points."""
        self._use_tool(self._points, self.points_combo, add_points, 'add')

    def use_boxes_tool(self) -> None:
        """Make drags on the canvas draw boxes."""
        self._use_tool(
            self._shapes, self.shapes_combo, add_shapes, 'add_rectangle'
        )

    def _use_tool(
        self, layer: Any, combo: Any, make: Callable[..., Any], mode: str
    ) -> None:
        if layer is None:
            try:
                layer = make(self.viewer, self.plane())
            except SegmentationError as error:
                self.status.fail(str(error))
                self._active_changed()
                return
            combo.layer = layer
        self.viewer.layers.selection.active = layer
        layer.mode = mode
        self._active_changed()

    def _use_points(self, layer: Points | None) -> None:
        if layer is self._points:
            return
        events = {'data': self._prompts_changed, 'features': self._schedule}
        self._leave(self._points, events)
        self._drop_mouse()
        self._points = layer
        if layer is not None:
            adopt_points(layer)
            set_next_polarity(layer, self._polarity)
            layer.mouse_drag_callbacks.insert(0, self._click)
            for name, callback in events.items():
                self.listen(getattr(layer.events, name), callback)
        self._active_changed()
        self._schedule()

    def _use_shapes(self, layer: Shapes | None) -> None:
        if layer is self._shapes:
            return
        events = {'data': self._prompts_changed}
        self._leave(self._shapes, events)
        self._shapes = layer
        if layer is not None:
            self.listen(layer.events.data, self._prompts_changed)
        self._active_changed()
        self._schedule()

    def _drop_mouse(self) -> None:
        if self._points is not None:
            with contextlib.suppress(ValueError):
                self._points.mouse_drag_callbacks.remove(self._click)

    def _click(self, layer: Points, event: Any) -> None:
        """Let the right button, or Ctrl, mean the other polarity."""
        other = event.button == RIGHT_BUTTON or 'Control' in event.modifiers
        if other and layer.mode == 'select':
            number = layer.get_value(event.position, world=True)
            if number is not None:
                flip(layer, [number])
            return
        polarity = self._polarity
        if other:
            polarity = NEGATIVE if polarity == POSITIVE else POSITIVE
        set_next_polarity(layer, polarity)

    def flip_polarity(self) -> None:
        """Flip the selected points, or what the next click means."""
        layer = self._points
        if (
            layer is not None
            and layer.mode == 'select'
            and layer.selected_data
        ):
            flip(layer, layer.selected_data)
            return
        self._polarity = NEGATIVE if self._polarity == POSITIVE else POSITIVE
        self.show_polarity(self._polarity)
        if layer is not None and POLARITY in layer.features:
            set_next_polarity(layer, self._polarity)

    def _prompts_changed(self, event: Any) -> None:
        # “adding”, “changing”, “removing” come before the change, and a
        # shape that is still being drawn is already in the data
        if not str(getattr(event, 'action', '')).endswith('ing'):
            self._schedule()
