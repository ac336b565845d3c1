"""Labels in the other byte order, memory-mapped: nothing is reversed."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

FIRST, SECOND = (28, 32), (28, 92)


@pytest.fixture(params=['>u2', pytest.param('>i2', marks=pytest.mark.slow)])
def mapped(request, desk, blobs, tmp_path):
    """Desk with memory-mapped labels; the array on disk."""
    data = np.memmap(tmp_path / 'labels', request.param, 'w+', 0, blobs.shape)
    d = desk(blobs)
    labels = d.viewer.add_labels(data, name='own')
    d.widget.panel.labels_combo.layer = labels
    d.settle()

    def on_disk():
        data.flush()
        return np.memmap(
            tmp_path / 'labels', request.param, 'r', 0, blobs.shape
        )

    return d, labels, on_disk


@pytest.mark.slow
def test_own_brush_of_napari_writes_what_it_shows(mapped):
    d, labels, on_disk = mapped
    d.viewer.layers.selection.active = labels
    labels.selected_label, labels.brush_size = 9, 6
    labels.mode = 'paint'
    d.mouse.drag(d.image, (60, 20), (80, 60))
    labels.data_setitem((np.array([2]), np.array([3])), np.array([5]))
    labels.data_setitem((np.array([4]), np.array([3])), 6)
    assert np.unique(on_disk()).tolist() == [0, 5, 6, 9]
    labels.mode = 'erase'
    d.mouse.drag(d.image, (60, 20), (80, 60))
    assert np.unique(on_disk()).tolist() == [0, 5, 6]
    for _ in range(4):
        labels.undo()
    assert not on_disk().any()


def test_objects_are_written_edited_and_painted_over(mapped):
    d, labels, on_disk = mapped
    d.widget.trigger('use_points_tool')
    for position in (FIRST, SECOND):
        d.mouse.click(d.image, position)
        d.settle()
        d.mouse.key(Qt.Key.Key_W)
        d.settle()
    assert np.unique(on_disk()).tolist() == [0, 1, 2]
    d.mouse.move(d.mouse.at(d.image, FIRST))
    d.mouse.key(Qt.Key.Key_G)
    d.settle()
    # while the object is hidden, and after
    labels.data_setitem((np.array([2]), np.array([3])), 300)
    assert np.unique(on_disk()).tolist() == [0, 1, 2, 300]
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    labels.data_setitem((np.array([4]), np.array([3])), 301)
    assert np.unique(on_disk()).tolist() == [0, 1, 2, 300, 301]
