"""Boxes in, objects out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_mobilesam.segmentation.box_prompts import (
    _checked_boxes,
    segment_boxes,
)
from napari_mobilesam.segmentation.box_tables import BOX_COLUMNS
from napari_mobilesam.types import PromptError

from .helpers import iou


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)


@pytest.mark.slow
def test_each_box_gets_its_label(noise, tiny_model):
    boxes = [[2, 3, 20, 30], [25, 10, 48, 40], [5, 40, 30, 68]]
    labels, table = segment_boxes(noise, tiny_model, boxes)
    assert labels.shape == noise.shape
    assert set(table['label']) <= {1, 2, 3}
    assert set(np.unique(labels)) == {0, *table['label']}


@pytest.mark.slow
def test_boxes_give_the_same_one_by_one(noise, tiny_model):
    boxes = np.array([[2, 3, 20, 30], [25, 10, 48, 40]])
    together, _ = segment_boxes(noise, tiny_model, boxes)
    alone = [segment_boxes(noise, tiny_model, [box])[0] for box in boxes]
    covered = (alone[0] > 0) & (alone[1] > 0)
    for number, labels in enumerate(alone, start=1):
        expected = (labels > 0) & ~covered
        assert iou(expected, (together == number) & ~covered) > 0.99


@pytest.mark.slow
def test_boxes_of_a_table_and_across_windows(noise, tiny_model):
    boxes = pd.DataFrame(
        [[2, 3, 8, 9, 'a'], [40, 60, 48, 69, 'b'], [1, 60, 9, 68, 'c']],
        columns=[*BOX_COLUMNS, 'name'],
    )
    done = []
    segment_boxes(
        noise,
        tiny_model,
        boxes,
        progress=lambda *report: done.append(report[:2]),
    )
    assert done[0] == (0, 3)
    assert done[-1] == (3, 3)


def test_cancelled_before_anything_is_asked(noise, tiny_model):
    labels, table = segment_boxes(
        noise, tiny_model, [[2, 3, 20, 30]], cancelled=lambda: True
    )
    assert not labels.any()
    assert len(table) == 0


def test_no_boxes_no_objects(noise, tiny_model):
    labels, table = segment_boxes(noise, tiny_model, np.zeros((0, 4)))
    assert not labels.any()
    assert len(table) == 0


def test_boxes_beyond_the_image_are_told():
    boxes = [[0, 0, 9, 9], [2, 3, 90, 30], [-9, 0, 5, 5]]
    words = '2 of 3 boxes reach beyond the image of 20 × 20 .* first box 1'
    with pytest.warns(UserWarning, match=words):
        checked = _checked_boxes(boxes, (20, 20), 128)
    assert checked.tolist() == [[0, 0, 9, 9], [2, 3, 20, 20], [0, 0, 5, 5]]


@pytest.mark.parametrize(
    ('boxes', 'message'),
    [
        ([1, 2, 3, 4], r'shape \(4,\)'),
        ([[1, 2, 3]], r'shape \(1, 3\)'),
        ([[5, 5, 5, 9]], 'no area'),
        ([[100, 5, 120, 9]], 'outside the image'),
        ([[1, 2, np.nan, 4]], 'NaN'),
        ([[1, 2, 9, 9], [5, 5, 5, 9]], 'Box 1 of 2, .* no area'),
        (
            pd.DataFrame(
                {'row0': [1], 'column0': ['x'], 'row1': [2], 'column1': [2]}
            ),
            "column0 is 'x' in row 0",
        ),
        (pd.DataFrame({'row0': [1], 'row1': [2]}), 'column0, column1'),
    ],
)
def test_bad_boxes(noise, tiny_model, boxes, message):
    with pytest.raises(PromptError, match=message):
        segment_boxes(noise, tiny_model, boxes)
