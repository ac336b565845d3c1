"""Objects in Labels layers: any transform, any array, undone on any plane."""

from __future__ import annotations

import copy
import gc
import weakref
from dataclasses import replace

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Labels

import napari_mobilesam
from napari_mobilesam.session.images.planes import Viewport
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.sparse_labels import label_pyramid
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    rows_of,
    set_rows,
)
from napari_mobilesam.session.objects.writing import write_object
from napari_mobilesam.types import ImageError, Mask, Prompts
from napari_mobilesam.widgets.viewer import labels_target
from napari_mobilesam.widgets.viewer.labels_target import LabelsTarget
from napari_mobilesam.widgets.viewer.layers import MARK
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene


def disk(radius=6):
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.hypot(rows, columns) <= radius


def mask(row, column):
    data = disk()
    return Mask(data, (row, column, row + 13, column + 13), 0.9)


@pytest.fixture
def viewer():
    return ViewerModel()


def scene_on(viewer, shape=(40, 50), labels=None, **transform):
    viewer.add_image(np.zeros(shape, np.uint8), **transform)
    if labels is not None:
        viewer.add_layer(labels)
    scene = ViewerScene(viewer)
    scene.labels = labels
    return scene


def paint(scene, label=1, place=(10, 20), title='object'):
    objects = scene.objects(True)
    with objects.step(title) as step:
        step.paint(scene.plane(), mask(*place), label)
    return objects


def test_hidden_labels_are_written_and_undone_on_another_plane(viewer):
    scene = scene_on(viewer, (3, 40, 50))
    viewer.dims.set_current_step(0, 0)
    objects = paint(scene)
    layer = scene.labels
    layer.visible = False
    viewer.dims.set_current_step(0, 1)
    paint(scene, 2, (12, 22))
    area = int(disk().sum())
    assert [int((plane > 0).sum()) for plane in layer.data] == [area, area, 0]
    viewer.dims.set_current_step(0, 2)
    assert objects.undo() == 'object'
    assert objects.undo() == 'object'
    assert not layer.data.any()
    assert objects.redo() == 'object'
    layer.visible = True
    viewer.dims.set_current_step(0, 0)
    assert np.array_equal(layer._slice.image.raw, layer.data[0])
    assert layer._slice.image.raw.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    'transform',
    [
        {},
        {'scale': (2, 0.5), 'translate': (7, -3)},
        {'rotate': 33.0},
        {'affine': np.array([[1, 0.4, 5], [0.1, 1, -2], [0, 0, 1]])},
    ],
    ids=['none', 'scale', 'rotate', 'affine'],
)
def test_new_labels_lie_on_the_image_pixel_by_pixel(viewer, transform):
    scene = scene_on(viewer, **transform)
    objects = paint(scene)
    expected = np.zeros((40, 50), int)
    expected[10:23, 20:33] = disk()
    assert np.array_equal(scene.labels.data, expected)
    seen = objects.target.picture(scene.plane(), (0, 0, 40, 50))
    assert np.array_equal(seen, expected)
    objects.undo()
    assert not scene.labels.data.any()


def test_labels_of_another_resolution_and_rotation(viewer):
    labels = Labels(
        np.zeros((160, 160), np.uint16),
        scale=(0.5, 0.5),
        rotate=30,
        translate=(-10, 5),
    )
    scene = scene_on(viewer, labels=labels)
    objects = paint(scene)
    # four pixels of the labels for one of the image
    assert (labels.data == 1).sum() == pytest.approx(
        4 * disk().sum(), rel=0.05
    )
    world = labels.data_to_world(np.argwhere(labels.data).mean(axis=0))
    assert world == pytest.approx((16, 26), abs=0.2)
    seen = objects.target.picture(scene.plane(), (10, 20, 23, 33))
    assert (seen == disk()).mean() > 0.95
    objects.undo()
    assert not labels.data.any()


