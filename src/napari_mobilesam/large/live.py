"""Live preview of the objects found so far, as a pyramid on disk.

Duplicates from neighbouring tiles are painted over each other, and colours
have no meaning: this is only a preview of a running job.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_mobilesam.extra import need
from napari_mobilesam.large.results import TileFound

CHUNK = 512
# Side of the coarsest level, which viewers use to show the whole image.
COARSEST = 1024
COLOURS = 250


class LivePicture:
    """Labels 1 to 250 of the objects found so far.

    Parameters
    ----------
    folder : Path
        Empty folder for the pyramid.
    planes_shape : sequence of int
        Sizes of the axes before rows and columns.
    shape : tuple of int
        (H, W) of a plane.

    Attributes
    ----------
    levels : list of zarr.Array
        (*planes_shape, H, W) uint8, finest first.
    """

    def __init__(
        self,
        folder: Path,
        planes_shape: Sequence[int],
        shape: tuple[int, int],
    ) -> None:
        zarr = need('zarr')
        group = zarr.create_group(str(folder / 'live.zarr'))
        self._planes_shape = tuple(planes_shape)
        self._painted = 0
        self.levels: list[Any] = []
        while True:
            full = (*planes_shape, *shape)
            chunks = [min(CHUNK, length) for length in shape]
            self.levels.append(
                group.create_array(
                    str(len(self.levels)),
                    shape=full,
                    chunks=(*(1 for _ in planes_shape), *chunks),
                    dtype=np.uint8,
                    fill_value=0,
                )
            )
            if max(shape) <= COARSEST:
                return
            shape = -(-shape[0] // 2), -(-shape[1] // 2)

    def paint(self, found: TileFound) -> None:
        """Add the masks of a tile, at every level."""
        if not found.masks:
            return
        boxes = np.array([mask.box for mask in found.masks])
        row0, column0 = boxes[:, :2].min(axis=0).tolist()
        row1, column1 = boxes[:, 2:].max(axis=0).tolist()
        where = np.unravel_index(found.plane, self._planes_shape or (1,))
        plane = tuple(map(int, where))[: len(self._planes_shape)]
        canvas = self.levels[0][
            (*plane, slice(row0, row1), slice(column0, column1))
        ]
        for mask in found.masks:
            top, left, bottom, right = mask.box
            part = canvas[
                top - row0 : bottom - row0, left - column0 : right - column0
            ]
            part[mask.data] = self._painted % COLOURS + 1
            self._painted += 1
        for number, level in enumerate(self.levels):
            step = 2**number
            first = -(-row0 // step), -(-column0 // step)
            part = canvas[
                first[0] * step - row0 :: step,
                first[1] * step - column0 :: step,
            ]
            rows = slice(first[0], first[0] + part.shape[0])
            columns = slice(first[1], first[1] + part.shape[1])
            if part.size:
                level[(*plane, rows, columns)] = part
