"""“Segment by prompts”: click an object, see its mask, keep it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import napari.viewer
from napari.layers import Image, Labels

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.types import ModelRecord, SegmentationError
from napari_mobilesam.widgets.parts.keys import Keys, bind_keys, unbind_keys
from napari_mobilesam.widgets.prompts.actions import keys_of
from napari_mobilesam.widgets.prompts.prompt_objects import HINT
from napari_mobilesam.widgets.prompts.prompt_runs import PromptRuns
from napari_mobilesam.widgets.prompts.tools import NO_IMAGE
from napari_mobilesam.widgets.viewer.layers import is_ours

# dragging a contrast slider should not embed at each of its steps
CONTRAST_PAUSE_MS = 250
_TRANSFORMS = ('scale', 'translate', 'rotate', 'shear', 'affine')


class PromptWidget(PromptRuns):
    """Dock widget “Segment by prompts”.

    Points are positive or negative prompts of the current object; boxes,
    outlines and scribbles are prompts too. Each change asks the session for
    the mask and shows it; *Accept* writes it as one undoable step under the
    next free id and starts the next object. Nothing is computed on the Qt
    thread.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._keys = Keys()
        self._embedding_since: float | None = None
        self._image_timer = self.timer(self._enter_image)
        self._build()
        self.prompts_settled.connect(self._update)
        self.point_coming.connect(self._expect)
        self.image_combo.layer_changed.connect(self._image_timer.start)
        self.channel_combo.changed.connect(self._channels_chosen)
        self.points_combo.layer_changed.connect(self._use_points)
        self.shapes_combo.layer_changed.connect(self._use_shapes)
        self.buttons['edit_object'].clicked.connect(self._pick)
        self.candidates_view.chosen.connect(self._choose)
        self.settings_box.changed.connect(self._change_settings)
        self.settings_box.clear_button.clicked.connect(self._clear_cache)
        self.cancel_button.clicked.connect(self.cancel)
        self._connect_output()
        self._connect_saving()
        self.attach()

    # life in the viewer

    def attach(self) -> None:
        """Listen to the viewer and the session, take the keys."""
        super().attach()
        dims = self.viewer.dims
        self.follow_layers()
        for event in ('current_step', 'order', 'ndisplay'):
            self.listen(getattr(dims.events, event), self._plane_changed)
        session, editor = self.session, self.editor
        self.listen(session.preview, self._show_answer)
        self.listen(session.status, self._say)
        self.listen(session.ready, self._ready)
        self.listen(session.failed, self._fail)
        self.listen(session.progress, self._progress)
        self.listen(session.model_changed, self._model_changed)
        self.listen(session.downloaded, self.model_box.arrived)
        self.listen(session.hover.shown, self.hover.show)
        self.listen(editor.changed, self._editor_changed)
        self.listen(editor.accepted, self._accepted)
        self.listen(editor.opened, self._opened)
        self.listen(session.files.loaded, self._loaded)
        self.listen(session.classes.changed, self._classes_changed)
        self.listen(session.batching.finished, self._batch_finished)
        self.listen(session.propagation.finished, self._propagated)
        self.anticipation.attach()
        self._keys = bind_keys(self, keys_of(self.settings.keys))
        self._apply_settings()
        self.model_box.refresh()
        self._layers_changed()
        self.status.say('Starting …', busy=True)
        # the first import of pandas and torch takes longer than a window may
        self.session.models.import_libraries(self._begin_work)

    def _begin_work(self) -> None:
        if not self.attached:
            return
        active = self.viewer.layers.selection.active
        if isinstance(active, Image):
            self.image_combo.layer = active
        for combo in (self.points_combo, self.shapes_combo):
            # those of a dock that was closed, or of another one
            combo.layer = next(filter(is_ours, combo.layers), combo.layer)
        self._use_points(self.points_combo.layer)
        self._use_shapes(self.shapes_combo.layer)
        self._enter_image()

    def detach(self) -> None:
        """Stop listening, return the keys, take the previews away."""
        for timer in self._timers:
            timer.stop()
        self.anticipation.detach()
        self._pick(False)
        self.session.background.cancel()
        self.session.forget()
        unbind_keys(self.viewer, self._keys)
        self._watch(None)
        super().detach()
        for layer in (self._points, self._shapes):
            self._drop_mouse(layer)
        self.hover.remove()
        self.preview.remove()
        self._image = self._points = self._shapes = None

    def _layers_changed(self, event: Any = None) -> None:
        prompts = (self._points, self._shapes)
        written_to = self._written_to
        for combo in (
            self.image_combo,
            self.points_combo,
            self.shapes_combo,
            self.labels_combo,
        ):
            combo.refresh()
        self._follow_output()
        composed = self.channel_combo.composed
        self.channel_combo.offer(self._image, self.viewer.layers)
        if self.channel_combo.composed != composed:
            self._channels_chosen()
        gone = getattr(event, 'value', None)
        name = getattr(gone, 'name', '')
        if gone is None or getattr(event, 'type', '') != 'removed':
            return
        if gone is self.preview.layer:
            self.preview.layer = None
            self._schedule()
        elif gone is self._image:
            self._enter_image()
            self.status.fail(
                f'The image “{name}” was removed; nothing was written.'
            )
        elif any(gone is layer for layer in prompts):
            self._let_go()
            self.status.fail(
                f'The layer “{name}” was removed and its prompts with '
                'it: Points and Box make new ones.'
            )
        elif gone is written_to:
            self.status.fail(
                f'The labels layer “{name}” was removed: choose '
                'another one, or the next object makes a new one.'
            )

    def _let_go(self) -> None:
        """What the open object rests on is gone."""
        self.session.forget()
        self.editor.reject()
        self._planes.clear()
        self._drawn.clear()
        self._carried.clear()
        self._several = None
        self.preview.hide()

    def _active_changed(self, event: Any = None) -> None:
        self._show_tool()
        active = self.viewer.layers.selection.active
        # an object that is open keeps its image
        free = isinstance(active, Image) and not is_ours(active)
        if free and not self._planes:
            self.image_combo.layer = active

    # the image

    def _enter_image(self) -> None:
        self._image_timer.stop()
        image = self.image_combo.layer
        if image is self._image and image is not None:
            return
        self._leave(self._image, self._image_events())
        previous, self._image = self._image, image
        self.channel_combo.offer(image, self.viewer.layers)
        self.scene.image = image
        if previous is not None:
            self._let_go()
        if image is None:
            if previous is None:
                self.status.say(NO_IMAGE)
            return
        for name, callback in self._image_events().items():
            self.listen(getattr(image.events, name), callback)
        self._choose_labels(image)
        self._look_for_saved(image)
        try:
            plane = self.plane()
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self.planes_box.setVisible(bool(plane.travel_axes))
        self._ready_to_click(plane)
        self.status.say(HINT)
        self.anticipation.start()
        self._schedule()

    def _channels_chosen(self) -> None:
        self.scene.channel_axis = self.channel_combo.axis
        self.scene.composed = self.channel_combo.composed
        self._image_shown_differently()

    def _image_events(self) -> dict[str, Callable[..., None]]:
        return {
            'contrast_limits': self._image_shown_differently,
            'gamma': self._image_shown_differently,
            'data': self._image_shown_differently,
            **dict.fromkeys(_TRANSFORMS, self._schedule),
        }

    def _image_shown_differently(self, event: Any = None) -> None:
        self._update_timer.start(CONTRAST_PAUSE_MS)

    def _plane_changed(self, event: Any = None) -> None:
        self._news = None
        self.hover.hide()
        self._schedule()

    # settings

    def _change_settings(self, changed: Mapping[str, Any]) -> None:
        before = self.settings
        self._remember(**changed)
        settings = self.settings
        if settings.keys != before.keys:
            unbind_keys(self.viewer, self._keys)
            self._keys = bind_keys(self, keys_of(settings.keys))
            self.show_keys(settings.keys)
            self.show_polarity(self._polarity)
        self._apply_settings()

    def _apply_settings(self) -> None:
        settings = self.settings
        clean_up = CleanUp(settings.min_area, settings.smooth)
        if clean_up != self.session.prompting.clean_up:
            self.session.prompting.clean_up = clean_up
            self.editor.ask_again()
        self.session.models.compute_with(settings.device, settings.threads)
        self.session.use_cache(settings.cache_mb)
        self.buttons['toggle_hover'].setChecked(settings.hover)
        self.hover.switch(settings.hover)

    def take_over(self, image: Image, labels: Labels, number: int) -> None:
        """Open an object of a labels layer for editing.

        Parameters
        ----------
        image : napari.layers.Image
            Image that the object was found in.
        labels : napari.layers.Labels
            Layer that holds the object.
        number : int
            Number of the object's record.

        Raises
        ------
        SegmentationError
            The object cannot be edited.
        """
        self.image_combo.layer = image
        self.labels_combo.layer = labels
        self.scene.image = image
        self.scene.labels = labels
        self.session.navigation.open(number)

    def toggle_hover(self) -> None:
        """Show, or do not show, the mask under the cursor."""
        self._change_settings({'hover': not self.settings.hover})

    def _clear_cache(self) -> None:
        self.session.clear_cache()
        self.status.say('The cache of embeddings is empty.')

    # the session

    def _say(self, text: str, whom: str) -> None:
        if whom not in ('prompts', 'model', 'objects'):
            return
        if text.startswith('Embedding'):
            self._embedding_since = time.monotonic()
            seconds = self.settings.seconds.get(self.session.model_name)
            if seconds is not None:
                text = f'{text.removesuffix(" …")}, about {seconds:.1f} s …'
        self.status.say(text, busy=True)

    def _ready(self, text: str) -> None:
        self._learn_speed()
        self.hover.look()
        settled = not self._planes and self._several is None
        if settled and not self.status.failed:
            self.status.say(text)
            self._repeat_news()

    def _learn_speed(self) -> None:
        """Remember how long embedding takes here, to say it beforehand."""
        since, self._embedding_since = self._embedding_since, None
        seconds = 0.0 if since is None else time.monotonic() - since
        # an image that was embedded before tells nothing
        if seconds > 0.1:
            self.settings = replace(
                self.settings,
                seconds={
                    **self.settings.seconds,
                    self.session.model_name: round(seconds, 1),
                },
            )
            self._save_settings()

    def _fail(self, text: str, whom: str) -> None:
        if whom == 'model':
            self.model_box.fail()
        if whom in ('prompts', 'model', 'objects'):
            self.status.fail(text)
        if whom == 'objects':
            self._not_read(text)

    def _progress(self, whom: str, done: int, total: int) -> None:
        if whom in ('model', 'objects'):
            self.status.show_progress(done, total)

    def _model_changed(self, record: ModelRecord) -> None:
        self.model_box.refresh()
        self.device_label.setText(self.session.models.device_text)
        if self._planes:
            # the other model's answer
            self.editor.ask_again()
        elif self.status.busy:
            self.status.say(f'{record.name} is loaded. {HINT}')
