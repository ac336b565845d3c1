"""Objects under review on the canvas: highlight and clicks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView
from napari_mobilesam.widgets.parts.preview import Preview
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.look_at import look_at
from napari_mobilesam.widgets.viewer.mouse_clicks import (
    clicked_label,
    is_click,
)

NAME, COLOR = 'under review', '#ffd54f'
LEFT_BUTTON = 1


class ReviewView(QObject):
    """Highlight one object of a labels layer, and report clicked ones.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).

    Attributes
    ----------
    clicked : Signal(int)
        Label of the clicked object, while the layer or an image is active.
    """

    clicked = Signal(int)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Labels | None = None
        self.preview = Preview(viewer, NAME, COLOR, 0.9, contour=2)

    def follow(self, layer: Labels | None) -> None:
        """Listen to clicks in another layer, or in none."""
        callbacks = self._viewer.mouse_drag_callbacks
        if self._click in callbacks:
            callbacks.remove(self._click)
        self._layer = layer
        if layer is None:
            self.preview.remove()
        else:
            callbacks.append(self._click)

    def show(self, record: ObjectRecord) -> None:
        """Bring an object into view, on its least certain plane."""
        views = [view for view in record.views.values() if view.mask]
        if not views or self._layer not in self._viewer.layers:
            self.preview.hide()
            return
        view = min(views, key=_score)
        assert view.mask is not None
        plane: LayerPlane = view.plane.geometry
        self.preview.show(plane, [view.mask])
        corners = plane.data_points(np.reshape(view.mask.box, (2, 2)) - 0.5)
        look_at(self._viewer, plane.layer, *corners[:, plane.offset :])

    def _click(
        self, viewer: ViewerModel, event: Any
    ) -> Generator[None, None, None]:
        """Report a click, not a drag, unless it has another meaning."""
        layer, active = self._layer, viewer.layers.selection.active
        free = active is layer or isinstance(active, Image)
        if layer is None or event.button != LEFT_BUTTON or not free:
            return
        if event.handled or active.mode not in ('pan_zoom', 'pick'):
            return
        if not (yield from is_click(event)):
            return
        label = clicked_label(viewer, layer, event)
        if label:
            self.clicked.emit(label)


def _score(view: ObjectView) -> float:
    score = np.nan if view.mask is None else view.mask.score
    return float(np.nan_to_num(score, nan=np.inf))
