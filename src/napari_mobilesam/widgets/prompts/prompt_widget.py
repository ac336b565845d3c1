"""Form “Segment by prompts”: connects the parts of the form."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_info

from napari_mobilesam.text import counted
from napari_mobilesam.types import ModelRecord, SegmentationError
from napari_mobilesam.widgets.parts.controls import fill
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.hover_view import HoverView
from napari_mobilesam.widgets.parts.image_header import ImageHeader
from napari_mobilesam.widgets.parts.keys import focus_canvas
from napari_mobilesam.widgets.parts.line_width import LineWidth
from napari_mobilesam.widgets.parts.preview import Preview
from napari_mobilesam.widgets.parts.settings_store import SettingsStore
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.applied_settings import AppliedSettings
from napari_mobilesam.widgets.prompts.early_clicks import EarlyClicks
from napari_mobilesam.widgets.prompts.idle_clicks import IdleClicks
from napari_mobilesam.widgets.prompts.key_cursor import KeyCursor
from napari_mobilesam.widgets.prompts.open_object import OpenObject
from napari_mobilesam.widgets.prompts.prompt_image import PromptImage
from napari_mobilesam.widgets.prompts.prompt_navigation import PromptNavigation
from napari_mobilesam.widgets.prompts.prompt_output import PromptOutput
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.prompts.prompt_runs import PromptRuns
from napari_mobilesam.widgets.prompts.prompt_saving import PromptSaving
from napari_mobilesam.widgets.prompts.prompt_script import copy_script
from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
from napari_mobilesam.widgets.prompts.session_messages import SessionMessages
from napari_mobilesam.widgets.prompts.view_preparation import ViewPreparation
from napari_mobilesam.widgets.viewer.hidden_object import HiddenObject
from napari_mobilesam.widgets.viewer.labels_target import LabelsTarget
from napari_mobilesam.widgets.viewer.layers import PREVIEW_MARK, raise_above

NO_IMAGE = 'Open or choose an image to start.'
# dragging a contrast slider embeds only once, at its end
CONTRAST_PAUSE_MS = 250


class PromptWidget(ViewerWidget):
    """Form “Segment by prompts”.

    Points are positive or negative prompts of the open object; boxes, outlines
    and scribbles are prompts, too. Each change requests the mask from the
    session and shows it; *Accept* writes it as one undoable step with the next
    free label, and starts a new object. The session computes in the
    background.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    header : ImageHeader
        Choices of image, channels and model.
    settings : SettingsStore
        Settings of the user.
    early_clicks : EarlyClicks
        Clicks since the dock was opened.

    Attributes
    ----------
    panel : PromptPanel
        Other controls.
    status : StatusLine
        Status line of the panel.
    commands : dict of str to callable
        Functions of buttons and keys, by the names in `ACTIONS`.
    image : PromptImage
        The chosen image.
    tools : PromptTools
        Layers of the prompts.
    object : OpenObject
        Prompts and mask of the open object.
    navigation : PromptNavigation
        Editing, deleting and undoing objects.
    output : PromptOutput
        Labels layer, numbering and classes.
    saving : PromptSaving
        Autosave.
    runs : PromptRuns
        Batches and propagation.
    preparation : ViewPreparation
        Embedding ahead of clicks.
    preview, hover : Preview, HoverView
        Masks on the canvas.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        header: ImageHeader,
        settings: SettingsStore,
        early_clicks: EarlyClicks,
    ) -> None:
        super().__init__(viewer)
        session = self.session
        # later: layers cannot be moved while napari moves or inserts them
        self._raise_later = DelayedCall(self._raise_layers, parent=self)
        # deferred: the form is shown first
        self._start_later = DelayedCall(self._start, parent=self)
        # in a separate turn of the event loop, like each layer
        self._preview_later = DelayedCall(self._prepare_preview, parent=self)
        self.header = header
        self.panel = panel = PromptPanel(self, settings)
        self.status = panel.status
        fill(self, panel)
        self.preview = Preview(self.viewer)
        self._hidden = HiddenObject(self.viewer)
        # message about an image removed with its open object
        self._dropped = ''
        self.hover = HoverView(
            self.viewer, session.hover, self.scene.layer_plane
        )
        self.image = PromptImage(self, self.header)
        self.tools = PromptTools(self, panel)
        self._lines = LineWidth(self, lambda: self.tools.own_shapes)
        self.object = OpenObject(
            self, panel, self.tools, self.preview, self.hover
        )
        self.navigation = PromptNavigation(
            self, panel, self.tools, self.object
        )
        self.output = PromptOutput(self, panel)
        self.saving = PromptSaving(self, panel)
        self._messages = SessionMessages(
            self, panel, self.image, self.object, self.saving, self.hover.look
        )
        self._applied = AppliedSettings(
            self, panel, self.hover, self.object.doubtful
        )
        self.runs = PromptRuns(self, panel, self.tools, self.object)
        self.preparation = ViewPreparation(self)
        self._early_clicks = early_clicks
        self._idle_clicks = IdleClicks(self, panel)
        self.key_cursor = KeyCursor(self, panel, self.tools, self.hover)
        self.commands = self._commands()
        self._connect()
        self.attach()

    def _commands(self) -> dict[str, Callable[[], None]]:
        tools, navigation, runs = self.tools, self.navigation, self.runs
        return {
            'use_points_tool': tools.use_points_tool,
            'use_boxes_tool': tools.use_boxes_tool,
            'use_outline_tool': tools.use_outline_tool,
            'use_scribble_tool': tools.use_scribble_tool,
            'point_here': self.key_cursor.add_point,
            'view_left': self.key_cursor.left,
            'view_right': self.key_cursor.right,
            'view_up': self.key_cursor.up,
            'view_down': self.key_cursor.down,
            'edit_object': navigation.edit_object,
            'assign_class': navigation.assign_class,
            'flip_polarity': tools.flip_polarity,
            'toggle_hover': self._applied.toggle_hover,
            'next_candidate': self.object.next_candidate,
            'accept': self._accept,
            'reject': self._reject,
            'undo': self._undo,
            'redo': navigation.redo,
            'previous_object': navigation.previous_object,
            'next_object': navigation.next_object,
            'next_uncertain': navigation.next_uncertain,
            'delete_object': navigation.delete_object,
            'propagate_back': runs.propagate_back,
            'propagate_both': runs.propagate_both,
            'propagate_forward': runs.propagate_forward,
            'run_batch': runs.run_batch,
        }

    def _accept(self) -> None:
        if not self._early_clicks.accept():
            self.runs.accept()

    def _undo(self) -> None:
        if not self._early_clicks.undo():
            self.navigation.undo()

    def _connect(self) -> None:
        panel = self.panel
        for action, button in panel.buttons.items():
            if action == 'edit_object':
                button.clicked.connect(self.navigation.pick)
            elif action == 'assign_class':
                button.clicked.connect(self.navigation.pick_for_class)
            elif action == 'delete_object':
                button.clicked.connect(self.navigation.delete_open)
            else:
                button.clicked.connect(self.commands[action])
        panel.candidates_view.chosen.connect(self.object.choose)
        panel.class_box.left.connect(self._focus_canvas)
        panel.script_button.clicked.connect(self._copy_script)
        self.image.may_leave = self._may_leave
        self.image.chosen.connect(self._image_chosen)
        self.image.channels_changed.connect(self.object.leave_channels)
        self.image.channels_changed.connect(self._offer_axes)
        self.image.pixels_changed.connect(self._pixels_changed)
        self.image.moved.connect(self.object.history.forget)
        self.image.moved.connect(self.object.schedule)
        self.image.hidden.connect(self._image_hidden)
        self.tools.editing.connect(self.object.expect_edit)
        self.tools.edited.connect(self.object.update)
        self.tools.restyled.connect(self.object.schedule)
        self.tools.pressed.connect(self.object.expect)

    def trigger(self, action: str) -> None:
        """Perform the action of a button or a key.

        Parameters
        ----------
        action : str
            One of `commands`.
        """
        self.commands[action]()

    @property
    def pending(self) -> bool:
        """True while a change in the viewer remains to be handled."""
        return (
            self._start_later.pending
            or self._preview_later.pending
            or self.image.pending
            or self.object.pending
            or self.runs.pending
            or self.preparation.pending
            or len(self.session.editor.queue) > 0
        )

    # docking

    def attach(self) -> None:
        """Listen to viewer and session, and bind the keys."""
        super().attach()
        self.follow_layers(self._layers_changed, self._active_changed)
        dims = self.viewer.dims
        for event in ('current_step', 'order', 'ndisplay'):
            self.listen(getattr(dims.events, event), self._plane_changed)
        session, editor = self.session, self.session.editor
        self.listen_all(
            (session.preview, self.object.show_answer),
            (session.preview, self.runs.mask_came),
            (session.model_changed, self._model_changed),
            (session.hover.shown, self.hover.show),
            (session.files.loaded, self.saving.loaded),
            (session.files.not_loaded, self.saving.not_loaded),
            (session.classes.changed, self.output.classes_changed),
            (session.navigation.restoring, self.object.history.forget_undone),
            (session.batching.finished, self.runs.batch_finished),
            (session.propagation.finished, self.runs.propagated),
            (editor.changed, self._editor_changed),
            (editor.accepted, self.object.accepted),
            (editor.accepted, self._follow_selection),
            (editor.opened, self.object.reopened),
            (self.scene.image_changed, self.image.follow_scene),
            (self.scene.labels_changed, self._labels_changed),
            (self.viewer.dims.events.order, self._offer_axes),
        )
        self._messages.attach()
        self._lines.attach()
        self.preparation.attach()
        self._idle_clicks.attach()
        self._applied.attach(self.commands)
        self._layers_changed()
        self._early_clicks.watch(partial(self.status.say, busy=True))
        # importing pandas and torch takes seconds the first time
        session.models.import_libraries(self._start_later.restart)

    def _start(self) -> None:
        if not self.attached:
            return
        self.tools.adopt()
        self.image.enter()
        self._early_clicks.hand_over(self.tools.add_point, self.runs.accept)

    def detach(self) -> None:
        """Stop listening, unbind the keys, and remove the previews."""
        self._early_clicks.stop()
        self._idle_clicks.detach()
        self.object.stop()
        self.object.several = None
        self.preparation.detach()
        self.navigation.pick(False)
        self.runs.stop()
        self.session.forget()
        self._applied.detach()
        self.saving.watch(None)
        self._tell_queue()
        super().detach()
        self.tools.release()
        self._hidden.show()
        self.hover.remove()
        self.preview.remove()
        self.image.release()

    def _tell_queue(self) -> None:
        """Say that accepted objects come into the labels without the form."""
        waiting = len(self.session.editor.queue)
        if waiting:
            show_info(
                f'{counted(waiting, "accepted object")} to be written as soon '
                'as the mask is ready.'
            )

    # the viewer

    def _layers_changed(self, event: Any = None) -> None:
        layer: Any = getattr(event, 'value', None)
        removed = getattr(event, 'type', '') == 'removed'
        if isinstance(layer, Layer) and PREVIEW_MARK in layer.metadata:
            # no form offers previews
            if removed and layer is self.preview.layer:
                self.preview.layer = None
                self.object.schedule()
            return
        before = self.tools.points, self.tools.shapes, self.output.layer
        if isinstance(layer, Image) and not removed:
            self.image.note_new(layer)
        if not isinstance(layer, Layer) or isinstance(layer, Image):
            self.header.refresh()
        self._raise_later.restart()
        self.tools.follow_units()
        panel = self.panel
        for combo in (
            panel.points_combo,
            panel.shapes_combo,
            panel.labels_combo,
        ):
            combo.refresh()
        self.output.show_labels()
        if removed and isinstance(layer, Layer):
            self._layer_removed(layer, *before)

    def _layer_removed(
        self, layer: Any, points: Any, shapes: Any, labels: Any
    ) -> None:
        name = layer.name
        self.panel.problem_list.forget(layer)
        if layer is self.image.layer:
            self.panel.problem_list.show_problems(())
            open_object = '' if self.object.empty else ', and its open object'
            self.image.enter()
            text = f'The image “{name}” was removed{open_object}.'
            self.status.say(text, keep=True)
            self._dropped = text if open_object else ''
        elif layer is points or layer is shapes:
            self.object.drop()
            self.status.say(
                f'The layer “{name}” was removed with its prompts. Points or '
                'Box adds a new one.',
                keep=True,
            )
        elif layer is labels:
            other = self.scene.labels
            target = 'a new layer' if other is None else f'“{other.name}”'
            which = 'next' if self.object.empty else 'open'
            self.status.say(
                f'The labels layer “{name}” was removed. The {which} object '
                f'is written to {target}.',
                keep=True,
            )

    def _active_changed(self, event: Any = None) -> None:
        self.tools.show_tool()
        self.image.note_selection()
        self._follow_selection()

    def _follow_selection(self) -> None:
        """Switch to the selected image; an open object keeps its image."""
        selected, image = self.image.other_selected, self.image.layer
        if selected is None:
            return
        if self.object.empty or image is None:
            self.image.follow_selection()
            return
        self._say_open_elsewhere(image, selected)

    def _may_leave(self, other: Image) -> bool:
        """Return whether no open object would be lost with its image."""
        image = self.image.layer
        self.object.catch_up()
        if self.object.empty or image is None:
            return True
        self._say_open_elsewhere(image, other)
        return False

    def _say_open_elsewhere(self, image: Image, other: Image) -> None:
        buttons = self.panel.buttons
        self.status.say(
            f'The open object is on “{image.name}”. '
            f'{buttons["accept"].text()} or {buttons["reject"].text()} it to '
            f'continue with “{other.name}”.',
            keep=True,
        )

    def _raise_layers(self) -> None:
        """Keep prompts, previews and labels above the chosen image."""
        image = self.image.layer
        if image is None or not self.attached:
            return
        layers = (
            self.scene.labels,
            self.preview.layer,
            self.hover.preview.layer,
            self.tools.shapes,
            self.tools.points,
        )
        raise_above(self.viewer, image, layers)

    def _image_hidden(self) -> None:
        image = self.image.layer
        if image is None:
            return
        if image.visible:
            self.status.say(
                f'“{image.name}” is shown again. {self.panel.hint()}'
            )
        else:
            self.status.say(
                f'“{image.name}” is hidden, but clicks still apply to it: '
                'show it, or select another image.',
                keep=True,
            )

    def _image_chosen(self, before: Image | None) -> None:
        image = self.image.layer
        # napari's merge and split put another image in place of a removed one
        dropped, self._dropped = self._dropped, ''
        if self.status.text != dropped:
            dropped = ''
        if before is not None:
            self.object.drop()
        if image is None:
            if before is None:
                self.status.say(NO_IMAGE)
            return
        self.output.start_image()
        self.saving.start_image(image)
        try:
            plane = self.scene.layer_plane()
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self.panel.offer_axes(plane)
        by_hand = before is not None and self.image.take_selected()
        self.tools.begin(plane, select=not by_hand)
        self._raise_later.restart()
        # an object that was open when the dock was closed
        next_step = self.object.describe_open() or self.panel.hint()
        text = f'“{image.name}”: {next_step[0].lower()}{next_step[1:]}'
        self.status.say(f'{dropped} {text}'.lstrip(), keep=bool(dropped))
        self._preview_later.restart()
        self.preparation.start()
        self.object.schedule()

    def _offer_axes(self, event: Any = None) -> None:
        # the image may be gone
        with contextlib.suppress(SegmentationError):
            self.panel.offer_axes(self.scene.layer_plane())

    def _prepare_preview(self) -> None:
        # the image may be gone
        with contextlib.suppress(SegmentationError):
            self.preview.prepare(self.scene.layer_plane())

    def _pixels_changed(self) -> None:
        self.object.schedule(CONTRAST_PAUSE_MS)

    def _plane_changed(self, event: Any = None) -> None:
        self.saving.news = None
        self.hover.hide()
        self.object.schedule()

    def _labels_changed(self) -> None:
        labels = self.output.layer
        # `_layers_changed` handles, and reports, labels that were removed
        if labels is None or labels in self.viewer.layers:
            self.output.show_labels()
        self.saving.follow()

    def _reject(self) -> None:
        self.object.reject()
        self._follow_selection()

    def _focus_canvas(self) -> None:
        focus_canvas(self)

    def _copy_script(self) -> None:
        copy_script(self.session, self.status)

    # from other forms

    def take_over(self, image: Image, labels: Labels, number: int) -> None:
        """Open an object of a labels layer for editing.

        Parameters
        ----------
        image : napari.layers.Image
            Image in which the object was found.
        labels : napari.layers.Labels
            Layer that holds the object.
        number : int
            Number of the object's record.

        Raises
        ------
        SegmentationError
            The object cannot be edited.
        """
        self.scene.image = image
        self.scene.labels = labels
        self.tools.use_some_tool()
        # the next key is a command, whichever field was last used
        focus_canvas(self)
        self.session.navigation.open(number)

    # the session

    def _editor_changed(self) -> None:
        self.object.editor_changed()
        self.runs.follow_editor()
        self._hide_old_pixels()
        self.output.follow_editor()
        if not self.session.editor.record.empty:
            self.saving.news = None

    def _hide_old_pixels(self) -> None:
        """Hide the labelled pixels of the open object."""
        editor = self.session.editor
        base, home = editor.base, editor.objects
        target = None if home is None else home.target
        if base is None or not isinstance(target, LabelsTarget):
            self._hidden.show()
        else:
            self._hidden.hide(target.layer, base)

    def _model_changed(self, record: ModelRecord) -> None:
        # torch is loaded by now
        from napari_mobilesam.model.checkpoints import available_devices

        self.panel.settings_box.offer_devices(available_devices())
        if not self.object.empty:
            # with the new model
            self.session.editor.ask_again()
        elif self.status.busy:
            self.status.say(f'{record.name} is loaded. {self.panel.hint()}')
