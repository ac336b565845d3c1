"""Where “Segment everything” looks: which planes, and what part of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.controls import LayerCombo, form_layout, narrow
from napari_mobilesam.widgets.layers import (
    LayerPlane,
    axis_name,
    data_of,
    is_ours,
)
from napari_mobilesam.widgets.prompt_collection import CLOSED

if TYPE_CHECKING:
    from napari.components import ViewerModel

PLANE, VIEW, DRAWN = 'the whole plane', 'the current view', 'drawn regions'
REGION_NAME = 'regions'
OUTSIDE = 'The drawn regions are outside the image: draw one on it.'
# axes along which an object is another one at the next step
TIME_NAMES = ('t', 'time', 'frame', 'frames')

Region = NDArray[np.bool_]
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Planes:
    """Which planes of an image a run works on.

    Attributes
    ----------
    axis : int or None
        Axis of the image of which every plane is taken; None for the plane
        that is shown.
    linked : bool
        Whether objects that overlap from plane to plane become one.
    """

    axis: int | None = None
    linked: bool = False


@dataclass(frozen=True, eq=False)
class Part:
    """One plane of a run.

    Attributes
    ----------
    plane : LayerPlane
        The plane.
    region : ndarray or None
        (H, W) bool, where prompts are asked; None is everywhere.
    """

    plane: LayerPlane
    region: Region | None


class WhereForm(QWidget):
    """Choice of the region and, for stacks, of the planes.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.

    Attributes
    ----------
    changed : Signal
        Another region or other planes were chosen.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.region_combo = QComboBox()
        self.region_combo.addItems([PLANE, VIEW, DRAWN])
        self.region_combo.setToolTip(
            'Objects are looked for here only. Their masks may reach a '
            'little beyond.'
        )
        self.draw_button = QPushButton('Draw')
        self.draw_button.setToolTip(
            'Drag a rectangle; ellipses and polygons of the layer count too.'
        )
        self.shapes_combo = LayerCombo(
            viewer, lambda layer: isinstance(layer, Shapes), 'drawn with Draw'
        )
        self.planes_combo = QComboBox()
        for combo in (self.region_combo, self.planes_combo):
            narrow(combo)
        # beside a button
        self.region_combo.setMinimumContentsLength(5)
        self._followed: Shapes | None = None
        self.form = form_layout(self)
        row = QHBoxLayout()
        row.addWidget(self.region_combo, 1)
        row.addWidget(self.draw_button)
        self.form.addRow('Where', row)
        self.form.addRow('Regions', self.shapes_combo)
        self.form.addRow('Planes', self.planes_combo)
        self.region_combo.currentIndexChanged.connect(self._region_chosen)
        self.shapes_combo.layer_changed.connect(self._follow)
        self.planes_combo.currentIndexChanged.connect(self._tell)
        self._show_rows()

    @property
    def planes(self) -> Planes:
        """The chosen planes."""
        chosen = self.planes_combo.currentData()
        return Planes() if chosen is None else Planes(*chosen)

    def offer(self, plane: LayerPlane | None) -> None:
        """Offer the planes of an image, keeping the choice if it has them.

        Parameters
        ----------
        plane : LayerPlane or None
            Plane of the image that is shown; None if none is.
        """
        before = self.planes_combo.currentText()
        self.planes_combo.blockSignals(True)
        self.planes_combo.clear()
        self.planes_combo.addItem('the current one', None)
        axes = [] if plane is None else plane.travel_axes
        for axis in axes:
            assert plane is not None
            image = plane.layer
            count, name = data_of(image).shape[axis], axis_name(image, axis)
            if count < 2:
                continue
            choices = [
                (f'all {count} of {name}, linked', True),
                (f'all {count} of {name}, each by itself', False),
            ]
            if name.lower() in TIME_NAMES:
                choices.reverse()
            for text, linked in choices:
                self.planes_combo.addItem(text, (axis, linked))
        self.planes_combo.setCurrentIndex(
            max(0, self.planes_combo.findText(before))
        )
        self.planes_combo.blockSignals(False)
        self._show_rows()
        if self.planes_combo.currentText() != before:
            self._tell()

    def parts(self, plane: LayerPlane) -> tuple[Part, ...]:
        """Return the planes to work on and the region of each.

        Parameters
        ----------
        plane : LayerPlane
            The plane that is shown.

        Raises
        ------
        SegmentationError
            There is no region in the image.
        """
        axis = self.planes.axis
        if axis is None:
            return (self.part(plane),)
        here, count = plane.index[axis], data_of(plane.layer).shape[axis]
        moved = [plane.moved(axis, i - here) for i in range(count)]
        planes = [other for other in moved if other is not None]
        if self.region_combo.currentText() == VIEW:
            seen = visible_region(plane)
            return tuple(Part(other, seen) for other in planes)
        return tuple(self.part(other) for other in planes)

    def part(self, plane: LayerPlane) -> Part:
        """Return one plane and its region; see `parts`."""
        kind = self.region_combo.currentText()
        if kind == VIEW:
            return Part(plane, visible_region(plane))
        if kind == DRAWN:
            return Part(plane, drawn_region(plane, self.shapes_combo.layer))
        return Part(plane, None)

    def around(self, plane: LayerPlane) -> Window | None:
        """Return the smallest window around the region of a plane.

        Unlike `part` this makes no picture of the plane, whatever its size.

        Raises
        ------
        SegmentationError
            There is no region in the image.
        """
        kind = self.region_combo.currentText()
        if kind == VIEW:
            return visible_window(plane)
        if kind == DRAWN:
            return drawn_window(plane, self.shapes_combo.layer)
        return None

    def use_drawn(self, shapes: Shapes) -> None:
        """Look in the shapes of a layer from now on."""
        self.shapes_combo.layer = shapes
        self.region_combo.setCurrentText(DRAWN)

    def draw(self, plane: LayerPlane) -> None:
        """Make drags on the canvas draw regions of a plane's image."""
        shapes = self.shapes_combo.layer
        if shapes is None or shapes.ndim != len(plane.output_axes):
            shapes = self._own(plane)
        self.use_drawn(shapes)
        self._viewer.layers.selection.active = shapes
        shapes.mode = 'add_rectangle'

    def _own(self, plane: LayerPlane) -> Shapes:
        for layer in self.shapes_combo.layers:
            if (
                is_ours(layer, plane.layer)
                and layer.name.startswith(REGION_NAME)
                and layer.ndim == len(plane.output_axes)
            ):
                return layer
        layer = self._viewer.add_shapes(
            ndim=len(plane.output_axes),
            name=REGION_NAME,
            edge_color='#ffa726',
            edge_width=max(1.0, max(plane.shape) / 300),
            face_color='transparent',
            **plane.transform(),
        )
        self.shapes_combo.refresh()
        return layer

    def _follow(self, shapes: Shapes | None) -> None:
        """Hear of shapes that are drawn, moved and removed."""
        self.let_go()
        self._followed = shapes
        if shapes is not None:
            shapes.events.data.connect(self._drawn)
        self._tell()

    def _drawn(self, event: Any) -> None:
        # “adding” and the like come before the change
        if not str(getattr(event, 'action', '')).endswith('ing'):
            self._tell()

    def let_go(self) -> None:
        """Hear of no shapes any more."""
        if self._followed is not None:
            self._followed.events.data.disconnect(self._drawn)
        self._followed = None

    def _region_chosen(self) -> None:
        self._show_rows()
        self._tell()

    def _show_rows(self) -> None:
        drawn = self.region_combo.currentText() == DRAWN
        self._show_row(self.shapes_combo, drawn)
        self._show_row(self.planes_combo, self.planes_combo.count() > 1)

    def _show_row(self, field: QWidget, visible: bool) -> None:
        # rows can be hidden as such since Qt 6.4 only
        for part in (field, self.form.labelForField(field)):
            if part is not None:
                part.setVisible(visible)

    def _tell(self, what: Any = None) -> None:
        self.changed.emit()


