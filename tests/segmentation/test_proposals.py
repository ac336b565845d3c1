"""Boxes out and boxes in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_mobilesam.segmentation.proposals import (
    BOX_COLUMNS,
    _checked_boxes,
    boxes_of_table,
    object_proposals,
    segment_boxes,
)
from napari_mobilesam.types import PromptError

from .helpers import disc, iou
from .oracle import Oracle

SHAPE = (120, 160)


@pytest.fixture
def image() -> np.ndarray:
    planes = disc(SHAPE, (40, 40), 18) | disc(SHAPE, (80, 110), 25)
    return np.where(planes, 255, 0).astype(np.uint8)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)


@pytest.mark.slow
def test_proposals_are_boxes_of_objects(image):
    table = object_proposals(
        image, Oracle(), points_per_side=16, whole_image=True
    )
    assert len(table) == 2
    for (row, column), radius in (((40, 40), 18), ((80, 110), 25)):
        expected = [row - radius, column - radius]
        expected += [row + radius + 1, column + radius + 1]
        distance = np.abs(table[list(BOX_COLUMNS)] - expected).max(axis=1)
        assert distance.min() <= 2


@pytest.mark.slow
def test_proposals_are_ranked_and_cut_off(noise, tiny_model):
    options = {
        'predicted_iou': 0.0,
        'stability': 0.0,
        'stability_offset': 0.01,
        'points_per_side': 4,
    }
    table = object_proposals(noise, tiny_model, **options)
    assert table['score'].is_monotonic_decreasing
    assert np.allclose(
        table['score'], (table['predicted_iou'] + table['stability']) / 2
    )
    few = object_proposals(noise, tiny_model, most=3, **options)
    pd.testing.assert_frame_equal(few, table.head(3))
    fewer_duplicates = object_proposals(
        noise, tiny_model, box_nms=0.5, **options
    )
    assert len(fewer_duplicates) <= len(table)


def test_nothing_gives_a_table_without_rows():
    table = object_proposals(
        np.zeros((20, 20), np.uint8), Oracle(), points_per_side=2
    )
    assert len(table) == 0
    assert set(BOX_COLUMNS) < set(table.columns)


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