def test_undo_reaches_planes_that_are_not_shown(viewer):
    scene = scene_on(viewer, (3, 40, 50))
    for z in range(3):
        viewer.dims.set_point(0, z)
        objects = paint(scene, z + 1, title=f'object {z + 1}')
    data = scene.labels.data
    assert [plane.max() for plane in data] == [1, 2, 3]
    assert objects.undo() == 'object 3'
    viewer.dims.set_point(0, 2)
    assert objects.undo() == 'object 2'
    assert [plane.max() for plane in data] == [1, 0, 0]
    viewer.dims.set_point(0, 0)
    objects.redo()
    assert [plane.max() for plane in data] == [1, 2, 0]


def test_strokes_tell_which_labels_they_change(viewer):
    scene = scene_on(viewer)
    objects = paint(scene)
    labels, told = scene.labels, []
    objects.target.edited.connect(told.append)
    labels.brush_size = 4
    labels.paint((16, 26), 0)
    left = np.count_nonzero(labels.data == 1)
    labels.paint((16, 28), 5)
    labels.fill((0, 0), 7)
    labels.data_setitem((np.array([17, 18]), np.array([27, 27])), [8, 9])
    assert told[0] == {1: left - disk().sum()}
    assert told[1].keys() == {1, 5}
    corner = np.count_nonzero(labels.data == 7)
    assert told[2:] == [{7: corner}, {5: -2, 8: 1, 9: 1}]
    assert objects.target.highest() == 9
    labels.undo()
    labels.undo()
    labels.redo()
    assert told[4:] == [{5: 2, 8: -1, 9: -1}, {7: -corner}, {7: corner}]
    labels.fill((0, 0), 3)
    assert told[7:] == [{3: corner, 7: -corner}]
    paint(scene, 2)
    assert len(told) == 8


@pytest.mark.filterwarnings('ignore:Pickling a SignalInstance')
def test_copy_of_a_layer_undoes_its_own_strokes(viewer):
    scene = scene_on(viewer)
    paint(scene)
    labels = scene.labels
    labels.paint((30, 30), 7)
    other = copy.deepcopy(labels)
    other.undo()
    assert 7 in labels.data
    assert 7 not in other.data


def test_areas_follow_the_brush(viewer):
    scene = scene_on(viewer)
    objects = paint(scene)
    labels = scene.labels
    area = disk().sum()
    labels.features = {
        'index': [1],
        'area': [area],
        'perimeter': [55.5],
        'note': ['mine'],
    }

    def row():
        return dict(labels.features.set_index('index').loc[1])

    labels.brush_size = 3
    labels.paint((16, 26), 0)
    assert row()['area'] == np.count_nonzero(labels.data == 1) < area
    # measured of other pixels
    assert np.isnan(row()['perimeter'])
    assert row()['note'] == 'mine'
    labels.undo()
    assert row()['area'] == area
    # undo of an earlier step keeps what was painted since
    with objects.step('class') as step:
        step.describe({1}, labels.features)
    labels.redo()
    erased = row()['area']
    assert objects.undo() == 'class'
    assert row()['area'] == erased == np.count_nonzero(labels.data == 1)
    objects.redo()
    assert row()['area'] == erased
    labels.fill((16, 20), 4)
    assert row()['area'] == 0


def test_areas_after_an_undo_of_a_stroke_under_an_object(viewer):
    scene = scene_on(viewer)
    objects = paint(scene)
    labels = scene.labels
    labels.features = {'index': [1], 'area': [disk().sum()]}

    def wrong():
        area = labels.features.set_index('index')['area'].to_dict()
        return {n: a for n, a in area.items() if a != (labels.data == n).sum()}

    labels.brush_size = 5
    with labels.block_history():
        for column in (26, 27, 28):
            labels.paint((16, column), 7)
    plane = scene.plane()
    view = ObjectView(plane, Prompts(), ObjectCandidates((mask(10, 22),)))
    record = ObjectRecord(2, 2, {plane.place: view})
    write_object(objects, record, None, 'overwrite')
    written = labels.data.copy()
    for step in (labels.undo, labels.redo, labels.undo):
        step()
        assert not np.array_equal(labels.data, written)
        assert not wrong()


