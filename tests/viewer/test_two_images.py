"""More than one image: the form follows, and nothing lies beneath an image."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

FIRST, SECOND = (28, 32), (28, 92)


def click(d, image, position):
    d.mouse.click(image, position)
    d.settle()


def accept(d):
    d.mouse.key(Qt.Key.Key_W)
    d.settle()


def open_file(d, folder, data, name):
    """Open an image as *File ▸ Open* does."""
    path = folder / f'{name}.npy'
    np.save(path, data)
    (layer,) = d.viewer.open(path, plugin='napari')
    d.settle()
    return layer


def above(d, layer, image):
    layers = d.viewer.layers
    return layers.index(layer) > layers.index(image)


@pytest.mark.slow
def test_opened_image_is_the_one_that_is_segmented(desk, blobs, tmp_path):
    d = desk(blobs)
    click(d, d.image, FIRST)
    accept(d)
    before = d.viewer.layers['objects'].data.copy()
    other = open_file(d, tmp_path, np.pad(blobs[:, ::-1], 8), 'other')
    assert d.widget.header.image_combo.layer is other
    assert 'other' in d.widget.status.text
    click(d, other, (36, 100))
    preview = d.widget.preview.layer
    assert preview.data.any()
    for layer in (d.widget.tools.points, preview):
        assert above(d, layer, other)
    accept(d)
    labels = d.widget.output.layer
    assert labels.data.shape == other.data.shape
    assert labels.data[36, 100] == 1
    assert above(d, labels, other)
    assert np.array_equal(d.viewer.layers['objects'].data, before)


@pytest.mark.slow
def test_open_object_keeps_its_image_and_says_so(desk, blobs, tmp_path):
    d = desk(blobs)
    click(d, d.image, FIRST)
    other = open_file(d, tmp_path, np.pad(blobs, 8), 'other')
    assert d.widget.image.layer is d.image
    assert f'open object is on “{d.image.name}”' in d.widget.status.text
    accept(d)
    assert d.viewer.layers[f'{d.image.name} objects'].data[FIRST] == 1
    assert d.viewer.layers[f'{d.image.name} objects'].data.shape == blobs.shape
    # accepted: now the form follows
    assert d.widget.image.layer is other
    click(d, other, (36, 100))
    assert d.widget.preview.layer.data.any()
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    assert d.widget.image.layer is other


@pytest.mark.slow
def test_open_object_keeps_its_image_in_the_list(desk, blobs):
    d = desk(blobs, blobs[::-1])
    first, second = d.viewer.layers[:2]
    click(d, second, FIRST)
    combo = d.widget.header.image_combo
    combo.layer = first
    d.settle()
    assert combo.layer is second
    assert d.widget.image.layer is second
    assert f'open object is on “{second.name}”' in d.widget.status.text
    assert len(d.widget.tools.points.data) == 1
    accept(d)
    assert d.viewer.layers[f'{second.name} objects'].data[FIRST] == 1
    assert d.widget.image.layer is first
    assert combo.layer is first


def test_an_unfinished_line_does_not_go_to_the_next_image(desk, blobs):
    d = desk(blobs, blobs[::-1])
    first, second = d.viewer.layers[:2]
    d.widget.panel.buttons['use_scribble_tool'].click()
    d.settle()
    d.mouse.stroke(second, [FIRST, (28, 33)], steps=2)
    d.settle()
    assert d.widget.tools.shapes._is_creating
    assert 'not finished' in d.widget.status.text
    d.widget.header.image_combo.layer = first
    d.settle()
    assert d.widget.image.layer is first
    assert len(d.widget.tools.shapes.data) == 0


@pytest.mark.slow
def test_selected_image_is_gone_on_with_though_a_tool_was_chosen(desk, blobs):
    d = desk(blobs, blobs[::-1])
    first, second = d.viewer.layers[:2]
    click(d, second, FIRST)
    d.viewer.layers.selection.active = first
    d.settle()
    d.mouse.key(Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    d.settle()
    assert d.viewer.layers.selection.active is d.widget.tools.points
    assert d.widget.image.layer is second
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    assert d.widget.image.layer is first


@pytest.mark.slow
def test_image_dragged_to_the_top_hides_no_prompts(desk, blobs):
    d = desk(blobs)
    click(d, d.image, FIRST)
    accept(d)
    click(d, d.image, SECOND)
    layers = d.viewer.layers
    layers.move(layers.index(d.image), len(layers))
    d.settle()
    for layer in (
        layers['objects'],
        d.widget.preview.layer,
        d.widget.tools.points,
    ):
        assert above(d, layer, d.image)
    names = [layer.name for layer in layers]
    assert names.index('prompts') > names.index('preview')


@pytest.mark.slow
def test_selecting_an_image_in_the_list_keeps_it_selected(desk, blobs):
    d = desk(blobs, blobs[::-1])
    first, second = d.viewer.layers[:2]
    assert d.widget.image.layer is second
    d.viewer.layers.selection.active = first
    d.settle()
    assert d.widget.image.layer is first
    # its contrast can be changed at once
    assert d.viewer.layers.selection.active is first
    # clicks pan until a tool is chosen
    assert 'Press Points (Shift+D), then click' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    click(d, first, SECOND)
    accept(d)
    assert d.viewer.layers[f'{first.name} objects'].data[SECOND] == 1


@pytest.mark.slow
def test_hidden_and_removed_images_are_named(desk, blobs):
    d = desk(blobs, blobs[::-1])
    first, second = d.viewer.layers[:2]
    second.visible = False
    d.settle()
    assert f'“{second.name}” is hidden' in d.widget.status.text
    click(d, second, FIRST)
    d.viewer.layers.remove(second)
    d.settle()
    assert d.widget.image.layer is first
    assert d.widget.session.editor.record.empty
    click(d, first, SECOND)
    accept(d)
    assert d.viewer.layers['objects'].data[SECOND] == 1


@pytest.mark.slow
def test_renamed_layers_are_offered_by_their_new_names(desk, blobs):
    d = desk(blobs)
    click(d, d.image, FIRST)
    d.image.name = 'sample 7'
    assert d.dock.widget().header.image_combo.currentText() == 'sample 7'
    accept(d)
    d.viewer.layers['objects'].name = 'cells'
    assert d.widget.panel.labels_combo.currentText() == 'cells'
    # the open object and the chosen layers stay
    click(d, d.image, SECOND)
    accept(d)
    assert d.viewer.layers['cells'].data[SECOND] == 2


@pytest.mark.slow
def test_labels_and_channels_are_those_chosen_for_the_image(desk, blobs):
    d = desk(blobs)
    other = d.viewer.add_image(blobs.copy(), name='other')
    d.settle()
    header, output = d.widget.header, d.widget.output
    header.image_combo.layer = d.image
    d.settle()
    click(d, d.image, FIRST)
    accept(d)
    first = output.layer
    # as after a run into labels of its own
    labels = d.session.scene.add_labels('found')
    index = header.channel_combo.findText('with other')
    header.channel_combo.setCurrentIndex(index)
    header.channel_combo.activated.emit(index)
    d.settle()
    header.image_combo.layer = other
    d.settle()
    assert output.layer is None
    assert header.channel_combo.composed == ()
    header.image_combo.layer = d.image
    d.settle()
    assert output.layer is labels
    assert header.channel_combo.composed == (other,)
    assert d.session.scene.composed == (other,)
    d.viewer.layers.remove(labels)
    d.settle()
    assert d.session.scene.labels is first


@pytest.mark.slow
def test_labels_of_the_user_are_not_those_of_the_next_image(desk, blobs):
    d = desk(blobs, blobs.copy())
    labels, images = d.widget.panel.labels_combo, d.widget.header.image_combo
    first, second = d.viewer.layers[:2]
    mine = d.viewer.add_labels(np.zeros(blobs.shape, int), name='mine')
    images.layer = first
    d.settle()
    labels.layer = mine
    for image, chosen in ((second, None), (first, mine)):
        images.layer = image
        d.settle()
        assert labels.layer is d.session.scene.labels is chosen


@pytest.mark.slow
def test_labels_of_the_user_are_those_of_their_image_alone(desk, blobs):
    d = desk(blobs)
    click(d, d.image, FIRST)
    accept(d)
    first = d.widget.output.layer
    other = d.viewer.add_image(blobs.copy(), name='other')
    d.settle()
    header, output = d.widget.header, d.widget.output
    header.image_combo.layer = other
    d.settle()
    mine = d.viewer.add_labels(np.zeros(blobs.shape, int), name='mine')
    d.widget.panel.labels_combo.layer = mine
    d.settle()
    # first was never chosen by hand
    d.session.scene.choose_labels(first, [d.image])
    header.image_combo.layer = d.image
    d.settle()
    assert output.layer is first
    header.image_combo.layer = other
    d.settle()
    assert output.layer is mine
