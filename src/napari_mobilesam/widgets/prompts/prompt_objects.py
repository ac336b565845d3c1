"""The object that is worked on: asked about, shown, kept or dropped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_mobilesam.session import (
    ImagePlane,
    PromptResult,
    check_prompts,
)
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.types import Mask, Prompts, SegmentationError
from napari_mobilesam.widgets.parts.hover_view import HoverView
from napari_mobilesam.widgets.prompts.collection import (
    Collected,
    PromptReader,
    remove_prompts,
    same_prompts,
)
from napari_mobilesam.widgets.prompts.tools import PromptTools
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane

HINT = 'Click an object; right-click what does not belong to it.'
NO_PROMPT = 'There is no prompt yet: click an object, or draw a box.'
NOTHING = 'The model found nothing here: add a point, or draw a box.'


class Several(NamedTuple):
    """Closed shapes without a point: one object each, asked together."""

    generation: int
    plane: LayerPlane
    collected: Collected


class PromptObjects(PromptTools):
    """What is done with the open object of the session's editor."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._reader = PromptReader()
        self._several: Several | None = None
        self._answer: PromptResult | None = None
        # images of which was said that pixels are no numbers
        self._told: WeakSet[Image] = WeakSet()
        # what an object that was taken up again is prompted with, unseen
        self._carried: dict[Hashable, Prompts] = {}
        # whether what the editor does comes from the layers of prompts
        self._asking = False
        # what the layers show of the open object, by its planes
        self._drawn: dict[Hashable, Prompts] = {}
        self._planes: dict[Hashable, LayerPlane] = {}
        self.hover = HoverView(self.viewer, self.session.hover, self.plane)

    # prompts to masks

    def _update(self) -> None:
        """Ask for the mask of the prompts that there are now."""
        self._update_timer.stop()
        self._reset_polarity()
        if self._image is None:
            return
        self._asking = True
        try:
            plane = self.plane()
            self._ask(plane, plane.source())
        except SegmentationError as error:
            self.preview.hide()
            self._show_candidates((), 0)
            self.status.fail(str(error))
        finally:
            self._asking = False

    def _ask(self, plane: LayerPlane, source: ImagePlane) -> None:
        collected = self._collect(plane, source)
        self.hover.be_quiet(not collected.empty)
        self._several = None
        if len(collected.objects) > 1:
            self.editor.reject()
            generation = self.session.predict(source, collected.objects)
            self._several = Several(generation, plane, collected)
            return
        view = self.editor.view(source)
        if collected.empty:
            self._planes.pop(source.place, None)
            self._drawn.pop(source.place, None)
            if view is not None:
                self.editor.ask(source, Prompts())
                self.status.say(HINT)
            self._show_object()
            return
        self._planes[source.place] = plane
        prompts = self._drawn[source.place] = collected.objects[0]
        if (
            view is not None
            and view.plane.key == source.key
            and same_prompts(view.prompts, prompts)
        ):
            self._drawn[source.place] = view.prompts
            self._show_object()
        else:
            self.editor.ask(source, prompts)

    def _collect(
        self,
        plane: LayerPlane,
        source: ImagePlane,
        coming: tuple[NDArray[np.float64], int] | None = None,
    ) -> Collected:
        return self._reader.collect(
            plane,
            self._points,
            self._shapes,
            self._carried.get(source.place),
            coming,
        )

    def _expect(self, coordinates: NDArray[np.float64], label: int) -> None:
        """Have the model think while the mouse button is down."""
        # what cannot be asked is told when it is asked
        with contextlib.suppress(SegmentationError):
            plane = self.plane()
            source = plane.source()
            points, here = plane.image_points(self._points, coordinates[None])
            if here.all():
                coming = (points[0], label)
                (prompts,) = self._collect(plane, source, coming).objects
                self.editor.expect(source, prompts)

    def _show_object(self) -> None:
        """Show what the editor has on the plane that is shown."""
        if self._several is not None or not self.attached:
            return
        try:
            plane = self.plane()
        except SegmentationError:
            view = None
        else:
            view = self.editor.view(plane.source())
        if view is None or view.candidates is None:
            self.preview.hide()
            self._show_candidates((), 0)
            return
        found = view.candidates
        self.preview.show(plane, [found.mask])
        self._show_candidates(found.masks, found.chosen)

    def _show_candidates(self, masks: Sequence[Mask], chosen: int) -> None:
        self.candidates_view.show_masks(masks, chosen)
        self.buttons['next_candidate'].setVisible(len(masks) > 1)

    def _show_answer(self, result: PromptResult) -> None:
        """Tell of an answer; show it, if it is to several objects."""
        self._answer = result
        several = self._several
        if several is None:
            self._answered(result.request.plane)
            return
        if several.generation == result.request.generation:
            masks = [mask for mask in result.masks if mask is not None]
            self.preview.show(several.plane, masks)
            self._show_candidates((), 0)
            self.status.say(self._describe(result.masks, 0))

    def _answered(self, source: ImagePlane) -> None:
        """Say what was found for the open object on a plane."""
        view = self.editor.record.view(source)
        try:
            plane = self.plane()
        except SegmentationError:
            return
        if view is not None and source.place == plane.source().place:
            waiting = self._collect(plane, view.plane).waiting
            self.status.say(self._describe((view.mask,), waiting))

    def _describe(self, masks: tuple[Mask | None, ...], waiting: int) -> str:
        found = [mask for mask in masks if mask is not None]
        if not found:
            return NOTHING + self._unseen()
        if len(masks) > 1:
            text = f'{len(found)} objects for {len(masks)} boxes'
        else:
            text = f'{found[0].area} pixels, score {found[0].score:.2f}'
        if self._answer is not None:
            text += f', {_duration(self._answer.seconds)}'
        keep = 'them all' if len(found) > 1 else 'it'
        text += f'. {self.buttons["accept"].text()} keeps {keep}.'
        if waiting:
            noun = 'box waits' if waiting == 1 else 'boxes wait'
            text += f' {waiting} older {noun} for the next object.'
        return text + self._unseen()

    def _unseen(self) -> str:
        """A sentence on pixels that are no numbers, once for each image."""
        count = 0 if self._answer is None else self._answer.not_finite
        if not count or self._image is None or self._image in self._told:
            return ''
        self._told.add(self._image)
        return (
            f' {count} pixels around here are NaN or infinite, and are black '
            'to the model (+∞ is white).'
        )

    def next_candidate(self) -> None:
        """Show the next of the masks that the prompt may mean."""
        self._try(lambda: self.editor.cycle(self.plane().source()))

    def _choose(self, index: int) -> None:
        self._try(lambda: self.editor.choose(self.plane().source(), index))

    # the end of an object

    def accept(self) -> None:
        """Write the mask as one undoable step and start the next object."""
        if self._update_timer.isActive():
            self._update()
        if self.editor.pending or self.editor.record.masks:
            self._try(self._keep)
        else:
            self._try(self._say_why_not)

    def _keep(self) -> None:
        if self.editor.accept() is None:
            self.status.say('Accepts as soon as the mask is there …', True)

    def _say_why_not(self) -> None:
        """Say why there is nothing to accept."""
        plane = self.plane()
        collected = self._collect(plane, plane.source())
        for prompts in collected.objects:
            check_prompts(plane.shape, prompts)
        self.status.fail(NO_PROMPT if collected.empty else NOTHING)

    def _accepted(self, record: ObjectRecord) -> None:
        self._remove_prompts()
        objects = self.scene.objects(False)
        where = '' if objects is None else f' to “{objects.target.name}”'
        self.status.say(
            f'Object {record.label} written{where}. '
            f'{self.buttons["undo"].text()} takes it back.'
        )
        self._schedule()

    def reject(self) -> None:
        """Drop the mask and its prompts; nothing is written."""
        self._update_timer.stop()
        with_prompts = self._shown_plane()
        if with_prompts is not None:
            self._planes.update(with_prompts)
        self.session.forget()
        self.editor.reject()
        self._remove_prompts()
        self.status.say(HINT)
        self._schedule()

    def _shown_plane(self) -> dict[Hashable, LayerPlane] | None:
        try:
            plane = self.plane()
        except SegmentationError as error:
            self.status.fail(str(error))
            return None
        return {plane.source().place: plane}

    def _remove_prompts(self) -> None:
        """Take the prompts of the open object out of their layers."""
        points: set[int] = set()
        shapes: set[int] = set()
        for plane in self._planes.values():
            collected = self._reader.collect(plane, self._points, self._shapes)
            points |= set(collected.points)
            shapes |= set(collected.shapes)
        self._planes.clear()
        self._drawn.clear()
        self._carried.clear()
        self._several = None
        self._quietly(lambda: remove_prompts(self._points, points))
        self._quietly(lambda: remove_prompts(self._shapes, shapes))
        self.preview.hide()
        self.hover.be_quiet(False)

    def _quietly(self, change: Callable[[], None]) -> None:
        """Change prompts without asking about them."""
        self._busy_writing = True
        try:
            change()
        finally:
            self._busy_writing = False

    def _try(self, what: Callable[[], None]) -> None:
        """Do something; say what is wrong if it cannot be done."""
        try:
            what()
        except SegmentationError as error:
            self.status.fail(str(error))


def _duration(seconds: float) -> str:
    return f'{seconds * 1e3:.0f} ms' if seconds < 1 else f'{seconds:.1f} s'
