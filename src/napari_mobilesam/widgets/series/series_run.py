"""Segment everything on all images of a series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from psygnal import Signal

from napari_mobilesam.series.series_segmentation import STEPS, SeriesResult
from napari_mobilesam.session.series.labels_saving import SaveRequest
from napari_mobilesam.time_left import TimeLeft
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.series.series_layers import SeriesLayers
from napari_mobilesam.widgets.series.series_panel import SeriesPanel
from napari_mobilesam.widgets.series.series_saving import SeriesSaving
from napari_mobilesam.widgets.viewer.running_task import RunningTask


class SeriesRun:
    """Start and cancel a run over all images, and show its progress.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides the session.
    panel : SeriesPanel
        Controls.
    layers : SeriesLayers
        Layers of the open image.
    saving : SeriesSaving
        Writes found labels to those of the open image.
    labelled : callable
        Called with the number of an image labelled by another program.

    Attributes
    ----------
    ended : Signal()
        The run has ended or was cancelled.
    time_left : TimeLeft
        Estimates the rest of the current run from its last images.
    """

    ended = Signal()

    def __init__(
        self,
        dock: ViewerWidget,
        panel: SeriesPanel,
        layers: SeriesLayers,
        saving: SeriesSaving,
        labelled: Callable[[int], None],
    ) -> None:
        self._jobs = dock.session.series
        self._panel = panel
        self._status = panel.status
        self._layers = layers
        self._saving = saving
        self._labelled = labelled
        self._task = RunningTask(dock.viewer)
        self.time_left = TimeLeft()
        # objects that were found and not written, and why they cannot be;
        # no reason for images that have got labels meanwhile
        self._unwritten: dict[int, tuple[int, str]] = {}
        panel.run_button.clicked.connect(self.start)
        panel.cancel_button.clicked.connect(self.cancel)

    def start(self) -> None:
        """Segment every image that has no labels yet."""
        with self._status.errors():
            self._jobs.segment_all(
                self._panel.form.value, self._panel.channel_box.value()
            )
            # of a run ended by another series
            self._unwritten.clear()
            self.time_left = TimeLeft()
            self._panel.run_button.setEnabled(False)
            self._panel.cancel_button.setEnabled(True)
            self._status.say('Starting …', busy=True)
            self._task.begin('Segment all images; finished images are kept.')

    def cancel(self) -> None:
        """Stop after the current step; finished images are kept."""
        if not self._jobs.running:
            return
        self._jobs.cancel()
        self._panel.cancel_button.setEnabled(False)
        self._status.say('Stopping; finished images are kept …', busy=True)

    def progress(self, done: int, total: int, text: str) -> None:
        """Show the progress, unless the run was cancelled."""
        if self._panel.cancel_button.isEnabled():
            images = done // STEPS, total // STEPS
            self.say(f'{text}{self.time_left.text(*images) or " …"}')
            self._status.show_progress(done, total)

    def say(self, text: str) -> None:
        """Show a message of a run, unless an error is waiting to be read."""
        if not self._status.kept:
            self._status.say(text, busy=True)

    def take_labels(self, found: SaveRequest) -> None:
        """Write found labels to the layer of the open image."""
        labels = self._layers.labels
        if found.number != self._jobs.current or labels is None:
            self._jobs.save_found(found)
            return
        problem = ''
        # otherwise the user was faster
        if not np.any(labels.data):
            try:
                self._saving.put(found)
                return
            except SegmentationError as error:
                problem = str(error)
        count = 0 if found.table is None else len(found.table)
        self._unwritten[found.number] = count, problem

    def finish(self, result: SeriesResult) -> None:
        """Show the result."""
        panel, status = self._panel, self._status
        for number, (count, problem) in self._unwritten.items():
            # a failed run has no image
            if number in result.done:
                result.leave_out(number, count, problem)
        self._unwritten.clear()
        self._task.done()
        panel.run_button.setEnabled(self._jobs.series is not None)
        panel.cancel_button.setEnabled(False)
        for number in result.done:
            panel.table.show_failure(number, '')
        for number in result.skipped:
            # another program may have labelled it in the meantime
            panel.table.show_row(number)
            self._labelled(number)
        for number, problem in result.failed.items():
            # unsaved labels are not a fault of the image
            waits = number in self._jobs.saving.unsaved
            panel.table.show_failure(number, '' if waits else problem)
        if result.failed:
            status.fail(result.text)
        elif not status.failed or result.done:
            status.say(result.text)
        else:
            status.hide_progress()
        self.ended.emit()
