"""“Segment everything”: every object of planes and regions at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import napari.viewer
from napari.layers import Image, Layer

from napari_mobilesam.session.everything.choices import (
    EverythingChoices,
    load_choices,
    save_choices,
)
from napari_mobilesam.session.everything.plane_jobs import JobResult
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.types import ModelRecord, SegmentationError
from napari_mobilesam.widgets.everything.everything_panel import INSTANCES
from napari_mobilesam.widgets.everything.object_editor import object_editor
from napari_mobilesam.widgets.everything.review_panel import (
    EDIT_KEY,
    KEEP_KEY,
    NEXT_KEY,
    REJECT_KEY,
)
from napari_mobilesam.widgets.everything.running import EverythingRunning
from napari_mobilesam.widgets.everything.where_form import PlaneRegion
from napari_mobilesam.widgets.parts.keys import Keys, bind_keys, unbind_keys
from napari_mobilesam.widgets.viewer.layers import is_ours

HINT = 'Run finds every object of the current plane.'
KEYS = {
    NEXT_KEY: 'next_object',
    KEEP_KEY: 'keep_object',
    REJECT_KEY: 'reject_object',
    EDIT_KEY: 'edit_object',
}


class EverythingWidget(EverythingRunning):
    """Dock widget “Segment everything”.

    The form holds `EverythingParameters`. Masks are shown as they are found
    and filtered at the end; sliders filter them again without running the
    model, and the objects are reviewed one by one.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._keys = Keys()
        self._plane_timer = self._timer(self._plane_changed)
        self._show_choices(load_choices())
        self._connect_parts()
        self.attach()

    def _connect_parts(self) -> None:
        self.image_combo.layer_changed.connect(self._image_chosen)
        self.channel_combo.changed.connect(self._schedule_estimate)
        self.where.changed.connect(self._schedule_estimate)
        self.form.changed.connect(self._schedule_estimate)
        self.where.draw_button.clicked.connect(self.draw_region)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.filters.changed.connect(lambda: self._select_timer.start(0))
        self.review.chosen.connect(self.review_view.show)
        self.review.said.connect(self.status.say)
        self.review.refreshed.connect(self._show_count)
        self.review.edit_asked.connect(self._edit)
        self.review_view.clicked.connect(self.review.go_to_label)
        self.more.edges_asked.connect(self.find_edges)
        self.more.proposals_asked.connect(self.propose)
        self.more.boxes_asked.connect(self.segment_boxes)

    # life in the viewer

    def attach(self) -> None:
        """Connect to the viewer and the session, and bind the keys."""
        super().attach()
        self.follow_layers()
        dims, session = self.viewer.dims, self.session
        for event in ('current_step', 'order', 'ndisplay'):
            self.listen(getattr(dims.events, event), self._view_changed)
        self.listen(session.runs.progress, self._progress)
        self.listen(session.runs.found, self._found)
        self.listen(session.runs.finished, self._finish)
        self.listen(session.runs.selected, self._selected)
        self.listen(session.runs.jobs.progress, self._progress)
        self.listen(session.runs.jobs.finished, self._job_done)
        self.listen(session.runs.jobs.estimated, self._show_estimate)
        self.listen_large()
        self.listen(session.large.finished, self._large_finished)
        self.listen(session.status, self._say)
        self.listen(session.failed, self._fail)
        self.listen(session.progress, self._download_progress)
        self.listen(session.model_changed, self._model_changed)
        self.listen(session.downloaded, self.model_box.arrived)
        self._keys = bind_keys(
            self, {key: getattr(self, name) for key, name in KEYS.items()}
        )
        if session.record is not None:
            self._show_thresholds(session.record)
        self._layers_changed()
        self._active_changed()
        self.where.follow(self.where.shapes_combo.layer)
        self._image_chosen(self.image_combo.layer)

    def detach(self) -> None:
        """Stop the run, disconnect, and unbind the keys."""
        for timer in self._timers:
            timer.stop()
        self.session.runs.abandon()
        self.tools.abandon()
        self.end_large()
        self._let_go()
        self.where.let_go()
        unbind_keys(self.viewer, self._keys)
        super().detach()

    def _layers_changed(self, event: Any = None) -> None:
        self.image_combo.refresh()
        self.labels_combo.refresh()
        self.where.shapes_combo.refresh()
        self.more.shapes_combo.refresh()
        self.channel_combo.offer(self.image_combo.layer, self.viewer.layers)
        gone = getattr(event, 'value', None)
        if getattr(event, 'type', '') == 'removed' and gone is not None:
            self._removed(gone)

    def _removed(self, gone: Layer) -> None:
        """Stop the run on a layer that was removed."""
        if self._asked is not None:
            results = self._asked[1]
            if gone is results.live.layer:
                results.live.forget()
            elif gone is results.layer or gone is results.plane.layer:
                self.session.runs.abandon()
                self._stopped(gone)
        elif gone is self.large_view.image:
            self.end_large()
            self._stopped(gone)
        elif self.tools.plane is not None:
            if gone is self.tools.plane.layer:
                self.tools.abandon()
                self._stopped(gone)
        elif self._results is not None and gone in (
            self._results.layer,
            self._results.plane.layer,
        ):
            self.session.runs.abandon()
            self._let_go()
            self.status.say(
                f'“{gone.name}” was removed: run again to go on with its '
                'objects.'
            )

    def _stopped(self, gone: Layer) -> None:
        self._let_go()
        self._show_running(False)
        self.status.fail(
            f'“{gone.name}” was removed while working on it; nothing was '
            'written.'
        )

    def _active_changed(self, event: Any = None) -> None:
        active = self.viewer.layers.selection.active
        # an edge layer becomes active when it is added
        if isinstance(active, Image) and not is_ours(active):
            self.image_combo.layer = active

    def _image_chosen(self, image: Image | None) -> None:
        self.channel_combo.offer(image, self.viewer.layers)
        self._plane_changed()
        if not self._busy and self._results is None:
            self.status.say(
                HINT if image is not None else 'Open an image to begin.'
            )

    def _view_changed(self, event: Any = None) -> None:
        # later: axes change before the layers that made them are gone
        self._plane_timer.start(0)

    def _plane_changed(self) -> None:
        image = self.image_combo.layer
        try:
            plane = None if image is None else self._plane()
        except SegmentationError:
            plane = None
        self.where.offer(plane)
        self.offer_large(plane)
        self._schedule_estimate()

    def draw_region(self) -> None:
        """Start drawing a region on the canvas."""
        try:
            self.where.draw(self._plane())
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self.status.say('Drag a rectangle around the objects to segment.')

    # what is remembered

    def choices(self) -> EverythingChoices:
        """Return the choices of the form."""
        return EverythingChoices(
            self.form.value,
            self.kind_combo.currentText(),
            self.leave_box.isChecked(),
        )

    def _show_choices(self, choices: EverythingChoices) -> None:
        self.form.value = choices.parameters
        self.kind_combo.setCurrentText(choices.result or INSTANCES)
        self.leave_box.setChecked(choices.leave)

    def run(self) -> None:
        """Segment the chosen part of the chosen image."""
        super().run()
        # segment even if the choices cannot be saved
        with contextlib.suppress(OSError):
            save_choices(self.choices())

    # edges, proposals, boxes

    def find_edges(self) -> None:
        """Find the edges of the current plane."""
        self._do(
            lambda part: self.tools.edges(
                part, self.form.value, self.session.model_name
            )
        )

    def propose(self) -> None:
        """Find boxes that may hold objects on the current plane."""
        self._do(
            lambda part: self.tools.proposals(
                part, self.form.value, self.session.model_name
            )
        )

    def segment_boxes(self, source: Any) -> None:
        """Segment the objects in boxes of the current plane.

        Parameters
        ----------
        source : Shapes, Path or None
            A layer of rectangles, or a CSV file.
        """
        self._do(
            lambda part: self.tools.boxes(
                part,
                source,
                self.labels_combo.layer,
                self.session.model_name,
            )
        )

    def _do(self, ask: Callable[[PlaneRegion], None]) -> None:
        try:
            part = self.where.part(self._plane())
            ask(part)
        except (SegmentationError, OSError) as error:
            self.status.fail(str(error))
            return
        self._show_running(True)
        self.status.say(f'Working on {part.plane.name} …', busy=True)

    def _job_done(self, result: JobResult) -> None:
        try:
            text = self.tools.show(result)
        except SegmentationError as error:
            text = None
            self._show_running(False)
            self.status.fail(str(error))
        if text is not None:
            self._show_running(False)
            self.status.say(text)

    # review

    def next_object(self) -> None:
        """Go to the next least certain object."""
        self.review.next()

    def keep_object(self) -> None:
        """Keep the object under review."""
        self.review.keep()

    def reject_object(self) -> None:
        """Erase the object under review."""
        self.review.reject()

    def edit_object(self) -> None:
        """Open the object under review in “Segment by prompts”."""
        self.review.edit()

    def _edit(self, record: ObjectRecord) -> None:
        results = self._results
        if results is None or results.layer is None:
            return
        editor = object_editor(self.viewer)
        try:
            editor.take_over(results.plane.layer, results.layer, record.number)
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self.review_view.preview.hide()
        self.status.say(
            f'Object {record.number} is open in “Segment by prompts”.'
        )

    # the session

    def _say(self, text: str, whom: str) -> None:
        if whom == 'model' or (whom == 'everything' and self._busy):
            self.status.say(text, busy=True)

    def _fail(self, text: str, whom: str) -> None:
        if whom == 'model':
            self.model_box.fail()
            self.status.fail(text)
        elif whom == 'everything':
            if self._busy:
                self._let_go()
                self.tools.abandon()
                self.end_large()
            self._show_running(False)
            self.status.fail(text)

    def _download_progress(self, whom: str, done: int, total: int) -> None:
        if whom == 'model':
            self.status.show_progress(done, total)

    def _model_changed(self, record: ModelRecord) -> None:
        self.model_box.refresh()
        self._show_thresholds(record)
        self._schedule_estimate()
        if not self._busy and self.status.busy:
            self.status.say(f'{record.name} is loaded. {HINT}')

    def _show_thresholds(self, record: ModelRecord) -> None:
        """Show the thresholds of a model where they are automatic."""
        for name in ('predicted_iou', 'stability'):
            self.form.show_typical(name, getattr(record, name))
