"""Layers in which prompts are drawn."""

import numpy as np
from napari.components import ViewerModel

from napari_mobilesam.widgets.prompts.prompt_layers import (
    POINT_SIZES,
    add_points,
)
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene


def test_planes_without_points_have_no_dot():
    viewer = ViewerModel()
    scene = ViewerScene(viewer)
    scene.image = viewer.add_image(np.zeros((3, 8, 8)))
    viewer.dims.set_current_step(0, 1)
    layer = add_points(viewer, scene.layer_plane())
    layer.add([1, 4, 4])
    assert layer.canvas_size_limits == POINT_SIZES
    viewer.dims.set_current_step(0, 2)
    assert layer.canvas_size_limits[0] == 0
    viewer.dims.set_current_step(0, 1)
    assert layer.canvas_size_limits == POINT_SIZES