def visible_region(plane: LayerPlane) -> Region | None:
    """Return what of a plane can be seen; None if all of it can.

    Raises
    ------
    SegmentationError
        The plane is out of sight.
    """
    window = visible_window(plane)
    if window is None:
        return None
    row0, column0, row1, column1 = window
    region = np.zeros(plane.shape, dtype=bool)
    region[row0:row1, column0:column1] = True
    return region


def visible_window(plane: LayerPlane) -> Window | None:
    """Return row0, column0, row1, column1 of what can be seen of a plane.

    As `visible_region`, but without a picture of the plane.
    """
    layer = plane.layer
    factors = (
        layer.downsample_factors[layer.data_level]
        if layer.multiscale
        else np.ones(layer.ndim)
    )
    axes = [plane.rows, plane.columns]
    corners = layer.corner_pixels[:, axes] * np.asarray(factors)[axes]
    low = np.clip(np.floor(corners[0]), 0, plane.shape).astype(int)
    high = np.clip(np.ceil(corners[1]) + 1, 0, plane.shape).astype(int)
    if (high - low <= 1).any() and min(plane.shape) > 1:
        raise SegmentationError(
            f'“{layer.name}” cannot be seen: move it into the view.'
        )
    if (low == 0).all() and (high == plane.shape).all():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def drawn_region(plane: LayerPlane, shapes: Shapes | None) -> Region:
    """Return the pixels of a plane inside the closed shapes of a layer.

    Shapes on the plane count; where there are none, those on other planes
    do, so that a region drawn once is good for a whole stack.

    Raises
    ------
    SegmentationError
        There is no such shape, or it is outside the image.
    """
    from napari_mobilesam.segmentation.shapes import region_of

    region = np.zeros(plane.shape, dtype=bool)
    for outline in drawn_outlines(plane, shapes):
        mask = region_of(outline, plane.shape)
        if mask is not None:
            row0, column0, row1, column1 = mask.box
            region[row0:row1, column0:column1] |= mask.data
    if not region.any():
        raise SegmentationError(OUTSIDE)
    return region


