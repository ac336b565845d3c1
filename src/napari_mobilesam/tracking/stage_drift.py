"""Shift shared by all objects of a frame, as when the stage moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

# Frames are subsampled to at most this many pixels per side.
LONGEST_SIDE = 512
# Minimum share of the smaller foreground that overlaps the other one.
LEAST_OVERLAP = 0.6
# Minimum overlap with the shift, as a multiple of that without.
LEAST_GAIN = 1.3


class StageDrift:
    """Estimator of the shift of each frame relative to the previous one.

    The shift is the peak of the cross-correlation of the foregrounds, if the
    objects overlap much better with it than without: objects that move
    independently give no shift. A frame with at most one object is skipped,
    and the next one gets the shift of both.
    """

    def __init__(self) -> None:
        self._before: tuple[NDArray[np.complex64], int] | None = None

    def shift(self, frame: NDArray[np.bool_], objects: int) -> tuple[int, int]:
        """Return the (row, column) shift relative to the last frame in use.

        Parameters
        ----------
        frame : (H, W) or (Z, H, W) bool
            Foreground of the next frame; all have the same shape. Planes are
            projected.
        objects : int
            Number of objects in it. The movement of a single one is not a
            shift.
        """
        if objects < 2:
            return 0, 0
        flat = np.asarray(frame.any(axis=0) if frame.ndim == 3 else frame)
        step = -(-max(flat.shape) // LONGEST_SIDE)
        small = flat[::step, ::step]
        size = tuple(
            fft.next_fast_len(2 * side, real=True) for side in small.shape
        )
        spectrum = fft.rfft2(small.astype(np.float32), size)
        area, before = int(small.sum()), self._before
        self._before = spectrum, area
        if before is None:
            return 0, 0
        overlaps = fft.irfft2(before[0].conj() * spectrum, size)
        place = np.unravel_index(overlaps.argmax(), size)
        most, least = float(overlaps[place]), float(overlaps[0, 0])
        if most < LEAST_OVERLAP * min(before[1], area) or (
            most < LEAST_GAIN * least
        ):
            return 0, 0
        row, column = (
            int(at) - (full if at > full // 2 else 0)
            for at, full in zip(place, size, strict=True)
        )
        return row * step, column * step
