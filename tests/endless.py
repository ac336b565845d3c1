"""Synthetic images of any size, computed as they are read."""

from __future__ import annotations

from typing import Any

import numpy as np

# Larger reads are those of a whole image, which nothing may do.
LARGEST_READ = 4096**2


class Endless:
    """Bright squares on black at a fixed distance; counts what is read.

    Parameters
    ----------
    shape : tuple of int
        Any number of axes; squares lie on the last two.
    step, size : int
        Distance and side of the squares in pixels.
    """

    def __init__(
        self, shape: tuple[int, ...], step: int = 40, size: int = 16
    ) -> None:
        self.shape, self.ndim = shape, len(shape)
        self.dtype = np.dtype(np.uint8)
        self.size = int(np.prod(shape))
        self.step, self.side = step, size
        self.pixels = self.largest = 0

    @classmethod
    def pyramid(cls, side: int, levels: int, step: int = 40) -> list[Endless]:
        """Square levels, each half as large, of the same picture."""
        return [
            cls(
                (side >> n, side >> n),
                max(2, step >> n),
                max(1, (2 * step // 5) >> n),
            )
            for n in range(levels)
        ]

    def __getitem__(self, index: Any) -> np.ndarray:
        index = index if isinstance(index, tuple) else (index,)
        index = (*index, *[slice(None)] * (self.ndim - len(index)))
        places = [
            np.arange(*part.indices(n)) if isinstance(part, slice) else part
            for n, part in zip(self.shape, index, strict=True)
        ]
        shape = [len(place) for place in places if np.ndim(place)]
        pixels = int(np.prod(shape, dtype=np.int64))
        assert pixels <= LARGEST_READ, f'{shape} pixels read at once'
        self.pixels += pixels
        self.largest = max(self.largest, pixels)
        rows, columns = (
            np.asarray(place) % self.step < self.side for place in places[-2:]
        )
        if rows.ndim and columns.ndim:
            rows = rows[:, None]
        picture = np.where(rows & columns, np.uint8(220), np.uint8(10))
        return np.broadcast_to(picture, shape)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype)
