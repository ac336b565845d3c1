"""Pixels that the confident masks of a run explain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.scope import at_points
from napari_mobilesam.types import Mask, slices_of

# A mask is confident if its predicted IoU is at least this fraction of the way
# from the threshold to 1.
CONFIDENT = 1 / 3
# Masks larger than this many discs of the typical diameter explain nothing,
# since they may hold several objects.
LARGEST = 4.0


class Coverage:
    """Record of the pixels that need no more prompts.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    diameter : float
        Typical object diameter in data pixels.
    confident : float
        Predicted IoU above which the pixels of a mask are explained.
    """

    def __init__(
        self,
        image_shape: tuple[int, int],
        diameter: float,
        confident: float,
    ) -> None:
        self._confident = confident
        self._largest = LARGEST * np.pi / 4 * diameter**2
        self._explained = np.zeros(image_shape, dtype=bool)

    def explain(self, masks: Sequence[Mask]) -> None:
        """Mark what confident masks cover."""
        for mask in masks:
            if mask.score >= self._confident and self.is_object(mask):
                self._explained[slices_of(mask.box)] |= mask.data

    def is_object(self, mask: Mask) -> bool:
        """Return whether a mask is small enough to be one object."""
        return mask.area <= self._largest

    def at(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (N,) bool: which (N, 2) (row, column) are explained."""
        return at_points(self._explained, points)


def confident_iou(least: float) -> float:
    """Return the predicted IoU of a confident mask, given the threshold."""
    return least + CONFIDENT * (1 - least)
