"""“Segment by prompts”: click an object, see its mask, keep it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import napari.viewer
from napari.layers import Image, Labels

from napari_mobilesam.session import PromptResult
from napari_mobilesam.types import (
    Mask,
    ModelRecord,
    SegmentationError,
)
from napari_mobilesam.widgets.keys import Keys, bind_keys, unbind_keys
from napari_mobilesam.widgets.label_writer import new_labels, write_masks
from napari_mobilesam.widgets.layers import (
    insert_below_prompts,
    is_ours,
)
from napari_mobilesam.widgets.prompt_collection import (
    Collected,
    PromptReader,
    remove_prompts,
)
from napari_mobilesam.widgets.prompt_layers import set_next_polarity
from napari_mobilesam.widgets.prompt_panel import (
    CLEAR_KEY,
    COMMIT_KEY,
    FLIP_KEY,
    UNDO_KEY,
)
from napari_mobilesam.widgets.prompt_tools import NO_IMAGE, PromptTools

HINT = 'Click an object; right-click what does not belong to it.'
NO_PROMPT = 'There is no prompt yet: click an object, or draw a box.'
# dragging a contrast slider should not embed at each of its steps
CONTRAST_PAUSE_MS = 250
KEYS = {
    COMMIT_KEY: 'commit',
    CLEAR_KEY: 'clear',
    FLIP_KEY: 'flip_polarity',
    UNDO_KEY: 'undo',
}
# the first import of torch would hold up the drawing of a new dock
PREPARE_PAUSE_MS = 150
_TRANSFORMS = ('scale', 'translate', 'rotate', 'shear', 'affine')


class PromptWidget(PromptTools):
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
        self._labels: Labels | None = None
        self._masks: tuple[Mask | None, ...] | None = None
        self._commit_when_ready = False
        self._keys = Keys()
        self._reader = PromptReader()
        self._image_timer = self.timer(self._enter_image)
        self._prepare_timer = self.timer(self._prepare)
        self._build()
        self.prompts_settled.connect(self._update)
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

    # life in the viewer

    def attach(self) -> None:
        """Listen to the viewer and the session, take the keys."""
        super().attach()
        layers, dims = self.viewer.layers, self.viewer.dims
        self.follow_layers()
        for event in ('current_step', 'order', 'ndisplay'):
            self.listen(getattr(dims.events, event), self._schedule)
        self.listen(self.session.preview, self._show_answer)
        self.listen(self.session.status, self._say)
        self.listen(self.session.ready, self._ready)
        self.listen(self.session.failed, self._fail)
        self.listen(self.session.progress, self._progress)
        self.listen(self.session.model_changed, self._model_changed)
        self.listen(self.session.downloaded, self.model_box.arrived)
        self._keys = bind_keys(self, KEYS)
        self._layers_changed()
        active = layers.selection.active
        if isinstance(active, Image):
            self.image_combo.layer = active
        for combo in (self.points_combo, self.shapes_combo):
            # those of a dock that was closed, or of another one
            combo.layer = next(filter(is_ours, combo.layers), combo.layer)
        self._use_points(self.points_combo.layer)
        self._use_shapes(self.shapes_combo.layer)
        self._use_labels(self.labels_combo.layer)
        self._image_timer.stop()
        self._enter_image()

    def detach(self) -> None:
        """Stop listening, return the keys, take the preview away."""
        for timer in self._timers:
            timer.stop()
        self.session.forget()
        self._forget_object()
        unbind_keys(self.viewer, self._keys)
        super().detach()
        self._drop_mouse()
        self.preview.remove()
        self._image = self._points = self._shapes = self._labels = None

    def _layers_changed(self, event: Any = None) -> None:
        prompts = (self._points, self._shapes)
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
        elif any(gone is layer for layer in prompts):
            self.session.forget()
            self._forget_object()
            self.status.fail(
                f'The layer “{gone.name}” was removed and its prompts with '
                'it: Points and Boxes make new ones.'
            )

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
        self._choose_labels(image)
        self._ready_to_click(plane)
        self.status.say(HINT)
        self._prepare_timer.start(PREPARE_PAUSE_MS)
        self._schedule()

    def _prepare(self) -> None:
        with contextlib.suppress(SegmentationError):
            self.session.prepare(self.plane().source())

    def _image_events(self) -> dict[str, Callable[..., None]]:
        return {
            'contrast_limits': self._image_shown_differently,
            'gamma': self._image_shown_differently,
            'data': self._image_shown_differently,
            **dict.fromkeys(_TRANSFORMS, self._schedule),
        }

    def _image_shown_differently(self, event: Any = None) -> None:
        self._update_timer.start(CONTRAST_PAUSE_MS)

    def _choose_labels(self, image: Image) -> None:
        """Go on with the labels of this image, not with another's."""
        if self._labels is None or is_ours(self._labels):
            layers = self.labels_combo.layers
            self.labels_combo.layer = next(
                (layer for layer in layers if is_ours(layer, image)), None
            )

    def _use_labels(self, layer: Labels | None) -> None:
        before, self._labels = self._labels, layer
        if before is not None and before not in self.viewer.layers:
            self.status.fail(
                f'The labels layer “{before.name}” was removed: choose '
                'another one, or the next commit makes a new one.'
            )

    # the current object

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
            collected = self._reader.collect(plane, self._points, self._shapes)
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
            collected = self._reader.collect(
                self.plane(), self._points, self._shapes
            )
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
            remove_prompts(self._points, collected.points)
            remove_prompts(self._shapes, collected.shapes)
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
        if whom in ('prompts', 'model'):
            self.status.say(text, busy=True)

    def _ready(self, text: str) -> None:
        if self._asked is None:
            self.status.say(text)

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
        if self._asked is None and self.status.busy:
            self.status.say(f'{record.name} is loaded. {HINT}')
        elif self._masks is not None:
            # the other model's answer
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
