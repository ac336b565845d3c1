"""Objects that are there: taken up again, erased, undone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView
from napari_mobilesam.session.prompts.navigation import adopted
from napari_mobilesam.types import Prompts, SegmentationError
from napari_mobilesam.widgets.parts.hover_view import cursor_on
from napari_mobilesam.widgets.prompts.collection import (
    put_box,
    put_points,
)
from napari_mobilesam.widgets.prompts.prompt_layers import (
    add_points,
    add_shapes,
)
from napari_mobilesam.widgets.prompts.prompt_objects import PromptObjects
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane

NO_OBJECT = 'There is no object under the cursor.'
NO_OBJECTS = 'There are no objects yet: click one, and accept it.'
PICK = 'Click the object to take up again.'


class PromptWalk(PromptObjects):
    """From object to object, and back and forth in time."""

    def _opened(self, record: ObjectRecord) -> None:
        """Bring the prompts of an object back into their layers."""
        self._remove_prompts()
        for view in record.views.values():
            plane = view.plane.geometry
            if plane is None or plane.layer not in self.viewer.layers:
                continue
            self._quietly(partial(self._put_back, plane, view))
        shown = self._shown_plane() or {}
        if self._planes and not shown.keys() & self._planes.keys():
            self.scene.show(next(iter(record.views.values())).plane)
        self.status.say(self._about(record))
        self._schedule()

    def _editor_changed(self) -> None:
        """Show the open object, and draw prompts that came by the console."""
        if not self._asking and self._several is None:
            self._follow_editor()
        self._show_object()

    def _follow_editor(self) -> None:
        if self.editor.record.empty and not self.editor.pending:
            self._remove_prompts()
            return
        try:
            plane = self.plane()
        except SegmentationError:
            return
        source = plane.source()
        view = self.editor.view(source)
        if view is None or view.prompts is self._drawn.get(source.place):
            return
        self._planes[source.place] = plane
        self._remove_prompts()
        self._quietly(lambda: self._put_back(plane, view))
        self.hover.be_quiet(True)

    def _put_back(self, plane: LayerPlane, view: ObjectView) -> None:
        prompts = view.prompts
        self._planes[view.plane.place] = plane
        self._drawn[view.plane.place] = prompts
        if len(prompts.points):
            if self._points is None:
                self.points_combo.layer = add_points(self.viewer, plane)
            assert self._points is not None
            put_points(self._points, plane, prompts)
        unseen = prompts.region is not None or prompts.mask_input is not None
        if prompts.box is not None and not (unseen or view.automatic):
            if self._shapes is None:
                self.shapes_combo.layer = add_shapes(self.viewer, plane)
            assert self._shapes is not None
            put_box(self._shapes, plane, prompts.box)
        elif unseen or prompts.box is not None:
            self._carried[view.plane.place] = Prompts(
                box=prompts.box,
                mask_input=prompts.mask_input,
                region=prompts.region,
            )

    def _about(self, record: ObjectRecord) -> str:
        known = [
            f'{name} {value:.2f}'
            for name, value in (
                ('score', record.score),
                ('stability', record.stability),
            )
            if value == value
        ]
        about = f' ({", ".join(known)})' if known else ''
        return (
            f'Object {record.label}{about} is taken up again: add points, '
            f'{self.buttons["accept"].text()}, or leave it with '
            f'{self.buttons["reject"].text()}.'
        )

    def edit_object(self) -> None:
        """Take up the object under the cursor again."""

        def take_up() -> None:
            plane = self.plane()
            at = cursor_on(plane, self.viewer.cursor.position)
            if at is None or not self.session.navigation.open_at(
                plane.source(), *at
            ):
                self.status.fail(NO_OBJECT)

        self._try(take_up)

    def _pick(self, wanted: bool) -> None:
        """Let the next click on the canvas take up an object."""
        callbacks = self.viewer.mouse_drag_callbacks
        if self._picked in callbacks:
            callbacks.remove(self._picked)
        self.buttons['edit_object'].setChecked(wanted)
        if wanted:
            # a layer that draws would take the click
            self.viewer.layers.selection.active = self._image
            callbacks.append(self._picked)
            self.status.say(PICK)

    def _picked(self, viewer: Any, event: Any) -> None:
        self._pick(False)
        self.viewer.cursor.position = event.position
        self.edit_object()
        self.use_points_tool()

    def next_object(self) -> None:
        """Take up the object after this one."""
        self._walk(self.session.navigation.next)

    def previous_object(self) -> None:
        """Take up the object before this one."""
        self._walk(self.session.navigation.previous)

    def next_uncertain(self) -> None:
        """Take up the least certain object that nobody has looked at."""
        self._walk(
            self.session.navigation.next_uncertain,
            'Every object was looked at.',
        )

    def _walk(
        self, step: Callable[[], Any], nothing: str = NO_OBJECTS
    ) -> None:
        def walk() -> None:
            if step() is None:
                objects = self.scene.objects(False)
                self.status.fail(nothing if objects else NO_OBJECTS)

        self._try(walk)

    def delete_object(self) -> None:
        """Erase the open object, or the one under the cursor."""

        def delete() -> None:
            if self.editor.record.number:
                number = self.editor.record.label
                self.editor.delete()
                self._remove_prompts()
            else:
                number = self._delete_under_cursor()
            if number:
                self.status.say(
                    f'Object {number} erased. '
                    f'{self.buttons["undo"].text()} brings it back.'
                )
            else:
                self.status.fail(NO_OBJECT)

        self._try(delete)

    def _delete_under_cursor(self) -> int:
        plane, objects = self.plane(), self.scene.objects(False)
        at = cursor_on(plane, self.viewer.cursor.position)
        if at is None or objects is None:
            return 0
        source = plane.source()
        record = objects.at(source, *at) or adopted(objects, source, *at)
        if record is None:
            return 0
        with objects.step(f'deleting object {record.label}') as step:
            step.erase(record)
            if objects.get(record.number) is not None:
                step.remove(record)
        return record.label

    def undo(self) -> None:
        """Take back the last step, whatever plane it was on."""
        self._through_history(self.session.navigation.undo, 'Undone')

    def redo(self) -> None:
        """Repeat what was undone last."""
        self._through_history(self.session.navigation.redo, 'Done again')

    def _through_history(
        self, step: Callable[[], str | None], done: str
    ) -> None:
        def go() -> None:
            title = step()
            if title is None:
                self.status.fail(f'Nothing to be {done.lower()}.')
            else:
                self.status.say(f'{done}: {title}.')

        self._try(go)
