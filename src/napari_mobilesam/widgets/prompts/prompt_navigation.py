"""Navigation among written objects: edit, next, delete, undo, redo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from napari.layers import Labels

from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.prompts.navigation import object_at
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.parts.hover_view import cursor_on
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.open_object import OpenObject
from napari_mobilesam.widgets.prompts.prompt_panel import PICKS, PromptPanel
from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
from napari_mobilesam.widgets.viewer.layers import is_output, mouse_position

NO_OBJECT = 'No object{} under the cursor.'
NO_OBJECTS = 'No objects yet: click one, then accept it.'
DROPPED = 'The new mask and its prompts were dropped; nothing was written.'
PROMPTS = 'prompts of the open object'
PICK = 'Click the object to edit.'
PICK_FOR_CLASS = 'Click the object to assign to class “{}”.'
NO_CLASS = (
    'No class is chosen: choose one under Output ▸ Class, or type the name of '
    'a new one there.'
)


class PromptNavigation:
    """Open, delete and restore objects of the labels.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides session and viewer.
    panel : PromptPanel
        Buttons and status line.
    tools : PromptTools
        Selected again after an object was picked.
    object : OpenObject
        Open object; its prompts are removed when it is deleted.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: PromptPanel,
        tools: PromptTools,
        object: OpenObject,  # noqa: A002
    ) -> None:
        self._viewer = dock.viewer
        self._editor = dock.session.editor
        self._session = dock.session
        self._panel = panel
        self._tools = tools
        self._scene = dock.scene
        self._object = object
        # action of the next click on an object
        self._picking: str | None = None

    # edit

    def edit_object(self) -> None:
        """Open the object under the cursor."""
        with self._panel.status.errors():
            plane, source = self._scene.shown()
            at = cursor_on(plane, self._viewer.cursor.position)
            navigation = self._session.navigation
            if at is not None and navigation.open_at(source, *at):
                # as the status says, clicks add points to it
                self._tools.use_points_tool()
                return
            self._say_no_object()

    def _say_no_object(self) -> None:
        waiting = len(self._editor.queue)
        if not waiting:
            self._panel.status.fail(self._no_object)
            return
        objects = counted(waiting, 'accepted object')
        self._panel.status.say(
            f'No object under the cursor yet: {objects} to be written as soon '
            'as the mask is ready.',
            busy=True,
        )

    @property
    def _no_object(self) -> str:
        labels = self._scene.labels
        elsewhere = self._labels_under_cursor()
        if elsewhere is not None:
            return (
                f'The object under the cursor is in “{elsewhere.name}”: '
                'choose these labels under Output ▸ Labels first.'
            )
        count = sum(map(is_output, self._viewer.layers))
        if labels is not None and count > 1:
            return NO_OBJECT.format(f' of “{labels.name}”')
        which = self._scene.which_image
        return NO_OBJECT.format(which and f' of{which}')

    def _labels_under_cursor(self) -> Labels | None:
        """Return other labels layers with an object under the cursor."""
        viewer, current = self._viewer, self._scene.labels
        for layer in reversed(viewer.layers):
            if layer is current or not layer.visible or not is_output(layer):
                continue
            position = mouse_position(viewer, layer, viewer.cursor.position)
            value = layer.get_value(position, world=True)
            # for a pyramid, the level and the label
            if value[-1] if isinstance(value, tuple) else value:
                found: Labels = layer
                return found
        return None

    def pick(self, wanted: bool) -> None:
        """Open the object at the next click on the canvas, or cancel that."""
        self._pick('edit_object' if wanted else None, PICK)

    def pick_for_class(self, wanted: bool) -> None:
        """Assign the object at the next click to the chosen class."""
        class_name = self._editor.class_name
        if wanted and not class_name:
            self._pick(None)
            self._panel.status.fail(NO_CLASS)
            return
        hint = PICK_FOR_CLASS.format(class_name)
        self._pick('assign_class' if wanted else None, hint)

    def _pick(self, action: str | None, hint: str = '') -> None:
        """Wait for a click on an object; None cancels that."""
        callbacks = self._viewer.mouse_drag_callbacks
        if self._picked in callbacks:
            callbacks.remove(self._picked)
        for each in PICKS:
            self._panel.buttons[each].setChecked(each == action)
        self._picking = action
        if action is not None:
            # a layer in a drawing mode would take the click
            self._viewer.layers.selection.active = self._scene.image
            # first, so that others see that the click is taken
            callbacks.insert(0, self._picked)
            self._panel.status.say(hint)
        elif self._panel.status.text == hint:
            self._panel.status.say(self._panel.hint())

    def _picked(self, viewer: Any, event: Any) -> Iterator[None]:
        position, action = event.position, self._picking
        event.handled = True
        # the active layer gets the press next, and a Points layer would add a
        # point: change layers when the button is released
        while event.type != 'mouse_release':
            yield
        self.pick(False)
        self._viewer.cursor.position = position
        if action == 'assign_class':
            self.assign_class()
        else:
            self.edit_object()
        self._tools.use_points_tool()

    # class

    def assign_class(self) -> None:
        """Assign the object under the cursor to the chosen class."""
        class_name = self._editor.class_name
        with self._panel.status.errors():
            if not class_name:
                self._panel.status.fail(NO_CLASS)
                return
            plane, _ = self._scene.shown()
            at = cursor_on(plane, self._viewer.cursor.position)
            objects, record = self._scene.objects(False), None
            last = None if objects is None else objects.history.last
            if at is not None:
                record = self._session.assign_class(class_name, at=at)
            if record is None or objects is None:
                self._say_no_object()
                return
            who, undo = record.text.capitalize(), self._panel.buttons['undo']
            self._panel.status.say(
                f'{who} already has the class “{class_name}”.'
                if objects.history.last is last
                else f'{who} now has the class “{class_name}”. {undo.text()} '
                'takes it back.'
            )

    def next_object(self) -> None:
        """Open the next object."""
        self._open(self._session.navigation.next)

    def previous_object(self) -> None:
        """Open the previous object."""
        self._open(self._session.navigation.previous)

    def next_uncertain(self) -> None:
        """Open the least certain object that is not reviewed yet."""
        self._open(
            self._session.navigation.next_uncertain,
            'All objects were reviewed.',
        )

    def _open(
        self,
        step: Callable[[], ObjectRecord | None],
        nothing: str = NO_OBJECTS,
    ) -> None:
        with self._panel.status.errors():
            if step() is None:
                objects = self._scene.objects(False)
                self._panel.status.fail(nothing if objects else NO_OBJECTS)

    # delete

    def delete_object(self) -> None:
        """Delete the open object, or the one under the cursor.

        If there is neither, a new mask is dropped.
        """
        self._delete(under_cursor=True)

    def delete_open(self) -> None:
        """Delete the open object, or drop a new mask.

        The cursor is on the button, not on an object.
        """
        self._delete(under_cursor=False)

    def _delete(self, under_cursor: bool) -> None:
        with self._panel.status.errors():
            self._object.catch_up()
            objects, record = self._scene.objects(False), None
            if self._editor.record.label:
                objects, record = self._editor.objects, self._editor.base
                self._editor.delete()
                if self._editor.record.empty:
                    self._object.remove_prompts()
            elif under_cursor and objects is not None:
                record = self._delete_under_cursor(objects)
            if record is not None and objects is not None:
                undo = self._panel.buttons['undo'].text()
                # nothing is left of the object
                loose = not record.number and objects.has_loose_pixels(
                    record.label
                )
                rest = '; other pixels of its label stay' if loose else ''
                self._panel.status.say(
                    f'{record.text.capitalize()} deleted{rest}. {undo} brings '
                    'it back.'
                )
            elif not self._object.empty:
                self._object.reject()
                self._panel.status.say(DROPPED)
            elif under_cursor:
                self._panel.status.fail(self._no_object)
            else:
                edit = self._panel.buttons['edit_object'].text()
                self._panel.status.fail(
                    f'No object is open: press {edit} and click one first.'
                )

    def _delete_under_cursor(self, objects: Objects) -> ObjectRecord | None:
        """Delete the object under the cursor, and return it."""
        plane, source = self._scene.shown()
        at = cursor_on(plane, self._viewer.cursor.position)
        if at is None:
            return None
        record = object_at(objects, source, *at)
        if record is not None:
            objects.delete(record)
        return record

    # history

    def undo(self) -> None:
        """Undo the last change of the prompts, else the last step."""
        with self._panel.status.errors():
            if self._object.undo_prompt():
                self._panel.status.say(f'Undone: {PROMPTS}.')
            else:
                self._session.navigation.undo()

    def redo(self) -> None:
        """Redo what was undone last."""
        with self._panel.status.errors():
            if self._object.redo_prompt():
                self._panel.status.say(f'Redone: {PROMPTS}.')
            else:
                self._session.navigation.redo()

    def say_restored(self, text: str) -> None:
        """Show the message of an undo or redo, wherever requested."""
        # “Ready” for a plane it switched to must not replace it
        self._panel.status.say(text, busy=self._editor.pending, keep=True)
