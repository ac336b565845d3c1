"""Prompts that come back as they were drawn when an object is edited."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_mobilesam.widgets import open_form

FIRST, SECOND = (28, 32), (28, 92)
AROUND = [(10, 14), (10, 50), (46, 50), (46, 14), (12, 14)]


def use(d, tool):
    d.widget.panel.buttons[tool].click()
    d.settle()


def stroke(d, path):
    d.mouse.stroke(d.image, path)
    d.settle()


def drawn(d):
    """Kinds, vertices and polarity of the shapes that are shown."""
    layer = d.viewer.layers['shapes']
    return [
        (kind, vertices, polarity)
        for kind, vertices, polarity in zip(
            layer.shape_type,
            [np.array(each) for each in layer.data],
            layer.features['polarity'],
            strict=True,
        )
    ]


def accept_and_edit(d, key=Qt.Key.Key_J):
    """Accept with W, then edit the last object with J."""
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    d.mouse.key(key)
    d.settle()


def assert_same(one, other):
    assert [(kind, polarity) for kind, _, polarity in one] == [
        (kind, polarity) for kind, _, polarity in other
    ]
    for (_, here, _), (_, there, _) in zip(one, other, strict=True):
        assert here == pytest.approx(there, abs=1e-2)


def check_return(d):
    """Shapes and mask are the same after accepting and editing."""
    before, prompts = drawn(d), d.session.editor.record
    mask = prompts.masks[0].data.copy()
    accept_and_edit(d)
    assert_same(drawn(d), before)
    record = d.session.editor.record
    assert record.label == 1
    assert np.array_equal(record.masks[0].data, mask)
    # reading the layers again asks nothing: the object is as it was
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert len(d.viewer.layers['shapes'].data) == 0
    return d


@pytest.mark.slow
def test_outline(desk, blobs):
    d = desk(blobs)
    use(d, 'use_outline_tool')
    stroke(d, AROUND)
    check_return(d)


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['add_rectangle', 'add_ellipse', 'add_line'])
def test_dragged_shapes_on_a_turned_image(desk, blobs, mode):
    d = desk(blobs, rotate=20, scale=(2, 1.5), translate=(40, -20))
    use(d, 'use_boxes_tool')
    d.viewer.layers['shapes'].mode = mode
    start, stop = (
        ((20, 24), (36, 40))
        if mode == 'add_line'
        else (
            (8, 12),
            (48, 52),
        )
    )
    d.mouse.drag(d.image, start, stop)
    d.settle()
    check_return(d)


@pytest.mark.slow
def test_scribbles_and_points_of_both_polarities(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, (22, 26))
    d.settle()
    use(d, 'use_scribble_tool')
    stroke(d, [(20, 24), (36, 40)])
    d.widget.trigger('flip_polarity')
    stroke(d, [(44, 60), (50, 66)])
    points = d.viewer.layers['prompts'].data.copy()
    before = drawn(d)
    assert [polarity for *_, polarity in before] == ['positive', 'negative']
    accept_and_edit(d)
    assert_same(drawn(d), before)
    assert d.viewer.layers['prompts'].data == pytest.approx(points)


@pytest.mark.slow
def test_point_that_is_added_refines_the_edited_object(desk, blobs):
    d = desk(blobs, rotate=20)
    use(d, 'use_outline_tool')
    stroke(d, AROUND)
    accept_and_edit(d)
    use(d, 'use_points_tool')
    d.mouse.right_click(d.image, (36, 40))
    d.settle()
    (view,) = d.session.editor.record.views.values()
    assert len(view.steps) == 1
    assert view.previous is not None
    assert view.prompts.region is view.steps[0].prompts.region


def test_new_outline_replaces_that_of_the_edited_object(desk, blobs):
    d = desk(blobs)
    use(d, 'use_boxes_tool')
    d.mouse.drag(d.image, (10, 14), (46, 50))
    d.settle()
    accept_and_edit(d)
    use(d, 'use_boxes_tool')
    d.mouse.drag(d.image, (10, 74), (46, 110))
    d.settle()
    assert d.session.editor.record.label == 1
    assert len(drawn(d)) == 1
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert labels[SECOND] == 1
    assert labels[FIRST] == 0
    assert len(drawn(d)) == 0


@pytest.mark.slow
@pytest.mark.window
def test_several_outlines_come_back_one_by_one(desk, blobs):
    d = desk(blobs)
    use(d, 'use_outline_tool')
    stroke(d, AROUND)
    stroke(d, [(row, column + 60) for row, column in AROUND])
    before = drawn(d)
    assert len(before) == 2
    accept_and_edit(d)
    assert_same(drawn(d), before[1:])
    d.mouse.key(Qt.Key.Key_J)
    d.settle()
    assert_same(drawn(d), before[:1])


def draw_two_boxes(d):
    use(d, 'use_boxes_tool')
    d.mouse.drag(d.image, (50, 14), (86, 50))
    d.settle()
    d.mouse.drag(d.image, (10, 74), (46, 110))
    d.settle()


def edit_first(d):
    d.mouse.move(d.mouse.at(d.image, FIRST))
    d.settle()
    d.mouse.key(Qt.Key.Key_G)
    d.settle()


@pytest.mark.slow
@pytest.mark.parametrize('end', [Qt.Key.Key_W, Qt.Key.Key_Q])
def test_boxes_wait_while_another_object_is_edited(desk, blobs, end):
    d = desk(blobs)
    d.mouse.click(d.image, FIRST)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    draw_two_boxes(d)
    before = drawn(d)
    edit_first(d)
    assert 'Kept aside until then: 2 boxes.' in d.widget.status.text
    assert drawn(d) == []
    d.mouse.key(end)
    d.settle()
    assert_same(drawn(d), before)
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert {labels[FIRST], labels[SECOND], labels[68, 32]} == {1, 2, 3}


@pytest.mark.slow
def test_an_older_box_waits_while_another_object_is_edited(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, FIRST)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    draw_two_boxes(d)
    use(d, 'use_points_tool')
    d.mouse.click(d.image, SECOND)
    d.settle()
    before = drawn(d)
    edit_first(d)
    assert 'the new object and 1 box.' in d.widget.status.text
    assert drawn(d) == []
    for _ in range(3):
        d.mouse.key(Qt.Key.Key_W)
        d.settle()
    labels = d.viewer.layers['objects'].data
    assert {labels[FIRST], labels[SECOND], labels[68, 32]} == {1, 2, 3}
    assert len(before) == 2
    assert drawn(d) == []


@pytest.mark.slow
def test_restored_session_has_the_drawn_shapes(desk, blobs, tmp_path):
    d = desk(blobs)
    use(d, 'use_outline_tool')
    stroke(d, AROUND)
    before = drawn(d)
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    d.session.save(tmp_path / 'cells.session')
    d.viewer.layers.remove('objects')
    d.session.load(tmp_path / 'cells.session')
    d.settle()
    d.mouse.key(Qt.Key.Key_J)
    d.settle()
    assert_same(drawn(d), before)


@pytest.mark.slow
def test_console_outline_and_scribble_are_drawn(desk, blobs):
    d = desk(blobs)
    d.session.outline(np.array(AROUND, float))
    d.session.scribble([(20, 24), (36, 40)])
    d.settle()
    assert [kind for kind, *_ in drawn(d)] == ['polygon', 'path']


@pytest.mark.slow
def test_reopened_dock_says_which_object_is_open(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, FIRST)
    d.settle()
    d.viewer.window.remove_dock_widget(d.dock)
    QApplication.processEvents()
    d.widget = open_form(d.viewer, 'prompts')
    d.settle()
    assert 'editing the new object' in d.widget.status.text
