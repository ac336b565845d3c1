"""Bounded, deterministic sample of the pixels of an image.

The same image gives the same sample on every machine and in every process, so
windows of one image share their contrast.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_PIXELS = 1 << 20
# Lazy images are read in a few whole blocks: a stride would load every chunk.
BLOCK = 256
# Blocks per side; the next number is tried while all values are equal.
BLOCKS_PER_SIDE = (4, 8, 16, 32)


def in_memory(array: Any) -> bool:
    """Return whether strided reads are cheap, as in memory.

    A stride over a memory map reads all of its pages.
    """
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


def sample_channel(
    image: Any, channel_axis: int | None, channel: int | None
) -> NDArray[Any]:
    """Return the finite values of a sample of one channel.

    Parameters
    ----------
    image : array
        (H, W) or with a channel axis; NumPy, dask or zarr.
    channel_axis : int or None
        0, 2, or None for (H, W).
    channel : int or None
        Channel on that axis.

    Returns
    -------
    ndarray
        (n,) of the image's type; empty if no pixel read is finite. Of a large
        image that is not in memory, only some pixels are read.
    """
    height, width = (
        n for axis, n in enumerate(image.shape) if axis != channel_axis
    )

    def read(rows: slice, columns: slice) -> NDArray[Any]:
        index: tuple[Any, ...] = (rows, columns)
        if channel_axis == 0:
            index = (channel, rows, columns)
        elif channel_axis == 2:
            index = (rows, columns, channel)
        values = np.asarray(image[index]).ravel()
        if values.dtype.kind == 'f':
            values = values[np.isfinite(values)]
        return values

    small = height * width <= 4 * SAMPLE_PIXELS
    at_hand = small or in_memory(image)
    if at_hand:
        step = math.ceil((height * width / SAMPLE_PIXELS) ** 0.5)
        values = read(slice(None, None, step), slice(None, None, step))
    else:
        for per_side in BLOCKS_PER_SIDE:
            blocks = [
                read(slice(row, row + BLOCK), slice(column, column + BLOCK))
                for row in _starts(height, per_side)
                for column in _starts(width, per_side)
            ]
            values = np.concatenate(blocks)
            if varies(values):
                break
    if values.size == 0 and at_hand:
        # The sample missed them: before giving up, look at every pixel.
        values = read(slice(None), slice(None))
    return values


def varies(values: NDArray[Any]) -> bool:
    """Return whether finite values differ."""
    known = values[np.isfinite(values)]
    return known.size > 0 and bool(known.min() != known.max())


def _starts(length: int, per_side: int) -> list[int]:
    last = max(0, length - BLOCK)
    enough = max(BLOCKS_PER_SIDE[0], -(-length // BLOCK))
    starts = np.linspace(0, last, min(per_side, enough)).astype(int)
    return sorted({int(start) for start in starts})
