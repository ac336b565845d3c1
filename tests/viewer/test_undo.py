"""Undo by key: one history for the viewer."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_mobilesam.widgets.parts.keys import bind_keys, unbind_keys
from napari_mobilesam.widgets.prompts.prompt_layers import flip

FIRST, SECOND, THIRD = (28, 32), (28, 92), (68, 32)
SHIFT = Qt.KeyboardModifier.ShiftModifier


def accept_at(d, position):
    d.mouse.click(d.image, position)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()


@pytest.mark.slow
def test_undo_takes_back_the_newest_step_of_any_layer(desk, blobs):
    d = desk(blobs)
    for position in (FIRST, SECOND):
        accept_at(d, position)
    objects = d.viewer.layers['objects']
    written = objects.data.copy()
    own = d.viewer.add_labels(np.zeros(blobs.shape, np.uint16), name='own')
    combo = d.widget.panel.labels_combo
    combo.layer = own
    d.widget.trigger('use_points_tool')
    accept_at(d, THIRD)
    assert own.data[THIRD] == 1
    combo.layer = objects
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert not own.data.any()
    assert (objects.data == written).all()
    assert 'Undone: object 1 in “own”' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert objects.data.max() == 1
    assert 'Undone: object 2 in “objects”' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_U, SHIFT)
    d.mouse.key(Qt.Key.Key_U, SHIFT)
    d.settle()
    assert (objects.data == written).all()
    assert own.data[THIRD] == 1


@pytest.mark.slow
def test_undo_by_key_is_named_in_the_tab_in_front(desk, blobs):
    d = desk(blobs)
    accept_at(d, FIRST)
    everything = d.dock.widget().show_form('everything')
    d.settle()
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert not d.viewer.layers['objects'].data.any()
    assert everything.status.text == 'Undone: object 1.'
    d.mouse.key(Qt.Key.Key_U)
    assert everything.status.text == 'Nothing to undo.'
    d.mouse.key(Qt.Key.Key_U, SHIFT)
    d.settle()
    assert everything.status.text == 'Redone: object 1.'
    d.dock.widget().show_form('prompts')
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert d.widget.status.text == 'Undone: object 1.'
    assert everything.status.text == 'Undone: object 1.'


def test_undo_by_key_where_the_prompts_were_never_shown(
    everything_desk, blobs
):
    d = everything_desk(blobs)
    review = d.widget.panel.review
    assert review.undo_button.text() == 'Undo (U)'
    button = d.widget.panel.run_button
    button.setFocus()
    button.click()
    # the focus is not on a control that Space would press
    assert not d.dock.isAncestorOf(button.window().focusWidget())
    d.settle()
    labels = d.viewer.layers['image objects']
    found = labels.data.copy()
    assert found.any()
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert not labels.data.any()
    assert 'Undone: ' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_U)
    assert d.widget.status.text == 'Nothing to undo.'
    d.mouse.key(Qt.Key.Key_U, SHIFT)
    d.settle()
    assert np.array_equal(labels.data, found)
    # the prompts form takes the keys over
    prompts = d.dock.widget().show_form('prompts')
    d.settle()
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert not labels.data.any()
    assert 'Undone: ' in prompts.status.text


@pytest.mark.slow
def test_undo_of_a_filter_says_so(everything_desk, blobs):
    d = everything_desk(blobs)
    d.widget.panel.run_button.click()
    d.settle()
    filters = d.widget.panel.filters
    filters.predicted_iou.setValue(1.0)
    d.settle()
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert 'change of the filters' in d.widget.status.text


def test_a_key_goes_back_to_the_dock_that_had_it(desk, blobs):
    d = desk(blobs)
    accept_at(d, FIRST)
    other = bind_keys(d.widget, {'U': d.widget.panel.labels_combo.refresh})
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert d.viewer.layers['objects'].data.any()
    unbind_keys(d.viewer, other)
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert not d.viewer.layers['objects'].data.any()


@pytest.mark.slow
def test_undo_of_napari_leaves_objects_to_the_undo_of_the_form(desk, blobs):
    d = desk(blobs)
    accept_at(d, FIRST)
    objects = d.viewer.layers['objects']
    written = objects.data.copy()
    d.viewer.layers.selection.active = objects
    d.mouse.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (objects.data == written).all()
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert not objects.data.any()


def test_undo_that_changes_no_pixel_says_why(desk, blobs):
    d = desk(blobs)
    accept_at(d, FIRST)
    objects = d.viewer.layers['objects']
    objects.fill(FIRST, 9)
    painted = objects.data.copy()
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert (objects.data == painted).all()
    assert d.widget.status.text == (
        'Undone: object 1 (all of its pixels were painted over since).'
    )


@pytest.mark.slow
def test_ready_does_not_replace_what_was_undone(desk, blobs):
    d = desk(np.stack([blobs] * 8))
    accept_at(d, (0, *FIRST))
    d.viewer.dims.set_current_step(0, 6)
    d.settle()
    d.mouse.key(Qt.Key.Key_U)
    d.session.ready.emit(d.session.scene.plane())
    assert d.widget.status.text == 'Undone: object 1.'
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    assert d.widget.status.text.startswith('Ready: image, plane 1.')


@pytest.mark.slow
def test_embedding_does_not_replace_what_was_undone(desk, blobs):
    d = desk(blobs)
    accept_at(d, (28, 32))
    d.widget.trigger('undo')
    d.settle()
    text = d.widget.status.text
    assert text.startswith('Undone')
    # the view was moved, for example
    d.session.status.emit('Embedding image …', 'prompts')
    assert d.widget.status.text == text
    assert d.widget.status.busy
    d.session.ready.emit(d.session.scene.plane())
    assert d.widget.status.text == text
    assert not d.widget.status.busy


@pytest.mark.slow
def test_accept_twice_keeps_what_was_written(desk, blobs):
    d = desk(blobs)
    accept_at(d, FIRST)
    written = d.widget.status.text
    # of what was embedded meanwhile
    d.session.ready.emit(d.session.scene.plane())
    assert d.widget.status.text == written
    for _ in range(2):
        d.mouse.key(Qt.Key.Key_W)
        d.settle()
        assert d.widget.status.text == f'{written} No other object is open.'


def test_undo_removes_the_prompts_of_the_open_object_first(desk, blobs):
    d = desk(blobs)
    accept_at(d, FIRST)
    labels = d.viewer.layers['objects']
    d.mouse.click(d.image, SECOND)
    d.settle()
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.mouse.drag(d.image, (10, 74), (46, 110))
    d.settle()
    points, shapes = (d.viewer.layers[n] for n in ('prompts', 'shapes'))
    assert len(shapes.data) == 1
    d.widget.trigger('undo')
    d.settle()
    assert not len(shapes.data)
    np.testing.assert_allclose(points.data, [SECOND], atol=1)
    d.widget.trigger('undo')
    d.settle()
    assert not len(points.data)
    assert d.session.editor.record.empty
    assert labels.data.any()
    d.widget.trigger('undo')
    assert not labels.data.any()


def test_redo_repeats_changes_of_prompts(desk, blobs):
    d = desk(blobs)
    accept_at(d, FIRST)
    d.mouse.click(d.image, SECOND)
    d.mouse.click(d.image, (5, 92), button=Qt.MouseButton.RightButton)
    d.settle()
    points = d.viewer.layers['prompts']
    flip(points, [1])
    d.settle()
    before = d.widget.preview.layer.data.copy()
    for polarities in (['positive', 'negative'], ['positive'], []):
        d.widget.trigger('undo')
        d.settle()
        assert list(points.features['polarity']) == polarities
    assert d.session.editor.record.empty
    for polarities in (1, 2, 2):
        d.widget.trigger('redo')
        d.settle()
        assert len(points.data) == polarities
    assert d.widget.status.text != 'Nothing to redo.'
    assert (d.widget.preview.layer.data == before).all()
    for _ in range(4):
        d.widget.trigger('undo')
    d.settle()
    assert not d.viewer.layers['objects'].data.any()
    # the object comes first
    d.widget.trigger('redo')
    d.settle()
    assert d.viewer.layers['objects'].data.any()
    assert not len(points.data)


@pytest.mark.slow
def test_undo_brings_back_the_box_that_another_replaced(desk, blobs):
    d = desk(blobs)
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.mouse.drag(d.image, (10, 74), (46, 110))
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    d.session.navigation.open(1)
    d.settle()
    shapes = d.viewer.layers['shapes']
    (first,) = shapes.data
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.mouse.drag(d.image, (50, 14), (86, 50))
    d.settle()
    (second,) = shapes.data
    for change, box in (('undo', first), ('redo', second), ('undo', first)):
        d.widget.trigger(change)
        d.settle()
        (shown,) = shapes.data
        np.testing.assert_allclose(shown, box, atol=1e-3)
    # nothing but the object itself is left to undo
    d.widget.trigger('undo')
    d.settle()
    assert not d.viewer.layers['objects'].data.any()


def test_undo_brings_prompts_back_in_their_order(desk, blobs):
    d = desk(blobs, scale=(0.3, 0.3), rotate=20)
    d.mouse.click(d.image, FIRST)
    d.settle()
    d.widget.panel.buttons['use_boxes_tool'].click()
    for start, stop in (((50, 14), (86, 50)), ((10, 14), (46, 50))):
        d.mouse.drag(d.image, start, stop)
        d.settle()
    shapes = d.viewer.layers['shapes']
    boxes = [each.copy() for each in shapes.data]
    of_object = d.session.editor.record.view(d.session.scene.plane()).prompts
    # with a point, the last one is that of the object
    shapes.remove([0])
    d.settle()
    for change, expected in (
        *(('undo', boxes), ('undo', boxes[:1]), ('undo', [])),
        *(('redo', boxes[:1]), ('redo', boxes), ('redo', boxes[1:])),
        ('undo', boxes),
    ):
        d.widget.trigger(change)
        d.settle()
        assert len(shapes.data) == len(expected)
        np.testing.assert_allclose(shapes.data, expected, atol=1e-3)
    again = d.session.editor.record.view(d.session.scene.plane()).prompts
    np.testing.assert_allclose(again.box, of_object.box, atol=1e-3)


@pytest.mark.slow
def test_undo_removes_no_prompts_from_before(desk, blobs):
    d = desk(blobs)
    accept_at(d, FIRST)
    own = d.viewer.add_points([SECOND], name='own')
    d.session.navigation.open(1)
    d.settle()
    d.widget.tools.use_points_tool()
    d.mouse.click(d.image, SECOND)
    d.settle()
    points = d.viewer.layers['prompts']
    # the first of two, which was there before
    points.remove([0])
    d.settle()
    d.widget.trigger('undo')
    assert len(points.data) == 2
    d.widget.trigger('undo')
    np.testing.assert_allclose(points.data, [FIRST], atol=1)
    # a quick drag, of which napari sees no move
    d.widget.panel.buttons['use_boxes_tool'].click()
    canvas, start = d.mouse.canvas.native, d.mouse.at(d.image, (12, 16))
    left = Qt.MouseButton.LeftButton
    QTest.mousePress(canvas, left, pos=start)
    d.mouse.move(start + QPoint(20, 20), left)
    QTest.mouseRelease(canvas, left, pos=d.mouse.at(d.image, (44, 48)))
    shapes = d.viewer.layers['shapes']
    assert len(shapes.data) == 1
    d.widget.trigger('undo')
    assert not len(shapes.data)
    assert d.widget.status.text == 'Undone: prompts of the open object.'
    # a line that is not finished
    d.widget.panel.buttons['use_scribble_tool'].click()
    for position in (FIRST, THIRD):
        d.mouse.stroke(d.image, [position, SECOND])
    first = shapes.data[0]
    d.mouse.click(d.image, THIRD)
    assert len(shapes.data) == 3
    for _ in range(2):
        d.widget.trigger('undo')
    (left_over,) = shapes.data
    assert (left_over == first).all()
    d.widget.panel.points_combo.layer = own
    d.widget.trigger('undo')
    d.settle()
    assert not len(shapes.data)
    assert len(own.data) == 1
    assert d.viewer.layers['objects'].data[FIRST] == 1


@pytest.mark.slow
def test_undo_shows_the_plane_of_the_prompt_that_it_removes(desk, blobs):
    d = desk(np.stack([blobs] * 3))
    accept_at(d, (1, *FIRST))
    d.session.navigation.open(1)
    d.settle()
    d.widget.tools.use_points_tool()
    d.viewer.dims.set_current_step(0, 0)
    d.settle()
    d.mouse.click(d.image, (0, *FIRST))
    d.settle()
    for plane in (2, 1):
        d.viewer.dims.set_current_step(0, plane)
        d.settle()
    d.widget.trigger('undo')
    d.settle()
    assert d.viewer.dims.current_step[0] == 0
    points = d.viewer.layers['prompts'].data
    np.testing.assert_allclose(points, [(1, *FIRST)], atol=1)
    assert d.viewer.layers['objects'].data[(1, *FIRST)] == 1
