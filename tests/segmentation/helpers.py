"""Small things that tests of masks share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import Mask


def paste(mask: Mask, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool plane of a box-cropped mask."""
    plane = np.zeros(shape, dtype=bool)
    row0, column0, row1, column1 = mask.box
    plane[row0:row1, column0:column1] = mask.data
    return plane


def as_mask(plane: NDArray[np.bool_], score: float = 0.9) -> Mask:
    """Box-cropped mask of a plane."""
    data, box = crop_to_mask(plane)
    return Mask(data, box, score)


def disc(
    shape: tuple[int, int], center: Sequence[float], radius: float
) -> NDArray[np.bool_]:
    """(H, W) bool plane with a disc."""
    rows, columns = np.indices(shape)
    distance = np.hypot(rows - center[0], columns - center[1])
    return np.asarray(distance <= radius)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 if both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


SHAPE = (200, 230)


def discs_off_grid(shape: tuple[int, int]) -> list[np.ndarray]:
    """Discs that no grid knows of, a third of (200, 230) without any."""
    return [
        disc(shape, (row, column), 7)
        for row in range(11, 190, 22)
        for column in range(13, 140, 23)
    ]


def assert_each_found_once(labels, planes, least=0.75):
    assert labels.max() == len(planes)
    for plane in planes:
        numbers, counts = np.unique(labels[plane], return_counts=True)
        best = numbers[counts.argmax()]
        assert best > 0
        assert iou(labels == best, plane) >= least
