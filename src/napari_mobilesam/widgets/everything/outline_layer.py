"""Outlines of the objects of a run in a Shapes layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from napari_mobilesam.session import EverythingResult
from napari_mobilesam.widgets.everything.tools_panel import (
    add_polygons,
    in_layer,
)
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel


class OutlineLayer:
    """Shapes layer of the outlines of a result.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    planes : sequence of LayerPlane
        Planes of the run.
    """

    def __init__(
        self, viewer: ViewerModel, planes: Sequence[LayerPlane]
    ) -> None:
        self._viewer = viewer
        self._planes = planes
        self.layer: Shapes | None = None

    def write(self, result: EverythingResult) -> None:
        """Replace the outlines by those of a result."""
        shapes: list[NDArray[np.float64]] = []
        labels: list[int] = []
        for plane, picture, outlines in zip(
            self._planes, result.pictures, result.outlines, strict=False
        ):
            labels += [int(label) for label in np.unique(picture) if label]
            shapes += [in_layer(plane, outline) for outline in outlines]
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
            return
        self._replace(self.layer, shapes, features)

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
