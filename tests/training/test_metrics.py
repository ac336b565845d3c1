"""Scores of masks and label images, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_dilation, binary_erosion

from napari_mobilesam.training import metrics
from napari_mobilesam.training.metrics import (
    THRESHOLDS,
    average_precision,
    boundary_f,
    iou,
    iou_matrix,
    match,
)

labels = arrays(np.int32, (6, 7), elements=st.integers(0, 4))


def square(start: int, stop: int, side: int = 20) -> np.ndarray:
    mask = np.zeros((side, side), dtype=bool)
    mask[start:stop, start:stop] = True
    return mask


def test_iou_of_overlapping_squares() -> None:
    # 10 x 10 and 10 x 10 that share 5 x 5: 25 / 175.
    assert iou(square(0, 10), square(5, 15)) == pytest.approx(25 / 175)


def test_empty_masks_agree() -> None:
    empty = np.zeros((3, 3), dtype=bool)
    assert iou(empty, empty) == 1
    assert iou(empty, ~empty) == 0


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match='same image'):
        iou(square(0, 2), square(0, 2, side=5))
    with pytest.raises(ValueError, match='same image'):
        iou_matrix(np.zeros((2, 2), int), np.zeros((3, 2), int))


@pytest.mark.slow
@given(labels, labels)
def test_iou_matrix_equals_pairwise_iou(
    truth: np.ndarray, found: np.ndarray
) -> None:
    matrix = iou_matrix(truth, found)
    true_ids = [i for i in np.unique(truth) if i]
    found_ids = [i for i in np.unique(found) if i]
    assert matrix.shape == (len(true_ids), len(found_ids))
    for row, i in enumerate(true_ids):
        for column, j in enumerate(found_ids):
            expected = iou(truth == i, found == j)
            assert matrix[row, column] == pytest.approx(expected)


@given(labels)
def test_perfect_labels_score_one_whatever_their_numbers(
    truth: np.ndarray,
) -> None:
    renumbered = np.where(truth > 0, 90 - truth, 0)
    assert average_precision(truth, renumbered).tolist() == [1.0] * 10


def test_match_counts() -> None:
    matrix = np.array([[0.9, 0.0, 0.0], [0.6, 0.55, 0.0]])
    found = match(matrix, 0.5)
    # The second object takes its second-best partner, so that both match.
    assert (found.true_positives, found.false_positives) == (2, 1)
    assert found.false_negatives == 0
    assert found.mean_iou == pytest.approx((0.9 + 0.55) / 2)
    assert found.average_precision == pytest.approx(2 / 3)
    assert found.recall == 1
    assert found.f1 == pytest.approx(4 / 5)


@given(labels, labels)
def test_matches_of_more_than_half_need_no_assignment(
    truth: np.ndarray, found: np.ndarray
) -> None:
    matrix = iou_matrix(truth, found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, 'linear_sum_assignment', None)
        pairs = match(matrix, 0.5)
    assert pairs.true_positives == (matrix > 0.5).sum()


def test_threshold_is_exclusive() -> None:
    assert match(np.array([[0.5]]), 0.5).true_positives == 0


def test_nothing_found_and_nothing_there() -> None:
    assert match(np.zeros((0, 0))).average_precision == 1
    assert match(np.zeros((2, 0))).average_precision == 0
    assert match(np.zeros((0, 2))).average_precision == 0
    assert len(THRESHOLDS) == 10
    assert THRESHOLDS[-1] == 0.95


def test_boundary_f_forgives_up_to_the_tolerance() -> None:
    truth = square(5, 15)
    assert boundary_f(truth, truth) == 1
    assert boundary_f(truth, np.roll(truth, 1, axis=0), tolerance=1) == 1
    assert boundary_f(truth, square(8, 12), tolerance=1) == 0
    assert boundary_f(truth, np.zeros_like(truth)) == 0
    assert boundary_f(np.zeros_like(truth), np.zeros_like(truth)) == 1
    whole = np.ones_like(truth)
    assert boundary_f(whole, np.zeros_like(truth)) == 0
    assert boundary_f(whole, whole) == 1


@given(arrays(bool, (14, 17)), arrays(bool, (14, 17)), st.integers(1, 4))
def test_boundary_f_is_that_of_whole_images(truth, predicted, tolerance):
    borders = [
        m & ~binary_erosion(m, border_value=1) for m in (truth, predicted)
    ]
    value = boundary_f(truth, predicted, tolerance)
    if not all(border.any() for border in borders):
        assert value == np.array_equal(truth, predicted)
        return
    offsets = np.mgrid[-tolerance : tolerance + 1, -tolerance : tolerance + 1]
    near = [
        binary_dilation(border, np.hypot(*offsets) <= tolerance)
        for border in borders
    ]
    precision = (borders[1] & near[0]).sum() / borders[1].sum()
    recall = (borders[0] & near[1]).sum() / borders[0].sum()
    both = precision + recall
    assert value == pytest.approx(2 * precision * recall / both if both else 0)
