"""Boxes read from tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_mobilesam.segmentation.box_tables import boxes_of_table
from napari_mobilesam.types import PromptError


def test_boxes_of_shapes_with_more_axes():
    shapes = pd.DataFrame(
        {
            'index': [0, 0, 0, 4, 4],
            'shape-type': ['polygon'] * 3 + ['ellipse'] * 2,
            'vertex-index': [0, 1, 2, 0, 1],
            'axis-0': [7.0] * 5,
            'axis-1': [3.0, 9, 5, 20, 30],
            'axis-2': [1.0, 4, 8, 40, 35],
        }
    )
    boxes = boxes_of_table(shapes)
    expected = np.array([[3, 1, 9, 8], [20, 35, 30, 40]]) + 0.5
    assert boxes.to_numpy().tolist() == expected.tolist()


def test_boxes_of_a_table_of_something_else():
    with pytest.raises(PromptError, match='It has x, index'):
        boxes_of_table(pd.DataFrame({'x': [1], 'index': [2]}))
