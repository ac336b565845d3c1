"""Runs of “Segment everything”: start, results, filtering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_mobilesam.large.time_left import TimeLeft
from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.session import EverythingResult
from napari_mobilesam.session.everything.large_runs import LargeAnswer
from napari_mobilesam.text import counted
from napari_mobilesam.types import (
    EverythingParameters,
    ImageError,
    Mask,
    SegmentationError,
)
from napari_mobilesam.widgets.everything.everything_panel import FOREGROUND
from napari_mobilesam.widgets.everything.large_running import EverythingTiles
from napari_mobilesam.widgets.everything.plane_tools import PlaneTools
from napari_mobilesam.widgets.everything.review_view import ReviewView
from napari_mobilesam.widgets.everything.run_layers import (
    OutputChoice,
    RunLayers,
)
from napari_mobilesam.widgets.everything.where_form import PlaneRegion
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane, plane_of
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

NO_IMAGE = 'There is no image: open one first.'
# wait for the end of typing a number
ESTIMATE_PAUSE_MS = 250


class EverythingRunning(EverythingTiles):
    """The current run and the objects of the last one.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        scene = self.session.scene
        assert isinstance(scene, ViewerScene)
        self._scene = scene
        self._asked: tuple[int, RunLayers] | None = None
        self._results: RunLayers | None = None
        self._last: EverythingResult | None = None
        self._time_left = TimeLeft()
        self._timers: list[QTimer] = []
        self._estimate_timer = self._timer(self._estimate)
        self._select_timer = self._timer(self._select)
        self._build()
        self.review_view = ReviewView(self.viewer, scene)
        self.tools = PlaneTools(self.viewer, scene, self.session.runs.jobs)

    def _timer(self, callback: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.timeout.connect(callback)
        self._timers.append(timer)
        return timer

    @property
    def pending(self) -> bool:
        """Whether a change is still to be answered."""
        shown = self._asked[1] if self._asked is not None else self._results
        return (
            self.review.pending
            or any(timer.isActive() for timer in self._timers)
            or (shown is not None and shown.pending)
        )

    @property
    def _busy(self) -> bool:
        return (
            self._asked is not None
            or self.tools.plane is not None
            or self.session.large.running
        )

    def _plane(self) -> LayerPlane:
        image = self.image_combo.layer
        if image is None:
            raise ImageError(NO_IMAGE)
        channels = self.channel_combo
        return plane_of(self.viewer, image, channels.axis, channels.composed)

    # the estimate

    def _schedule_estimate(self, what: Any = None) -> None:
        self._estimate_timer.start(ESTIMATE_PAUSE_MS)

    def _estimate(self) -> None:
        if self._busy:
            return
        jobs = self.session.runs.jobs
        jobs.forget_estimate()
        self.estimate_label.setText('')
        try:
            plane = self._plane()
            if self.offer_large(plane):
                return
            # the plane that is shown stands for all of a stack
            one = self._planned((self.where.part(plane),)).tasks
        except SegmentationError as error:
            if self.image_combo.layer is not None:
                self.estimate_label.setText(str(error))
            return
        self.estimate_label.setText('Estimating …')
        jobs.estimate(
            one * self.where.count(plane),
            self.form.value,
            self.session.model_name,
        )

    def _show_estimate(self, estimate: Any) -> None:
        self.estimate_label.setText(str(estimate))

    # a run

    def _planned(self, parts: tuple[PlaneRegion, ...]) -> RunLayers:
        """Return the layers of a run with the chosen output."""
        return RunLayers(
            self.viewer,
            self._scene,
            parts,
            OutputChoice(
                None if self.outlines else self.labels_combo.layer,
                self.leave_box.isChecked(),
                self.kind_combo.currentText() == FOREGROUND,
                self.outlines,
            ),
        )

    def run(self) -> None:
        """Segment the chosen part of the chosen image."""
        try:
            parameters = self.form.value
            plane = self._plane()
            if self.offer_large(plane):
                self._run_large(plane, parameters)
                return
            results = self._planned(self.where.parts(plane))
            generation = self.session.runs.start(
                results.tasks,
                parameters,
                self.session.model_name,
                linked=self.where.planes.linked,
                outlined=results.destination.outlined,
            )
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self._let_go()
        results.written.connect(self._written)
        results.failed.connect(self._not_written)
        results.went.connect(self._went)
        self._asked = (generation, results)
        self._show_running(True)
        self.status.say(f'Working on {results.plane.name} …', busy=True)

    def _run_large(
        self, plane: LayerPlane, parameters: EverythingParameters
    ) -> None:
        self._let_go()
        said = self.start_large(plane, parameters)
        if said is not None:
            self.status.say(said)
            return
        self._show_running(True)
        self.status.say(f'Looking at {plane.name} …', busy=True)

    def _large_finished(self, answer: LargeAnswer) -> None:
        if self.large_view.image is None:
            return
        said = self.large_view.finish(answer)
        self._show_running(False)
        self.large.look()
        self.status.say(said)

    def cancel(self) -> None:
        """Stop and keep the objects found."""
        self.status.say('Stopping, keeping what was found …', busy=True)
        self.tools.cancel()
        self.session.runs.cancel()
        self.session.large.cancel()

    def _show_running(self, running: bool) -> None:
        self._time_left = TimeLeft()
        for button in (self.run_button, *self.more.buttons):
            button.setEnabled(not running)
        self.cancel_button.setEnabled(running)
        if not running:
            self._schedule_estimate()

    def _let_go(self) -> None:
        """Forget the last run; its objects stay as they are."""
        if self._asked is not None:
            self._asked[1].close()
        if self._results is not None:
            self._results.close()
        self._asked = self._results = self._last = None
        self.review_view.follow(None)
        self.review.review(None)
        self.show_results(False)

    def _found(self, number: int, masks: list[Mask]) -> None:
        if self._asked is not None:
            self._asked[1].live.add(number, masks)

    def _finish(self, result: EverythingResult) -> None:
        if self._asked is None or result.request.generation != self._asked[0]:
            return
        results = self._asked[1]
        if not result.found or not (len(result.table) or result.complete):
            self._let_go()
            self._show_running(False)
            self.status.say(nothing_found(result))
            return
        results.first(result, self.session.runs)

    def _not_written(self, text: str) -> None:
        if self._asked is not None:
            self._let_go()
            self._show_running(False)
        self.status.fail(text)

    def _written(self, result: EverythingResult) -> None:
        if self._asked is not None:
            self._show(self._asked[1], result)
            return
        self._last = result
        self._show_count()
        self.status.say(
            f'{counted(len(result.table), "object")} of '
            f'{counted(result.found, "mask")}.'
        )

    def _went(self, selection: Selection) -> None:
        """Show the selection that undo or redo has restored."""
        self._select_timer.stop()
        self.session.runs.forget_selection()
        self.filters.show_selection(selection)
        count = self._results.count if self._results is not None else None
        self.status.say(f'Back to {counted(count or 0, "object")}.')

    def _show(self, results: RunLayers, result: EverythingResult) -> None:
        self._asked = None
        self._show_running(False)
        results.show()
        self._results = results
        self.filters.begin(result.selection, result.extent)
        self.show_results(True, results.objects is not None)
        if isinstance(results.layer, Labels):
            self.review_view.follow(results.layer)
            self.review.review(results.objects)
        self._last = result
        self._show_count()
        self.status.say(summary(result, results))

    def _show_count(self) -> None:
        """Show the number of objects, after undo and rejection too."""
        if self._results is None or self._last is None:
            return
        count = self._results.count
        if count is None:
            count = len(self._last.table)
        self.filters.show_count(count, self._last.found)

    def _select(self) -> None:
        self.session.runs.select(self.filters.selection())

    def _selected(self, result: EverythingResult) -> None:
        if self._results is None:
            return
        # movements of one slider become one step, of another one the next
        moved = self.filters.moved
        key = ('selection', id(self._results), moved) if moved else None
        self._results.write(result, key)

    def _progress(self, done: int, total: int, message: str) -> None:
        if not self._busy or not self.cancel_button.isEnabled():
            return
        self.status.say(f'{message}{self._say_left(done, total)}', busy=True)
        self.status.show_progress(done, total)

    def _say_left(self, done: int, total: int) -> str:
        from napari_mobilesam.segmentation.estimate import duration

        left = self._time_left(done, total)
        if left is None or done >= total:
            return ' …'
        return f', about {duration(left)} left'


def nothing_found(result: EverythingResult) -> str:
    """Return a message on why nothing was found, and what to do."""
    if result.problem:
        return result.problem
    if not result.complete:
        return 'Stopped before anything was found.'
    return (
        'Nothing was found: lower the predicted IoU or the stability, or set '
        'the diameter.'
    )


def summary(result: EverythingResult, results: RunLayers) -> str:
    """Return a message on the objects of a run and their layer."""
    how = 'in' if result.complete else 'until stopped after'
    name = '' if results.layer is None else f', in “{results.layer.name}”'
    problem = f' {result.problem}' if result.problem else ''
    return (
        f'{counted(len(result.table), "object")} {how} '
        f'{result.seconds:.1f} s{name}.{problem}'
    )
