"""Clicking in images of every kind and size, in a real window."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from endless import Endless

from napari_mobilesam.session.images.engine import click
from napari_mobilesam.session.objects.sparse_labels import SparseLabels

INSIDE = (28, 92)


def look_at(d, position, zoom):
    """Move the camera as scrolling and panning do."""
    world = d.image.data_to_world(position)
    # the camera is the viewer's own in older versions of napari
    camera = getattr(d.viewer, 'scene', d.viewer).camera
    camera.center = (0, *world[-2:])
    camera.zoom = zoom
    d.settle()


def embedded(d, position):
    """True if a click needs decoding only."""
    engine, plane = d.session._engine, d.session.scene.plane()
    model = engine.model(d.session.model_name)
    prompts = click(position[-2:])
    scales = engine.scales(plane, model)
    return engine.embedded_scales(plane, prompts, model) == scales


@pytest.mark.slow
def test_a_slide_is_clicked_written_and_undone(desk):
    d = desk(
        Endless.pyramid(100_000, 7), multiscale=True, contrast_limits=(0, 255)
    )
    look_at(d, (30_020, 50_020), 8)
    d.mouse.click(d.image, (30_008, 50_008))
    d.settle()
    d.widget.trigger('accept')
    d.settle()
    labels = d.viewer.layers['objects']
    assert isinstance(labels.data[0], SparseLabels)
    assert labels.data[0][30_008, 50_008] == 1
    # the square and not its neighbours, at full resolution
    around = labels.data[0][29_990:30_030, 49_990:50_030]
    assert 16**2 * 0.7 < (around > 0).sum() < 16**2 * 1.4
    assert labels.get_value((30_008, 50_008), world=True)[1] == 1
    d.widget.trigger('undo')
    d.settle()
    assert labels.data[0].max() == 0


@pytest.mark.slow
def test_what_the_window_rests_at_is_embedded_before_the_click(desk):
    d = desk(
        Endless.pyramid(100_000, 7), multiscale=True, contrast_limits=(0, 255)
    )
    for place in ((30_020, 50_020), (70_020, 10_020)):
        assert not embedded(d, place)
        look_at(d, place, 8)
        assert embedded(d, place)


@pytest.mark.slow
def test_a_large_image_in_memory(desk):
    image = np.tile(Endless((400, 400))[:, :], (10, 10))
    d = desk(image, contrast_limits=(0, 255))
    look_at(d, (2020, 2020), 8)
    d.mouse.click(d.image, (2008, 2008))
    d.settle()
    d.widget.trigger('accept')
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert labels.shape == image.shape
    assert labels[2008, 2008] == 1
    assert 16**2 * 0.7 < (labels > 0).sum() < 16**2 * 1.4


@pytest.mark.slow
def test_lazy_planes_are_read_in_windows(desk):
    # a plane is more than may be read at once
    endless = Endless((3, 10_000, 10_000))
    lazy = da.from_array(endless, chunks=(1, 1000, 1000), asarray=False)
    levels = [lazy, lazy[:, ::8, ::8]]
    d = desk(levels, multiscale=True, contrast_limits=(0, 255))
    d.viewer.dims.set_current_step(0, 2)
    look_at(d, (2, 5020, 5020), 8)
    d.mouse.click(d.image, (2, 5008, 5008))
    d.settle()
    d.widget.trigger('accept')
    assert d.viewer.layers['objects'].data[2, 5008, 5008] == 1


@pytest.mark.slow
def test_the_next_planes_are_embedded_while_one_is_looked_at(desk, blobs):
    d = desk(np.stack([blobs] * 6))
    d.viewer.dims.set_current_step(0, 2)
    d.settle()
    d.viewer.dims.set_current_step(0, 3)
    d.settle()
    shown = d.session.scene.layer_plane()
    engine = d.session._engine
    model = engine.model(d.session.model_name)
    ready = [
        engine.prepared(shown.moved(0, by).source(), model)
        for by in (1, 2, -1)
    ]
    assert ready == [True, True, True]
    encoded = model.encoded
    d.viewer.dims.set_current_step(0, 4)
    d.settle()
    d.mouse.click(d.image, (4, *INSIDE))
    d.settle()
    d.widget.trigger('accept')
    assert d.viewer.layers['objects'].data[(4, *INSIDE)] == 1
    # the click's own blocks, and the plane that came within reach
    scales = engine.scales(d.session.scene.plane(), model)
    assert model.encoded <= encoded + 2 * len(scales)


@pytest.mark.slow
def test_contrast_embeds_anew_only_if_it_matters(desk, blobs, oracle):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    encoded = oracle.encoded
    low, high = d.image.contrast_limits
    d.image.contrast_limits = (low, high - 0.5)
    d.settle()
    # the blocks embedded ahead are used again; the open object, which is asked
    # again before, may need a small block where it had used one of them
    assert oracle.encoded <= encoded + 2
    encoded = oracle.encoded
    d.image.contrast_limits = (low, 2 * high)
    d.settle()
    assert oracle.encoded > encoded


def channel(blobs, keep):
    """One of the four squares in a picture of its own."""
    image = np.full_like(blobs, 10)
    image[keep] = blobs[keep]
    return image


def choose(combo, text):
    combo.setCurrentIndex(combo.findText(text))
    combo.activated.emit(combo.currentIndex())


def test_layers_are_composed_into_colours(desk, blobs):
    left = channel(blobs, np.s_[:, :64])
    right = channel(blobs, np.s_[:, 64:])
    d = desk(left, right)
    other = d.viewer.layers[1]
    d.image.name, other.name = 'left', 'right'
    d.image.colormap, other.colormap = 'blue', 'yellow'
    d.widget.header.image_combo.layer = d.image
    d.settle()
    d.widget.header.channel_combo.offer(d.image, d.viewer)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert 'nothing' in d.widget.status.text
    choose(d.widget.header.channel_combo, 'with right')
    d.settle()
    assert 'left + right' in d.session.scene.layer_plane().name
    assert d.widget.preview.visible
    # the model takes a third of full brightness for background
    other.colormap = 'red'
    d.settle()
    assert not d.widget.preview.visible
    other.colormap = 'yellow'
    d.settle()
    d.widget.trigger('accept')
    d.settle()
    assert d.viewer.layers[f'{d.image.name} objects'].data[INSIDE] == 1


@pytest.mark.slow
@pytest.mark.parametrize('last', ['this layer only', 'with wide'])
def test_the_mask_of_the_channels_shown_is_written(desk, blobs, last):
    wide = np.zeros_like(blobs)
    wide[8:56, 68:124] = 255
    d = desk(blobs, wide)
    d.viewer.layers[1].name = 'wide'
    d.image.colormap, d.viewer.layers[1].colormap = 'magenta', 'yellow'
    d.widget.header.image_combo.layer = d.image
    d.settle()
    combo = d.widget.header.channel_combo
    combo.offer(d.image, d.viewer)
    first = ({'this layer only', 'with wide'} - {last}).pop()
    choose(combo, first)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    before = int(d.widget.preview.layer.data.astype(bool).sum())
    choose(combo, last)
    d.settle()
    shown = int(d.widget.preview.layer.data.astype(bool).sum())
    d.widget.trigger('accept')
    d.settle()
    written = d.viewer.layers[f'{d.image.name} objects'].data
    assert 0 < before != shown == np.count_nonzero(written)


@pytest.mark.slow
def test_a_layer_that_was_composed_and_is_gone(desk, blobs):
    d = desk(blobs, blobs)
    d.widget.header.image_combo.layer = d.image
    d.settle()
    other = d.viewer.layers[1]
    choose(d.widget.header.channel_combo, f'with {other.name}')
    d.settle()
    assert d.session.scene.layer_plane().composed == (other,)
    d.viewer.layers.remove(other)
    d.settle()
    assert d.session.scene.layer_plane().composed == ()
    assert d.widget.header.channel_combo.findText(f'with {other.name}') == -1


@pytest.mark.slow
def test_a_click_outside_the_image_says_so(desk, blobs):
    d = desk(blobs, scale=(2, 2), rotate=15)
    d.viewer.layers['prompts'].add((200, 20))
    d.settle()
    assert 'outside the image' in d.widget.status.text


def test_the_mask_of_the_pixels_shown_is_written(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    wide = np.full_like(blobs, 10)
    wide[24:56, 68:124] = 220
    d.image.data = wide
    d.settle()
    d.widget.trigger('accept')
    d.settle()
    written = d.viewer.layers['objects'].data
    area = np.count_nonzero(wide > 100)
    assert np.count_nonzero((written > 0) & (wide < 100)) == 0
    assert abs(np.count_nonzero(written) - area) < 20
