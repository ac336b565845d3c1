"""Undo by key: one history for the viewer."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt

pytestmark = pytest.mark.window

FIRST, SECOND = (28, 32), (28, 92)
SHIFT = Qt.KeyboardModifier.ShiftModifier


def test_undo_takes_back_a_run_in_another_layer_first(desk, blobs):
    d = desk(blobs)
    for position in (FIRST, SECOND):
        d.mouse.click(d.image, position)
        d.settle()
        d.mouse.key(Qt.Key.Key_W)
        d.settle()
    objects = d.viewer.layers['objects']
    written = objects.data.copy()
    _, everything = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Segment everything'
    )
    everything.form.controls['points_per_side'].value = 10
    everything.form.controls['min_area'].value = 0
    d.settle()
    everything.labels_combo.layer = None
    everything.run_button.click()
    d.settle()
    run = d.viewer.layers['image objects']
    assert run.data.max() == 4
    d.widget.trigger('use_points_tool')
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert not run.data.any()
    assert (objects.data == written).all()
    assert f'“{run.name}”' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert objects.data.max() == 1
    assert 'Undone: object 2 in “objects”' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_U, SHIFT)
    d.mouse.key(Qt.Key.Key_U, SHIFT)
    d.settle()
    assert (objects.data == written).all()
    assert run.data.max() == 4
