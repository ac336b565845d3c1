"""Drawing tools: prompt layers, mouse buttons and polarity."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Layer, Points, Shapes
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.collection import (
    end_drawing,
    remove_prompts,
)
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
from napari_mobilesam.widgets.viewer.drawn_boxes import (
    BOX_MODE,
    end_box,
    released_box,
)
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import (
    RIGHT_BUTTON,
    is_ours,
    use_units,
    world_units,
)
from napari_mobilesam.widgets.viewer.mouse_clicks import is_click

PAN_ZOOM = 'pan_zoom'
UNFINISHED = (
    'The line is not finished: keep the mouse button down while you draw. Esc '
    'ends it.'
)
DRAG = 'Drag the mouse to draw a box: a click draws none.'
OUTSIDE = 'That was outside the image{}: no prompt was added.'
SHAPE_MODES = {
    'use_boxes_tool': BOX_MODE,
    'use_outline_tool': 'add_polygon_lasso',
    'use_scribble_tool': 'add_path',
}
TOOL_OF_MODE = {mode: tool for tool, mode in SHAPE_MODES.items()}


class StrayPrompt(NamedTuple):
    """Prompt added by an accidental click, and the message about it."""

    layer: Points | Shapes
    number: int
    text: str


class PromptTools:
    """Points and Shapes layers of the prompts, and mouse clicks on them.

    Layers are created when a tool is first used; the user's own layers are
    adopted only if chosen.

    Parameters
    ----------
    dock : ViewerWidget
        Form that listens to layers while docked.
    panel : PromptPanel
        Buttons and layer choices.

    Attributes
    ----------
    editing : Signal()
        Prompts will be added, moved or removed.
    edited : Signal()
        Prompts were added, moved or removed.
    restyled : Signal()
        Polarities changed, or another layer was chosen.
    pressed : Signal(ndarray, int)
        The mouse button was pressed in add mode; emitted with data coordinates
        in the Points layer and the label of the point that release will add.
    points : napari.layers.Points or None
        Layer of points.
    shapes : napari.layers.Shapes or None
        Layer of boxes, outlines and scribbles.
    polarity : str
        Polarity of the next left click.
    """

    editing = Signal()
    edited = Signal()
    restyled = Signal()
    pressed = Signal(object, int)

    def __init__(self, dock: ViewerWidget, panel: PromptPanel) -> None:
        self._dock = dock
        self._panel = panel
        self._scene = dock.scene
        self._blocked = False
        # True from the mouse press that starts a shape to its end
        self._drawn_by_mouse = False
        # True until napari tells that a shape being drawn was added
        self._adding = False
        # prompt added by an accidental click
        self._stray: StrayPrompt | None = None
        self._drop_later = DelayedCall(self._drop_stray, parent=dock)
        self._unfinished_later = DelayedCall(self._say_unfinished, parent=dock)
        # modes of layers while editable
        self._modes: WeakKeyDictionary[Layer, str] = WeakKeyDictionary()
        self.points: Points | None = None
        self.shapes: Shapes | None = None
        self.polarity = POSITIVE
        panel.points_combo.layer_changed.connect(self.use_points)
        panel.shapes_combo.layer_changed.connect(self.use_shapes)

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """Emit no signal within this context."""
        before, self._blocked = self._blocked, True
        try:
            yield
        finally:
            self._blocked = before

    @property
    def own_shapes(self) -> Shapes | None:
        """The layer of shapes if this plugin created it."""
        shapes = self.shapes
        return shapes if shapes is not None and is_ours(shapes) else None

    # tools

    def use_points_tool(self) -> None:
        """Make clicks on the canvas add points."""
        self._use_tool(
            self.points, self._panel.points_combo, add_points, 'add'
        )

    def use_boxes_tool(self) -> None:
        """Make drags on the canvas draw boxes."""
        self._use_shapes_tool('use_boxes_tool')

    def use_outline_tool(self) -> None:
        """Make drags on the canvas draw outlines."""
        self._use_shapes_tool('use_outline_tool')

    def use_scribble_tool(self) -> None:
        """Make drags on the canvas draw scribbles."""
        self._use_shapes_tool('use_scribble_tool')

    def _use_shapes_tool(self, action: str) -> None:
        self._use_tool(
            self.shapes,
            self._panel.shapes_combo,
            add_shapes,
            SHAPE_MODES[action],
        )

    def _use_tool(
        self, layer: Any, combo: Any, make: Callable[..., Any], mode: str
    ) -> None:
        if layer is None:
            try:
                layer = make(self._dock.viewer, self._scene.layer_plane())
            except SegmentationError as error:
                self._panel.status.fail(str(error))
                self.show_tool()
                return
            combo.layer = layer
        self._dock.viewer.layers.selection.active = layer
        # napari draws nothing into a hidden layer
        layer.visible = True
        layer.mode = mode
        self.show_tool()
        if not layer.editable:
            # napari refuses the mode; in a volume view, say why
            with self._panel.status.errors():
                self._scene.layer_plane()

    def use_some_tool(self) -> None:
        """Choose the points tool, unless another one is active."""
        if self._panel.tool is None:
            self.use_points_tool()

    def begin(self, plane: LayerPlane, select: bool = True) -> None:
        """Reuse the tool of the previous image for a plane; initially points.

        Parameters
        ----------
        plane : LayerPlane
            Plane of the chosen image.
        select : bool
            False keeps the selection of the viewer if there is a suitable
            Points layer.
        """
        self.drop_unfinished()
        tool = self._panel.tool or TOOLS[0]
        unfit = [
            layer
            for layer in (self.points, self.shapes)
            if layer is not None
            and layer.ndim != len(plane.output_axes)
            and not len(layer.data)
            and is_ours(layer)
        ]
        select = select or self.points is None or self.points in unfit
        # napari cannot change the number of axes of a layer
        for layer in unfit:
            self._dock.viewer.layers.remove(layer)
        if select:
            use: Callable[[], None] = getattr(self, tool)
            use()

    def show_tool(self) -> None:
        """Check the button of the active tool."""
        active = self._dock.viewer.layers.selection.active
        mode = str(getattr(active, 'mode', PAN_ZOOM))
        tool = None
        if active is not None and mode != PAN_ZOOM:
            if active is self.points:
                tool = TOOLS[0]
            elif active is self.shapes:
                tool = TOOL_OF_MODE.get(mode)
        self._panel.show_tool(tool)
        self._panel.show_selecting(
            active is not None and active is self.points and mode == 'select'
        )

    def _mode_changed(self, event: Any = None) -> None:
        for layer in (self.points, self.shapes):
            if layer is not None and layer.editable and layer.visible:
                self._modes[layer] = str(layer.mode)
        self.show_tool()

    def _restore_mode(self, event: Any = None) -> None:
        """Reactivate the tool that a volume view disabled."""
        for layer in (self.points, self.shapes):
            if layer is not None and layer.editable and layer in self._modes:
                layer.mode = self._modes[layer]

    # layers

    def points_for(self, plane: LayerPlane) -> Points:
        """Return the Points layer, creating one for a plane if needed."""
        if self.points is None:
            layer = add_points(self._dock.viewer, plane)
            self._panel.points_combo.layer = layer
        assert self.points is not None
        return self.points

    def shapes_for(self, plane: LayerPlane) -> Shapes:
        """Return the Shapes layer, creating one for a plane if needed."""
        if self.shapes is None:
            layer = add_shapes(self._dock.viewer, plane)
            self._panel.shapes_combo.layer = layer
        assert self.shapes is not None
        return self.shapes

    def follow_units(self) -> None:
        """Keep the layers of the plugin in the units of the world."""
        units = world_units(self._dock.viewer)
        for layer in (self.points, self.shapes):
            if layer is not None and is_ours(layer):
                use_units(layer, units)

    def adopt(self) -> None:
        """Adopt the layers of a closed dock, or the chosen ones."""
        for combo in (self._panel.points_combo, self._panel.shapes_combo):
            combo.layer = next(filter(is_ours, combo.layers), combo.layer)
        self.use_points(self._panel.points_combo.layer)
        self.use_shapes(self._panel.shapes_combo.layer)

    def use_points(self, layer: Any) -> None:
        """Read points from another layer."""
        self.points = self._replace(
            self.points, layer, {'features': self._restyled}
        )

    def use_shapes(self, layer: Any) -> None:
        """Read boxes, outlines and scribbles from another layer."""
        self.shapes = self._replace(self.shapes, layer, {})

    def release(self) -> None:
        """Disconnect from mouse and layers."""
        for layer in (self.points, self.shapes):
            self._release_mouse(layer)
        self.points = self.shapes = None

    def _replace(
        self, before: Any, layer: Any, more: dict[str, Callable[..., None]]
    ) -> Any:
        if layer is before:
            return layer
        events = {
            'data': self._edited,
            'mode': self._mode_changed,
            'editable': self._restore_mode,
            **more,
        }
        self._release_mouse(before)
        if layer is not None:
            if isinstance(layer, Points):
                adopt_points(layer)
            if POLARITY in layer.features:
                set_next_polarity(layer, self.polarity)
            layer.mouse_drag_callbacks.insert(0, self._press)
            if isinstance(layer, Shapes):
                layer.mouse_drag_callbacks.insert(0, self._press_shape)
            if is_ours(layer):
                use_units(layer, world_units(self._dock.viewer))
        self._dock.listen_instead(before, layer, events)
        self.show_tool()
        self._restyled()
        return layer

    def _release_mouse(self, layer: Layer | None) -> None:
        if layer is None:
            return
        for callback in (self._press, self._press_shape):
            with contextlib.suppress(ValueError):
                layer.mouse_drag_callbacks.remove(callback)

    def _edited(self, event: Any) -> None:
        # “adding”, “changing” and “removing” come before the change, and a
        # shape that is being drawn is already in the data
        action = str(getattr(event, 'action', ''))
        self._adding = action == 'adding'
        if action.endswith('ing'):
            if self._dock.attached and not self._blocked:
                self.editing.emit()
            return
        layer = getattr(event, 'source', None)
        added = action == 'added'
        if self._drawn_by_mouse and added and isinstance(layer, Shapes):
            self._notice_outside(layer)
        self._tell_edited()

    def _tell_edited(self) -> None:
        if self._stray is not None:
            self._drop_later.restart()
            return
        if self._dock.attached and not self._blocked:
            self._reset_polarity()
            self.edited.emit()

    def _restyled(self, event: Any = None) -> None:
        if not self._blocked:
            self.restyled.emit()

    # mouse and polarity

    def _press(self, layer: Any, event: Any) -> Generator[None]:
        """Invert the polarity for the right button and for Ctrl+click."""
        other = event.button == RIGHT_BUTTON or 'Control' in event.modifiers
        if other and isinstance(layer, Points) and layer.mode == 'select':
            number = layer.get_value(event.position, world=True)
            if number is not None:
                flip(layer, [number])
            return
        polarity = self.polarity
        if other:
            polarity = NEGATIVE if polarity == POSITIVE else POSITIVE
        if POLARITY in layer.features:
            set_next_polarity(layer, polarity)
        if isinstance(layer, Points) and layer.mode == 'add':
            coordinates = np.asarray(layer.world_to_data(event.position))
            refusal = self._refusal(layer, coordinates)
            if refusal:
                yield from self._press_in_vain(layer, event, refusal)
                return
            self.pressed.emit(coordinates, int(polarity == POSITIVE))

    def _refusal(self, layer: Points, coordinates: NDArray[np.float64]) -> str:
        """Return why no model can answer a click, or an empty string."""
        if self._dock.viewer.dims.ndisplay == 3:
            try:
                self._scene.layer_plane()
            except SegmentationError as error:
                return str(error)
        if self._is_outside(layer, coordinates[None]):
            return OUTSIDE.format(self._scene.which_image)
        return ''

    def _press_in_vain(
        self, layer: Points, event: Any, refusal: str
    ) -> Generator[None]:
        """Notice a click that must not add a point."""
        number = len(layer.data)
        yield from is_click(event)
        # napari adds the point after this, unless the mouse was dragged
        self._stray = StrayPrompt(layer, number, refusal)
        self._drop_later.restart()

    def _press_shape(self, layer: Any, event: Any) -> Generator[None]:
        """Notice that a shape is drawn, or that a click draws a tiny box."""
        if layer.mode not in SHAPE_MODES.values():
            return
        self.editing.emit()
        self._drawn_by_mouse = True
        if layer.mode != BOX_MODE:
            while event.type != 'mouse_release':
                yield
            # napari may end it after this
            self._unfinished_later.restart()
            return
        number = len(layer.data)
        start = np.asarray(layer.world_to_data(event.position))
        if (yield from is_click(event)):
            # napari ends it after this
            self._stray = StrayPrompt(layer, number, DRAG)
            self._drop_later.restart()
            return
        corners = released_box(layer, number, start, event)
        if corners is not None:
            self._drawn_by_mouse = False
            with self.blocked():
                end_box(layer, number, corners)
            self._notice_outside(layer)
            self._tell_edited()

    @property
    def unfinished(self) -> bool:
        """True while a shape is drawn, or a stray prompt is to be removed."""
        shapes = self.shapes
        drawing = self._adding and shapes is not None and shapes._is_creating
        return drawing or self._stray is not None

    def drop_unfinished(self) -> bool:
        """Remove a shape that is being drawn; return False if none."""
        shapes = self.shapes
        if shapes is None or not shapes._is_creating:
            return False
        number = len(shapes.data) - 1
        with self.blocked():
            end_drawing(shapes)
            remove_prompts(shapes, [number])
        return True

    def _say_unfinished(self) -> None:
        """Say that a line was too short to end with the mouse button."""
        if self.shapes is not None and self.shapes._is_creating:
            self._panel.status.say(UNFINISHED, keep=True)

    def _notice_outside(self, layer: Shapes) -> None:
        """Notice a shape drawn outside the image."""
        self._drawn_by_mouse = False
        if self._stray is None and len(layer.data):
            number = len(layer.data) - 1
            if self._is_outside(layer, layer.data[number]):
                self._stray = StrayPrompt(
                    layer, number, OUTSIDE.format(self._scene.which_image)
                )

    def _drop_stray(self) -> None:
        """Remove a prompt added by an accidental click."""
        stray, self._stray = self._stray, None
        if stray is None or stray.number >= len(stray.layer.data):
            return
        with self.blocked():
            remove_prompts(stray.layer, [stray.number])
        self._reset_polarity()
        # it may have been read while being drawn
        self.edited.emit()
        self._panel.status.say(stray.text, keep=True)

    def _is_outside(
        self, layer: Points | Shapes, vertices: NDArray[np.float64]
    ) -> bool:
        """Return whether a point or shape lies outside the image."""
        try:
            plane = self._scene.layer_plane()
        except SegmentationError:
            return False
        positions, here = plane.image_points(layer, vertices)
        low, high = positions.min(axis=0), positions.max(axis=0)
        outside = (high < -0.5) | (low >= np.array(plane.shape) - 0.5)
        return bool(here.all() and outside.any())

    def add_point(
        self, position: tuple[float, ...], positive: bool = True
    ) -> None:
        """Add a point, like a click.

        Parameters
        ----------
        position : tuple of float
            World coordinates.
        positive : bool
            Whether the point is on the object, else on the background.
        """
        layer = self.points
        if layer is None:
            return
        set_next_polarity(layer, POSITIVE if positive else NEGATIVE)
        layer.add(np.asarray(layer.world_to_data(position)))

    def _reset_polarity(self) -> None:
        """Restore the polarity after a right click."""
        for layer in (self.points, self.shapes):
            if layer is not None and POLARITY in layer.features:
                set_next_polarity(layer, self.polarity)

    def flip_polarity(self) -> None:
        """Flip the selected points, or else the next left click."""
        layer = self.points
        if (
            layer is not None
            and layer is self._dock.viewer.layers.selection.active
            and layer.mode == 'select'
            and layer.selected_data
        ):
            flip(layer, layer.selected_data)
            return
        self.polarity = NEGATIVE if self.polarity == POSITIVE else POSITIVE
        self._panel.show_polarity(self.polarity)
        self._reset_polarity()
