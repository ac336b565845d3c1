"""Labels of accepted objects: numbers, data types, classes, what is seen."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt

pytestmark = pytest.mark.window

FIRST, SECOND, THIRD, FOURTH = (28, 32), (28, 92), (68, 32), (68, 92)


def click(d, position):
    d.mouse.click(d.image, position)
    d.settle()


def make(d, *positions):
    for position in positions:
        click(d, position)
        d.mouse.key(Qt.Key.Key_W)
        d.settle()
    return d.viewer.layers['objects']


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
