"""“Segment by prompts”: click an object, see its mask, keep it."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

import napari.viewer
from napari.layers import Image, Labels, Layer, Points, Shapes
from qtpy.QtCore import QTimer

from napari_mobilesam.session import PromptResult
from napari_mobilesam.types import (
    ImageError,
    Mask,
    ModelRecord,
    SegmentationError,
)
from napari_mobilesam.widgets.label_writer import new_labels, write_masks
from napari_mobilesam.widgets.layers import (
    LayerPlane,
    insert_below_prompts,
    plane_of,
)
from napari_mobilesam.widgets.prompt_layers import (
    NEGATIVE,
    POLARITY,
    POSITIVE,
    Collected,
    add_points,
    add_shapes,
    adopt_points,
    collect,
    flip,
    remove_used,
    set_next_polarity,
)
from napari_mobilesam.widgets.prompt_panel import (
    CLEAR_KEY,
    COMMIT_KEY,
    FLIP_KEY,
    UNDO_KEY,
    PromptPanel,
)

HINT = 'Click an object; right-click what does not belong to it.'
NO_PROMPT = 'There is no prompt yet: click an object, or draw a box.'
NO_IMAGE = 'Open an image, or choose one, to begin.'
RIGHT_BUTTON = 2
# dragging a contrast slider should not embed at each of its steps
CONTRAST_PAUSE_MS = 250
_TRANSFORMS = ('scale', 'translate', 'rotate', 'shear', 'affine')


class PromptWidget(PromptPanel):
    """Dock widget “Segment by prompts”.

    Points are positive or negative prompts of the current object, closed
    shapes are boxes. Each change asks the session for the mask and shows it;
    *Commit* writes it as one undoable step under the next free id and starts
    the next object. Nothing is computed on the Qt thread.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._image: Image | None = None
        self._points: Points | None = None
        self._shapes: Shapes | None = None
        self._labels: Labels | None = None
        self._made_points: Points | None = None
        self._polarity = POSITIVE
        self._asked: tuple[int, LayerPlane, Collected] | None = None
        self._masks: tuple[Mask | None, ...] | None = None
        self._commit_when_ready = False
        self._busy_writing = False
        self._keys: dict[str, Callable[[Any], None]] = {}
        self._update_timer = self._timer(self._update)
        self._image_timer = self._timer(self._enter_image)
        self._build()
        self.image_combo.layer_changed.connect(self._image_timer.start)
        self.channel_combo.activated.connect(self._image_shown_differently)
        self.points_combo.layer_changed.connect(self._use_points)
        self.shapes_combo.layer_changed.connect(self._use_shapes)
        self.labels_combo.layer_changed.connect(self._use_labels)
        self.points_button.clicked.connect(self.use_points_tool)
        self.boxes_button.clicked.connect(self.use_boxes_tool)
        self.polarity_button.clicked.connect(self.flip_polarity)
        self.commit_button.clicked.connect(self.commit)
        self.clear_button.clicked.connect(self.clear)
        self.undo_button.clicked.connect(self.undo)
        self.attach()

    def _timer(self, callback: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(0)
        timer.timeout.connect(callback)
        return timer

    # life in the viewer

    def attach(self) -> None:
        """Listen to the viewer and the session, take the keys."""
        super().attach()
        layers, dims = self.viewer.layers, self.viewer.dims
        for event in ('inserted', 'removed', 'reordered'):
            self.listen(getattr(layers.events, event), self._layers_changed)
        self.listen(layers.selection.events.active, self._active_changed)
        for event in ('current_step', 'order', 'ndisplay'):
            self.listen(getattr(dims.events, event), self._schedule)
        self.listen(self.session.preview, self._show_answer)
        self.listen(self.session.status, self._say)
        self.listen(self.session.failed, self._fail)
        self.listen(self.session.progress, self._progress)
        self.listen(self.session.model_changed, self._model_changed)
        self.listen(self.session.downloaded, self.model_box.arrived)
        self._bind_keys()
        self._layers_changed()
        active = layers.selection.active
        if isinstance(active, Image):
            self.image_combo.layer = active
        self._use_points(self.points_combo.layer)
        self._use_shapes(self.shapes_combo.layer)
        self._use_labels(self.labels_combo.layer)
        self._image_timer.stop()
        self._enter_image()

    def detach(self) -> None:
        """Stop listening, return the keys, take the preview away."""
        self._update_timer.stop()
        self._image_timer.stop()
        self.session.forget()
        self._forget_object()
        for key, callback in self._keys.items():
            _unbind(self.viewer, key, callback)
        self._keys.clear()
        super().detach()
        self._drop_mouse()
        self.preview.remove()
        self._image = self._points = self._shapes = self._labels = None

    def _bind_keys(self) -> None:
        actions = {
            COMMIT_KEY: 'commit',
            CLEAR_KEY: 'clear',
            FLIP_KEY: 'flip_polarity',
            UNDO_KEY: 'undo',
        }
        for key, action in actions.items():
            callback = _weakly(self, action)
            self.viewer.bind_key(key, callback, overwrite=True)
            self._keys[key] = callback

    def _layers_changed(self, event: Any = None) -> None:
        for combo in (
            self.image_combo,
            self.points_combo,
            self.shapes_combo,
            self.labels_combo,
        ):
            combo.refresh()
        gone = getattr(event, 'value', None)
        if getattr(event, 'type', '') != 'removed' or gone is None:
            return
        if gone is self.preview.layer:
            self.preview.layer = None
            self._schedule()
        elif self._asked is not None and gone is self._asked[1].layer:
            self.session.forget()
            self._forget_object()
            self.status.fail(
                f'The image “{gone.name}” was removed; nothing was written.'
            )

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

    # the image

    def _enter_image(self) -> None:
        image = self.image_combo.layer
        if image is self._image and image is not None:
            return
        self._leave(self._image, self._image_events())
        previous, self._image = self._image, image
        self.channel_combo.offer(image)
        self.session.forget()
        self._forget_object()
        if image is None:
            if previous is None:
                self.status.say(NO_IMAGE)
            return
        for name, callback in self._image_events().items():
            self.listen(getattr(image.events, name), callback)
        try:
            plane = self.plane()
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self._ready_to_click(plane)
        self.status.say(HINT)
        self.session.prepare(plane.source())
        self._schedule()

    def _image_events(self) -> dict[str, Callable[..., None]]:
        return {
            'contrast_limits': self._image_shown_differently,
            'gamma': self._image_shown_differently,
            'data': self._image_shown_differently,
            **dict.fromkeys(_TRANSFORMS, self._schedule),
        }

    def _leave(
        self, layer: Layer | None, events: dict[str, Callable[..., None]]
    ) -> None:
        for name, callback in events.items():
            if layer is not None and self.attached:
                self.deafen(getattr(layer.events, name), callback)

    def _image_shown_differently(self, event: Any = None) -> None:
        self._update_timer.start(CONTRAST_PAUSE_MS)

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

    # the layers of prompts

    def _ready_to_click(self, plane: LayerPlane) -> None:
        """Have a Points layer that suits the image, in add mode."""
        made = self._made_points
        if self._points is not None and self._points is not made:
            return
        if made is not None and made in self.viewer.layers:
            if made.ndim == len(plane.output_axes) or len(made.data):
                return
            self.viewer.layers.remove(made)
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
            if isinstance(layer, Points):
                self._made_points = layer
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

    def _use_labels(self, layer: Labels | None) -> None:
        before, self._labels = self._labels, layer
        if before is not None and before not in self.viewer.layers:
            self.status.fail(
                f'The labels layer “{before.name}” was removed: choose '
                'another one, or the next commit makes a new one.'
            )

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

    # the current object

    def _schedule(self, event: Any = None) -> None:
        """Ask anew once the events of this change are through."""
        if not self._busy_writing and self.attached:
            self._update_timer.start(0)

    def _update(self) -> None:
        """Ask for the mask of the prompts that there are now."""
        if self._image is None:
            self._forget_object()
            return
        before = self._asked
        try:
            collected = self._ask()
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        if collected.empty and before is not None:
            self.status.say(HINT)

    def _ask(self) -> Collected:
        """Forget the last answer and ask anew, if there are prompts."""
        self._update_timer.stop()
        self.session.forget()
        before = self._asked
        self._asked = self._masks = None
        self._commit_when_ready = False
        if self._points is not None:
            # a click with the right button is over
            set_next_polarity(self._points, self._polarity)
        try:
            plane = self.plane()
            collected = collect(plane, self._points, self._shapes)
            if not collected.empty:
                generation = self.session.predict(
                    plane.source(), collected.objects
                )
                self._asked = (generation, plane, collected)
        finally:
            # the old preview stays until the new one is there
            if self._asked is None or (
                before is not None and before[1].name != self._asked[1].name
            ):
                self.preview.hide()
        return collected

    def _show_answer(self, result: PromptResult) -> None:
        if self._asked is None or result.request.generation != self._asked[0]:
            return
        _, plane, collected = self._asked
        self._masks = result.masks
        masks = [mask for mask in result.masks if mask is not None]
        self.preview.show(plane, masks)
        self.status.say(_describe(result.masks, collected.waiting))
        if self._commit_when_ready:
            self._commit_when_ready = False
            self.commit()

    def commit(self) -> None:
        """Write the mask as one undoable step and start the next object."""
        if self._asked is None or self._update_timer.isActive():
            try:
                collected = self._ask()
            except SegmentationError as error:
                self.status.fail(str(error))
                return
            if collected.empty:
                self.status.fail(NO_PROMPT)
                return
        assert self._asked is not None
        if self._masks is None:
            self._commit_when_ready = True
            self.status.say('Commits as soon as the mask is there …', True)
            return
        masks = [mask for mask in self._masks if mask is not None]
        if not masks:
            self.status.fail(_describe(self._masks, 0))
            return
        _, plane, collected = self._asked
        try:
            labels = self._labels
            if labels is None:
                labels = new_labels(plane, 'objects')
            written = write_masks(labels, plane, masks)
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        if self._labels is None:
            insert_below_prompts(self.viewer, labels, self.preview.layer)
            self.labels_combo.layer = labels
        self._next_object(collected)
        what = ', '.join(str(number) for number in written.ids)
        noun = 'Object' if len(written.ids) == 1 else 'Objects'
        undo = f'Undo ({UNDO_KEY}) takes it back.'
        if not written.undoable:
            undo = 'This kind of array has no undo.'
        self.status.say(f'{noun} {what} written to “{labels.name}”. {undo}')

    def clear(self) -> None:
        """Reject the mask and remove its prompts; nothing is written."""
        self.session.forget()
        try:
            collected = collect(self.plane(), self._points, self._shapes)
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self._next_object(collected)
        self.status.say(HINT)

    def undo(self) -> None:
        """Undo the last write to the labels layer."""
        if self._labels is None:
            self.status.fail('There is no labels layer yet: nothing to undo.')
            return
        self._labels.undo()
        self.status.say(f'Undone in “{self._labels.name}”.')

    def _next_object(self, collected: Collected) -> None:
        self._busy_writing = True
        try:
            remove_used(collected, self._points, self._shapes)
        finally:
            self._busy_writing = False
        self._forget_object()
        if collected.waiting:
            self._schedule()

    def _forget_object(self) -> None:
        self._asked = self._masks = None
        self._commit_when_ready = False
        self.preview.hide()

    # the session

    def _say(self, text: str, whom: str) -> None:
        if whom == 'prompts' and text.startswith('Ready'):
            if self._asked is None:
                self.status.say(text)
        elif whom in ('prompts', 'model'):
            self.status.say(text, busy=True)

    def _fail(self, text: str, whom: str) -> None:
        if whom == 'model':
            self.model_box.fail()
        if whom == 'prompts':
            self._forget_object()
        if whom in ('prompts', 'model'):
            self.status.fail(text)

    def _progress(self, whom: str, done: int, total: int) -> None:
        if whom == 'model':
            self.status.show_progress(done, total)

    def _model_changed(self, record: ModelRecord) -> None:
        self.model_box.refresh()
        self.status.say(f'{record.name} is loaded. {HINT}')
        self._schedule()


def _describe(masks: tuple[Mask | None, ...], waiting: int) -> str:
    found = [mask for mask in masks if mask is not None]
    if not found:
        return 'The model found nothing here: add a point, or draw a box.'
    if len(masks) > 1:
        text = f'{len(found)} objects for {len(masks)} boxes.'
    else:
        text = f'{found[0].area} pixels, score {found[0].score:.2f}.'
    keep = 'them all' if len(found) > 1 else 'it'
    text += f' Commit ({COMMIT_KEY}) keeps {keep}.'
    if waiting:
        noun = 'box waits' if waiting == 1 else 'boxes wait'
        text += f' {waiting} older {noun} for the next object.'
    return text


def _weakly(widget: PromptWidget, action: str) -> Callable[[Any], None]:
    """Return a key callback that does not keep the widget alive."""
    reference = weakref.ref(widget)

    def call(viewer: Any) -> None:
        target = reference()
        if target is not None:
            getattr(target, action)()

    return call


def _unbind(viewer: Any, key: str, callback: Callable[[Any], None]) -> None:
    # a second dock may have taken the key since
    for bound, function in list(viewer.keymap.items()):
        if function is callback:
            viewer.bind_key(bound, None, overwrite=True)
