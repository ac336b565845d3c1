"""Outlines of the objects of a run in a Shapes layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Shapes
from numpy.typing import NDArray

from napari_mobilesam.session import EverythingResult
from napari_mobilesam.session.objects.history import Entry, History
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.everything.tools_panel import add_polygons
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane

if TYPE_CHECKING:
    import pandas as pd


class OutlineLayer:
    """Shapes layer with the outlines of a result.

    Undo removes the layer, and redo restores it unchanged.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    planes : sequence of LayerPlane
        Planes of the run.
    history : History
        History with the run as its only step.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        planes: Sequence[LayerPlane],
        history: History,
    ) -> None:
        self._viewer = viewer
        self._planes = planes
        self.history = history
        self.layer: Shapes | None = None
        # as they were written
        self._outlines: list[NDArray[np.float64]] = []
        self._moving = False
        viewer.layers.events.removed.connect(self._removed)

    @property
    def name(self) -> str:
        """Name of the layer."""
        return '' if self.layer is None else str(self.layer.name)

    @property
    def edited(self) -> bool:
        """True if outlines were drawn, changed or deleted by hand."""
        if self.layer is None:
            return False
        now, before = self.layer.data, self._outlines
        return len(now) != len(before) or not all(
            map(np.array_equal, now, before)
        )

    def undo(self) -> str | None:
        """Remove the layer; return the title of the run."""
        entry = self.history.pop_undo()
        if entry is not None and self.layer in self._viewer.layers:
            self._moving = True
            self._viewer.layers.remove(self.layer)
            self._moving = False
        return None if entry is None else entry.title

    def redo(self) -> str | None:
        """Restore the layer; return the title of the run."""
        entry = self.history.pop_redo()
        if entry is not None and self.layer is not None:
            self._viewer.add_layer(self.layer)
        return None if entry is None else entry.title

    def _removed(self, event: Any) -> None:
        """Drop the step if the layer is removed by hand."""
        if event.value is self.layer and not self._moving:
            self.history.clear()

    def write(self, result: EverythingResult) -> None:
        """Replace the outlines with those of a result."""
        shapes: list[NDArray[np.float64]] = []
        labels: list[int] = []
        for plane, picture, outlines in zip(
            self._planes, result.pictures, result.outlines, strict=False
        ):
            labels += [int(label) for label in np.unique(picture) if label]
            shapes += [plane.output_points(outline) for outline in outlines]
        table = result.table.set_index('label')
        features = table.loc[labels, ['score', 'stability', 'area']]
        features = features.reset_index(names='label')
        if self.layer is None:
            first = self._planes[0]
            self.layer = add_polygons(
                self._viewer,
                first,
                shapes,
                f'{first.layer.name} outlines',
                features,
            )
            self.history.push(Entry(counted(len(shapes), 'outline')))
        else:
            self._replace(self.layer, shapes, features)
        self._outlines = [np.array(shape) for shape in self.layer.data]

    @staticmethod
    def _replace(
        layer: Shapes,
        shapes: list[NDArray[np.float64]],
        features: pd.DataFrame,
    ) -> None:
        layer.selected_data = set(range(len(layer.data)))
        layer.remove_selected()
        if shapes:
            layer.add_polygons(shapes)
        layer.features = features