def test_areas_are_counted_in_pixels_of_the_labels(viewer):
    labels = Labels(
        np.zeros((20, 25), np.uint16), scale=(2, 2), translate=(0.5, 0.5)
    )
    scene = scene_on(viewer, labels=labels)
    objects, plane = scene.objects(True), scene.plane()
    for number, place in ((1, (2, 4)), (2, (20, 30))):
        view = ObjectView(plane, Prompts(), ObjectCandidates((mask(*place),)))
        record = ObjectRecord(number, number, {plane.place: view})
        write_object(objects, record, None, 'overwrite')
        # as after a measurement
        counted = np.bincount(labels.data.ravel())[1:].tolist()
        if number == 1:
            labels.features = labels.features.assign(area=counted)
    assert labels.features['area'].tolist() == counted


def test_areas_are_those_in_one_channel(viewer):
    """As they are measured: labels are the same in every channel."""
    labels = Labels(np.zeros((3, 40, 50), np.uint16))
    scene = scene_on(viewer, (3, 40, 50), labels=labels)
    scene.use_channels(0, ())
    objects, plane = scene.objects(True), scene.plane()
    for number, place in ((1, (2, 4)), (2, (20, 30))):
        view = ObjectView(plane, Prompts(), ObjectCandidates((mask(*place),)))
        record = ObjectRecord(number, number, {plane.place: view})
        write_object(objects, record, None, 'overwrite')
        counted = np.bincount(labels.data[0].ravel())[1:].tolist()
        if number == 1:
            labels.features = labels.features.assign(area=counted)
    assert labels.features['area'].tolist() == counted


def test_tables_of_measurements_as_features(viewer):
    """They have the label in a column of that name."""
    scene = scene_on(viewer)
    labels = viewer.add_labels(np.zeros((40, 50), np.uint8))
    measured = pd.DataFrame({'label': [1, 2], 'class': ['a', 'b']})
    labels.features = measured
    objects = scene.objects_of(labels)
    assert rows_of(objects.target, [1])['class'].tolist() == ['a']
    with objects.step('object 3') as step:
        step.describe({3}, pd.DataFrame({'index': [3], 'class': ['c']}))
    rows = labels.features.set_index('index')['class']
    assert dict(rows) == {1: 'a', 2: 'b', 3: 'c'}
    # a column of another meaning
    clusters = {'label': [0, 2, 1], 'class': ['', 'a', 'b']}
    labels.features = pd.DataFrame(clusters)
    assert rows_of(objects.target, [1])['class'].tolist() == ['a']


def test_many_pixels_are_written_and_undone_at_once(viewer, monkeypatch):
    monkeypatch.setattr(labels_target, 'PARTIAL_PIXELS', 10)
    scene = scene_on(viewer)
    objects = paint(scene)
    assert scene.labels.data.sum() == disk().sum()
    objects.undo()
    assert scene.labels.data.sum() == 0
    # napari keeps no second copy of it
    assert not scene.labels._undo_history


def test_zarr_is_written_in_place(viewer, tmp_path):
    array = zarr.create_array(
        tmp_path / 'labels.zarr', shape=(40, 50), dtype='uint16'
    )
    scene = scene_on(viewer, labels=Labels(array))
    objects = paint(scene)
    assert np.asarray(array[:]).sum() == disk().sum()
    objects.undo()
    assert np.asarray(array[:]).sum() == 0


