"""Image layers composed into one image, without a window."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('napari', reason='layers need napari')

from napari.components import ViewerModel

from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.parts.channel_combo import (
    MOST_OTHERS,
    ChannelCombo,
)
from napari_mobilesam.widgets.viewer.layer_plane import plane_of
from napari_mobilesam.widgets.viewer.layers import slider_name
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene


def channels(count=2, **kwargs):
    """A viewer with one layer per channel, as people open them."""
    values = (255, 100, 50)[:count]
    viewer = ViewerModel()
    for value in values:
        image = np.full((20, 30), value, np.uint8)
        viewer.add_image(image, contrast_limits=(0, 255), **kwargs)
    return viewer


def shown(viewer):
    first, *others = viewer.layers
    plane = plane_of(viewer, first, composed=others)
    return plane.source().rgb()[0, 0].tolist()


def test_layers_are_composed_in_their_colours():
    viewer = channels(2)
    viewer.layers[0].colormap = 'green'
    viewer.layers[1].colormap = 'magenta'
    assert shown(viewer) == [100, 255, 100]
    viewer.layers[0].contrast_limits = (0, 510)
    assert shown(viewer) == [100, 128, 100]


@pytest.mark.slow
def test_gray_layers_are_composed_as_red_green_and_blue():
    assert shown(channels(3)) == [255, 100, 50]
    assert shown(channels(2)) == [255, 100, 0]


def test_a_composition_is_known_by_all_that_is_in_it():
    viewer = channels(2)
    first, other = viewer.layers
    alone = plane_of(viewer, first).source()
    both = plane_of(viewer, first, composed=[other])
    assert both.name == f'{first.name} + {other.name}'
    source = both.source()
    assert source.key != alone.key
    other.contrast_limits = (0, 99)
    assert both.source().key != source.key
    assert both.source().place == source.place
    other.colormap = 'blue'
    assert both.source().key != source.key


def test_an_array_is_composed_with_a_pyramid():
    viewer = ViewerModel()
    fine = np.full((2500, 2100), 200, np.uint8)
    viewer.add_image(fine, contrast_limits=(0, 255))
    levels = [fine, fine[::4, ::4]]
    viewer.add_image(levels, multiscale=True, contrast_limits=(0, 255))
    first, other = viewer.layers
    plane = plane_of(viewer, first, composed=[other]).source()
    assert plane.levels == 1
    assert plane.rgb((0, 0, 2, 2))[0, 0].tolist() == [200, 200, 0]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'scale': (2, 2)}, 'pixel by pixel'),
        ({'translate': (0, 1)}, 'pixel by pixel'),
        ({'rgb': True}, 'is an RGB image'),
    ],
)
def test_layers_that_cannot_be_composed_are_refused(change, message):
    viewer = channels(1)
    shape = (20, 30, 3) if 'rgb' in change else (20, 30)
    other = viewer.add_image(np.zeros(shape, np.uint8), **change)
    with pytest.raises(ImageError, match=message):
        plane_of(viewer, viewer.layers[0], composed=[other])


def test_more_layers_than_colours_are_refused():
    viewer = channels(3)
    viewer.add_image(np.zeros((20, 30)))
    with pytest.raises(ImageError, match='at most three'):
        plane_of(viewer, viewer.layers[0], composed=viewer.layers[1:])
    stack = viewer.add_image(np.zeros((2, 20, 30)))
    same = viewer.add_image(np.zeros((2, 20, 30)))
    with pytest.raises(ImageError, match='already are its colours'):
        plane_of(viewer, stack, 0, composed=[same])


def test_axes_are_named_as_their_sliders_are():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((2, 3, 20, 30), np.uint8))
    assert slider_name(viewer, layer, 1) == 'axis 1 (slider -3)'
    viewer.dims.axis_labels = ('c', 'z', 'y', 'x')
    assert slider_name(viewer, layer, 1) == 'z'


def test_all_channels_as_colours_are_one_plane_wherever_their_slider_is():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((3, 20, 30), np.uint8))
    keys = set()
    for channel in range(3):
        viewer.dims.set_current_step(0, channel)
        keys.add(plane_of(viewer, image, 0).source().key)
    assert len(keys) == 1


def test_the_same_image_set_again_keeps_its_channels():
    viewer = ViewerModel()
    scene = ViewerScene(viewer)
    image = viewer.add_image(np.zeros((3, 20, 30), np.uint8))
    other = viewer.add_image(np.zeros((3, 20, 30), np.uint8))
    scene.image = image
    scene.channel_axis = 0
    scene.image = image
    assert scene.channel_axis == 0
    scene.image = other
    assert scene.channel_axis is None


def test_planes_found_again_are_known_by_the_layers_composed_with_them():
    viewer = channels(3)
    scene = ViewerScene(viewer)
    scene.image, *others = viewer.layers
    keys = set()
    for other in others:
        scene.composed = (other,)
        scene.image.contrast_limits = (1, 99)
        key = scene.plane().key
        scene.image.contrast_limits = (1, 98)
        assert scene.find((0, 0), (0, 1), (1, 99)).key == key
        keys.add(key)
    assert len(keys) == 2


def test_composed_layers_stay_chosen_in_whatever_order_they_lie(qtbot):
    viewer = channels(3)
    image, second, third = viewer.layers
    combo = ChannelCombo()
    qtbot.addWidget(combo)
    combo.offer(image, viewer)
    combo.choose(None, (second, third))
    viewer.layers.move(2, 0)
    for _ in range(MOST_OTHERS):
        layer = viewer.add_image(image.data, contrast_limits=(0, 255))
        viewer.layers.move(viewer.layers.index(layer), 0)
    combo.offer(image, viewer)
    assert combo.composed == (second, third)
