"""Greedy non-maximum suppression (NMS) of masks by their boxes.

The pairs of boxes that overlap are found once, and serve many thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.box_pairs import meeting_pairs
from napari_mobilesam.types import Mask


class BoxOverlaps:
    """Pairs of boxes that overlap, for greedy non-maximum suppression.

    Finding the pairs costs far more than using them: once they are known,
    another threshold takes no time.

    Parameters
    ----------
    boxes : ndarray
        (N, 4) int (row0, column0, row1, column1), half open.
    least : float
        Pairs with an IoU up to this are not kept, so no threshold may be
        lower.
    """

    def __init__(self, boxes: NDArray[np.int64], least: float) -> None:
        self.boxes = boxes
        self.least = least
        first, self._second, self._iou = _overlapping_pairs(boxes, least)
        self._start = np.searchsorted(first, np.arange(len(boxes) + 1))

    def suppress(
        self,
        chosen: NDArray[np.intp],
        keys: Sequence[NDArray[Any]],
        threshold: float,
        groups: NDArray[np.intp] | None = None,
    ) -> NDArray[np.intp]:
        """Return the indices that greedy suppression keeps, best first.

        Parameters
        ----------
        chosen : ndarray
            (M,) indices of the boxes to consider.
        keys : sequence of ndarray
            (N,) each, for all boxes; see `better_first`.
        threshold : float
            Boxes with a larger IoU with a better box are dropped; at least
            ``least``.
        groups : ndarray, optional
            (N,) group of each box; boxes of different groups do not suppress
            each other.
        """
        alive = np.zeros(len(self.boxes), dtype=bool)
        alive[chosen] = True
        order = better_first(
            self.boxes[chosen], [np.asarray(key)[chosen] for key in keys]
        )
        kept = []
        for index in chosen[order].tolist():
            if not alive[index]:
                continue
            kept.append(index)
            pairs = slice(self._start[index], self._start[index + 1])
            rivals = self._second[pairs]
            beaten = self._iou[pairs] > threshold
            if groups is not None:
                beaten &= groups[rivals] == groups[index]
            alive[rivals[beaten]] = False
        return np.array(kept, dtype=np.intp)


def box_iou(
    box: NDArray[np.int64], boxes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute the IoU of boxes of shapes (..., 4) that broadcast.

    The reference measures boxes from the centre of the first pixel to that of
    the last, so that a box of one row has no area; this does the same.
    """
    low = np.maximum(box[..., :2], boxes[..., :2])
    high = np.minimum(box[..., 2:], boxes[..., 2:]) - 1
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = np.prod(boxes[..., 2:] - boxes[..., :2] - 1, axis=-1)
    area = np.prod(box[..., 2:] - box[..., :2] - 1, axis=-1)
    union = area + areas - shared
    ratio = np.zeros(union.shape)
    np.divide(shared, union, out=ratio, where=union > 0)
    return ratio


def better_first(
    boxes: NDArray[np.int64], keys: Sequence[NDArray[Any]]
) -> NDArray[np.intp]:
    """Sort boxes by keys, higher first; earlier keys take precedence.

    Ties are broken by the boxes, so that the order of the input matters only
    if two entries are entirely equal.
    """
    ties = [boxes[:, axis] for axis in (3, 2, 1, 0)]
    falling = [-np.asarray(key, dtype=np.float64) for key in keys]
    return np.lexsort([*ties, *reversed(falling)])


def _overlapping_pairs(
    boxes: NDArray[np.int64], least: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return ordered (first, second, IoU) pairs above ``least``."""
    firsts = [np.zeros(0, dtype=np.int32)]
    seconds = [np.zeros(0, dtype=np.int32)]
    ious = [np.zeros(0)]
    for one, other in meeting_pairs(boxes):
        iou = box_iou(boxes[one], boxes[other])
        high = iou > least
        firsts += [one[high].astype(np.int32), other[high].astype(np.int32)]
        seconds += firsts[-1:-3:-1]
        ious += [iou[high]] * 2
    first = np.concatenate(firsts)
    order = np.argsort(first, kind='stable')
    return (
        first[order],
        np.concatenate(seconds)[order],
        np.concatenate(ious)[order],
    )


def boxes_of(masks: Sequence[Mask]) -> NDArray[np.int64]:
    """Return (N, 4) int64 boxes (row0, column0, row1, column1), half open."""
    boxes = np.array([mask.box for mask in masks], dtype=np.int64)
    return boxes.reshape(-1, 4)


def non_maximum_suppression(
    boxes: NDArray[np.int64],
    keys: Sequence[NDArray[Any]],
    threshold: float,
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression of boxes.

    Parameters
    ----------
    boxes : ndarray
        (N, 4) int (row0, column0, row1, column1), half open.
    keys : sequence of ndarray
        (N,) each; higher is better, see `better_first`.
    threshold : float
        Boxes with a larger IoU with a better box are dropped.

    Returns
    -------
    ndarray
        Indices of the boxes kept, best first.
    """
    overlaps = BoxOverlaps(boxes, threshold)
    return overlaps.suppress(np.arange(len(boxes)), keys, threshold)


def suppress(
    masks: Sequence[Mask],
    threshold: float,
    keys: Sequence[NDArray[Any]] | None = None,
) -> list[Mask]:
    """Drop masks whose box overlaps that of a better mask; best first.

    Parameters
    ----------
    masks : sequence of Mask
        Masks of one plane.
    threshold : float
        Masks whose box has a larger IoU with that of a better mask are
        dropped.
    keys : sequence of ndarray, optional
        Rank of the masks, as for `non_maximum_suppression`; by default their
        score.
    """
    if keys is None:
        keys = [np.array([mask.score for mask in masks])]
    kept = non_maximum_suppression(boxes_of(masks), keys, threshold)
    return [masks[index] for index in kept]


def suppress_cleaned(
    pairs: Sequence[tuple[Mask, Mask]], threshold: float
) -> list[Mask]:
    """Drop duplicates among cleaned masks, given the originals.

    Of two duplicates, one that needed no cleaning is preferred, then the one
    with the higher score.
    """
    untouched = np.array([float(new is old) for old, new in pairs])
    scores = np.array([old.score for old, _ in pairs])
    cleaned = [new for _, new in pairs]
    return suppress(cleaned, threshold, [untouched, scores])
