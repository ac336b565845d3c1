"""Lines of drawn shapes have the same width on the screen at any zoom."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mobilesam.widgets.parts.line_width import (
    MOST_SHAPES,
    LineWidth,
    fit_lines,
)
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layer_plane import camera_of

BOX = np.array([[0, 0], [0, 9], [9, 9], [9, 0]])


@pytest.mark.parametrize('zoom', [0.1, 8.0])
def test_lines_are_as_wide_on_the_screen_at_any_zoom(zoom):
    viewer = ViewerModel()
    layer = viewer.add_shapes([BOX], scale=(0.5, 0.5))
    camera_of(viewer).zoom = zoom
    fit_lines(viewer, layer)
    assert layer.edge_width == pytest.approx([3 / (zoom * 0.5)])
    # also of the next shape
    layer.add(BOX)
    assert layer.edge_width[1] == layer.edge_width[0]


def test_many_shapes_keep_the_width_of_their_lines():
    viewer = ViewerModel()
    layer = viewer.add_shapes([BOX] * (MOST_SHAPES + 1), edge_width=7)
    layer.selected_data = set()
    fit_lines(viewer, layer)
    assert set(layer.edge_width) == {7}
    assert layer.current_edge_width != 7


def test_lines_fit_the_zoom_of_a_dock_that_is_opened_again(qtbot):
    viewer = ViewerModel()
    layer = viewer.add_shapes([BOX], edge_width=7)
    dock = ViewerWidget(viewer)
    qtbot.addWidget(dock)
    camera_of(viewer).zoom = 2
    LineWidth(dock, lambda: layer).attach()
    qtbot.waitUntil(lambda: layer.edge_width[0] == 1.5)
