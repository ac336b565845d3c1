"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mobilesam.segmentation.nms import (
    BoxOverlaps,
    box_iou,
    boxes_of,
    non_maximum_suppression,
    suppress,
)


@st.composite
def boxes_and_scores(draw):
    count = draw(st.integers(0, 12))
    corner = hnp.arrays(np.int64, (count, 2), elements=st.integers(0, 20))
    side = hnp.arrays(np.int64, (count, 2), elements=st.integers(1, 15))
    low = draw(corner)
    score = st.sampled_from([0.5, 0.7, 0.7001, 0.9])
    scores = draw(hnp.arrays(float, count, elements=score))
    return np.hstack([low, low + draw(side)]), scores


def test_box_iou_is_measured_between_pixel_centres():
    box = np.array([0, 0, 11, 11])
    others = np.array([[0, 0, 11, 11], [0, 5, 11, 16], [0, 20, 5, 25]])
    # Ten by ten between the centres; half of it shared makes one third.
    assert box_iou(box, others) == pytest.approx([1, 1 / 3, 0])


def test_boxes_of_one_row_have_no_overlap():
    row = np.array([[3, 3, 4, 9]])
    assert box_iou(row[0], row) == pytest.approx([0])


def test_suppression_keeps_the_better_of_two():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11], [20, 20, 30, 30]])
    kept = non_maximum_suppression(boxes, [np.array([0.8, 0.9, 0.1])], 0.7)
    assert kept.tolist() == [1, 2]


def test_earlier_keys_decide_first():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11]])
    keys = [np.array([2, 1]), np.array([0.1, 0.9])]
    assert non_maximum_suppression(boxes, keys, 0.7).tolist() == [0]


@pytest.mark.slow
@given(boxes_and_scores(), st.floats(0, 1), st.randoms())
def test_suppression_does_not_depend_on_the_order(data, threshold, random):
    boxes, scores = data
    order = list(range(len(boxes)))
    random.shuffle(order)
    kept = boxes[non_maximum_suppression(boxes, [scores], threshold)]
    shuffled = boxes[order]
    again = non_maximum_suppression(shuffled, [scores[order]], threshold)
    assert np.array_equal(kept, shuffled[again])


@pytest.mark.parametrize('threshold', [0.1, 0.7])
def test_suppression_of_boxes_of_all_sizes_is_greedy(threshold):
    generator = np.random.default_rng(0)
    low = generator.integers(0, 60, (200, 2))
    sides = 2 ** generator.integers(1, 7, (200, 1))
    sides = sides + generator.integers(0, 4, (200, 2))
    boxes, scores = np.hstack([low, low + sides]), generator.random(200)
    expected = []
    for index in np.argsort(-scores).tolist():
        others = boxes[np.array(expected, int)]
        if (box_iou(boxes[index], others) <= threshold).all():
            expected.append(index)
    overlaps = BoxOverlaps(boxes, 0.05)
    kept = overlaps.suppress(np.arange(200), [scores], threshold)
    assert kept.tolist() == expected


def test_no_masks_are_no_trouble():
    assert suppress([], 0.7) == []
    assert boxes_of([]).shape == (0, 4)
