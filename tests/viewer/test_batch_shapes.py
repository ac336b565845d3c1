"""Batches of shapes drawn by mouse."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

pytestmark = pytest.mark.window

SHIFT = Qt.KeyboardModifier.ShiftModifier


def test_path_among_boxes_changes_nothing_and_is_named(desk, blobs):
    d = desk(blobs)
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.settle()
    for row, column in ((16, 20), (16, 80), (56, 20)):
        d.mouse.drag(d.image, (row - 2, column - 2), (row + 25, column + 25))
        d.settle()
    shapes = d.viewer.layers['shapes']
    shapes.add_paths(np.array([[60.0, 84.0], [76.0, 100.0]]))
    d.settle()
    d.mouse.key(Qt.Key.Key_M, SHIFT)
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert sorted(labels[p] for p in ((28, 32), (28, 92), (68, 32))) == [
        1,
        2,
        3,
    ]
    assert labels[68, 92] == 0
    assert '3 of 3 prompts' in d.widget.status.text
    assert '1 path is no box' in d.widget.status.text


def test_failed_prompt_of_a_batch_stays_readable(desk, blobs):
    d = desk(blobs)
    own = d.viewer.add_points([(28, 32), (200, 200)], name='own')
    d.viewer.layers.selection.active = own
    d.mouse.key(Qt.Key.Key_M, SHIFT)
    d.settle()
    text = d.widget.status.text
    assert '1 of 2 prompts' in text
    assert 'Prompt 2' in text
    # background news does not replace it
    d.session.ready.emit('Ready: image. Click an object.')
    assert d.widget.status.text == text
