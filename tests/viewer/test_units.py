"""Images with units: every layer of ours has those of its image."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Points
from napari.layers._source import layer_source
from qtpy.QtCore import Qt

from napari_mobilesam.readers.stated_size import SizedFile
from napari_mobilesam.tracking.pixel_size import PixelSize
from napari_mobilesam.widgets.table.measured_layers import request_of
from napari_mobilesam.widgets.viewer.label_writer import new_labels
from napari_mobilesam.widgets.viewer.large_source import large_image
from napari_mobilesam.widgets.viewer.layer_files import (
    read_layers,
    write_ome_zarr,
)
from napari_mobilesam.widgets.viewer.layer_plane import plane_of
from napari_mobilesam.widgets.viewer.layers import (
    MARK,
    apply,
    data_to_world_matrix,
    mouse_position,
    use_units,
    world_units,
)
from napari_mobilesam.widgets.viewer.look_at import move_sliders
from napari_mobilesam.widgets.viewer.track_layers import pixel_size
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

FIRST, SECOND = (28, 32), (28, 92)


@pytest.mark.slow
def test_layers_take_units_and_axis_labels_of_the_image(desk, blobs):
    d = desk(blobs, units=('nm', 'nm'), axis_labels=('y', 'x'), scale=(5, 5))
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*[Ii]nconsistent units')
        for position in (FIRST, SECOND):
            d.mouse.click(d.image, position)
            d.settle()
            preview = d.widget.preview.layer
            assert preview.data.any()
            d.mouse.key(Qt.Key.Key_W)
            d.settle()
    labels = d.widget.output.layer
    assert labels.data[SECOND] == 2
    for layer in (preview, labels, d.widget.tools.points):
        assert layer.units == d.image.units
        assert layer.axis_labels == d.image.axis_labels


def test_labels_of_large_images_do_so_too(blobs):
    viewer = ViewerModel()
    axes = {'units': ('nm', 'nm'), 'axis_labels': ('y', 'x')}
    affine = [[2, 0, 30], [0, 2, 40], [0, 0, 1]]
    image = viewer.add_image(blobs, affine=affine, translate=(1, 2), **axes)
    large = large_image(plane_of(viewer, image), None)
    labels = viewer.add_labels(np.zeros_like(blobs), **large.transform())
    assert labels.units == image.units
    assert labels.axis_labels == image.axis_labels
    # as written into OME-Zarr
    assert large.source.geometry.scale == (2, 2)
    assert large.source.geometry.translation == (32, 44)


def test_labels_of_channels_know_the_size_of_a_pixel(blobs, tmp_path):
    viewer = ViewerModel()
    image = viewer.add_image(
        np.stack([blobs, blobs]),
        scale=(1, 0.5, 0.25),
        translate=(0, 3, 4),
        units=('pixel', 'um', 'um'),
    )
    plane = plane_of(viewer, image, channel_axis=0)
    labels = new_labels(plane, 'cells')
    labels.data[FIRST] = 1
    request = request_of(labels, None, ViewerScene(viewer))
    assert (request.scale, request.units) == ((0.5, 0.25), 'µm')
    path = tmp_path / 'cells.zarr'
    write_ome_zarr(str(path), *labels.as_layer_data_tuple()[:2])
    ((_, read, _),) = read_layers(str(path))
    assert (read['scale'], read['translate']) == ((0.5, 0.25), (3, 4))


def test_files_of_layers_without_a_size_are_asked(blobs, tmp_path):
    path = tmp_path / 'cells.tif'
    path.touch()
    viewer = ViewerModel()
    scene = ViewerScene(viewer)
    with layer_source(path=str(path)):
        image = viewer.add_image(np.stack([blobs, blobs]))
        sized = viewer.add_image(blobs, units=('um', 'um'), scale=(2, 2))
    scene.image, scene.channel_axis = image, 0
    labels = viewer.add_labels(np.zeros(blobs.shape, int))
    wanted = [SizedFile(path, image.data.shape, (1, 2))]
    assert request_of(labels, image, scene).files == wanted
    # their intensities are not needed, but another image has another size
    assert not request_of(labels, None, scene).files
    labels.metadata[MARK] = str(image.unique_id)
    assert request_of(labels, None, scene).files == wanted
    assert not request_of(labels, sized, scene).files


def test_the_size_of_a_pixel_is_that_of_all_transforms():
    viewer = ViewerModel()
    turned = viewer.add_labels(
        np.zeros((4, 8, 8), int),
        scale=(90, -0.3, 0.3),
        affine=[[1, 0, 0, 0], [0, 0, -2, 9], [0, 2, 0, 9], [0, 0, 0, 1]],
        units=('s', 'um', 'um'),
    )
    assert pixel_size(turned) == PixelSize((0.6, 0.6), 'micrometer', 90)


def look_alike(d, blobs):
    """Open the mirrored image in nm where the first one lies, in µm."""
    other = d.viewer.add_image(
        blobs[:, ::-1].copy(), units=('nm', 'nm'), scale=(500, 500), name='nm'
    )
    d.settle()
    d.viewer.reset_view()
    return other


@pytest.fixture
def micrometres(desk, blobs):
    """Viewer with an image in µm."""
    return desk(blobs, units=('um', 'um'), scale=(0.5, 0.5), name='um')


@pytest.mark.slow
def test_clicks_on_images_in_other_units_of_length(micrometres, blobs):
    d = micrometres
    d.mouse.click(d.image, FIRST)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    first = d.widget.output.layer
    assert first.data[FIRST] == 1
    # an image in nm makes nm the units of the viewer, and of the mouse
    other = look_alike(d, blobs)
    for image in (d.image, other):
        d.viewer.layers.selection.active = image
        d.settle()
        d.widget.trigger('use_points_tool')
        d.mouse.click(other, SECOND)
        d.settle()
        points = d.widget.tools.points
        assert d.widget.preview.layer.data.any()
        d.mouse.key(Qt.Key.Key_W)
        d.settle()
        assert d.widget.output.layer.data[SECOND] > 0
        assert not len(points.data)
    assert first.data[SECOND] == 2


@pytest.mark.slow
def test_prompts_and_labels_in_other_units_are_understood(micrometres, blobs):
    d = micrometres
    # the same place as the image, written in nm
    labels = d.viewer.add_labels(
        np.zeros(blobs.shape, np.uint16),
        units=('nm', 'nm'),
        scale=(500, 500),
        name='own',
    )
    d.widget.panel.labels_combo.layer = labels
    d.viewer.add_points(
        500 * np.array([FIRST, SECOND]), units=('nm', 'nm'), name='found'
    )
    d.settle()
    d.mouse.key(Qt.Key.Key_M, Qt.KeyboardModifier.ShiftModifier)
    d.settle()
    assert [labels.data[p] for p in (FIRST, SECOND)] == [1, 2]


@pytest.mark.parametrize('units', [('um', 'um'), ('s', 'um')])
def test_units_are_changed_in_place(units):
    layer = Points(
        np.ones((1, 2)),
        units=units,
        scale=(2, 3),
        translate=(5, 7),
        rotate=30,
        affine=[[1, 0.5, 2], [0, 1, 3], [0, 0, 1]],
    )
    before = np.array(layer.data_to_world((4, 5)))
    viewer = ViewerModel()
    wanted = tuple('nm' if unit == 'um' else unit for unit in units)
    viewer.add_points(np.ones((1, 2)), units=wanted)
    use_units(layer, world_units(viewer))
    assert layer.units == viewer.layers[0].units
    factors = [1000 if unit == 'um' else 1 for unit in units]
    assert layer.data_to_world((4, 5)) == pytest.approx(before * factors)
    if units[0] == units[1]:
        assert layer.scale == pytest.approx((2000, 3000))
    layer = Points(np.ones((1, 2)), units=units, scale=(2, 3), shear=[0.3])
    before = np.array(layer.data_to_world((4, 5)))
    use_units(layer, world_units(viewer))
    assert layer.data_to_world((4, 5)) == pytest.approx(before * factors)


@pytest.mark.slow
def test_sliders_go_to_a_place_in_the_units_of_the_world(desk, blobs):
    stack = np.stack([blobs] * 5)
    d = desk(stack, units=('um', 'um', 'um'))
    d.viewer.add_image(stack, units=('nm', 'nm', 'nm'))
    d.settle()
    move_sliders(d.viewer, d.image, (3, 10, 10), (3, 20, 20))
    d.settle()
    assert d.viewer.dims.point[0] == pytest.approx(3000)


def test_the_mouse_beside_layers_in_other_units():
    """napari gives positions in nm, and layers take them for µm."""
    viewer = ViewerModel()
    data = np.zeros((3, 40, 50), np.uint8)
    data[1, 10:20, 20:30] = 7
    labels = viewer.add_labels(data, units=('s', 'um', 'um'), scale=(2, 3, 3))
    viewer.add_image(data[0], units=('nm', 'nm'), scale=(3000, 3000))
    matrix = data_to_world_matrix(labels, 3, world_units(viewer))
    world = apply(matrix, np.array([[1, 15, 25]]))[0]
    assert labels.get_value(world, world=True) != 7
    position = mouse_position(viewer, labels, world)
    assert labels.get_value(position, world=True) == 7
    np.testing.assert_allclose(labels.world_to_data(position), (1, 15, 25))
