"""Objects found again by the boxes that *Table* has measured."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mobilesam.measure.object_table import measure_objects
from napari_mobilesam.measure.over_time import (
    means_over_time,
    measure_frames,
)
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.table.measured_layers import merged, request_of
from napari_mobilesam.widgets.viewer import measured_box as measured_box_module
from napari_mobilesam.widgets.viewer.delete_labels import delete_labels
from napari_mobilesam.widgets.viewer.look_at import look_at, slider_pixels
from napari_mobilesam.widgets.viewer.measured_box import (
    box_to_look_at,
    measured_box,
    pixel_near,
    pixels_of,
)
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

# planes, rows and columns of object 1
PLACE = (slice(6, 8), slice(10, 20), slice(5, 15))


@pytest.fixture(params=[(0, 'memory'), (1, 'memory'), (1, 'zarr')])
def measured(request):
    """Viewer, scene and measured labels of an image with channels."""
    axis, kind = request.param
    viewer = ViewerModel()
    shape = [9, 40, 40]
    shape.insert(axis, 3)
    image = viewer.add_image(np.random.default_rng(0).random(shape, 'f4'))
    scene = ViewerScene(viewer)
    scene.image, scene.channel_axis = image, axis
    data = np.zeros(shape, np.uint16)
    np.moveaxis(data, axis, 0)[(slice(None), *PLACE)] = 1
    if kind == 'zarr':
        zarr = pytest.importorskip('zarr')
        array = zarr.create_array({}, shape=tuple(shape), dtype='u2')
        array[:] = data
        data = array
    labels = viewer.add_labels(data, scale=(2, 1, 1, 1))
    request = request_of(labels, None, scene)
    table = measure_objects(request.labels, volumes=request.volumes)
    labels.features = merged(labels.features, table)
    return viewer, scene, labels


def test_a_row_is_looked_at_in_the_channel_that_is_shown(measured):
    viewer, scene, labels = measured
    axis = scene.channel_axis
    viewer.dims.set_current_step(axis, 2)
    here = slider_pixels(viewer, labels)
    look_at(viewer, labels, *measured_box(labels, 1, scene, here))
    there = slider_pixels(viewer, labels)
    assert there[axis] == here[axis] == 2 // labels.scale[axis]
    assert there[1 - axis] in (6, 7)


def test_a_moving_object_is_looked_at_where_it_is():
    viewer = ViewerModel()
    frames = np.zeros((4, 30, 30), np.uint16)
    frames[1, 2:5, 3:6] = frames[2, 20:25, 21:26] = 5
    labels = viewer.add_labels(frames, axis_labels=('t', 'y', 'x'))
    scene = ViewerScene(viewer)
    measured = measure_frames(request_of(labels, None, scene).labels)
    table = means_over_time(measured)
    labels.features = merged(labels.features, table)
    for frame, box in (
        (0, [[1, 2, 3], [1, 4, 5]]),
        (2, [[2, 20, 21], [2, 24, 25]]),
        (3, [[2, 20, 21], [2, 24, 25]]),
    ):
        here = np.array([frame, 0, 0])
        assert box_to_look_at(labels, 5, scene, here).tolist() == box
    # all of it is deleted
    assert len(pixels_of(labels, [5], scene)[0]) == 9 + 25
    # one frame, with the table of all
    one = viewer.add_labels(frames[1], features=labels.features)
    here = np.array([0, 0])
    box = box_to_look_at(one, 5, scene, here)
    assert box.tolist() == measured_box(one, 5, scene).tolist()


@pytest.mark.slow
def test_objects_are_deleted_in_all_channels(measured):
    _, scene, labels = measured
    objects = scene.objects_of(labels)
    delete_labels(labels, [1], scene)
    assert not np.any(labels.data[:])
    objects.undo()
    assert np.count_nonzero(labels.data[:]) == 3 * 2 * 10 * 10


def test_an_object_is_looked_for_where_it_was_measured(monkeypatch):
    viewer = ViewerModel()
    labels = viewer.add_labels(np.zeros((4, 60, 60), np.uint16))
    labels.data[2, 10:20, 30:40] = 7
    labels.features = {
        'index': [7], 'z0': [2], 'row0': [10], 'column0': [30],
        'z1': [3], 'row1': [20], 'column1': [40],
    }  # fmt: skip
    scene = ViewerScene(viewer)
    with monkeypatch.context() as patch:
        # which looks through all pixels
        patch.delattr(measured_box_module, 'pixels_of')
        place = pixel_near(viewer, labels, 7, scene)
    assert labels.data[tuple(place)] == 7
    labels.data = np.roll(labels.data, 25, axis=1)
    place = pixel_near(viewer, labels, 7, scene)
    assert labels.data[tuple(place)] == 7
    labels.data = np.zeros_like(labels.data)
    with pytest.raises(SegmentationError, match='no object 7 any more'):
        pixel_near(viewer, labels, 7, scene)
