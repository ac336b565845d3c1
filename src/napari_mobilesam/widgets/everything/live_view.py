"""Masks on the canvas while segment everything runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray

from napari_mobilesam.types import Mask
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import (
    PREVIEW_MARK,
    insert_below_prompts,
    refresh_pixels,
)

NAME = 'found so far'
INTERVAL_MS = 100
# Adding and removing a layer takes half a second, in which the window freezes;
# shorter runs are faster without one.
PATIENCE_SECONDS = 1.5
# maximum share of the time for painting and drawing, and maximum duration of
# painting at once
SHARE = 0.2
PAINT_SECONDS = 0.01
# beyond this, napari takes too long to draw a layer
MOST_PIXELS = 8192**2
COLORS = 250


class LiveView:
    """Layer that shows masks as they are found, duplicates included.

    Masks wait in a queue, and a timer paints them within their boxes, so that
    a fast model cannot block the window. A short run shows nothing.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    planes : sequence of LayerPlane
        Planes of one image on which masks will be found.
    """

    def __init__(
        self, viewer: ViewerModel, planes: Sequence[LayerPlane]
    ) -> None:
        self._viewer = viewer
        self._planes = planes
        self._waiting: deque[tuple[int, Mask]] = deque()
        self._count = 0
        self._forgotten = False
        self.layer: Labels | None = None
        self._paint_later = DelayedCall(self._paint, INTERVAL_MS)
        self._start = time.perf_counter()

    @property
    def pending(self) -> bool:
        """True if masks are still to be painted."""
        return self._paint_later.pending

    def add(self, number: int, masks: Sequence[Mask]) -> None:
        """Queue masks of a plane for painting."""
        plane = self._planes[number]
        if self._forgotten or np.prod(plane.shape) > MOST_PIXELS:
            return
        self._waiting.extend((number, mask) for mask in masks)
        if self._waiting:
            since = time.perf_counter() - self._start
            wait = round(1000 * (PATIENCE_SECONDS - since))
            self._paint_later.start(max(INTERVAL_MS, wait))

    def close(self) -> None:
        """Remove the layer from the viewer."""
        self._paint_later.cancel()
        self._waiting.clear()
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def forget(self) -> None:
        """Stop painting: the layer was removed by the user."""
        self._paint_later.cancel()
        self._waiting.clear()
        self.layer = None
        self._forgotten = True

    def _paint(self) -> None:
        start = time.perf_counter()
        if self.layer is None:
            self._add_layer()
        while self._waiting:
            self._paint_one(*self._waiting.popleft())
            if time.perf_counter() - start > PAINT_SECONDS:
                break
        assert self.layer is not None
        refresh_pixels(self.layer)
        if self._waiting:
            taken = 1000 * (time.perf_counter() - start)
            self._paint_later.start(max(INTERVAL_MS, round(taken / SHARE)))

    def _paint_one(self, number: int, mask: Mask) -> None:
        assert self.layer is not None
        picture = plane_in(self.layer.data, self._planes[number])
        row0, column0, row1, column1 = mask.box
        self._count += 1
        region = picture[row0:row1, column0:column1]
        region[mask.data] = self._count % COLORS + 1

    def _add_layer(self) -> None:
        plane = self._planes[0]
        self.layer = Labels(
            np.zeros(plane.output_shape, np.uint8),
            name=NAME,
            opacity=0.5,
            **plane.transform(),
        )
        self.layer.metadata[PREVIEW_MARK] = True
        self.layer.editable = False
        insert_below_prompts(self._viewer, self.layer)


def plane_in(data: NDArray[Any], plane: LayerPlane) -> NDArray[Any]:
    """Return the (H, W) view of a plane in labels of its whole image.

    Parameters
    ----------
    data : ndarray
        Labels with the shape ``plane.output_shape``.
    plane : LayerPlane
        Plane of the image.
    """
    index: list[Any] = list(plane.output_index)
    for axis in plane.output_plane:
        index[axis] = slice(None)
    return data[tuple(index)]
