"""Parts of a large image that the instance head processes in turn.

The objects of a part are prompted before the next part is embedded: masks are
shown early, and a cancelled run keeps them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.model.versions import LatestOnly
from napari_mobilesam.segmentation.embedding_grid import (
    BlockKey,
    EmbeddingGrid,
)
from napari_mobilesam.segmentation.everything_plan import blocks_of, by_block
from napari_mobilesam.segmentation.head_maps import InstanceMaps, maps_of
from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.segmentation.run import Run
from napari_mobilesam.types import Box

# Number of cells up to which an image is processed as a whole: 2,048² pixels
# of model input, which two cores embed in seconds.
WHOLE_CELLS = 1 << 14
# Margin in cells around a part: half a decoder block, in which objects of the
# part end.
CONTEXT = 8
# Adjacent parts share blocks, whose maps are kept: two rows of 60.
BLOCKS_KEPT = 120
# Representative parts are in the middle of this many groups of consecutive
# parts; the first ones in this order lie far from each other.
SAMPLE = 4, 0, 8, 2, 6, 1, 7, 3, 5


@dataclass(frozen=True, eq=False)
class Part:
    """Part of a plan.

    Attributes
    ----------
    regions : list of Region
        Regions whose objects are prompted.
    blocks : list of BlockKey
        Large blocks that show the regions and their surroundings.
    window : tuple of int or None
        (row0, column0, row1, column1) to use, in cells, half open; None uses
        the blocks entirely.
    """

    regions: list[Region]
    blocks: list[BlockKey]
    window: Box | None = None

    def wider(self, grid: EmbeddingGrid) -> Part | None:
        """Return the part enlarged by half on each side.

        None if it already shows everything.
        """
        if self.window is None:
            return None
        pitch = self.blocks[0].pitch
        low, high = np.array(self.window[:2]), np.array(self.window[2:])
        more = (high - low).max() // 2
        shape = grid.shape(pitch)
        window = (
            *np.maximum(low - more, 0).tolist(),
            *np.minimum(high + more, shape).tolist(),
        )
        if window == self.window:
            return None
        blocks = grid.large_blocks(
            tuple(cell * pitch for cell in window), pitch
        )
        return Part(self.regions, sorted(blocks), window)


def parts_of(regions: Sequence[Region], grid: EmbeddingGrid) -> list[Part]:
    """Divide regions into parts, one for each large block.

    Parameters
    ----------
    regions : sequence of Region
        Decoder blocks of one scale, with cores.
    grid : EmbeddingGrid
        Geometry of the large blocks.

    Returns
    -------
    list of Part
        A single part if there are few regions. Adjacent parts are consecutive.
    """
    of_block = by_block(regions, grid)
    blocks = sorted(of_block)
    cells = sum(math.prod(grid.canvas(key).cells) for key in blocks)
    if cells <= WHOLE_CELLS:
        return [Part(list(regions), blocks)]
    height, width = grid.image_shape
    if width > height:
        blocks.sort(key=lambda key: (key.column, key.row))
    return [_part(of_block[key], key.pitch, grid) for key in blocks]


def sample_of(parts: Sequence[Part], grid: EmbeddingGrid) -> list[Part]:
    """Return some representative parts, without their surroundings."""
    middles = (np.array(SAMPLE) + 0.5) * len(parts) / len(SAMPLE)
    numbers = dict.fromkeys(middles.astype(int).tolist())
    chosen = [parts[number].regions for number in numbers]
    return [Part(regions, blocks_of(regions, grid)) for regions in chosen]


class Look:
    """Apply the instance head to parts of an image.

    Parameters
    ----------
    run : Run
        Run in progress, whose image is embedded where needed.
    pitch : int
        Scale of the parts.
    """

    def __init__(self, run: Run, pitch: int) -> None:
        self._run = run
        self._pitch = pitch
        self._of_blocks = LatestOnly[NDArray[np.float32]](BLOCKS_KEPT)

    def at(self, part: Part) -> InstanceMaps | None:
        """Compute the maps of a part; None if the run is cancelled."""
        run = self._run
        run.embed_blocks(part.blocks)
        if run.cancelled():
            return None
        return maps_of(
            run.image, self._pitch, part.blocks, part.window, self._of_blocks
        )


def _part(regions: list[Region], pitch: int, grid: EmbeddingGrid) -> Part:
    """Return the part of some regions, with their surroundings."""
    cores = np.array([region.core for region in regions])
    low = np.floor(cores[:, :2].min(axis=0) / pitch) - CONTEXT
    high = np.ceil(cores[:, 2:].max(axis=0) / pitch) + CONTEXT
    low = np.maximum(low, 0).astype(int)
    high = np.minimum(high, grid.shape(pitch)).astype(int)
    rows, columns = zip(low.tolist(), (high - 1).tolist(), strict=True)
    middle = ((low + high) // 2).tolist()
    places = itertools.product(
        (rows[0], middle[0], rows[1]), (columns[0], middle[1], columns[1])
    )
    blocks = {
        grid.large_block(((row + 0.5) * pitch, (column + 0.5) * pitch), pitch)
        for row, column in places
    }
    return Part(regions, sorted(blocks), (*low.tolist(), *high.tolist()))
