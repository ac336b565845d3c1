"""Labels of an OME-Zarr as a TIFF, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TILE = 512


def write_label_tiff(labels: Any, path: Path, largest: int) -> None:
    """Write a label image as compressed, tiled TIFF in bounded memory.

    Parameters
    ----------
    labels : array
        (..., H, W) labels, such as a zarr array.
    path : Path
        File to write.
    largest : int
        Largest label: uint16 is written if that holds it, else uint32.
    """
    import tifffile

    small = largest <= np.iinfo(np.uint16).max
    dtype = np.dtype(np.uint16 if small else np.uint32)
    leading = 'TZ'[-(labels.ndim - 2) :] if labels.ndim > 2 else ''
    tifffile.imwrite(
        path,
        _tiles(labels, dtype),
        shape=labels.shape,
        dtype=dtype,
        tile=(TILE, TILE),
        compression='zlib',
        photometric='minisblack',
        # compressed it may be smaller, but nobody knows before
        bigtiff=int(np.prod(labels.shape)) * dtype.itemsize >= 1 << 32,
        metadata={'axes': f'{leading}YX'},
    )


def _tiles(labels: Any, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Whole tiles in reading order, filled up with background."""
    height, width = labels.shape[-2:]
    for index in np.ndindex(*labels.shape[:-2]):
        for row in range(0, height, TILE):
            # whole chunks are read once, not once per tile
            strip = labels[(*index, slice(row, row + TILE))]
            for column in range(0, width, TILE):
                part = np.asarray(strip[:, column : column + TILE])
                tile = np.zeros((TILE, TILE), dtype)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
