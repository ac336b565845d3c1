"""Scores of masks and label images, in NumPy only.

The average precision of a label image is TP / (TP + FP + FN), as in the Data
Science Bowl 2018 and later cell segmentation tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.optimize import linear_sum_assignment

from napari_mobilesam.argument_checks import check_pixels

#: IoU thresholds of AP50:95.
THRESHOLDS: tuple[float, ...] = tuple(
    round(0.5 + 0.05 * i, 2) for i in range(10)
)


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two masks; 1 if both are empty."""
    if first.shape != second.shape:
        raise ValueError(
            f'masks of shapes {first.shape} and {second.shape}; compare masks '
            'of the same image'
        )
    union = int(np.count_nonzero(first | second))
    return np.count_nonzero(first & second) / union if union else 1.0


def iou_matrix(
    truth: NDArray[np.integer], predicted: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the IoU of every true with every predicted label.

    Parameters
    ----------
    truth, predicted : ndarray
        (H, W) label images, 0 is background; ids need not be consecutive.

    Returns
    -------
    ndarray
        (N, M) float64; rows and columns are in ascending order of the ids.
    """
    if truth.shape != predicted.shape:
        raise ValueError(
            f'label images of shapes {truth.shape} and {predicted.shape}; '
            'compare labels of the same image'
        )
    check_pixels(truth.shape, 'A label image')
    true_ids, rows = np.unique(truth, return_inverse=True)
    found_ids, columns = np.unique(predicted, return_inverse=True)
    shape = len(true_ids), len(found_ids)
    pairs = rows.ravel().astype(np.int64) * shape[1] + columns.ravel()
    shared = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
    union = shared.sum(1, keepdims=True) + shared.sum(0) - shared
    matrix = shared / np.maximum(union, 1)
    return np.asarray(matrix[true_ids != 0][:, found_ids != 0])


@dataclass(frozen=True)
class Matching:
    """Label images compared at one IoU threshold.

    Attributes
    ----------
    true_positives, false_positives, false_negatives : int
        Counts of one-to-one matches, unmatched predicted objects and unmatched
        true objects.
    mean_iou : float
        Mean IoU of the matches, 0 if there is none.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    mean_iou: float

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN); 1 if both images are empty."""
        total = (
            self.true_positives + self.false_positives + self.false_negatives
        )
        return self.true_positives / total if total else 1.0

    @property
    def recall(self) -> float:
        """Share of true objects that were found; 1 if there are none."""
        total = self.true_positives + self.false_negatives
        return self.true_positives / total if total else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if both are empty."""
        total = (
            2 * self.true_positives
            + self.false_positives
            + self.false_negatives
        )
        return 2 * self.true_positives / total if total else 1.0


def match(matrix: NDArray[np.float64], threshold: float = 0.5) -> Matching:
    """Match objects one to one if their IoU is above a threshold.

    Parameters
    ----------
    matrix : ndarray
        (N, M) from `iou_matrix`.
    threshold : float
        A match requires a larger IoU. The number of matches is maximized, then
        the sum of their IoU.
    """
    rows, columns = matrix.shape
    matches = matrix > threshold
    if all((matches.sum(axis) <= 1).all() for axis in (0, 1)):
        # always the case from 0.5, as the labels of an image do not overlap
        ious = matrix[matches]
    else:
        chosen = linear_sum_assignment(
            -(matches + matrix / (2 * min(rows, columns)))
        )
        ious = matrix[chosen][matches[chosen]]
    count, mean = len(ious), float(ious.mean()) if len(ious) else 0.0
    return Matching(count, columns - count, rows - count, mean)


def average_precision(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    thresholds: Sequence[float] = THRESHOLDS,
) -> NDArray[np.float64]:
    """Average precision of a label image at each IoU threshold."""
    matrix = iou_matrix(truth, predicted)
    return np.array([match(matrix, t).average_precision for t in thresholds])


def boundary_f(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    tolerance: int | None = None,
) -> float:
    """Return the F-score of the borders of two masks.

    Parameters
    ----------
    truth, predicted : ndarray
        (H, W) bool.
    tolerance : int, optional
        Distance in pixels up to which borders agree; by default 0.75 % of the
        image diagonal, but at least one pixel.

    Returns
    -------
    float
        Harmonic mean of the shares of each border close to the other. If a
        mask has no border, because it is empty or fills the image: 1 if the
        masks are equal, else 0.
    """
    if tolerance is None:
        tolerance = max(1, round(0.0075 * float(np.hypot(*truth.shape))))
    # nothing counts beyond one pixel around both masks
    part = _around(np.asarray(truth, bool) | predicted)
    borders = [
        _border(np.asarray(mask[part], bool)) for mask in (truth, predicted)
    ]
    if not borders[0].any() or not borders[1].any():
        # a mask that fills the image has no border either
        return float(np.array_equal(truth, predicted))
    near = [distance_transform_edt(~border) <= tolerance for border in borders]
    precision = (borders[1] & near[0]).sum() / borders[1].sum()
    recall = (borders[0] & near[1]).sum() / borders[0].sum()
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0


def _around(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the box of a mask padded by a pixel, within the image."""
    sides = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return tuple(
        slice(max(0, side[0] - 1), side[-1] + 2) if len(side) else slice(0)
        for side in sides
    )


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(mask & ~binary_erosion(mask, border_value=1))
