"""Preview layers: the mask of the open object, and the hover preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray

from napari_mobilesam.types import Mask
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import (
    PREVIEW_MARK,
    insert_below_prompts,
    refresh_pixels,
)

if TYPE_CHECKING:
    from napari.utils.colormaps import DirectLabelColormap

PREVIEW_NAME = 'preview'
COLOR = '#00d5ff'
# for a mask the model is uncertain about
DOUBTFUL_COLOR = '#ff9800'
HOVER_NAME = 'hover preview'
HOVER_COLOR = '#ffffff'
HOVER_OPACITY = 0.3
# Boxes are rounded up to this fraction of their size, so that a small change
# of the mask needs no new texture.
STEPS = 4
SMALLEST_STEP = 8


class Preview:
    """Labels layer that covers the bounding box of masks.

    A layer of the whole image would be uploaded to the GPU on every click.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    name, color : str
        Of the layer.
    opacity : float
        Of the layer.
    contour : int
        Width of outlines in pixels; 0 fills the masks.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        name: str = PREVIEW_NAME,
        color: str = COLOR,
        opacity: float = 0.55,
        contour: int = 0,
    ) -> None:
        self._viewer = viewer
        self._name, self._color, self._opacity = name, color, opacity
        self._contour = contour
        self._certain_color = color
        self._shown: tuple[NDArray[np.float64], tuple[Mask, ...]] | None = None
        self.layer: Labels | None = None

    def show(
        self, plane: LayerPlane, masks: Sequence[Mask], doubtful: bool = False
    ) -> None:
        """Show masks of a plane in place of the previous ones.

        Parameters
        ----------
        plane : LayerPlane
            Plane of the masks.
        masks : sequence of Mask
            Masks to show.
        doubtful : bool
            Use the colour of uncertain masks.
        """
        self._use_color(DOUBTFUL_COLOR if doubtful else self._certain_color)
        if not masks:
            self.hide()
            return
        place = plane.output_matrix(plane.output_index)
        if self._is_shown(place, masks):
            return
        picture, corner = _picture(masks)
        (origin,) = plane.output_points(np.array([corner]))
        self._place(
            plane.output_picture(picture),
            plane.output_matrix(origin),
            plane.axes(),
        )
        self._shown = place, tuple(masks)

    def prepare(self, plane: LayerPlane) -> None:
        """Add the empty layer, so that the first mask need not wait for it.

        Parameters
        ----------
        plane : LayerPlane
            Plane of the masks to come.
        """
        if self.layer is not None and self.layer in self._viewer.layers:
            return
        picture = np.zeros((SMALLEST_STEP, SMALLEST_STEP), np.uint8)
        place = plane.output_matrix(plane.output_index)
        self._add(plane.output_picture(picture), place, plane.axes())

    @property
    def visible(self) -> bool:
        """True if a mask is shown."""
        return self._shown is not None and self.layer is not None

    def hide(self) -> None:
        """Clear the layer; it stays for the next object."""
        if self.layer is not None and self._shown is not None:
            # faster than removing and adding the layer
            self.layer.data[...] = 0
            refresh_pixels(self.layer)
        self._shown = None

    def remove(self) -> None:
        """Remove the layer from the viewer."""
        self._shown = None
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _is_shown(
        self, place: NDArray[np.float64], masks: Sequence[Mask]
    ) -> bool:
        if self._shown is None or self.layer not in self._viewer.layers:
            return False
        before, shown = self._shown
        return (
            np.array_equal(before, place)
            and len(shown) == len(masks)
            and all(a is b for a, b in zip(shown, masks, strict=True))
        )

    def _place(
        self,
        picture: NDArray[np.uint8],
        affine: NDArray[np.float64],
        axes: dict[str, Any],
    ) -> None:
        if self.layer is not None and (
            self.layer not in self._viewer.layers
            or self.layer.ndim != picture.ndim
        ):
            self.remove()
        layer = self.layer
        if layer is None:
            self._add(picture, affine, axes)
            return
        for name, values in axes.items():
            if tuple(getattr(layer, name)) != tuple(values):
                setattr(layer, name, values)
        moved = not np.array_equal(layer.affine.affine_matrix, affine)
        if layer.data.shape != picture.shape:
            layer.data = picture
        else:
            # ten times faster than setting `data`
            layer.data[...] = picture
            if not moved:
                refresh_pixels(layer)
        if moved:
            # refreshes the layer as well
            layer.affine = affine

    def _use_color(self, color: str) -> None:
        if color == self._color:
            return
        self._color = color
        if self.layer is not None:
            self.layer.colormap = _one_color(color)

    def _add(
        self,
        picture: NDArray[np.uint8],
        affine: NDArray[np.float64],
        axes: dict[str, Any],
    ) -> None:
        self.layer = Labels(
            picture,
            name=self._name,
            metadata={PREVIEW_MARK: True},
            affine=affine,
            **axes,
            opacity=self._opacity,
            colormap=_one_color(self._color),
        )
        self.layer.contour = self._contour
        self.layer.editable = False
        insert_below_prompts(self._viewer, self.layer)


def _one_color(color: str) -> DirectLabelColormap:
    from napari.utils.colormaps import DirectLabelColormap

    return DirectLabelColormap(color_dict={0: 'transparent', None: color})


def _picture(
    masks: Sequence[Mask],
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Draw masks into an array; return it with its corner in the image."""
    boxes = np.array([mask.box for mask in masks])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = int((high - low).max())
    step = max(SMALLEST_STEP, (1 << (side - 1).bit_length()) // STEPS)
    low = low // step * step
    high = -(-high // step) * step
    picture = np.zeros(tuple(high - low), np.uint8)
    for number, mask in enumerate(masks):
        top, left = mask.box[0] - low[0], mask.box[1] - low[1]
        height, width = mask.data.shape
        region = picture[top : top + height, left : left + width]
        region[mask.data] = number % 254 + 1
    return picture, (int(low[0]), int(low[1]))
