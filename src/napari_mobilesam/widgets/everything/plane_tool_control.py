"""Edges, proposals and boxes, from the buttons to the status line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psygnal import Signal

from napari_mobilesam.session.everything.plane_jobs import JobResult
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.everything.everything_panel import (
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.plane_tools import PlaneTools
from napari_mobilesam.widgets.everything.run_control import RunControl
from napari_mobilesam.widgets.everything.where_form import PlaneRegion
from napari_mobilesam.widgets.parts.image_header import ImageHeader
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget


class PlaneToolControl:
    """Starts searches for edges, proposals and boxes, and shows results.

    Parameters
    ----------
    dock : ViewerWidget
        Gives session and viewer.
    panel : EverythingPanel
        Buttons and status line.
    header : ImageHeader
        Choice of the image.
    tools : PlaneTools
        Does the searches.
    runs : RunControl
        Shows progress.

    Attributes
    ----------
    ended : Signal()
        The search is over.
    """

    ended = Signal()

    def __init__(
        self,
        dock: ViewerWidget,
        panel: EverythingPanel,
        header: ImageHeader,
        tools: PlaneTools,
        runs: RunControl,
    ) -> None:
        self._panel = panel
        self._header = header
        self._tools = tools
        self._runs = runs
        panel.more.edges_asked.connect(self.find_edges)
        panel.more.proposals_asked.connect(self.propose)
        panel.more.boxes_asked.connect(self.segment_boxes)

    def find_edges(self) -> None:
        """Find the edges of the current plane."""
        self._start(
            lambda part: self._tools.edges(part, self._panel.form.value)
        )

    def propose(self) -> None:
        """Find boxes that may hold objects on the current plane."""
        self._start(
            lambda part: self._tools.proposals(part, self._panel.form.value)
        )

    def segment_boxes(self, source: Any) -> None:
        """Segment the objects in boxes of the current plane.

        Parameters
        ----------
        source : Shapes, Path or None
            A layer of rectangles, or a CSV file.
        """
        self._start(
            lambda part: self._tools.boxes(part, source, self._runs.output)
        )

    def _start(self, ask: Callable[[PlaneRegion], None]) -> None:
        try:
            part = self._panel.where.part(self._header.plane)
            ask(part)
        except (SegmentationError, OSError) as error:
            self._panel.status.fail(str(error))
            return
        self._runs.show_started(f'Working on {part.plane.name} …')

    def finish(self, result: JobResult) -> None:
        """Show the result of a search."""
        status = self._panel.status
        try:
            text = self._tools.show(result)
        except SegmentationError as error:
            self._panel.show_running(False)
            status.fail(str(error))
        else:
            if text is None:
                return
            self._panel.show_running(False)
            status.say(text)
        self.ended.emit()
