"""Choice of planes and region for “Segment everything”."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from napari_mobilesam.types import Window
from napari_mobilesam.units import is_time_axis
from napari_mobilesam.widgets.everything.regions import (
    Region,
    drawn_region,
    drawn_window,
    narrowed,
    visible_region,
    visible_window,
)
from napari_mobilesam.widgets.parts.controls import (
    explain_rows,
    form_layout,
    narrow,
)
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.parts.line_width import fit_lines
from napari_mobilesam.widgets.viewer.drawn_boxes import (
    BOX_MODE,
    end_box,
    released_box,
)
from napari_mobilesam.widgets.viewer.large_source import check_size
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import (
    data_of,
    is_of,
    slider_name,
    use_units,
    world_units,
)
from napari_mobilesam.widgets.viewer.mouse_clicks import is_click

PLANE, VIEW, DRAWN = 'the whole plane', 'the current view', 'drawn regions'
REGION_NAME, REGION_MARK = 'regions', 'napari-mobilesam regions'
ROW_TIPS = {
    'Where': 'Part of the image to search for objects.',
    'Regions': 'Shapes layer with the drawn regions.',
    'Planes': 'Planes of the stack to search for objects.',
}


@dataclass(frozen=True)
class PlaneChoice:
    """Planes of an image to segment.

    Attributes
    ----------
    axis : int or None
        Axis whose planes are all segmented; None for the displayed plane.
    linked : bool
        Whether objects that overlap from plane to plane become one.
    """

    axis: int | None = None
    linked: bool = False


@dataclass(frozen=True, eq=False)
class PlaneRegion:
    """One plane of a run and its region.

    Attributes
    ----------
    plane : LayerPlane
        The plane.
    region : ndarray or None
        (H, W) bool, where to search for objects; None for everywhere.
    """

    plane: LayerPlane
    region: Region | None


class WhereForm(QWidget):
    """Choice of the region and, for stacks, of the planes.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).

    Attributes
    ----------
    changed : Signal
        Emitted when the region or the planes change.
    clicked : Signal
        Emitted when a rectangle was dropped because it was drawn by a click.
    """

    changed = Signal()
    clicked = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.region_combo = QComboBox()
        self.region_combo.addItems([PLANE, VIEW, DRAWN])
        self.region_combo.setToolTip(
            'Only this area is searched. Masks may extend slightly beyond it.'
        )
        self.draw_button = QPushButton('Draw')
        self.draw_button.setToolTip(
            'Drag a rectangle. Ellipses and polygons of the layer in Regions '
            'count too.'
        )
        self.shapes_combo = LayerCombo(
            viewer, is_of(Shapes), 'New layer (Draw)'
        )
        self.planes_combo = QComboBox()
        for combo in (self.region_combo, self.planes_combo):
            narrow(combo)
        # beside a button
        self.region_combo.setMinimumContentsLength(5)
        self._followed: Shapes | None = None
        # later: napari is not done with it yet
        self._drop_later = DelayedCall(self._drop_tiny, parent=self)
        # the image whose planes are offered
        self._offered: str | None = None
        self.form = form_layout(self)
        row = QHBoxLayout()
        row.addWidget(self.region_combo, 1)
        row.addWidget(self.draw_button)
        self.form.addRow('Where', row)
        self.form.addRow('Regions', self.shapes_combo)
        self.form.addRow('Planes', self.planes_combo)
        explain_rows(self.form, ROW_TIPS)
        self.region_combo.currentIndexChanged.connect(self._region_chosen)
        self.shapes_combo.layer_changed.connect(self.follow)
        self.planes_combo.currentIndexChanged.connect(self._tell)
        self._show_rows()

    @property
    def planes(self) -> PlaneChoice:
        """The chosen planes."""
        chosen = self.planes_combo.currentData()
        return PlaneChoice() if chosen is None else PlaneChoice(*chosen)

    def offer(self, image: Image | None, plane: LayerPlane | None) -> None:
        """Offer the planes of an image, keeping the choice if possible.

        Parameters
        ----------
        image : napari.layers.Image or None
            The image.
        plane : LayerPlane or None
            Displayed plane of it; if there is none, as in a volume view, the
            offer stays.
        """
        former = self._offered
        self._offered = '' if image is None else str(image.unique_id)
        if plane is None and self._offered == former:
            return
        before = self.planes_combo.currentText()
        self.planes_combo.blockSignals(True)
        self.planes_combo.clear()
        self.planes_combo.addItem('the current one', None)
        for axis in () if plane is None else plane.stack_axes:
            assert image is not None
            count = data_of(image).shape[axis]
            name = slider_name(self._viewer, image, axis)
            choices = [
                (f'all {count} along {name}, linked', True),
                (f'all {count} along {name}, independently', False),
            ]
            # objects that move may not overlap
            if is_time_axis(name):
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

    def parts(self, plane: LayerPlane) -> tuple[PlaneRegion, ...]:
        """Return the planes to segment, each with its region.

        Parameters
        ----------
        plane : LayerPlane
            The displayed plane.

        Raises
        ------
        SegmentationError
            There is no region in the image, or it is too large.
        """
        axis = self.planes.axis
        check_size(plane, self.count(plane))
        if axis is None:
            return (self.part(plane),)
        here = plane.index[axis]
        moved = [plane.moved(axis, i - here) for i in range(self.count(plane))]
        planes = [other for other in moved if other is not None]
        if self.region_combo.currentText() == VIEW:
            seen = visible_region(plane)
            return tuple(PlaneRegion(other, seen) for other in planes)
        return tuple(self.part(other) for other in planes)

    def count(self, plane: LayerPlane) -> int:
        """Return the number of planes that `parts` would return."""
        axis = self.planes.axis
        return 1 if axis is None else int(data_of(plane.layer).shape[axis])

    def part(self, plane: LayerPlane) -> PlaneRegion:
        """Return one plane and its region; see `parts`."""
        check_size(plane)
        kind = self.region_combo.currentText()
        if kind == VIEW:
            return PlaneRegion(plane, visible_region(plane))
        if kind == DRAWN:
            return PlaneRegion(
                plane, drawn_region(plane, self.shapes_combo.layer)
            )
        return PlaneRegion(plane, None)

    def around(self, plane: LayerPlane) -> Window | None:
        """Return the smallest window around the region of a plane.

        Unlike `part`, this makes no picture of the plane, whatever its size.

        Raises
        ------
        SegmentationError
            There is no region in the image.
        """
        kind = self.region_combo.currentText()
        if kind == VIEW:
            return narrowed(visible_window(plane), self._viewer, plane)
        if kind == DRAWN:
            return drawn_window(plane, self.shapes_combo.layer)
        return None

    @property
    def own_regions(self) -> Shapes | None:
        """The chosen regions if *Draw* created their layer."""
        shapes: Shapes | None = self.shapes_combo.layer
        if shapes is None or REGION_MARK not in shapes.metadata:
            return None
        return shapes

    def use_drawn(self, shapes: Shapes) -> None:
        """Choose the shapes of a layer as region."""
        self.shapes_combo.layer = shapes
        self.region_combo.setCurrentText(DRAWN)

    def draw(self, plane: LayerPlane) -> None:
        """Start drawing regions on the canvas."""
        shapes = self.shapes_combo.layer
        if shapes is None or shapes.ndim != len(plane.output_axes):
            shapes = self._own(plane)
        self.use_drawn(shapes)
        if REGION_MARK in shapes.metadata:
            # otherwise mouse positions are in units of another image
            use_units(shapes, world_units(self._viewer))
        self._viewer.layers.selection.active = shapes
        # napari draws nothing into a hidden layer
        shapes.visible = True
        shapes.mode = BOX_MODE

    def _own(self, plane: LayerPlane) -> Shapes:
        for layer in self.shapes_combo.layers:
            if layer.metadata.get(REGION_MARK) == str(
                plane.layer.unique_id
            ) and layer.ndim == len(plane.output_axes):
                return layer
        layer = self._viewer.add_shapes(
            ndim=len(plane.output_axes),
            name=REGION_NAME,
            edge_color='#ffa726',
            face_color='transparent',
            **{
                **plane.transform(),
                # rectangles of prompts are marked differently
                'metadata': {REGION_MARK: str(plane.layer.unique_id)},
            },
        )
        fit_lines(self._viewer, layer)
        self.shapes_combo.refresh()
        return layer

    def follow(self, shapes: Shapes | None) -> None:
        """Listen to shapes being drawn, moved and removed."""
        self.let_go()
        self._followed = shapes
        if shapes is not None:
            shapes.events.data.connect(self._drawn)
            shapes.mouse_drag_callbacks.insert(0, self._press)
        self._tell()

    def _press(self, layer: Any, event: Any) -> Generator[None]:
        """End a rectangle where the mouse button is released."""
        if layer.mode != BOX_MODE:
            return
        number = len(layer.data)
        start = np.asarray(layer.world_to_data(event.position))
        if (yield from is_click(event)):
            return
        corners = released_box(layer, number, start, event)
        if corners is not None:
            end_box(layer, number, corners)

    def _drawn(self, event: Any) -> None:
        # “adding” and similar events come before the change
        action = str(getattr(event, 'action', ''))
        if not action.endswith('ing'):
            self._tell()
        if action == 'added' and event.source.mode == BOX_MODE:
            self._drop_later.restart()

    def let_go(self) -> None:
        """Stop listening to shapes."""
        if self._followed is not None:
            self._followed.events.data.disconnect(self._drawn)
            with contextlib.suppress(ValueError):
                self._followed.mouse_drag_callbacks.remove(self._press)
        self._followed = None

    def _drop_tiny(self) -> None:
        """Remove the last rectangle if it was drawn by a click."""
        layer = self.own_regions
        if layer is None or not len(layer.data):
            return
        sides = np.ptp(layer.data[-1], axis=0)
        if sides.max() <= 2 * layer.current_edge_width:
            layer.selected_data = {len(layer.data) - 1}
            layer.remove_selected()
            self.clicked.emit()

    def end_drawing(self, image: Image) -> None:
        """Select an image, on which clicks choose objects, after drawing."""
        layer, selection = self.own_regions, self._viewer.layers.selection
        if layer is not None and layer is selection.active:
            layer.mode = 'pan_zoom'
            selection.active = image

    def _region_chosen(self) -> None:
        self._show_rows()
        self._tell()

    def _show_rows(self) -> None:
        drawn = self.region_combo.currentText() == DRAWN
        self._show_row(self.shapes_combo, drawn)
        self._show_row(self.planes_combo, self.planes_combo.count() > 1)

    def _show_row(self, field: QWidget, visible: bool) -> None:
        # whole rows can only be hidden since Qt 6.4
        for part in (field, self.form.labelForField(field)):
            if part is not None:
                part.setVisible(visible)

    def _tell(self, what: Any = None) -> None:
        self.changed.emit()
