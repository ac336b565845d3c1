"""Overlay on the objects selected in a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_mobilesam.session.measuring import Measuring
from napari_mobilesam.widgets.viewer.layers import (
    PREVIEW_MARK,
    insert_below_prompts,
    placement,
)

NAME = 'selected objects'
SELECTED, CURRENT = 1, 2
COLORS: dict[int | None, str] = {
    None: 'transparent',
    0: 'transparent',
    SELECTED: '#ffffff',
    CURRENT: '#ffea00',
}
# width of the outlines in data pixels
CONTOUR = 2
# Labels with more pixels are not copied for an overlay.
MOST_PIXELS = 1 << 26


class MarkedObjects:
    """Layer that shows the selected objects in one colour.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    measuring : Measuring
        Measuring thread, on which the overlay is computed.
    """

    def __init__(self, viewer: ViewerModel, measuring: Measuring) -> None:
        self._viewer = viewer
        self._measuring = measuring
        self._layer: Labels | None = None
        self._wanted = 0

    @property
    def layer(self) -> Labels | None:
        """The layer; None if it is not in the viewer."""
        if self._layer is not None and self._layer in self._viewer.layers:
            return self._layer
        return None

    def show(
        self, labels: Labels, chosen: NDArray[np.int64], current: int = 0
    ) -> bool:
        """Outline objects of a layer; return False if it is too large.

        Parameters
        ----------
        labels : napari.layers.Labels
            The layer.
        chosen : ndarray
            (N,) selected labels.
        current : int
            Label of the current row, 0 for none.
        """
        self._wanted += 1
        data: Any = labels.data
        if (
            labels.multiscale
            or not isinstance(data, np.ndarray)
            or data.size > MOST_PIXELS
        ):
            self.hide()
            return False
        if not len(chosen) and not current:
            self.hide()
            return True
        wanted = self._wanted

        def compute() -> Callable[[], None]:
            # napari takes seconds for the outlines of a large layer
            picture = outlines_of(overlay_of(data, chosen, current))
            return lambda: self._place(labels, picture, wanted)

        self._measuring.apart(compute)
        return True

    def hide(self) -> None:
        """Hide the layer; it stays for the next selection."""
        self._wanted += 1
        layer = self.layer
        if layer is not None:
            layer.visible = False

    def remove(self) -> None:
        """Remove the layer from the viewer."""
        self._wanted += 1
        layer, self._layer = self.layer, None
        if layer is not None:
            self._viewer.layers.remove(layer)

    def _place(
        self, labels: Labels, picture: NDArray[np.uint8], wanted: int
    ) -> None:
        if wanted != self._wanted or labels not in self._viewer.layers:
            return
        layer = self.layer
        if layer is None or layer.data.shape != picture.shape:
            self.remove()
            self._layer = Labels(
                picture,
                name=NAME,
                opacity=1,
                metadata={PREVIEW_MARK: True},
                colormap=DirectLabelColormap(color_dict=COLORS),
                **placement(labels, range(labels.ndim)),
            )
            insert_below_prompts(self._viewer, self._layer)
            return
        _align(layer, labels)
        layer.data = picture
        layer.visible = True


def _align(layer: Labels, labels: Labels) -> None:
    """Align a layer with another one."""
    axes = range(layer.ndim)
    before = placement(layer, axes)
    for name, wanted in placement(labels, axes).items():
        # each of these redraws the layer
        if not np.array_equal(before[name], wanted):
            setattr(layer, name, wanted)


def overlay_of(
    labels: NDArray[Any], chosen: NDArray[np.int64], current: int = 0
) -> NDArray[np.uint8]:
    """Return `SELECTED` on chosen labels, `CURRENT` on one, 0 elsewhere."""
    largest = int(labels.max(initial=0))
    if largest > 1 << 24 or labels.min(initial=0) < 0:
        picture = np.where(np.isin(labels, chosen), SELECTED, 0)
        picture[(labels == current) & (labels > 0)] = CURRENT
        return picture.astype(np.uint8)
    lookup = np.zeros(largest + 1, np.uint8)
    lookup[chosen[chosen <= largest]] = SELECTED
    if 0 < current <= largest:
        lookup[current] = CURRENT
    return lookup[labels]


def outlines_of(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture without pixels deeper than `CONTOUR` inside.

    Parameters
    ----------
    picture : ndarray
        Picture from `overlay_of`; outlines are drawn in planes of the last two
        axes.
    """
    inside = picture > 0
    for axis in (picture.ndim - 2, picture.ndim - 1):
        along, within = (
            np.moveaxis(picture, axis, 0),
            np.moveaxis(inside, axis, 0),
        )
        for by in range(1, CONTOUR + 1):
            same = along[by:] == along[:-by]
            within[by:] &= same
            within[:-by] &= same
            # the border of the image is an outline, too
            within[:by] = within[len(within) - by :] = False
    return np.where(inside, 0, picture).astype(np.uint8)
