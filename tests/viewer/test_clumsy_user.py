"""What a hasty user does beside the journey: volumes, hidden layers."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt

INSIDE, SECOND = (28, 32), (28, 92)
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.mark.window
def test_points_tool_is_back_after_a_look_at_the_volume(desk, blobs):
    d = desk(blobs)
    for _ in range(2):
        d.mouse.key(Qt.Key.Key_Y, CONTROL)
        d.settle()
    assert d.viewer.dims.ndisplay == 2
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert d.widget.preview.visible


@pytest.mark.window
def test_mode_chosen_by_hand_is_back_after_a_look_at_the_volume(desk, blobs):
    d = desk(blobs)
    points = d.viewer.layers['prompts']
    points.mode = 'pan_zoom'
    for _ in range(2):
        d.mouse.key(Qt.Key.Key_Y, CONTROL)
        d.settle()
    assert points.mode == 'pan_zoom'


@pytest.mark.window
def test_click_with_the_pan_tool_says_what_to_press(desk, blobs):
    d = desk(blobs)
    d.viewer.layers['prompts'].mode = 'pan_zoom'
    assert not d.widget.panel.tool_chosen
    d.mouse.click(d.image, INSIDE)
    assert d.widget.status.text == (
        '“prompts” is selected. Press Points (Shift+D) to click objects.'
    )


@pytest.mark.window
def test_points_tool_shows_hidden_prompts(desk, blobs):
    d = desk(blobs)
    d.mouse.key(Qt.Key.Key_V)
    points = d.viewer.layers['prompts']
    assert not points.visible
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert 'Press Points (Shift+D)' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert points.visible
    assert d.widget.preview.visible


def test_status_says_that_labels_and_preview_are_hidden(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert 'hidden' not in d.widget.status.text
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert 'hidden' not in d.widget.status.text
    d.viewer.layers['preview'].visible = False
    d.viewer.layers['objects'].visible = False
    d.mouse.click(d.image, SECOND)
    d.settle()
    assert 'The layer “preview” is hidden.' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert 'written to “objects”, which is hidden.' in d.widget.status.text


def test_nothing_to_undo_is_no_error(desk, blobs):
    d = desk(blobs)
    d.mouse.key(Qt.Key.Key_U)
    assert d.widget.status.text == 'Nothing to undo.'
    assert not d.widget.status.failed
    d.mouse.key(Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert d.widget.status.text == 'Nothing to redo.'
    assert not d.widget.status.failed
