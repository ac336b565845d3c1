"""Detection of empty tiles at a coarse level.

A tile is skipped only if it shows nothing that stands out at a level at which
objects are still several pixels wide. If there is no such level, the tile
itself is checked when it is processed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.large_plan import LargePlan
from napari_mobilesam.large.propose import is_empty
from napari_mobilesam.large.tiling import TileBlock
from napari_mobilesam.types import Window

# Minimum object width in pixels of the coarse level.
ACROSS = 4


def scan_blocks(plan: LargePlan) -> Iterator[tuple[TileBlock, int]]:
    """Yield all blocks in reading order, and the number of their tiles.

    A block lists only its tiles that may not be empty.
    """
    rows, columns = plan.grid.tiles
    step = plan.grid.block
    level = _coarse_level(plan)
    for plane in range(plan.view.source.planes):
        for first_row in range(0, rows, step):
            block_rows = range(first_row, min(first_row + step, rows))
            strips = {}
            if level is not None and rows * columns > 1:
                strips = {r: _Strip(plan, plane, r, level) for r in block_rows}
            for first in range(0, columns, step):
                block_columns = range(first, min(first + step, columns))
                tiles = tuple(
                    (row, column)
                    for row in block_rows
                    for column in block_columns
                    if row not in strips or not strips[row].is_empty(column)
                )
                count = len(block_rows) * len(block_columns)
                yield TileBlock(plane, first_row, first, tiles), count


def _coarse_level(plan: LargePlan) -> int | None:
    """Return the coarsest level at which objects are still visible."""
    if plan.diameter is None:
        return None
    view = plan.view
    levels = view.source.levels
    fit = [
        index
        for index, level in enumerate(levels)
        if 2 * max(view.factor) <= max(level.factor) <= plan.diameter / ACROSS
    ]
    return max(fit, key=lambda i: max(levels[i].factor)) if fit else None


class _Strip:
    """A row of tiles at a coarse level."""

    def __init__(
        self, plan: LargePlan, plane: int, row: int, level: int
    ) -> None:
        self._plan = plan
        self._row = row
        described = plan.view.source.levels[level]
        self._ratio = [
            coarse / own
            for coarse, own in zip(
                described.factor, plan.view.factor, strict=True
            )
        ]
        self._shape = described.shape
        row0, _, row1, _ = self._coarse(0)
        self._rgb = plan.view.rgb_at(
            plane, level, (row0, 0, row1, self._shape[1])
        )
        self._nothing = is_empty(self._rgb)

    def is_empty(self, column: int) -> bool:
        """Return True if a tile of the row is empty."""
        if self._nothing:
            return True
        _, column0, _, column1 = self._coarse(column)
        pixels: NDArray[np.uint8] = self._rgb[:, column0:column1]
        return is_empty(pixels)

    def _coarse(self, column: int) -> Window:
        """Return a tile's window at the coarse level, padded by a pixel."""
        window = self._plan.grid.window(self._row, column)
        (row0, column0), (row1, column1) = (
            [
                min(max(0, math.floor(start / ratio) - 1), length - 1)
                for start, ratio, length in zip(
                    window[:2], self._ratio, self._shape, strict=True
                )
            ],
            [
                min(math.ceil(stop / ratio) + 1, length)
                for stop, ratio, length in zip(
                    window[2:], self._ratio, self._shape, strict=True
                )
            ],
        )
        return row0, column0, row1, column1
