"""The preview of the object that is being prompted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from napari_mobilesam.types import Mask
from napari_mobilesam.widgets.layers import (
    LayerPlane,
    insert_below_prompts,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

NAME = 'preview'
COLOR = '#00d5ff'
_COLORS = {0: 'transparent', None: COLOR}


class Preview:
    """A layer as large as the masks' box, placed with the image's transform.

    A layer of the whole image would be uploaded to the graphics card as a
    whole for every click.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.layer: Labels | None = None

    def show(self, plane: LayerPlane, masks: Sequence[Mask]) -> None:
        """Show masks of a plane, instead of what was shown."""
        if not masks:
            self.hide()
            return
        boxes = np.array([mask.box for mask in masks])
        row0, column0 = boxes[:, :2].min(axis=0)
        row1, column1 = boxes[:, 2:].max(axis=0)
        picture = np.zeros((row1 - row0, column1 - column0), np.uint8)
        for number, mask in enumerate(masks):
            top, left = mask.box[0] - row0, mask.box[1] - column0
            height, width = mask.data.shape
            region = picture[top : top + height, left : left + width]
            region[mask.data] = number % 254 + 1
        origin = list(plane.output_index)
        rows = plane.output_axes.index(plane.rows)
        columns = plane.output_axes.index(plane.columns)
        origin[rows], origin[columns] = int(row0), int(column0)
        if rows > columns:
            picture = picture.T
        fixed = tuple(
            a for a in range(len(origin)) if a not in (rows, columns)
        )
        picture = np.expand_dims(picture, fixed)
        self._place(picture, plane.output_matrix(origin))

    def hide(self) -> None:
        """Show nothing; the layer stays for the next object."""
        if self.layer is not None and self.layer.visible:
            self.layer.visible = False

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _place(self, picture: np.ndarray, affine: np.ndarray) -> None:
        if self.layer is not None and (
            self.layer not in self._viewer.layers
            or self.layer.ndim != picture.ndim
        ):
            self.remove()
        if self.layer is None:
            self._add(picture, affine)
            return
        self.layer.data = picture
        self.layer.affine = affine
        if not self.layer.visible:
            self.layer.visible = True

    def _add(self, picture: np.ndarray, affine: np.ndarray) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        self.layer = Labels(
            picture,
            name=NAME,
            affine=affine,
            opacity=0.55,
            colormap=DirectLabelColormap(color_dict=dict(_COLORS)),
        )
        self.layer.editable = False
        insert_below_prompts(self._viewer, self.layer)
