"""Edges, object proposals, and boxes that become objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from numpy.typing import NDArray
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_mobilesam.types import PromptError
from napari_mobilesam.widgets.parts.controls import (
    explain_rows,
    form_layout,
    wide_button,
)
from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.parts.layouts import row
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import (
    CLOSED_SHAPES,
    MARK,
    insert_below_prompts,
    is_of,
)

if TYPE_CHECKING:
    import pandas as pd

BOX_COLUMNS = ['row0', 'column0', 'row1', 'column1']
ROW_TIPS = {
    'Boxes': 'Shapes layer with the rectangles for Segment boxes.',
}


class ToolsPanel(QWidget):
    """Buttons for edges, object proposals and segmenting boxes.

    Attributes
    ----------
    edges_asked, proposals_asked : Signal
        Emitted when a button is pressed.
    boxes_asked : Signal(object)
        Source of the boxes: a Shapes layer, or the path of a table.
    """

    edges_asked = Signal()
    proposals_asked = Signal()
    boxes_asked = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.edges_button = wide_button('Edges')
        self.edges_button.setToolTip(
            'Add an image layer with the edge strength of each pixel\n'
            '(Segment Anything, section 7.2).'
        )
        self.proposals_button = wide_button('Object proposals')
        self.proposals_button.setToolTip(
            'Add up to a thousand boxes that may contain objects, with '
            'scores\n(Segment Anything, section 7.3).'
        )
        self.shapes_combo = LayerCombo(
            viewer, is_of(Shapes), 'a layer of boxes'
        )
        self.boxes_button = wide_button('Segment boxes')
        self.boxes_button.setToolTip(
            'One object for each rectangle, ellipse or polygon of the layer.'
        )
        self.table_button = wide_button('Import boxes (CSV) …')
        self.table_button.setToolTip(
            'A CSV file with the columns row0, column0, row1, column1 in '
            'pixels,\nor of a Shapes layer saved by napari.'
        )
        form = form_layout(self)
        form.addRow(row(self.edges_button, self.proposals_button))
        form.addRow('Boxes', self.shapes_combo)
        explain_rows(form, ROW_TIPS)
        form.addRow(row(self.boxes_button, self.table_button))
        self.edges_button.clicked.connect(self.edges_asked)
        self.proposals_button.clicked.connect(self.proposals_asked)
        self.boxes_button.clicked.connect(self._ask_layer)
        self.table_button.clicked.connect(self._ask_table)

    @property
    def buttons(self) -> tuple[Any, ...]:
        """Buttons that start a search."""
        return (
            self.edges_button,
            self.proposals_button,
            self.boxes_button,
            self.table_button,
        )

    def _ask_layer(self) -> None:
        combo = self.shapes_combo
        if combo.layer is None:
            selected = self._viewer.layers.selection
            wanted = [layer for layer in combo.layers if layer in selected]
            # otherwise the only layer, if there is just one
            choice = wanted or combo.layers
            combo.layer = choice[0] if len(choice) == 1 else None
        self.boxes_asked.emit(combo.layer)

    def _ask_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, 'Import boxes', '', 'Tables (*.csv *.tsv);;All files (*)'
        )
        if path:
            self.boxes_asked.emit(Path(path))


def boxes_in(plane: LayerPlane, source: Any) -> NDArray[np.float64]:
    """Return the boxes of a layer or a table, clipped to a plane.

    Parameters
    ----------
    plane : LayerPlane
        Plane of the image.
    source : Shapes, Path or None
        Closed shapes on the plane, or a CSV file.

    Returns
    -------
    ndarray
        (N, 4) row0, column0, row1, column1 in data pixels.

    Raises
    ------
    PromptError
        There is no box on the plane, or the table has no boxes.
    OSError
        The table cannot be read.
    """
    if source is None:
        raise PromptError(
            'No boxes: choose a layer with rectangles, or a table.'
        )
    if isinstance(source, Path):
        boxes, name = _of_table(source), source.name
    else:
        boxes, name = _of_shapes(plane, source), source.name
    low = np.clip(boxes[:, :2], 0, plane.shape)
    high = np.clip(boxes[:, 2:], 0, plane.shape)
    inside = (high - low >= 1).all(axis=1)
    if not inside.any():
        raise PromptError(
            f'“{name}” has no box on {plane.name}: draw rectangles on it, or '
            'choose others.'
        )
    return np.hstack([low, high])[inside]


def _of_table(path: Path) -> NDArray[np.float64]:
    from napari_mobilesam.large.io.tables import read_table
    from napari_mobilesam.segmentation.box_tables import boxes_of_table

    table = boxes_of_table(read_table(path, separator=None))
    try:
        boxes = table.to_numpy(dtype=np.float64)
    except ValueError as error:
        raise PromptError(
            f'“{path.name}” has boxes that are not numbers: {error}.'
        ) from error
    return boxes[np.isfinite(boxes).all(axis=1)]


def _of_shapes(plane: LayerPlane, shapes: Shapes) -> NDArray[np.float64]:
    boxes = []
    for vertices, kind in zip(shapes.data, shapes.shape_type, strict=True):
        corners, here = plane.image_points(shapes, vertices)
        if kind in CLOSED_SHAPES and here.all():
            # pixel centres are at integers, edges of a box between pixels
            low, high = corners.min(axis=0) + 0.5, corners.max(axis=0) + 0.5
            boxes.append([*low, *high])
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def add_edges(
    viewer: ViewerModel, plane: LayerPlane, edges: NDArray[np.float32]
) -> Image:
    """Add an Image layer of edges at the position of the plane."""
    layer = Image(
        plane.output_picture(edges),
        name=f'{plane.layer.name} edges',
        affine=plane.output_matrix(plane.output_index),
        colormap='magma',
        blending='additive',
        contrast_limits=(0, 1),
        metadata={MARK: str(plane.layer.unique_id)},
        **plane.axes(),
    )
    insert_below_prompts(viewer, layer)
    return layer


def add_boxes(
    viewer: ViewerModel, plane: LayerPlane, table: pd.DataFrame
) -> Shapes:
    """Add a Shapes layer of boxes with their features."""
    corners = table[BOX_COLUMNS].to_numpy(float) - 0.5
    rectangles = corners[:, [0, 1, 0, 3, 2, 3, 2, 1]].reshape(-1, 4, 2)
    return add_polygons(
        viewer,
        plane,
        [plane.output_points(rectangle) for rectangle in rectangles],
        f'{plane.layer.name} proposals',
        table.drop(columns=BOX_COLUMNS),
        'rectangle',
    )


def add_polygons(
    viewer: ViewerModel,
    plane: LayerPlane,
    outlines: list[NDArray[np.float64]],
    name: str,
    features: pd.DataFrame,
    kind: str = 'polygon',
) -> Shapes:
    """Add a Shapes layer of outlines at the position of a plane's image.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    plane : LayerPlane
        A plane of the image.
    outlines : list of ndarray
        Vertices of each outline, see `LayerPlane.output_points`.
    name : str
        Name of the layer.
    features : pandas.DataFrame
        One row per outline.
    kind : str
        Type of the shapes.
    """
    layer = Shapes(
        outlines,
        ndim=len(plane.output_axes),
        shape_type=kind,
        name=name,
        features=features,
        edge_color='#ffd54f',
        edge_width=max(0.5, max(plane.shape) / 800),
        face_color='transparent',
        # these are not prompts unless the user chooses them as such
        **{**plane.transform(), 'metadata': {}},
    )
    insert_below_prompts(viewer, layer)
    return layer
