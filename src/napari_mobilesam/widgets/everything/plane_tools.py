"""Edges, proposals and boxes of a plane, from button to layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Labels
from psygnal import Signal

from napari_mobilesam.session import PlaneTask
from napari_mobilesam.session.everything.plane_jobs import JobResult
from napari_mobilesam.session.objects.targets import LabelsError, whole_picture
from napari_mobilesam.text import counted
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.everything.everything_panel import (
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.run_control import RunControl
from napari_mobilesam.widgets.everything.run_layers import OutputChoice
from napari_mobilesam.widgets.everything.tools_panel import (
    add_boxes,
    add_edges,
    boxes_in,
)
from napari_mobilesam.widgets.everything.where_form import PlaneRegion
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.label_writer import new_labels
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import insert_below_prompts

# adds the result to the viewer and returns a message
Show = Callable[[Any], str]


class PlaneTools:
    """Start searches for edges and boxes, and add their layers.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides session and viewer.
    panel : EverythingPanel
        Buttons and status line.
    runs : RunControl
        Run control that shows progress.

    Attributes
    ----------
    ended : Signal()
        The search has ended.
    """

    ended = Signal()

    def __init__(
        self, dock: ViewerWidget, panel: EverythingPanel, runs: RunControl
    ) -> None:
        self._viewer = dock.viewer
        self._jobs = dock.session.runs.jobs
        self._panel = panel
        self._scene = dock.scene
        self._runs = runs
        self._asked: tuple[int, LayerPlane, Show] | None = None
        panel.more.edges_asked.connect(self.find_edges)
        panel.more.proposals_asked.connect(self.propose)
        panel.more.boxes_asked.connect(self.segment_boxes)

    @property
    def plane(self) -> LayerPlane | None:
        """Plane being analysed, if any."""
        return None if self._asked is None else self._asked[1]

    def find_edges(self) -> None:
        """Find the edges of the current plane."""
        self._start(self._edges)

    def propose(self) -> None:
        """Find boxes that may contain objects on the current plane."""
        self._start(self._proposals)

    def segment_boxes(self, source: Any) -> None:
        """Segment the objects in boxes of the current plane.

        Parameters
        ----------
        source : Shapes, Path or None
            A layer of rectangles, or a CSV file; see `boxes_in`.
        """
        self._start(lambda part: self._boxes(part, source))

    def _start(self, ask: Callable[[PlaneRegion], tuple[int, Show]]) -> None:
        try:
            part = self._panel.where.part(self._panel.header.plane)
            number, show = ask(part)
        except (SegmentationError, OSError) as error:
            self._panel.status.fail(str(error))
            return
        self._asked = number, part.plane, show
        self._runs.show_started(f'Working on {part.plane.name} …')

    def _edges(self, part: PlaneRegion) -> tuple[int, Show]:
        def show(edges: Any) -> str:
            layer = add_edges(self._viewer, part.plane, edges)
            return f'Edges are in “{layer.name}”'

        return self._jobs.edges(_task(part), self._panel.form.value), show

    def _proposals(self, part: PlaneRegion) -> tuple[int, Show]:
        def show(table: Any) -> str:
            if not len(table):
                return 'No box was found'
            layer = add_boxes(self._viewer, part.plane, table)
            boxes = counted(len(table), 'box', 'boxes')
            return f'{boxes} in “{layer.name}”'

        return self._jobs.proposals(_task(part), self._panel.form.value), show

    def _boxes(self, part: PlaneRegion, source: Any) -> tuple[int, Show]:
        """Request the objects in boxes, on the entire plane."""
        plane, output = part.plane, self._runs.output
        boxes = boxes_in(plane, source)
        if output.labels is not None:
            # raises before the model is used in vain
            self._scene.objects_of(output.labels).free_label()

        def show(found: tuple[Any, Any]) -> str:
            picture, table = found
            if not len(table):
                return 'The boxes contain no object'
            layer, count = self._write(plane, output, picture, table)
            if not count:
                return f'Everything is already labelled in “{layer.name}”'
            return f'{counted(count, "object")} in “{layer.name}”'

        return self._jobs.boxes(_task(part), boxes), show

    def finish(self, result: JobResult) -> None:
        """Add the layer of a result, and report it, if it was requested."""
        if self._asked is None or self._asked[0] != result.number:
            return
        _, _, show = self._asked
        self._asked = None
        self._panel.show_running(False)
        # objects may not be written to the layer
        with self._panel.status.errors():
            text = show(result.value)
            stopped = '' if result.complete else ', stopped before the end'
            self._panel.status.say(
                f'{text}{stopped} ({result.seconds:.1f} s).'
            )
        self.ended.emit()

    def cancel(self) -> None:
        """Stop and keep the result so far."""
        self._jobs.cancel()

    def abandon(self) -> None:
        """Stop and add nothing."""
        self._asked = None
        self._jobs.abandon()

    def _write(
        self, plane: LayerPlane, output: OutputChoice, picture: Any, table: Any
    ) -> tuple[Labels, int]:
        """Write objects; return their layer and their number."""
        layer, source = output.labels, plane.source()
        # labels removed in the meantime would take them out of sight
        if layer is None or layer not in self._viewer.layers:
            layer = new_labels(plane, f'{plane.layer.name} objects')
        objects = self._scene.objects_of(layer)
        if output.leave:
            seen = whole_picture(objects.target, source)
            picture = np.where(seen == 0, picture, 0)
        try:
            added = objects.free_label(int(picture.max())) - 1
        except LabelsError:
            # more objects than free labels
            layer = new_labels(plane, f'{plane.layer.name} objects')
            objects, added = self._scene.objects_of(layer), 0
        shifted = np.where(picture > 0, picture.astype(np.int64) + added, 0)
        rows = table.rename(columns={'label': 'index'})
        rows = rows[rows['index'].isin(np.unique(picture))]
        rows = rows.assign(index=rows['index'] + added)
        with objects.step('the objects in boxes') as step:
            step.paint_picture(source, shifted)
            step.describe(set(rows['index']), rows)
        if layer not in self._viewer.layers:
            insert_below_prompts(self._viewer, layer)
        return layer, len(rows)


def _task(part: PlaneRegion) -> PlaneTask:
    return PlaneTask(part.plane.source(), part.region)
