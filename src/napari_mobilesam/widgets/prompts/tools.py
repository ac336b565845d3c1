"""Points and shapes of “Segment by prompts”: tools, polarity, mouse."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Image, Layer, Points, Shapes
from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]

from napari_mobilesam.types import ImageError, SegmentationError
from napari_mobilesam.widgets.prompts.anticipation import Anticipation
from napari_mobilesam.widgets.prompts.prompt_layers import (
    NEGATIVE,
    POLARITY,
    POSITIVE,
    add_points,
    add_shapes,
    adopt_points,
    flip,
    set_next_polarity,
)
from napari_mobilesam.widgets.prompts.prompt_panel import TOOLS, PromptPanel
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import is_ours

NO_IMAGE = 'Open an image, or choose one, to begin.'
RIGHT_BUTTON = 2
SHAPE_MODES = {
    'use_boxes_tool': 'add_rectangle',
    'use_outline_tool': 'add_polygon_lasso',
    'use_scribble_tool': 'add_path',
}


class PromptTools(PromptPanel):
    """The layers that prompts are in, and what clicks on them mean.

    Layers are made when a tool is first used; those of the user's own are
    taken only if they are chosen.

    Attributes
    ----------
    prompts_settled : Signal
        The prompts, or what they refer to, are others than before.
    point_coming : Signal(ndarray, int)
        The mouse is down: a point at these coordinates of the Points layer,
        with this label, will be added when it is up again.
    """

    prompts_settled = Signal()
    point_coming = Signal(object, int)

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._image: Image | None = None
        self._points: Points | None = None
        self._shapes: Shapes | None = None
        self._polarity = POSITIVE
        self._timers: list[QTimer] = []
        self.anticipation = Anticipation(self, self.plane)
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
        timers = any(timer.isActive() for timer in self._timers)
        return timers or self.anticipation.pending

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
        return self.scene.layer_plane()

    def _leave(
        self, layer: Layer | None, events: dict[str, Callable[..., None]]
    ) -> None:
        for name, callback in events.items():
            if layer is not None and self.attached:
                self.deafen(getattr(layer.events, name), callback)

    def _show_tool(self, event: Any = None) -> None:
        """Press the button of the tool that the mouse has."""
        active = self.viewer.layers.selection.active
        mode = str(getattr(active, 'mode', ''))
        for action in TOOLS:
            layer = self._points if action == TOOLS[0] else self._shapes
            self.buttons[action].setChecked(
                active is not None
                and active is layer
                and SHAPE_MODES.get(action, mode) == mode
            )

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
        self._use_shapes_tool('use_boxes_tool')

    def use_outline_tool(self) -> None:
        """Make drags on the canvas draw outlines."""
        self._use_shapes_tool('use_outline_tool')

    def use_scribble_tool(self) -> None:
        """Make drags on the canvas draw lines over the object."""
        self._use_shapes_tool('use_scribble_tool')

    def _use_shapes_tool(self, action: str) -> None:
        self._use_tool(
            self._shapes, self.shapes_combo, add_shapes, SHAPE_MODES[action]
        )

    def _use_tool(
        self, layer: Any, combo: Any, make: Callable[..., Any], mode: str
    ) -> None:
        if layer is None:
            try:
                layer = make(self.viewer, self.plane())
            except SegmentationError as error:
                self.status.fail(str(error))
                self._show_tool()
                return
            combo.layer = layer
        self.viewer.layers.selection.active = layer
        layer.mode = mode
        self._show_tool()

    def _use_points(self, layer: Points | None) -> None:
        self._points = self._swap_prompts(
            self._points, layer, {'features': self._schedule}
        )

    def _use_shapes(self, layer: Shapes | None) -> None:
        self._shapes = self._swap_prompts(self._shapes, layer, {})

    def _swap_prompts(
        self, before: Any, layer: Any, more: dict[str, Callable[..., None]]
    ) -> Any:
        """Listen to another layer of prompts, and return it."""
        if layer is before:
            return layer
        events = {
            'data': self._prompts_changed,
            'mode': self._show_tool,
            **more,
        }
        self._leave(before, events)
        self._drop_mouse(before)
        if layer is not None:
            if isinstance(layer, Points):
                adopt_points(layer)
            if POLARITY in layer.features:
                set_next_polarity(layer, self._polarity)
            layer.mouse_drag_callbacks.insert(0, self._press)
            for name, callback in events.items():
                self.listen(getattr(layer.events, name), callback)
        self._show_tool()
        self._schedule()
        return layer

    def _drop_mouse(self, layer: Layer | None) -> None:
        if layer is not None:
            with contextlib.suppress(ValueError):
                layer.mouse_drag_callbacks.remove(self._press)

    def _press(self, layer: Any, event: Any) -> None:
        """Let the right button, or Ctrl, mean the other polarity."""
        other = event.button == RIGHT_BUTTON or 'Control' in event.modifiers
        if other and isinstance(layer, Points) and layer.mode == 'select':
            number = layer.get_value(event.position, world=True)
            if number is not None:
                flip(layer, [number])
            return
        polarity = self._polarity
        if other:
            polarity = NEGATIVE if polarity == POSITIVE else POSITIVE
        if POLARITY in layer.features:
            set_next_polarity(layer, polarity)
        if isinstance(layer, Points) and layer.mode == 'add':
            coordinates = np.asarray(layer.world_to_data(event.position))
            self.point_coming.emit(coordinates, int(polarity == POSITIVE))

    def _reset_polarity(self) -> None:
        """A click with the right button is over."""
        for layer in (self._points, self._shapes):
            if layer is not None and POLARITY in layer.features:
                set_next_polarity(layer, self._polarity)

    def flip_polarity(self) -> None:
        """Flip the selected points, or what the next click means."""
        layer = self._points
        if (
            layer is not None
            and layer is self.viewer.layers.selection.active
            and layer.mode == 'select'
            and layer.selected_data
        ):
            flip(layer, layer.selected_data)
            return
        self._polarity = NEGATIVE if self._polarity == POSITIVE else POSITIVE
        self.show_polarity(self._polarity)
        self._reset_polarity()

    def _prompts_changed(self, event: Any) -> None:
        # “adding”, “changing”, “removing” come before the change, and a
        # shape that is still being drawn is already in the data
        if str(getattr(event, 'action', '')).endswith('ing'):
            return
        if self.attached and not self._busy_writing:
            # at once, so that the model works while napari paints the point
            self.prompts_settled.emit()
