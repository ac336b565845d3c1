"""Images with units: every layer of ours has those of its image."""

from __future__ import annotations

import warnings

import pytest
from qtpy.QtCore import Qt

pytestmark = pytest.mark.window

FIRST, SECOND = (28, 32), (28, 92)


def test_layers_take_units_and_axis_labels_of_the_image(desk, blobs):
    d = desk(blobs, units=('nm', 'nm'), axis_labels=('y', 'x'), scale=(5, 5))
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*[Ii]nconsistent units')
        for position in (FIRST, SECOND):
            d.mouse.click(d.image, position)
            d.settle()
            preview = d.widget.preview.layer
            assert preview.data.any()
            d.mouse.key(Qt.Key.Key_W)
            d.settle()
    labels = d.widget.output.layer
    assert labels.data[SECOND] == 2
    for layer in (preview, labels, d.widget.tools.points):
        assert layer.units == d.image.units
        assert layer.axis_labels == d.image.axis_labels
