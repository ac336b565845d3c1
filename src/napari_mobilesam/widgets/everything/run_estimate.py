"""Estimated duration and memory of a run, shown before it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.everything.everything_panel import (
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.large_run_control import (
    LargeRunControl,
)
from napari_mobilesam.widgets.everything.run_control import RunControl
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.estimate import Estimate

# wait until a number is typed completely
PAUSE_MS = 250


class RunEstimate:
    """Estimate the run again whenever the form changes.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides session and viewer.
    panel : EverythingPanel
        Parameters, and the label of the estimate.
    runs : RunControl
        Control that plans the run.
    large : LargeRunControl
        Control for images that are too large for memory.
    busy : callable
        Returns True while a job is running that an estimate would slow down.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: EverythingPanel,
        runs: RunControl,
        large: LargeRunControl,
        busy: Callable[[], bool],
    ) -> None:
        self._session = dock.session
        self._panel = panel
        self._runs = runs
        self._large = large
        self._busy = busy
        self.later = DelayedCall(self._estimate, PAUSE_MS, dock)

    def _estimate(self) -> None:
        if self._busy():
            return
        jobs, panel = self._session.runs.jobs, self._panel
        jobs.forget_estimate()
        self._session.large.forget_estimate()
        panel.estimate_label.setText('')
        if self._panel.header.image_combo.layer is None:
            return
        try:
            plane = self._panel.header.plane
            if self._large.offer(plane):
                # as tall as the estimate, so that Run does not move
                panel.estimate_label.setText('Estimating …\n')
                self._large.estimate(plane)
                return
            # the displayed plane represents a stack
            one = self._runs.planned((panel.where.part(plane),)).tasks
        except SegmentationError as error:
            panel.estimate_label.setText(str(error))
            return
        panel.estimate_label.setText('Estimating …')
        jobs.estimate(one * panel.where.count(plane), panel.form.value)

    def show(self, estimate: Estimate | str) -> None:
        """Show an estimate, and the automatically determined diameter."""
        self._panel.estimate_label.setText(str(estimate))
        diameter = None if isinstance(estimate, str) else estimate.diameter
        if diameter is not None:
            self._panel.form.show_typical('diameter', round(diameter))
