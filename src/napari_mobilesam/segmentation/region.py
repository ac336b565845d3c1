"""Part of an image that is embedded once, with the points to prompt in it.

A run of segment everything is a list of regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import LOW_RES_STRIDE, STRIDE, Box, Mask

# A mask this close to an inner edge of its crop, in data pixels, is cut off
# (as in the reference implementation).
CROP_EDGE = 20.0


def cut_edge(pitch: float) -> float:
    """Return the distance from a window edge within which masks are cut off.

    The border of a mask is blurred over one low-res logit.

    Parameters
    ----------
    pitch : float
        Data pixels along a cell of the embedding.

    Returns
    -------
    float
        Distance in data pixels, for `Region.edge`.
    """
    return 1 + LOW_RES_STRIDE * pitch / STRIDE


class DecoderBlock(NamedTuple):
    """What the decoder gets of an image; see `ImageEmbedding.decoder_block`.

    Attributes
    ----------
    center : tuple of float
        (row, column) in data pixels.
    pitch : int
        Scale.
    large : bool
        Cut from a large block.
    """

    center: tuple[float, float]
    pitch: int
    large: bool = False


@dataclass(frozen=True, eq=False)
class Region:
    """Part of the image to embed, and the points to prompt in it.

    Attributes
    ----------
    window : tuple of int
        (row0, column0, row1, column1), half open.
    points : ndarray
        (N, 2) float64 (row, column) in data pixels. Points of a grid count
        from the corner of the image, as in the reference implementation;
        those that an instance head gives count from the centre of its first
        pixel, as clicks do. The model takes both as they are.
    edge : float
        A mask within this distance of a window edge that is not an image edge
        is cut off.
    decoder_block : DecoderBlock or None
        Decoder block to prompt. If None, the window is one model input, as in
        the paper.
    core : tuple of int or None
        (row0, column0, row1, column1), half open: the part whose objects this
        region owns, or None. The cores of a plan do not overlap.
    """

    window: Box
    points: NDArray[np.float64]
    edge: float = CROP_EDGE
    decoder_block: DecoderBlock | None = None
    core: Box | None = None

    def owns(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (N,) bool: which (N, 2) (row, column) lie in the core."""
        if self.core is None:
            return np.zeros(len(points), dtype=bool)
        low, high = np.array(self.core[:2]), np.array(self.core[2:])
        inside = (points >= low) & (points < high)
        return np.asarray(inside.all(axis=1))

    def cuts(self, mask: Mask, image_shape: tuple[int, int]) -> bool:
        """Return whether the mask ends at an inner edge of the window."""
        row0, column0, row1, column1 = mask.box
        # Inclusive pixel indices, as the reference compares.
        pixels = np.array([row0, column0, row1 - 1, column1 - 1])
        near_window = np.abs(pixels - self.window) <= self.edge
        image = np.array([0, 0, *image_shape])
        near_image = np.abs(pixels - image) <= self.edge
        return bool((near_window & ~near_image).any())
