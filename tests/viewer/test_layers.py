"""Clicks land in the right pixel whatever the layers' transforms are."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from qtpy.QtWidgets import QApplication

INSIDE = (28, 92)

TRANSFORMS = {
    'scale and translate': {'scale': (0.5, 2.0), 'translate': (100, -40)},
    'rotate': {'rotate': 30, 'scale': (2, 2)},
    'shear': {'shear': [0.4]},
    'affine': {'affine': [[0, -1.5, 20], [1.2, 0, 5], [0, 0, 1]]},
}


def click_and_commit(d, position):
    d.mouse.click(d.image, position)
    d.settle()
    d.widget.trigger('accept')
    d.settle()
    (labels,) = (x for x in d.viewer.layers if x.name.endswith('objects'))
    return labels


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    [
        'affine',
        # what `test_a_click_is_the_pixel_under_it` shows without a window
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in TRANSFORMS
            if name != 'affine'
        ),
    ],
)
def test_labels_follow_the_transform_of_the_image(desk, blobs, name):
    d = desk(blobs, **TRANSFORMS[name])
    labels = click_and_commit(d, INSIDE)
    assert labels.data.shape == blobs.shape
    assert labels.data[INSIDE] == 1
    # the layer lies on the image: the same world point is in both
    world = d.image.data_to_world(INSIDE)
    assert labels.world_to_data(world) == pytest.approx(INSIDE)
    assert (labels.data[blobs < 100] > 0).mean() < 0.02


@pytest.mark.slow
def test_preview_lies_where_the_label_will_be(desk, blobs):
    d = desk(blobs, **TRANSFORMS['rotate'])
    d.mouse.click(d.image, INSIDE)
    d.settle()
    preview = d.widget.preview.layer
    world = d.image.data_to_world(INSIDE)
    assert preview.get_value(world, world=True) == 1
    beside = d.image.data_to_world((5, 64))
    assert not preview.get_value(beside, world=True)


def test_prompts_in_a_layer_with_another_transform(desk, blobs):
    d = desk(blobs, scale=(0.5, 0.5))
    points = d.viewer.add_points(
        ndim=2, name='mine', scale=(2, 2), translate=(3, 3)
    )
    d.widget.panel.points_combo.layer = points
    points.add(points.world_to_data(d.image.data_to_world(INSIDE)))
    d.settle()
    d.widget.trigger('accept')
    assert d.viewer.layers['objects'].data[INSIDE] == 1


@pytest.mark.slow
def test_an_object_goes_with_its_image_and_labels_that_are_moved(desk, blobs):
    d = desk(blobs)
    labels = click_and_commit(d, INSIDE)
    before = labels.data.copy()
    for layer in (d.image, labels):
        layer.scale, layer.translate = (2, 2), (-40, 0)
    d.settle()
    d.widget.trigger('previous_object')
    d.settle()
    points = d.viewer.layers['prompts']
    clicked = points.data_to_world(points.data[0])
    assert d.image.world_to_data(clicked) == pytest.approx(INSIDE, abs=0.5)
    d.widget.trigger('accept')
    d.settle()
    assert np.array_equal(labels.data, before)


@pytest.mark.slow
def test_labels_layer_with_another_transform_and_size(desk, blobs):
    d = desk(blobs, scale=(2, 2), rotate=20)
    own = d.viewer.add_labels(
        np.zeros((500, 500), np.int32), name='own', translate=(-90, -90)
    )
    d.widget.panel.labels_combo.layer = own
    d.widget.panel.buttons['use_points_tool'].click()
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.widget.trigger('accept')
    assert own.get_value(d.image.data_to_world(INSIDE), world=True) == 1
    # 24 x 24 pixels of two by two
    assert (own.data > 0).sum() == pytest.approx(48 * 48, rel=0.25)
    d.widget.trigger('undo')
    assert not own.data.any()


@pytest.mark.slow
def test_labels_layer_elsewhere_is_refused(desk, blobs):
    d = desk(blobs)
    own = d.viewer.add_labels(
        np.zeros((9, 9), int), name='far', translate=(500, 500)
    )
    d.widget.panel.labels_combo.layer = own
    d.widget.panel.buttons['use_points_tool'].click()
    d.viewer.reset_view()
    QApplication.processEvents()
    d.viewer.layers['prompts'].add(INSIDE)
    d.settle()
    d.widget.trigger('accept')
    assert 'does not cover' in d.widget.status.text
    assert len(d.viewer.layers['prompts'].data) == 1


@pytest.mark.slow
def test_current_plane_of_a_stack(desk, blobs):
    stack = np.zeros((5, *blobs.shape), np.uint8)
    stack[3] = blobs
    d = desk(stack, scale=(2.5, 1, 1))
    d.viewer.dims.set_current_step(0, 3)
    d.settle()
    labels = click_and_commit(d, (3, *INSIDE))
    assert labels.data.shape == stack.shape
    assert labels.data[3][INSIDE] == 1
    assert not labels.data[[0, 1, 2, 4]].any()


@pytest.mark.slow
def test_prompts_belong_to_their_plane(desk, blobs):
    d = desk(np.stack([blobs, blobs]))
    d.viewer.dims.set_current_step(0, 0)
    d.settle()
    d.mouse.click(d.image, (0, *INSIDE))
    d.settle()
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    assert not d.widget.preview.visible
    d.viewer.dims.set_current_step(0, 0)
    d.settle()
    assert d.widget.preview.visible
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    # the object is on its plane, whichever is shown
    d.widget.trigger('accept')
    labels = d.viewer.layers['objects'].data
    assert labels[0][INSIDE] == 1
    assert not labels[1].any()


@pytest.mark.slow
def test_transposed_axes(desk, blobs):
    stack = np.zeros((*blobs.shape, 3), np.uint8)
    stack[..., 2] = blobs
    d = desk(stack, rgb=False)
    d.viewer.dims.order = (2, 1, 0)
    d.viewer.dims.set_current_step(2, 2)
    d.viewer.reset_view()
    d.settle()
    labels = click_and_commit(d, (*INSIDE, 2))
    assert labels.data[(*INSIDE, 2)] == 1
    assert labels.data[(80, 20, 2)] == 0


@pytest.mark.slow
def test_an_object_of_other_axes_is_said_to_be_one(desk, blobs):
    d = desk(np.stack([blobs] * 5, axis=1))
    d.viewer.dims.order = (1, 0, 2)
    d.viewer.reset_view()
    d.settle()
    click_and_commit(d, (28, 2, 92))
    for order, along in (((0, 1, 2), True), ((1, 0, 2), False)):
        d.viewer.dims.order = order
        d.settle()
        before = d.viewer.dims.current_step
        d.widget.trigger('previous_object')
        d.settle()
        assert d.viewer.dims.current_step == before
        assert ('along other axes' in d.widget.status.text) is along
        d.widget.trigger('reject')
        d.settle()


@pytest.mark.slow
def test_an_open_object_stays_one_when_the_view_is_transposed(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.viewer.dims.transpose()
    d.settle()
    d.mouse.click(d.image, (INSIDE[0] + 4, INSIDE[1] - 6))
    d.settle()
    d.widget.trigger('accept')
    (record,) = d.session.scene.objects(False)
    (view,) = record.views.values()
    np.testing.assert_allclose(
        view.prompts.points, [INSIDE, (INSIDE[0] + 4, INSIDE[1] - 6)], atol=1
    )


@pytest.mark.slow
def test_volume_display_says_what_to_do(desk, blobs):
    d = desk(np.stack([blobs, blobs]))
    d.viewer.dims.ndisplay = 3
    d.settle()
    d.widget.trigger('accept')
    assert '2D display' in d.widget.status.text


def test_two_d_image_beside_a_stack(desk, blobs):
    d = desk(blobs)
    d.viewer.add_image(np.zeros((4, *blobs.shape)), name='stack')
    d.viewer.dims.set_current_step(0, 2)
    d.widget.header.image_combo.layer = d.image
    d.settle()
    d.widget.panel.buttons['use_points_tool'].click()
    labels = click_and_commit(d, INSIDE)
    assert labels.data.shape == blobs.shape
    assert labels.data[INSIDE] == 1


def test_rgb(desk, blobs):
    rgb = np.repeat(blobs[..., None], 3, axis=-1)
    d = desk(rgb)
    assert d.image.rgb
    labels = click_and_commit(d, INSIDE)
    assert labels.data.shape == blobs.shape
    assert labels.data[INSIDE] == 1


@pytest.mark.slow
@pytest.mark.parametrize('axis', [0, 1])
def test_channel_axis(desk, blobs, axis):
    channels = np.stack([blobs, blobs], axis=0)
    shape = (2, 3) if axis == 0 else (3, 2)
    stack = np.zeros((*shape, *blobs.shape), np.uint8)
    plane = (slice(None), 1) if axis == 0 else (1, slice(None))
    stack[plane] = channels
    d = desk(stack)
    combo = d.widget.header.channel_combo
    choice = combo.findText(
        f'first 2 of axis {axis} (slider {axis - 4}) as colours'
    )
    combo.setCurrentIndex(choice)
    combo.activated.emit(combo.currentIndex())
    d.viewer.dims.set_current_step(1 - axis, 1)
    d.settle()
    where = [0, 0]
    where[1 - axis] = 1
    d.viewer.layers['prompts'].add((*where, *INSIDE))
    d.settle()
    d.widget.trigger('accept')
    labels = d.viewer.layers['objects'].data
    if axis == 0:
        # a leading channel axis is dropped
        assert labels.shape == (3, *blobs.shape)
        assert labels[1][INSIDE] == 1
        assert not labels[[0, 2]].any()
    else:
        assert labels.shape == stack.shape
        assert (labels[1, :, *INSIDE] == 1).all()
        assert not labels[[0, 2]].any()


def test_an_object_goes_with_the_channels(desk, blobs):
    """What was clicked in one channel has one mask once all are colours."""
    d = desk(np.stack([blobs, blobs]))
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    d.viewer.layers['prompts'].add((1, *INSIDE))
    d.settle()
    assert len(d.session.editor.record.views) == 1
    combo = d.widget.header.channel_combo
    combo.setCurrentIndex(
        combo.findText('first 2 of axis 0 (slider -3) as colours')
    )
    combo.activated.emit(combo.currentIndex())
    d.settle()
    (view,) = d.session.editor.record.views.values()
    plane = d.session.scene.plane()
    assert view.plane.place == plane.place
    assert view.mask is not None
    d.widget.trigger('accept')
    labels = d.viewer.layers['objects'].data
    assert labels.shape == blobs.shape
    assert labels[INSIDE] == 1


@pytest.mark.slow
def test_pyramid_is_segmented_at_full_resolution(desk, blobs):
    d = desk([blobs, blobs[::2, ::2]], multiscale=True)
    labels = click_and_commit(d, INSIDE)
    assert labels.data.shape == blobs.shape
    assert labels.data[INSIDE] == 1


@pytest.mark.slow
def test_dask_image(desk, blobs):
    stack = da.from_array(np.stack([blobs, blobs]), chunks=(1, 48, 64))
    d = desk(stack)
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    labels = click_and_commit(d, (1, *INSIDE))
    assert labels.data[(1, *INSIDE)] == 1


def test_zarr_labels_are_written_and_undone(desk, blobs):
    d = desk(blobs)
    store = zarr.create_array(
        store={}, shape=blobs.shape, chunks=(48, 64), dtype='uint16'
    )
    own = d.viewer.add_labels(store, name='own')
    d.widget.panel.labels_combo.layer = own
    d.viewer.layers['prompts'].add(INSIDE)
    d.settle()
    d.widget.trigger('accept')
    assert store[INSIDE] == 1
    d.widget.trigger('undo')
    assert store[INSIDE] == 0


@pytest.mark.slow
def test_dask_labels_become_an_array(desk, blobs):
    d = desk(blobs)
    lazy = da.zeros(blobs.shape, dtype=np.uint16, chunks=48)
    own = d.viewer.add_labels(lazy, name='own')
    d.widget.panel.labels_combo.layer = own
    d.viewer.layers['prompts'].add(INSIDE)
    d.settle()
    d.widget.trigger('accept')
    assert own.data[INSIDE] == 1
    d.widget.trigger('undo')
    assert not np.asarray(own.data).any()


@pytest.mark.slow
def test_preserve_labels_is_respected(desk, blobs):
    d = desk(blobs)
    data = np.zeros(blobs.shape, np.uint16)
    data[:30] = 7
    own = d.viewer.add_labels(data, name='own')
    own.preserve_labels = True
    d.widget.panel.labels_combo.layer = own
    d.viewer.layers['prompts'].add(INSIDE)
    d.settle()
    d.widget.trigger('accept')
    assert own.data[20, 92] == 7
    assert own.data[34, 92] == 8


@pytest.mark.slow
def test_form_follows_the_image_of_the_console(desk, blobs):
    d = desk(blobs, blobs[::-1].copy(), show=False)
    other = d.viewer.layers[0 if d.session.scene.image is not d.image else 1]
    d.session.scene.image = other
    d.settle()
    assert d.widget.header.image_combo.layer is other
    assert d.widget.image.layer is other