def test_dask_becomes_an_array_that_can_be_edited(viewer):
    scene = scene_on(
        viewer, labels=Labels(da.zeros((40, 50), dtype=np.uint16))
    )
    objects = paint(scene)
    assert np.asarray(scene.labels.data).sum() == disk().sum()
    assert objects.undo() == 'object'
    assert np.asarray(scene.labels.data).sum() == 0


@pytest.mark.parametrize(('before', 'after'), [(2, 3), (3, 2)])
def test_a_plane_of_an_image_that_has_other_axes_now(viewer, before, after):
    scene = scene_on(viewer, (3, 40, 50)[-before:])
    objects, plane = scene.objects(True), scene.plane()
    (image,) = [layer for layer in viewer.layers if layer.name == 'Image']
    image.data = np.zeros((3, 40, 50)[-after:], np.uint8)
    with pytest.raises(ImageError, match=f'{after} axes now and had {before}'):
        objects.target.locate(plane, np.ones((4, 4), int), (0, 0))


def test_labels_that_cannot_be_edited_say_so(viewer):
    frozen = np.zeros((40, 50), np.uint16)
    frozen.flags.writeable = False
    scene = scene_on(viewer, labels=Labels(frozen))
    with pytest.raises(LabelsError, match='read-only'):
        paint(scene)
    locked = scene.labels = viewer.add_labels(np.zeros((40, 50), int))
    locked.editable = False
    with pytest.raises(LabelsError, match='cannot be edited: choose'):
        paint(scene)
    assert not locked.data.any()
    pyramid = [np.zeros((40, 50), int), np.zeros((20, 25), int)]
    scene.labels = viewer.add_labels(pyramid, multiscale=True)
    with pytest.raises(LabelsError, match='pyramid'):
        paint(scene)


@pytest.mark.parametrize(
    'kind', [np.asarray, da.from_array, 'stack', zarr.array, 'sparse']
)
def test_which_labels_have_pixels(kind):
    data = np.zeros((40, 2100), np.uint16)
    data[3, 4], data[30:, 9:] = 5, 7
    if kind == 'stack':
        layer = Labels(np.stack([np.zeros_like(data), data]))
    elif kind == 'sparse':
        levels = label_pyramid(data.shape, np.uint16, (0, 1))
        levels[0][3, 4], levels[0][30:, 9:] = 5, 7
        layer = Labels(levels, multiscale=True)
    else:
        layer = Labels(kind(data))
    target = LabelsTarget(layer)
    assert target.present([5, 6, 7]) == {5, 7}
    assert target.present({8}) == set()


@pytest.mark.slow
@pytest.mark.parametrize('counted', [0, 1 << 22], ids=['kept', 'counted'])
def test_highest_label_knows_of_the_brush(viewer, monkeypatch, counted):
    monkeypatch.setattr(labels_target, 'COUNTED_PIXELS', counted)
    scene = scene_on(viewer)
    objects = paint(scene, 4)
    target = objects.target
    assert target.highest() == 4
    scene.labels.selected_label = 9
    scene.labels.paint((30, 30), 9)
    assert target.highest() == 9
    scene.labels.data_setitem((np.array([0]), np.array([0])), 12)
    assert target.highest() == 12
    scene.labels.data = np.zeros((40, 50), np.uint16)
    assert target.highest() == 0
    assert objects.free_label() == 1


def test_limit_is_that_of_the_type(viewer):
    layer = viewer.add_labels(np.zeros((4, 4), np.uint8))
    assert LabelsTarget(layer).limit == 255


def test_rows_keep_other_columns_and_napari_finds_them(viewer):
    scene = scene_on(viewer)
    objects = paint(scene, 3)
    target = objects.target
    set_rows(target, {3}, pd.DataFrame({'index': [3], 'score': [0.5]}))
    set_rows(target, {4}, pd.DataFrame({'index': [4], 'area': [12]}))
    table = scene.labels.features
    assert table['index'].tolist() == [3, 4]
    assert table['score'].tolist()[0] == 0.5
    set_rows(target, {3}, pd.DataFrame({'index': []}))
    assert scene.labels.features['index'].tolist() == [4]
    assert rows_of(target, {4})['area'].tolist() == [12]