def drawn_window(plane: LayerPlane, shapes: Shapes | None) -> Window:
    """Return row0, column0, row1, column1 around the shapes of a layer.

    As `drawn_region`, but without a picture of the plane.
    """
    vertices = np.concatenate(drawn_outlines(plane, shapes))
    low = np.clip(np.floor(vertices.min(axis=0)), 0, plane.shape).astype(int)
    high = np.clip(np.ceil(vertices.max(axis=0)) + 1, 0, plane.shape)
    high = high.astype(int)
    if (low >= high).any():
        raise SegmentationError(OUTSIDE)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def drawn_outlines(
    plane: LayerPlane, shapes: Shapes | None
) -> list[NDArray[np.float64]]:
    """Return the outlines of the closed shapes of a layer, see `drawn_region`.

    Returns
    -------
    list of ndarray
        (N, 2) row and column in data pixels of the plane.
    """
    from napari_mobilesam.segmentation.shapes import ellipse_outline

    here: list[NDArray[np.float64]] = []
    elsewhere: list[NDArray[np.float64]] = []
    if shapes is not None:
        for vertices, kind in zip(shapes.data, shapes.shape_type, strict=True):
            if kind not in CLOSED:
                continue
            outline, on_plane = plane.image_points(shapes, vertices)
            if kind == 'ellipse':
                outline = ellipse_outline(outline)
            (here if on_plane.all() else elsewhere).append(outline)
    if not here and not elsewhere:
        raise SegmentationError(
            'There is no region yet: press Draw and drag a rectangle.'
        )
    return here or elsewhere
