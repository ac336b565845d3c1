"""The open object: prompts to the editor, masks to the canvas."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session import PromptResult, check_prompts
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.types import Mask, Prompts, SegmentationError
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.hover_view import HoverView
from napari_mobilesam.widgets.parts.preview import Preview
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.collection import (
    Collected,
    PromptReader,
    continued,
    remove_drawn,
    remove_prompts,
    same_prompts,
)
from napari_mobilesam.widgets.prompts.doubtful import DoubtfulObjects
from napari_mobilesam.widgets.prompts.object_texts import NOTHING, ObjectTexts
from napari_mobilesam.widgets.prompts.placed_prompts import PlacedPrompts
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
from napari_mobilesam.widgets.prompts.shapes_aside import ShapesAside
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.viewer_scene import ShownPlane

NO_PROMPT = 'No prompt yet: click an object or draw a box.'
NONE_OPEN = ' No other object is open.'
WAIT = f'Wait until this is done, or press Stop.{NONE_OPEN}'
OTHER_AXES = (
    'Its planes lie along other axes: change the order of the axes back to '
    'see it.'
)
WAITING = 'Waiting for the mask …'
# faster answers are not announced
WAITING_MS = 300


class SeveralShapes(NamedTuple):
    """Closed shapes without points: one object each, predicted together."""

    generation: int
    plane: LayerPlane
    place: Hashable
    collected: Collected


class OpenObject:
    """Pass prompts from the canvas to the editor, and masks back.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides session and viewer.
    panel : PromptPanel
        Candidates and status line.
    tools : PromptTools
        Layers of the prompts.
    preview : Preview
        Preview that shows the mask.
    hover : HoverView
        Hover preview, disabled while there are prompts.

    Attributes
    ----------
    history : PromptHistory
        Changes of the prompts.
    doubtful : DoubtfulObjects
        Refuses objects about which the model is uncertain.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: PromptPanel,
        tools: PromptTools,
        preview: Preview,
        hover: HoverView,
    ) -> None:
        self._dock = dock
        self._session = dock.session
        self._editor = dock.session.editor
        self._panel = panel
        self._tools = tools
        self._scene = dock.scene
        self._preview = preview
        self._hover = hover
        reader = PromptReader()
        self._placed = PlacedPrompts(tools, reader)
        self.history = self._placed.history
        self._several: SeveralShapes | None = None
        self.doubtful = DoubtfulObjects(self._editor, panel)
        self._shapes_aside = ShapesAside(dock.viewer, tools, reader)
        self._texts = ObjectTexts(
            dock, panel, self.doubtful, self._shapes_aside
        )
        # message about the object written last
        self._written = ''
        # plane and count of waiting shapes at the last look
        self._place: Hashable = None
        self._waiting_shapes = 0
        # True until prompts that a batch has left are answered
        self._silent = False
        # True while `update` changes the editor
        self._asking = False
        # why the displayed plane, or its prompts, could not be read
        self._unseen = ''
        # why its prompts cannot be answered
        self._unread = ''
        self._later = DelayedCall(self.update, parent=dock)
        self._wait_later = DelayedCall(self._say_waiting, WAITING_MS, dock)

    # when to look at the prompts

    @property
    def pending(self) -> bool:
        """True while prompts remain to be read."""
        return self._later.pending

    @property
    def empty(self) -> bool:
        """True if no plane has prompts."""
        return not self._placed.planes and self.several is None

    @property
    def several(self) -> SeveralShapes | None:
        """Several objects that are predicted together."""
        return self._several

    @several.setter
    def several(self, shapes: SeveralShapes | None) -> None:
        self._several = shapes
        self._editor.several = shapes is not None

    def schedule(self, delay: int = 0) -> None:
        """Schedule reading the prompts.

        Parameters
        ----------
        delay : int
            Milliseconds after the last call.
        """
        if self._dock.attached:
            self._later.restart(pause_ms=delay)

    def stop(self) -> None:
        """Cancel a scheduled reading."""
        self._later.cancel()

    def catch_up(self) -> None:
        """Read the prompts now if that is scheduled."""
        if self._later.pending:
            self.update()

    # prompts to masks

    def expect_edit(self) -> None:
        """Note the prompts before they change, for undo."""
        with contextlib.suppress(SegmentationError):
            self.history.begin(self._scene.shown())

    def update(self) -> None:
        """Read the prompts and request their mask from the model."""
        self.stop()
        if self._scene.image is None:
            return
        self._asking = True
        status, before = self._panel.status, self._unseen
        self._unseen = self._unread = ''
        try:
            shown = self._scene.shown()
            try:
                self._ask(shown)
            except SegmentationError as error:
                self._unread = str(error)
                raise
            finally:
                self.history.note(shown)
            if before and status.text == before:
                status.say(self.describe_open() or self._panel.hint())
        except SegmentationError as error:
            self._show_nothing()
            self._unseen = str(error)
            if self.empty and self._dock.viewer.dims.ndisplay == 3:
                # viewing the volume is not a mistake
                status.say(self._unseen, keep=True)
            else:
                status.fail(self._unseen)
        finally:
            self._asking = False

    def _ask(self, shown: ShownPlane) -> None:
        plane, source = shown
        self._leave_replaced(shown)
        collected = self._placed.collect(plane, source.place)
        self._place = source.place
        self._waiting_shapes = collected.waiting
        self._hover.be_quiet(not collected.empty)
        self.several = None
        if len(collected.objects) > 1:
            # the new object is one of them
            self._editor.put_aside(new=False)
            self._show_nothing()
            generation = self._session.predict(source, collected.objects)
            self.several = SeveralShapes(
                generation, plane, source.place, collected
            )
            return
        view = self._editor.view(source)
        if collected.empty:
            self._placed.leave(source.place)
            if view is not None:
                self._editor.ask(source, Prompts())
                text = self._texts.left(self._editor.record, source.name)
                self._panel.status.say(text or self._panel.hint())
            self._show(shown)
            return
        self._placed.planes[source.place] = plane
        prompts = collected.objects[0]
        if view is not None:
            prompts = continued(prompts, view.prompts)
            if self._placed.reopened and collected.waiting:
                self._replace_shape(plane, view.prompts)
        self._placed.drawn[source.place] = prompts
        if (
            view is not None
            and view.plane.key == source.key
            # other layers, such as labels to write to, may add axes
            and view.plane.geometry.ndim == plane.ndim
            and same_prompts(view.prompts, prompts)
        ):
            self._placed.drawn[source.place] = view.prompts
        else:
            self._editor.ask(source, prompts)
            self._wait_later.restart()
        self._show(shown)

    def leave_channels(self) -> None:
        """Remove the object from planes that do not exist with other channels.

        A former plane is now a colour, or vice versa; the prompts are answered
        again on the displayed plane.
        """
        axis = self._scene.channel_axis
        self._asking = True
        try:
            for place, plane in list(self._placed.planes.items()):
                if plane.channel_axis != axis:
                    self._leave(place)
        finally:
            self._asking = False

    def _leave_replaced(self, shown: ShownPlane) -> None:
        """Take the object off the pixels that were here before."""
        for place, plane in list(self._placed.planes.items()):
            here = plane.layer is shown.plane.layer
            same = plane.index == shown.plane.index or not plane.fits
            here = here and same
            if here and place != shown.source.place:
                self._leave(place)

    def _leave(self, place: Hashable) -> None:
        self._placed.leave(place)
        self.history.leave(place)
        self._editor.leave(place)

    def _say_waiting(self) -> None:
        """Say that the mask is pending, unless that was already said."""
        status = self._panel.status
        if self._editor.pending and not status.busy and not status.failed:
            status.say(WAITING, busy=True)

    def _replace_shape(self, plane: LayerPlane, before: Prompts) -> None:
        """Remove the shape of an edited object if another one was drawn."""
        shapes = self._tools.shapes
        with self._tools.blocked():
            remove_drawn(shapes, plane, before.drawn)
        self.schedule()

    def undo_prompt(self) -> bool:
        """Take back the last change of the prompts; return False if none.

        Only changes since the object was opened; the plane of the change is
        shown.
        """
        if self._tools.drop_unfinished():
            self.schedule()
            return True
        return self._restore(self.history.undo)

    def redo_prompt(self) -> bool:
        """Repeat the change of the prompts that was taken back last."""
        return self._restore(self.history.redo)

    def _restore(self, change: Callable[[], ShownPlane | None]) -> bool:
        try:
            here = self._scene.shown().source
        except SegmentationError:
            return False
        changed = change()
        if changed is None:
            return False
        if changed.source.place != here.place:
            self._scene.show(changed.source)
        self.update()
        return True

    def expect(self, coordinates: NDArray[np.float64], label: int) -> None:
        """Precompute the mask between mouse press and release.

        Parameters
        ----------
        coordinates : ndarray
            (ndim,) data coordinates in the Points layer.
        label : int
            1 positive, 0 negative.
        """
        # errors are reported when the point exists
        with contextlib.suppress(SegmentationError):
            shown = self._scene.shown()
            points, here = shown.plane.image_points(
                self._tools.points, coordinates[None]
            )
            if here.all():
                collected = self._placed.collect(
                    shown.plane, shown.source.place, (points[0], label)
                )
                (prompts,) = collected.objects
                self._editor.expect(shown.source, prompts)

    # masks to the canvas

    def editor_changed(self) -> None:
        """Show the open object; draw prompts set from the console."""
        if self._asking:
            return
        try:
            shown = self._scene.shown()
        except SegmentationError:
            shown = None
        if self.several is None:
            self._follow_editor(shown)
        self._show(shown)

    def _follow_editor(self, shown: ShownPlane | None) -> None:
        if self._editor.record.empty and not self._editor.pending:
            self.remove_prompts()
            if self._shapes_aside.put_back():
                self.schedule()
            return
        if shown is None:
            return
        place = shown.source.place
        view = self._editor.view(shown.source)
        if view is None or view.prompts is self._placed.drawn.get(place):
            return
        self._placed.planes[place] = shown.plane
        self.remove_prompts()
        self._placed.put_back(shown.plane, view)
        self._hover.be_quiet(True)

    def _show(self, shown: ShownPlane | None) -> None:
        """Show the mask of the open object on a plane."""
        if self.several is not None or not self._dock.attached:
            return
        view = None if shown is None else self._editor.view(shown.source)
        if shown is None or view is None or view.candidates is None:
            self._show_nothing()
            return
        found = view.candidates
        doubtful = self._editor.doubtful_on(shown.source)
        self._preview.show(shown.plane, [found.mask], doubtful)
        self._panel.show_candidates(found.masks, found.chosen)

    def _show_nothing(self) -> None:
        self._preview.hide()
        self._panel.clear_candidates()

    def show_answer(self, result: PromptResult) -> None:
        """Describe an answer, and show it if it is for several objects."""
        several = self.several
        silent, self._silent = self._silent, False
        if several is None:
            view = self._editor.record.view(result.request.plane)
            if silent and self._panel.status.kept:
                return
            if view is not None and view.plane.place == self._place:
                self._describe((view.mask,), result)
        elif several.generation == result.request.generation:
            masks = [mask for mask in result.masks if mask is not None]
            self._preview.show(several.plane, masks)
            self._panel.clear_candidates()
            self._describe(result.masks, result)

    def _describe(
        self, masks: Sequence[Mask | None], result: PromptResult
    ) -> None:
        layer = self._preview.layer
        hidden = layer.name if layer is not None and not layer.visible else ''
        self._panel.status.say(
            self._texts.answered(masks, result, self._waiting_shapes, hidden)
        )

    def next_candidate(self) -> None:
        """Show the next candidate mask."""
        self._change_candidate(self._editor.cycle)

    def choose(self, index: int) -> None:
        """Show one of the candidate masks."""
        self._change_candidate(lambda plane: self._editor.choose(plane, index))

    def _change_candidate(self, change: Callable[[ImagePlane], None]) -> None:
        with self._panel.status.errors():
            plane = self._scene.shown().source
            change(plane)
            view = self._editor.view(plane)
            if view is not None and view.mask is not None:
                self._panel.status.say(self._texts.chosen(view.mask))

    # accept and reject

    def accept(self) -> None:
        """Write the mask as one undoable step, and start a new object."""
        with self._panel.status.errors():
            if self._unread:
                # its last mask does not belong to the prompts
                self._panel.status.fail(self._unread)
            elif not self._editor.pending and not self._editor.record.masks:
                self._explain_no_mask()
            elif not self.doubtful.refuse() and self._editor.accept() is None:
                count = len(self._editor.queue)
                objects = 'object is' if count == 1 else 'objects are'
                self._panel.status.say(
                    f'{count} accepted {objects} written as soon as the '
                    'mask is ready. Click the next object.',
                    True,
                )

    def _explain_no_mask(self) -> None:
        shown = self._scene.shown()
        collected = self._placed.collect(shown.plane, shown.source.place)
        for prompts in collected.objects:
            check_prompts(shown.plane.shape, prompts)
        if not collected.empty:
            self._panel.status.fail(NOTHING)
        elif self._written and self._panel.status.text == self._written:
            # Accept was pressed twice: keep the message about the written
            # object
            self._written = self._written.removesuffix(NONE_OPEN) + NONE_OPEN
            self._panel.status.say(self._written)
        elif self._session.background.running:
            # a propagated object is open again afterwards
            self._panel.status.say(WAIT, busy=True)
        else:
            self._panel.status.fail(NO_PROMPT)

    def accepted(self, record: ObjectRecord) -> None:
        """Remove the prompts of a written object."""
        if self._editor.record.empty and not self._editor.pending:
            self.remove_prompts()
        text = self._texts.written(record)
        opened = self._editor.record
        if opened.label:
            text += f' {self._texts.opened(opened)}'
        self._written = text
        waits = len(self._editor.queue) > 0
        # “Ready” for the embedding around it must not replace it
        self._panel.status.say(text, busy=waits, keep=True)
        self.schedule()

    def reject(self) -> None:
        """Drop the mask and its prompts without writing."""
        self.stop()
        with self._panel.status.errors():
            shown = self._scene.shown()
            self._placed.planes[shown.source.place] = shown.plane
        self._session.forget()
        self.remove_prompts()
        self._panel.status.say(self._panel.hint())
        self._editor.reject()
        self.schedule()

    def drop(self) -> None:
        """Close the object because its image or its prompts are gone."""
        self._session.forget()
        several = self.several
        self._editor.drop_all()
        if (
            several is not None
            and several.plane.layer is not self._scene.image
        ):
            # otherwise they would be prompts on another image
            with self._tools.blocked():
                remove_prompts(self._tools.shapes, several.collected.shapes)
        self._forget()
        self._preview.hide()

    def _forget(self) -> None:
        self._placed.forget()
        self.several = None

    # prompts in their layers

    def remove_prompts(self) -> None:
        """Remove the prompts of the open object from their layers."""
        self._placed.remove()
        self.several = None
        self._preview.hide()
        self._hover.be_quiet(False)

    def reopened(self, record: ObjectRecord) -> None:
        """Put the prompts of an object back into their layers."""
        layers = self._dock.viewer.layers
        views = [
            (view.plane.geometry, view)
            for view in record.views.values()
            if getattr(view.plane.geometry, 'layer', None) in layers
            and view.plane.geometry.fits
        ]
        self._put_shapes_aside([plane for plane, _ in views])
        self._placed.reopened = True
        for plane, view in views:
            self._placed.put_back(plane, view)
        text, place, axes = self._texts.opened(record), None, None
        with self._panel.status.errors():
            plane, source = self._scene.shown()
            place, axes = source.place, (plane.rows, plane.columns)
        known = {(plane.rows, plane.columns) for plane, _ in views}
        if known and axes is not None and axes not in known:
            text = f'{text} {OTHER_AXES}'
        elif self._placed.planes and place not in self._placed.planes:
            self._scene.show(next(iter(record.views.values())).plane)
        self._panel.status.say(text)
        self.schedule()

    def describe_open(self) -> str:
        """Describe the open object and how to continue; '' if none."""
        record = self._editor.record
        return '' if record.empty else self._texts.opened(record)

    def _put_shapes_aside(self, planes: list[LayerPlane]) -> None:
        """Keep closed shapes of later objects while another is edited.

        The prompts of the previously open object are removed.
        """
        with contextlib.suppress(SegmentationError):
            planes = [*planes, self._scene.shown().plane]
        if self.several is None:
            self.remove_prompts()
        else:
            self._forget()
            self._preview.hide()
        self._shapes_aside.take(planes)

    def start_over(self) -> None:
        """Close the object if its prompts are gone, and read those left."""
        gone = False
        with contextlib.suppress(SegmentationError):
            plane, source = self._scene.shown()
            gone = self._placed.collect(plane, source.place).empty
        self._forget()
        self._preview.hide()
        self._silent = not gone
        if gone:
            self._session.forget()
            self._editor.reject()
        self.schedule()
