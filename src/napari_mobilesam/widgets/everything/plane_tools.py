"""Edges, proposals and boxes of a plane, from the button to the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_mobilesam.session import PlaneTask
from napari_mobilesam.session.everything.plane_jobs import JobResult, PlaneJobs
from napari_mobilesam.session.objects.targets import LabelsError, whole_picture
from napari_mobilesam.text import counted
from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets.everything.run_layers import OutputChoice
from napari_mobilesam.widgets.everything.tools_panel import (
    add_boxes,
    add_edges,
    boxes_in,
)
from napari_mobilesam.widgets.everything.where_form import PlaneRegion
from napari_mobilesam.widgets.viewer.label_writer import new_labels
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import insert_below_prompts
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

if TYPE_CHECKING:
    from napari.components import ViewerModel

# adds the result to the viewer and returns a message
Show = Callable[[Any], str]


class PlaneTools:
    """Starts searches for edges and boxes, and adds their layers.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    scene : ViewerScene
        Knows the objects of layers.
    jobs : PlaneJobs
        Does the work.
    """

    def __init__(
        self, viewer: ViewerModel, scene: ViewerScene, jobs: PlaneJobs
    ) -> None:
        self._viewer = viewer
        self._scene = scene
        self._jobs = jobs
        self._asked: tuple[int, LayerPlane, Show] | None = None

    @property
    def plane(self) -> LayerPlane | None:
        """Plane being analysed, if any."""
        return None if self._asked is None else self._asked[1]

    def edges(
        self, part: PlaneRegion, parameters: EverythingParameters
    ) -> None:
        """Start finding the edges of a plane."""
        plane = part.plane

        def show(edges: Any) -> str:
            layer = add_edges(self._viewer, plane, edges)
            return f'Edges are in “{layer.name}”'

        number = self._jobs.edges(_task(part), parameters)
        self._asked = (number, plane, show)

    def proposals(
        self, part: PlaneRegion, parameters: EverythingParameters
    ) -> None:
        """Start finding boxes that may hold objects."""
        plane = part.plane

        def show(table: Any) -> str:
            if not len(table):
                return 'No box was found'
            layer = add_boxes(self._viewer, plane, table)
            boxes = counted(len(table), 'box', 'boxes')
            return f'{boxes} in “{layer.name}”'

        number = self._jobs.proposals(_task(part), parameters)
        self._asked = (number, plane, show)

    def boxes(
        self, part: PlaneRegion, source: Any, output: OutputChoice
    ) -> None:
        """Start segmenting the objects in boxes.

        Parameters
        ----------
        part : PlaneRegion
            The plane; the whole of it is looked at.
        source : Shapes, Path or None
            See `boxes_in`.
        output : OutputChoice
            Where the objects go; always labels.

        Raises
        ------
        PromptError, OSError
            As `boxes_in`.
        LabelsError
            The labels are not editable, or full.
        """
        plane = part.plane
        boxes = boxes_in(plane, source)
        if output.labels is not None:
            # raises before the model is asked for nothing
            self._scene.objects_of(output.labels).free_label()

        def show(found: tuple[Any, Any]) -> str:
            picture, table = found
            if not len(table):
                return 'The boxes hold no object'
            layer, count = self._write(plane, output, picture, table)
            if not count:
                return f'All is labelled in “{layer.name}” already'
            return f'{counted(count, "object")} in “{layer.name}”'

        number = self._jobs.boxes(_task(part), boxes)
        self._asked = (number, plane, show)

    def show(self, result: JobResult) -> str | None:
        """Add the layer of a result; return a message, None if not ours.

        Raises
        ------
        LabelsError
            Objects cannot be written to the layer.
        """
        if self._asked is None or self._asked[0] != result.number:
            return None
        _, _, show = self._asked
        self._asked = None
        text = show(result.value)
        stopped = '' if result.complete else ', stopped before the end'
        return f'{text}{stopped} ({result.seconds:.1f} s).'

    def cancel(self) -> None:
        """Stop and keep the result so far."""
        self._jobs.cancel()

    def abandon(self) -> None:
        """Stop and add nothing."""
        self._asked = None
        self._jobs.abandon()

    def _write(
        self,
        plane: LayerPlane,
        output: OutputChoice,
        picture: Any,
        table: Any,
    ) -> tuple[Labels, int]:
        """Write objects; return their layer and how many there are."""
        layer, source = output.labels, plane.source()
        # labels that were removed meanwhile would take them out of sight
        if layer is None or layer not in self._viewer.layers:
            layer = new_labels(plane, f'{plane.layer.name} objects')
        objects = self._scene.objects_of(layer)
        if output.leave:
            seen = whole_picture(objects.target, source)
            picture = np.where(seen == 0, picture, 0)
        try:
            added = objects.free_label(int(picture.max())) - 1
        except LabelsError:
            # more objects than there are labels left
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
