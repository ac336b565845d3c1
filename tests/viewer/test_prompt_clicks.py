"""Real clicks on a real canvas, from prompt to label and back."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_mobilesam.widgets.prompts.open_object import WAITING

INSIDE, BESIDE = (28, 32), (28, 32)


@pytest.mark.window
def test_click_preview_commit_and_one_undo(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    preview = d.widget.preview.layer
    assert d.widget.preview.visible
    assert preview.data.size < blobs.size / 4
    assert preview.get_value(INSIDE, world=True) == 1
    assert 'objects' not in d.viewer.layers

    d.widget.panel.buttons['accept'].click()
    d.settle()
    labels = d.viewer.layers['objects']
    assert labels.data[INSIDE] == 1
    assert (labels.data > 0).sum() == pytest.approx(24 * 24, rel=0.25)
    assert not d.widget.preview.visible
    assert len(d.viewer.layers['prompts'].data) == 0

    d.widget.trigger('undo')
    assert not labels.data.any()
    d.widget.trigger('redo')
    assert labels.data[INSIDE] == 1


@pytest.mark.slow
def test_model_answers_while_the_button_is_down(desk, blobs, oracle, qtbot):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.widget.trigger('reject')
    d.settle()
    canvas, place = d.mouse.canvas.native, d.mouse.at(d.image, INSIDE)
    left = Qt.MouseButton.LeftButton
    QTest.mousePress(canvas, left, pos=place)
    assert d.session.wait(20)
    assert not d.widget.preview.visible
    # whoever is asked now never answers: what was expected is shown
    oracle.go.clear()
    QTest.mouseRelease(canvas, left, pos=place)
    qtbot.waitUntil(lambda: d.widget.preview.visible, timeout=20_000)
    oracle.go.set()
    assert d.widget.preview.layer.get_value(INSIDE, world=True) == 1


def test_click_that_is_not_answered_at_once_says_so(
    desk, blobs, oracle, qtbot
):
    d = desk(blobs)
    oracle.go.clear()
    d.mouse.click(d.image, INSIDE)
    status = d.widget.status
    qtbot.waitUntil(lambda: status.text == WAITING, timeout=20_000)
    assert status.busy
    oracle.go.set()
    d.settle()
    assert status.text.startswith(f'{24 * 24} pixels')
    assert not status.busy


@pytest.mark.slow
def test_drag_with_the_points_tool_leaves_nothing(desk, blobs):
    d = desk(blobs)
    d.mouse.drag(d.image, INSIDE, (60, 60))
    d.settle()
    assert len(d.viewer.layers['prompts'].data) == 0
    assert not d.widget.preview.visible


@pytest.mark.slow
def test_next_object_gets_the_next_free_id(desk, blobs):
    d = desk(blobs)
    for number, position in enumerate([(28, 32), (28, 92), (68, 32)], 1):
        d.mouse.click(d.image, position)
        d.settle()
        d.widget.trigger('accept')
        assert d.viewer.layers['objects'].data[position] == number


@pytest.mark.slow
def test_keys_commit_clear_flip_and_undo(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    labels = d.viewer.layers['objects']
    assert labels.data[INSIDE] == 1
    d.mouse.key(Qt.Key.Key_U)
    assert labels.data[INSIDE] == 0
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    assert len(d.viewer.layers['prompts'].data) == 0
    assert not d.widget.preview.visible
    d.mouse.key(Qt.Key.Key_N)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert list(d.viewer.layers['prompts'].features['polarity']) == [
        'negative'
    ]


@pytest.mark.slow
def test_right_click_is_negative_and_the_next_click_positive(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, (28, 26))
    d.settle()
    before = int((d.widget.preview.layer.data > 0).sum())
    d.mouse.right_click(d.image, (28, 40))
    d.settle()
    after = int((d.widget.preview.layer.data > 0).sum())
    assert after < before
    d.mouse.click(d.image, (20, 24))
    d.settle()
    points = d.viewer.layers['prompts']
    assert list(points.features['polarity']) == [
        'positive',
        'negative',
        'positive',
    ]
    assert len(np.unique(points.face_color, axis=0)) == 2


def test_right_click_on_a_point_in_select_mode_flips_it(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    points = d.viewer.layers['prompts']
    points.mode = 'select'
    flip = d.widget.panel.buttons['flip_polarity']
    assert flip.text().startswith('Left click: select points')
    d.mouse.right_click(d.image, INSIDE)
    d.settle()
    assert list(points.features['polarity']) == ['negative']
    assert 'negative' in d.widget.status.text
    d.mouse.right_click(d.image, INSIDE)
    d.settle()
    # not “click an object”: one is open
    assert d.widget.status.text.startswith('Editing the new object')
    points.mode = 'add'
    assert flip.text().startswith('Left click: add')


@pytest.mark.slow
@pytest.mark.window
def test_moving_and_deleting_points_updates_the_preview(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    points = d.viewer.layers['prompts']
    points.mode = 'select'
    d.mouse.drag(d.image, INSIDE, (68, 92))
    d.settle()
    assert points.data[0] == pytest.approx((68, 92), abs=1)
    assert d.widget.preview.layer.get_value((68, 92), world=True) == 1
    points.selected_data = {0}
    points.remove_selected()
    d.settle()
    assert not d.widget.preview.visible


@pytest.mark.window
def test_box_by_drag(desk, blobs):
    d = desk(blobs)
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.mouse.drag(d.image, (10, 14), (46, 50))
    d.settle()
    assert len(d.viewer.layers['shapes'].data) == 1
    d.widget.trigger('accept')
    labels = d.viewer.layers['objects'].data
    assert labels[INSIDE] == 1
    assert labels[28, 92] == 0
    assert len(d.viewer.layers['shapes'].data) == 0


@pytest.mark.slow
def test_boxes_alone_are_one_object_each_and_one_undo(desk, blobs):
    d = desk(blobs)
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.mouse.drag(d.image, (10, 14), (46, 50))
    d.mouse.drag(d.image, (10, 74), (46, 110))
    d.settle()
    assert '2 objects' in d.widget.status.text
    d.widget.trigger('accept')
    d.settle()
    labels = d.viewer.layers['objects']
    assert {labels.data[28, 32], labels.data[28, 92]} == {1, 2}
    assert len(d.viewer.layers['shapes'].data) == 0
    d.widget.trigger('undo')
    assert not labels.data.any()


@pytest.mark.slow
def test_points_take_the_newest_box_and_leave_older_ones(desk, blobs):
    d = desk(blobs)
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.mouse.drag(d.image, (50, 14), (90, 50))
    d.mouse.drag(d.image, (10, 14), (46, 50))
    d.widget.panel.buttons['use_points_tool'].click()
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert '1 older box waits' in d.widget.status.text
    d.widget.trigger('accept')
    d.settle()
    assert len(d.viewer.layers['shapes'].data) == 1
    d.widget.trigger('accept')
    assert d.viewer.layers['objects'].data[68, 32] == 2


@pytest.mark.slow
def test_commit_before_the_mask_is_there_waits_for_it(desk, blobs, oracle):
    d = desk(blobs)
    oracle.go.clear()
    d.mouse.click(d.image, INSIDE)
    d.widget.trigger('accept')
    assert 'as soon as' in d.widget.status.text
    oracle.go.set()
    d.settle()
    assert d.viewer.layers['objects'].data[INSIDE] == 1


@pytest.mark.slow
def test_only_the_newest_prompts_are_answered(desk, blobs, oracle):
    d = desk(blobs)
    answers = []
    d.session.preview.connect(answers.append)
    oracle.go.clear()
    for column in (22, 26, 30, 34, 38):
        d.viewer.layers['prompts'].add((28, column))
        d.viewer.window._qt_window.repaint()
        from qtpy.QtWidgets import QApplication

        QApplication.processEvents()
    oracle.go.set()
    d.settle()
    assert len(answers) == 1
    assert len(answers[0].request.objects[0].points) == 5


@pytest.mark.slow
def test_one_embedding_serves_clicks_nearby(desk, blobs, oracle):
    d = desk(blobs)
    d.mouse.click(d.image, (28, 32))
    d.settle()
    d.widget.trigger('accept')
    once = oracle.encoded
    for position in [(29, 33), (27, 31)]:
        d.mouse.click(d.image, position)
        d.settle()
        d.widget.trigger('reject')
    assert oracle.encoded == once


@pytest.mark.slow
def test_contrast_limits_are_respected(desk, blobs):
    d = desk(blobs)
    # the squares are dark between these limits, so there is no blob
    d.image.contrast_limits = (0, 2000)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert 'nothing here' in d.widget.status.text
    d.image.contrast_limits = (0, 255)
    d.widget.object.update()
    d.settle()
    assert d.widget.preview.visible


@pytest.fixture
def slow_start(monkeypatch):
    """Forms that are ready when the functions in the list are called."""
    waiting = []
    monkeypatch.setattr(
        'napari_mobilesam.session.runtime.models.Models.import_libraries',
        lambda self, then: waiting.append(then),
    )
    return waiting


@pytest.mark.slow
def test_clicks_before_the_form_is_ready_are_answered(desk, blobs, slow_start):
    d = desk(blobs, rotate=10, scale=(2, 2))
    assert 'prompts' not in d.viewer.layers
    d.mouse.click(d.image, (28, 32))
    d.mouse.right_click(d.image, (36, 40))
    assert '2 clicks' in d.widget.status.text
    # a drag pans, and is no click
    d.mouse.drag(d.image, (68, 32), (80, 60))
    for then in slow_start:
        then()
    d.settle()
    points = d.viewer.layers['prompts']
    assert points.data == pytest.approx(
        np.array([(28, 32), (36, 40)]), abs=0.5
    )
    assert list(points.features['polarity']) == ['positive', 'negative']
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert labels[28, 32] == 1
    assert labels[36, 40] == 0
    # clicks from now on are taken by the layer, once
    d.mouse.click(d.image, (68, 92))
    d.settle()
    assert len(points.data) == 1


def test_clicks_before_a_form_that_is_closed_are_forgotten(
    desk, blobs, slow_start
):
    d = desk(blobs)
    d.mouse.click(d.image, (28, 32))
    d.viewer.window.remove_dock_widget(d.dock)
    d.settle()
    for then in slow_start:
        then()
    d.settle()
    assert 'prompts' not in d.viewer.layers


@pytest.mark.slow
def test_preview_is_added_before_the_first_click(desk, blobs):
    d = desk(blobs)
    layer = d.widget.preview.layer
    assert layer in d.viewer.layers
    assert not layer.data.any()
    assert d.viewer.layers.selection.active.name == 'prompts'
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert d.widget.preview.layer is layer
    assert layer.data.any()


@pytest.mark.slow
@pytest.mark.window
def test_click_with_another_layer_selected_says_what_to_press(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.widget.trigger('accept')
    labels = d.viewer.layers['objects']
    d.viewer.layers.selection.active = labels
    # a drag pans the view
    d.mouse.drag(d.image, (60, 60), (40, 40))
    d.settle()
    assert 'selected' not in d.widget.status.text
    d.mouse.click(d.image, (28, 92))
    assert d.widget.status.text == (
        '“objects” is selected. Press Points (Shift+D), then click an object.'
    )
    # the brush has a use for clicks
    d.widget.status.say('')
    labels.mode = 'paint'
    d.mouse.click(d.image, (28, 92))
    assert d.widget.status.text == ''
    d.widget.trigger('use_points_tool')
    d.mouse.click(d.image, (28, 92))
    d.settle()
    assert d.widget.preview.visible
