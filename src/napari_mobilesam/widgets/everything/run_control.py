"""Runs of “Segment everything” on planes: start, results and filtering."""

from __future__ import annotations

import time

from napari.layers import Labels, Layer
from psygnal import Signal

from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.session import EverythingResult
from napari_mobilesam.session.everything.everything_messages import (
    ExampleObjects,
    TextQuery,
)
from napari_mobilesam.session.everything.queries import examples_on
from napari_mobilesam.text import counted
from napari_mobilesam.time_left import TimeLeft
from napari_mobilesam.types import Mask
from napari_mobilesam.widgets.everything.everything_panel import (
    FOREGROUND,
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.review_view import ReviewView
from napari_mobilesam.widgets.everything.run_layers import (
    OutputChoice,
    RunLayers,
)
from napari_mobilesam.widgets.everything.where_form import PlaneRegion
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import SERIES_MARK
from napari_mobilesam.widgets.viewer.running_task import RunningTask, end_soon

# Share and seconds of a run before the time left is shown; the very first
# prompts take a second longer.
LEAST_SHARE, LEAST_SECONDS = 0.05, 5.0


class RunControl:
    """The current run, and the objects of the last one.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides session and viewer.
    panel : EverythingPanel
        Parameters, output, filters, review and status line.
    review_view : ReviewView
        Highlights objects of the last run.

    Attributes
    ----------
    ended : Signal()
        The run has ended.
    results : RunLayers or None
        Layers of the last run.
    time_left : TimeLeft
        Estimates the rest of the current run from its pace.
    """

    ended = Signal()

    def __init__(
        self,
        dock: ViewerWidget,
        panel: EverythingPanel,
        review_view: ReviewView,
    ) -> None:
        self._dock = dock
        self._runs = dock.session.runs
        self._panel = panel
        self._scene = dock.scene
        self._review_view = review_view
        self._asked: tuple[int, RunLayers] | None = None
        self._last: EverythingResult | None = None
        # when Run was pressed
        self._pressed = 0.0
        # shown with the progress
        self._warning = ''
        self.results: RunLayers | None = None
        self.time_left = _time_left()
        self._select_later = DelayedCall(self._select, parent=dock)
        self._task = RunningTask(dock.viewer, self._keep_found)

    @property
    def current(self) -> RunLayers | None:
        """Layers of the current run."""
        return None if self._asked is None else self._asked[1]

    @property
    def pending(self) -> bool:
        """True while a change remains to be written."""
        shown = self.current or self.results
        return self._select_later.pending or (
            shown is not None and shown.pending
        )

    def attach(self) -> None:
        """Follow the runs of the session until the dock closes."""
        runs = self._runs
        self._dock.listen(runs.found, self._found)
        self._dock.listen(runs.finished, self._finish)
        self._dock.listen(runs.selected, self._selected)

    def _keep_found(self) -> None:
        """Stop the run, and wait until its results are written."""
        if self._asked is None:
            return
        self._runs.cancel()
        end_soon(self._dock.session, lambda: self._asked is not None)

    def detach(self) -> None:
        """Stop the run, and keep its results so far."""
        self._select_later.cancel()
        self._keep_found()
        self._runs.abandon()
        self.let_go()

    # a run

    def planned(
        self,
        parts: tuple[PlaneRegion, ...],
        output: OutputChoice | None = None,
    ) -> RunLayers:
        """Return the layers of a run with the chosen output, or another."""
        return RunLayers(self._dock, parts, output or self.output)

    @property
    def output(self) -> OutputChoice:
        """The chosen output."""
        panel = self._panel
        return OutputChoice(
            None if panel.outlines else panel.labels_combo.layer,
            panel.leave_box.isChecked(),
            panel.kind_combo.currentText() == FOREGROUND,
            panel.outlines,
        )

    def start(self, plane: LayerPlane) -> None:
        """Segment the chosen part of an image.

        Raises
        ------
        SegmentationError
            The planes, the region or the parameters are invalid.
        """
        self._pressed = time.perf_counter()
        self._start(self.planned(self._panel.where.parts(plane)))

    def find_similar(
        self,
        plane: LayerPlane,
        labels: Labels,
        numbers: list[int] | None,
    ) -> None:
        """Add objects similar to some labelled ones to the labels.

        The diameter of the form is not used, but that of the examples.

        Parameters
        ----------
        plane : LayerPlane
            Plane of the examples.
        labels : napari.layers.Labels
            Labels of the examples; labelled pixels are skipped.
        numbers : list of int or None
            Labels that are examples; by default all on the plane.

        Raises
        ------
        SegmentationError
            There is no example, or the planes or the region are invalid.
        """
        self._pressed = time.perf_counter()
        parts = self._panel.where.parts(plane)
        target = self._scene.objects_of(labels).target
        examples = examples_on(target, plane.source(), numbers)
        results = self.planned(parts, OutputChoice(labels))
        self._start(results, examples)

    def find_text(self, plane: LayerPlane, query: TextQuery) -> None:
        """Find objects named by a text, with the chosen output.

        Raises
        ------
        SegmentationError
            The planes or the region are invalid.
        """
        self._pressed = time.perf_counter()
        results = self.planned(self._panel.where.parts(plane))
        self._start(results, query=query)

    def _start(
        self,
        results: RunLayers,
        examples: ExampleObjects | None = None,
        query: TextQuery | None = None,
    ) -> None:
        where = self._panel.where
        warning = results.check_output()
        generation = self._runs.start(
            results.tasks,
            self._panel.form.value,
            linked=where.planes.linked,
            outlined=results.destination.outlined,
            examples=examples,
            query=query,
        )
        self.let_go()
        results.written.connect(self._written)
        results.failed.connect(self._not_written)
        results.selection_restored.connect(self._show_restored)
        self._asked = (generation, results)
        labels = results.destination.labels
        if labels is not None:
            self._runs.write_to(self._scene.objects_of(labels))
        self._warning = warning
        self._task.begin('Segment everything; only Autosave saves its objects')
        text = f'Working on {results.plane.name} …'
        self.show_started(f'{text}\n{warning}'.rstrip())

    def lose(self, layer: Layer) -> None:
        """Stop because a layer was removed, and keep the results so far."""
        if self.current is not None:
            self.current.lose(layer)
            self._runs.cancel()

    def show_started(self, text: str) -> None:
        """Show that a job is running."""
        self.time_left = _time_left()
        self._panel.show_running(True)
        self._panel.status.say(text, busy=True)

    def let_go(self) -> None:
        """Forget the last run; its objects stay unchanged."""
        self._task.done()
        if self._asked is not None:
            self._asked[1].close()
        if self.results is not None:
            self.results.close()
        self._asked = self.results = self._last = None
        self._runs.write_to(None)
        self._review_view.follow(None)
        self._panel.review.review(None)
        self._panel.show_results(False)

    def _end(self, text: str) -> None:
        self._task.done()
        self._panel.show_running(False)
        self._panel.status.say(text)
        self.ended.emit()

    def _found(self, number: int, masks: list[Mask]) -> None:
        if self._asked is not None:
            self._asked[1].live.add(number, masks)

    def _finish(self, result: EverythingResult) -> None:
        if self._asked is None or result.request.generation != self._asked[0]:
            return
        results = self._asked[1]
        if not result.found or not (len(result.table) or result.complete):
            self.let_go()
            nothing = nothing_found(result, results.skipped)
            self._end(f'{removed_text(results)}{nothing}')
            return
        results.first(result, self._runs)

    def _not_written(self, text: str) -> None:
        if self._asked is not None:
            self.let_go()
            self._end('')
        self._panel.status.fail(text)

    def _written(self, result: EverythingResult) -> None:
        if self._asked is not None:
            self._show(self._asked[1], result)
            return
        self._last = result
        self.show_count()
        self._panel.status.say(
            f'{counted(self._count(result), "object")} of '
            f'{counted(result.found, "mask")}.'
        )

    def _show(self, results: RunLayers, result: EverythingResult) -> None:
        self._asked = None
        results.show()
        self.results = results
        self._write_there(results)
        panel = self._panel
        panel.filters.begin(result.selection, result.extent)
        panel.show_results(True, results.objects is not None)
        if isinstance(results.layer, Labels):
            self._review_view.follow(results.layer)
            panel.review.review(results.objects)
        self._last = result
        self.show_count()
        self._runs.write_to(None)
        # including steps before and after the search
        seconds = time.perf_counter() - self._pressed
        self._end(summary(result, results, seconds))

    def _write_there(self, results: RunLayers) -> None:
        """Let clicks add to the objects of the run, unless one is open."""
        layer, editor = results.layer, self._dock.session.editor
        if (
            isinstance(layer, Labels)
            and not results.destination.semantic
            and results.plane.layer is self._scene.image
            and editor.record.empty
            and not editor.pending
        ):
            self._scene.labels = layer
        else:
            # they are saved nevertheless
            self._scene.labels_changed.emit()

    # filtering

    def schedule_selection(self) -> None:
        """Filter the results again, once for several changes."""
        self._select_later.restart()

    def _select(self) -> None:
        self._runs.select(self._panel.filters.selection())

    def _selected(self, result: EverythingResult) -> None:
        if self.results is None:
            return
        if self.results.undone:
            self._panel.status.say(
                'The run was undone: run again to filter its objects, or '
                'redo it if nothing was written since.'
            )
            return
        if self.results.edited:
            self._panel.status.say(
                'The outlines were edited and stay unchanged: run again to '
                'filter them.'
            )
            return
        # movements of one slider form one step, those of another the next
        moved = self._panel.filters.moved
        key = ('selection', id(self.results), moved) if moved else None
        self.results.write(result, key)

    def _show_restored(self, selection: Selection) -> None:
        """Show the selection restored by undo or redo."""
        self._select_later.cancel()
        self._runs.forget_selection()
        self._panel.filters.show_selection(selection)
        count = self.results.count if self.results is not None else None
        self._panel.status.say(f'Back to {counted(count or 0, "object")}.')

    def emptied_text(self) -> str:
        """Return what to say about the layer of an undone run."""
        results = self.results
        if results is None or not results.undone or results.objects:
            return ''
        if results.objects is not None and results.objects.target.highest():
            # labels from another program
            return ''
        layer = results.layer
        name = '' if layer is None else layer.name
        return f' “{name}” has no objects now; it is kept for redo.'

    def show_count(self) -> None:
        """Show the number of objects, also after undo and rejection."""
        if self.results is None or self._last is None:
            return
        count = self._count(self._last)
        self._panel.filters.show_count(count, self._last.found)

    def _count(self, result: EverythingResult) -> int:
        """Return the number of objects in the labels, without deleted ones."""
        count = None if self.results is None else self.results.count
        return len(result.table) if count is None else count

    # progress

    def show_progress(self, done: int, total: int, message: str) -> None:
        """Show the progress of a run, and the time left."""
        text = f'{message}{self.time_left.text(done, total) or " …"}'
        self._panel.say_progress(
            done, total, f'{text}\n{self._warning}'.rstrip()
        )


def _time_left() -> TimeLeft:
    """Return the time left of a run, in which embedding may dominate."""
    return TimeLeft(
        recent=None, least_share=LEAST_SHARE, least_seconds=LEAST_SECONDS
    )


def nothing_found(result: EverythingResult, skipped: bool = False) -> str:
    """Explain why nothing was found, and what to do.

    Parameters
    ----------
    result : EverythingResult
        Result without objects.
    skipped : bool
        Whether labelled pixels were skipped.
    """
    if result.problem:
        return result.problem
    if not result.complete:
        return 'Stopped before anything was found.'
    if result.request.query is not None:
        return (
            f'“{result.request.query.text}” was not found: use other words, '
            'or another detector.'
        )
    if result.request.examples is not None:
        return (
            'Nothing similar was found: choose other examples, or accept more.'
        )
    if skipped:
        return (
            'Nothing was found besides already labelled objects: untick '
            '“Skip labelled pixels” to find those again.'
        )
    return (
        'Nothing was found: lower the predicted IoU or the stability, or set '
        'the diameter.'
    )


def summary(
    result: EverythingResult, results: RunLayers, seconds: float
) -> str:
    """Return a message about the objects of a run and their layer.

    Parameters
    ----------
    result : EverythingResult
        Objects of the run.
    results : RunLayers
        Layers of the run.
    seconds : float
        Time from pressing *Run* until the objects are shown.
    """
    how = 'in' if result.complete else 'until stopped, after'
    name = '' if results.layer is None else f', in “{results.layer.name}”'
    problem = f' {result.problem}' if result.problem else ''
    if results.problem:
        problem += f' That is a new layer: {results.problem}'
    if (
        SERIES_MARK in results.plane.layer.metadata
        and isinstance(results.layer, Labels)
        and SERIES_MARK not in results.layer.metadata
    ):
        problem += (
            ' The series does not save that layer: choose the labels of the '
            'image under “Labels”, and run again.'
        )
    return (
        f'{removed_text(results)}{counted(len(result.table), "object")} {how} '
        f'{seconds:.1f} s{name}.{problem}'
    )


def removed_text(results: RunLayers) -> str:
    """Return what to say about a removed layer, if any."""
    if not results.lost:
        return ''
    return f'“{results.lost}” was removed during the run. '
