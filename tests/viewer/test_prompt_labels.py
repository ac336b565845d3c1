"""Labels of accepted objects: numbers, data types, classes, what is seen."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_mobilesam.palette import rgb

FIRST, SECOND, THIRD, FOURTH = (28, 32), (28, 92), (68, 32), (68, 92)


def click(d, position):
    d.mouse.click(d.image, position)
    d.settle()


def accept(d):
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()


def make(d, *positions):
    for position in positions:
        click(d, position)
        accept(d)
    return d.viewer.layers['objects']


@pytest.mark.slow
def test_label_erased_by_hand_is_not_given_again(desk, blobs):
    d = desk(blobs)
    labels = make(d, FIRST, SECOND)
    # napari's eraser
    labels.selected_label = 2
    labels.mode = 'erase'
    labels.brush_size = 60
    d.viewer.layers.selection.active = labels
    d.mouse.drag(d.image, (28, 90), (28, 94))
    d.settle()
    assert not (labels.data == 2).any()
    d.widget.trigger('use_points_tool')
    make(d, THIRD)
    assert labels.data[THIRD] == 3
    assert [r.label for r in d.session.scene.objects(False)] == [1, 2, 3]


@pytest.mark.slow
def test_a_new_layer_can_be_chosen(desk, blobs):
    d = desk(blobs)
    first = make(d, FIRST)
    combo = d.widget.panel.labels_combo
    for _ in range(2):
        QTest.keyClick(combo, Qt.Key.Key_Home)
        d.settle()
        assert combo.layer is None
        assert d.session.scene.labels is None
    make(d, SECOND, THIRD)
    second = d.viewer.layers[combo.currentText()]
    assert second is not first
    assert second.data[SECOND] == 1
    assert second.data[THIRD] == 2
    assert first.data[SECOND] == 0
    combo.layer = first
    make(d, FOURTH)
    assert first.data[FOURTH] == 2


@pytest.mark.slow
def test_a_new_layer_stays_chosen_while_another_image_is_segmented(
    desk, blobs
):
    d = desk(blobs, blobs[::-1])
    labels, images = d.widget.panel.labels_combo, d.widget.header.image_combo
    image = images.layer
    d.mouse.click(image, FIRST)
    accept(d)
    made = labels.layer
    QTest.keyClick(labels, Qt.Key.Key_Home)
    images.layer = d.image
    d.settle()
    d.mouse.click(d.image, FIRST)
    accept(d)
    own = labels.layer
    images.layer = image
    d.settle()
    assert labels.layer is None
    d.mouse.click(image, SECOND)
    accept(d)
    assert labels.layer not in (made, own)
    assert labels.layer.data[SECOND] == 1
    assert made.data[SECOND] == own.data[SECOND] == 0
    images.layer = d.image
    d.settle()
    assert labels.layer is own


def test_labels_of_another_program_are_found_under_the_cursor(desk, blobs):
    """Which labels they are is said, and their class can be chosen."""
    d = desk(blobs)
    found = (blobs > blobs.mean()).astype(np.uint16)
    features = {'index': [1], 'class': ['round'], 'score': [0.5]}
    other = d.viewer.add_labels(found, name='other', features=features)
    d.widget.panel.labels_combo.layer = None
    d.viewer.cursor.position = FIRST
    d.widget.trigger('edit_object')
    assert 'is in “other”' in d.widget.status.text
    d.widget.panel.labels_combo.layer = other
    d.widget.trigger('edit_object')
    d.settle()
    assert d.widget.panel.class_box.combo.currentText() == 'round'


@pytest.mark.slow
def test_the_layer_of_an_edited_object_is_named(desk, blobs):
    """Whichever layer new objects are written to."""
    d = desk(blobs)
    make(d, FIRST)
    d.widget.trigger('previous_object')
    d.settle()
    other = d.viewer.add_labels(np.zeros_like(blobs), name='other')
    d.widget.panel.labels_combo.layer = other
    d.widget.trigger('use_points_tool')
    click(d, (36, 40))
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    said = d.widget.status.text
    assert said.startswith('Object 1 written to “objects”')
    assert not other.data.any()


@pytest.mark.slow
@pytest.mark.parametrize('dtype', ['>u2', '>i2', '>i4'])
def test_labels_of_the_other_byte_order_are_written_right(
    desk, blobs, tmp_path, dtype
):
    path = tmp_path / 'labels.raw'
    data = np.memmap(path, dtype, 'w+', shape=blobs.shape)
    d = desk(blobs)
    own = d.viewer.add_labels(data, name='own')
    d.widget.panel.labels_combo.layer = own
    d.widget.trigger('use_points_tool')
    click(d, FIRST)
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    data.flush()
    written = np.fromfile(path, dtype).reshape(blobs.shape)
    assert written[FIRST] == 1
    assert set(np.unique(written)) == {0, 1}
    d.mouse.key(Qt.Key.Key_U)
    data.flush()
    assert not np.fromfile(path, dtype).any()


@pytest.mark.slow
@pytest.mark.window
def test_classes_are_coloured_in_labels_that_the_first_object_makes(
    desk, blobs
):
    d = desk(blobs)
    d.session.color_by_class(True)
    d.session.classes.add('nucleus')
    d.widget.output._choose_class('nucleus')
    d.settle()
    labels = make(d, FIRST, SECOND)
    expected = np.array(rgb(d.session.classes.colors['nucleus'])) / 255
    canvas = d.viewer.window._qt_viewer.canvas
    for label in (1, 2):
        assert labels.get_color(label)[:3] == pytest.approx(expected, abs=0.01)
        # and so it is drawn
        drawn = canvas.layer_to_visual[labels].texture_data.reshape(-1, 4)
        assert drawn[label, :3] == pytest.approx(expected, abs=0.01)
    d.widget.trigger('undo')
    drawn = canvas.layer_to_visual[labels].texture_data.reshape(-1, 4)
    assert drawn[2, :3] != pytest.approx(expected, abs=0.01)