def test_objects_of_others_have_an_empty_class(viewer):
    target = paint(scene_on(viewer), 3).target
    target.set_features(pd.DataFrame({'index': [7]}))
    rows = pd.DataFrame({'index': [3], 'class': ['nucleus']})
    set_rows(target, {3}, rows)
    assert target.features()['class'].tolist() == ['', 'nucleus']


@pytest.mark.slow
def test_layers_are_found_by_identity_and_let_go(viewer):
    scene = scene_on(viewer)
    paint(scene)
    labels = scene.labels
    labels.name = viewer.layers[0].name = 'the same name'
    assert scene.objects(False) is scene.objects_of(labels)
    known = weakref.ref(scene.objects_of(labels))
    viewer.layers.remove(labels)
    assert scene.objects(False) is None
    del labels
    gc.collect()
    assert known() is None


def test_objects_let_go_of_a_closed_image(viewer):
    scene = scene_on(viewer)
    objects = scene.objects(True)
    plane = scene.plane()
    record = ObjectRecord(1, 1, {plane.place: ObjectView(plane, Prompts())})
    with objects.step('object 1') as step:
        step.put(record)
    viewer.layers.remove(viewer.layers[0])
    assert len(objects) == 0
    assert objects.history.last.records_after == {1: None}


def test_image_is_the_active_one_unless_one_was_chosen(viewer):
    scene = scene_on(viewer)
    first = viewer.layers[0]
    second = viewer.add_image(np.zeros((9, 9)))
    assert scene.image is second
    viewer.layers.selection.active = first
    assert scene.image is first
    scene.image = second
    assert scene.image is second
    viewer.layers.remove(second)
    assert scene.image is first
    viewer.layers.clear()
    with pytest.raises(ImageError, match='Open or choose an image'):
        scene.plane()


def test_edges_are_not_the_image(viewer):
    """Their intensities would be measured as soon as labels are active."""
    scene = scene_on(viewer, labels=Labels(np.zeros((40, 50), np.uint8)))
    image = viewer.layers[0]
    edges = viewer.add_image(
        np.zeros((40, 50)), metadata={MARK: str(image.unique_id)}
    )
    assert scene.image is image
    assert scene.which_image == ''
    viewer.layers.selection.active = scene.labels
    assert scene.image is image
    scene.image = edges
    assert scene.image is edges
    assert scene.which_image == f' “{edges.name}”'


def test_stack_goes_along_any_axis(viewer):
    scene = scene_on(viewer, (3, 4, 40, 50), scale=(1, 2, 1, 1))
    viewer.dims.set_point(0, 1)
    viewer.dims.set_point(1, 2)
    planes = scene.stack()
    assert len(planes) == 4
    assert [plane.geometry.index[:2] for plane in planes] == [
        (1, z) for z in range(4)
    ]
    assert len(scene.stack(0)) == 3
    assert planes[1].place == scene.plane().place
    assert [plane.name for plane in planes[1:3]] == [
        planes[1].name,
        planes[2].name,
    ]
    with pytest.raises(IndexError):
        planes[4]
    with pytest.raises(ImageError, match=r'choose one of \[0, 1\]'):
        scene.stack(2)
    scene.show(planes[3])
    assert scene.plane().place == planes[3].place


def test_single_plane_has_no_stack(viewer):
    scene = scene_on(viewer)
    with pytest.raises(ImageError, match='single plane'):
        scene.stack()


