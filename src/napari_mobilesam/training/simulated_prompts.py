"""Simulated prompts and corrections (Segment Anything, appendix A).

Masks are (h, w) bool on a label grid that may be coarser than the image;
positions are (row, column) of grid pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.masks import (
    innermost_pixel,
    interior_distance,
)

BOX_JITTER = 0.08  # standard deviation, relative to the sides
LARGEST_SHIFT = 20.0  # maximum for a side, in pixels


def random_point(
    mask: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[int, int]:
    """Draw a pixel uniformly from the mask."""
    chosen = np.flatnonzero(mask)
    row, column = divmod(int(rng.choice(chosen)), mask.shape[1])
    return row, column


def box_of(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the tight box (row0, column0, row1, column1), half open."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return np.array(
        [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1], dtype=float
    )


def jitter_box(
    box: NDArray[np.float64],
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Move the sides of a box, like a box drawn by hand.

    Parameters
    ----------
    box : ndarray
        (4,) row0, column0, row1, column1.
    shape : tuple of int
        Image shape to which the box is clipped.
    rng : numpy.random.Generator
        Random generator.
    """
    sides = np.tile(box[2:] - box[:2], 2)
    shift = rng.normal(0, BOX_JITTER, 4) * sides
    shift = np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT)
    limit = sides * 0.3
    moved = box + np.clip(shift, -limit, limit)
    return np.clip(moved, 0, np.tile(np.asarray(shape, dtype=float), 2))


def correction_point(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> tuple[int, int, int]:
    """Return a click that corrects a mask: the middle of the largest error.

    This is what a person would do, and what the number-of-clicks protocol
    prescribes.

    Parameters
    ----------
    predicted, truth : ndarray
        (h, w) bool; ``truth`` is not empty.

    Returns
    -------
    row, column, label : int
        Label 1 where the mask lacks a piece, 0 where it leaks. Without any
        error, a positive click in the object.
    """
    regions = [(truth & ~predicted, 1), (predicted & ~truth, 0)]
    depths = [interior_distance(region) for region, _ in regions]
    best = int(np.argmax([depth.max() for depth in depths]))
    if depths[best].max() == 0:
        return *innermost_pixel(truth), 1
    peak = int(np.argmax(depths[best]))
    row, column = divmod(peak, truth.shape[1])
    return row, column, regions[best][1]