def test_planes_are_found_again_as_they_were_shown(viewer):
    scene = scene_on(viewer, (3, 4, 40, 50))
    viewer.dims.set_point(0, 1)
    viewer.dims.set_point(1, 2)
    image = viewer.layers[0]
    image.contrast_limits, image.gamma = (0, 99), 0.5
    plane = scene.plane()
    description = scene.describe(plane)
    viewer.dims.set_point(0, 0)
    image.contrast_limits, image.gamma = (5, 50), 1.0
    again = scene.find(**description)
    assert again.place == plane.place
    assert (again.contrast_limits, again.gamma) == ((0, 99), 0.5)
    # so is what is kept of it
    assert again.key == plane.key
    assert again.key != scene.stack()[2].key
    json_like = {**description, 'index': list(description['index'])}
    assert scene.find(**json_like).place == plane.place
    with pytest.raises(ImageError, match='no plane 7 along axis 1'):
        scene.find((1, 7, 0, 0), (2, 3))
    with pytest.raises(ImageError, match='it has 4 axes, not 3'):
        scene.find((1, 0, 0), (1, 2))
    viewer.dims.transpose()
    assert scene.find(**description).place == plane.place
    viewer.dims.roll()
    with pytest.raises(ImageError, match='shown along axes other'):
        scene.find(**description)


def test_planes_of_data_that_was_replaced_are_told(viewer):
    scene = scene_on(viewer)
    plane, image = scene.plane(), viewer.layers[0]
    assert scene.has_pixels(plane)
    before = image.data
    # the same pixels in another array
    image.data = before.copy()
    assert scene.has_pixels(plane)
    for other in (before + 1, before[..., :-1], before[None]):
        image.data = other
        assert not scene.has_pixels(plane)
        assert scene.has_pixels(scene.plane())


def test_planes_with_channels_are_found_whatever_is_chosen(viewer):
    scene = scene_on(viewer, (3, 40, 50))
    alone = scene.plane()
    scene.channel_axis = 0
    colours = scene.plane()
    for axis in (0, None):
        scene.channel_axis = axis
        for plane in (alone, colours):
            again = scene.find(**scene.describe(plane))
            assert again.place == plane.place
    # files of before do not tell
    description = scene.describe(colours)
    del description['channel_axis']
    scene.channel_axis = 0
    assert scene.find(**description).place == colours.place


def test_place_on_the_screen_is_found_again(viewer):
    scene = scene_on(viewer)
    seen = replace(scene.plane(), viewport=Viewport((3.0, 4.0), 0.5))
    again = scene.find(**scene.describe(seen))
    assert again.viewport == seen.viewport


def test_setup_code_chooses_the_image_and_new_labels(viewer):
    scene = scene_on(viewer)
    paint(scene)
    scene.labels.name = 'cell nuclei objects'
    names = {'viewer': viewer, 'nm': napari_mobilesam}
    exec('\n'.join(scene.setup_code()), names)  # noqa: S102
    assert names['scene'].image is viewer.layers[0]
    assert names['scene'].labels is not scene.labels
    assert names['scene'].labels.name.startswith('cell nuclei objects')
    assert not names['scene'].labels.data.any()
    names['session'].close()


def test_setup_code_chooses_the_channels_anew(viewer):
    scene = scene_on(viewer, (3, 40, 50))
    scene.channel_axis = 0
    names = {'viewer': viewer, 'nm': napari_mobilesam}
    code = scene.setup_code()
    other = viewer.add_image(viewer.layers[0].data, name='other')
    scene.channel_axis, scene.composed = None, (other,)
    composed = scene.setup_code()
    for lines, channels in ((code, (0, ())), (composed, (None, (other,)))):
        exec('\n'.join(lines), names)  # noqa: S102
        chosen = names['scene']
        assert (chosen.channel_axis, chosen.composed) == channels
    scene.composed = ()
    plain = scene.setup_code()
    # as a form does that remembers them
    names['scene'].image_changed.connect(
        lambda image: setattr(names['scene'], 'composed', (other,))
    )
    exec('\n'.join(plain), names)  # noqa: S102
    assert names['scene'].composed == ()
    names['session'].close()
