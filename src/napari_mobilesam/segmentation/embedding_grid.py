"""Geometry of the blocks of an image embedding.

A scale is the number of data pixels along a cell of the embedding, its
*pitch*; a cell is 16 pixels of the model's input. Everything here follows from
the shape of the image and the record of the model, so that an embedding made
for one click serves the next, and equal images get equal embeddings.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from napari_mobilesam.types import STRIDE, Frame, ModelRecord

# Side of TinyViT's smaller attention windows, in cells: a canvas that is a
# multiple of it has less padding. In processor time, 21 cells cost 1.3 times
# and 24 cells 2.2 times as much as 16.
ATTENTION_WINDOW = 7
# Minimum number of cells by which a small block is wider than a decoder block,
# so that nearby prompts can reuse it.
ROOM = 5
# A scale with at most this many cells along its longer side is one block.
WHOLE_SCALE = 28
# Maximum side of a large block in cells.
LARGE_SIDE = 72
# Enlarging more than 8 times adds no detail the decoder could use.
SMALLEST_PITCH = 2
# A scale this close to that of the whole image is omitted.
SAME_SCALE = 0.85


def pitches(image_shape: tuple[int, int], cells: int) -> list[int]:
    """Scales of an image, from the whole image to the finest.

    Powers of the square root of two, rounded to integers: a cell is a whole
    number of pixels.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    cells : int
        Side of the decoder block in cells.

    Returns
    -------
    list of int
        Data pixels along a cell, descending. The first shows the whole image
        in one decoder block.
    """
    whole = math.ceil(max(image_shape) / cells)
    finer = {round(2 ** (exponent / 2)) for exponent in range(40)}
    return [
        whole,
        *sorted(
            (p for p in finer if SMALLEST_PITCH <= p < SAME_SCALE * whole),
            reverse=True,
        ),
    ]


class BlockKey(NamedTuple):
    """Place of a block: pitch, first cell and maximum side in cells."""

    pitch: int
    row: int
    column: int
    side: int


class Canvas(NamedTuple):
    """Pixels and cells of a block.

    Attributes
    ----------
    window : tuple of int
        (row0, column0, row1, column1) in data pixels, half open.
    shape : tuple of int
        (h, w) of these pixels at the scale of the block.
    cells : tuple of int
        Rows and columns of cells of the block, padded at the bottom and right
        where the image ends.
    """

    window: tuple[int, int, int, int]
    shape: tuple[int, int]
    cells: tuple[int, int]


@dataclass(frozen=True)
class EmbeddingGrid:
    """Scales and blocks of an image for a model.

    Attributes
    ----------
    image_shape : tuple of int
        (H, W).
    record : ModelRecord
        Input size, object size and architecture of the model.
    """

    image_shape: tuple[int, int]
    record: ModelRecord

    @property
    def cells(self) -> int:
        """Side of a decoder block in cells."""
        return self.record.input_size // STRIDE

    @property
    def core(self) -> int:
        """Side in cells of the core of a decoder block of many prompts."""
        return self.cells // 2

    @property
    def whole_inputs(self) -> bool:
        """True if the encoder has absolute positions, so blocks are inputs."""
        return self.record.absolute_positions

    @property
    def slack(self) -> float:
        """Cells by which a decoder block may be off the requested place."""
        return self._input_step / 2 if self.whole_inputs else 0.0

    @property
    def _input_step(self) -> int:
        """Cells between small blocks that are whole inputs."""
        return max(1, self.cells // 4)

    @property
    def most_cells(self) -> int:
        """Maximum side of a block in cells."""
        return self.cells if self.whole_inputs else max(LARGE_SIDE, self.cells)

    @property
    def pitches(self) -> list[int]:
        """Scales of the image, see `pitches`."""
        return pitches(self.image_shape, self.cells)

    def shape(self, pitch: int) -> tuple[int, int]:
        """Return the rows and columns of cells of a scale."""
        rows, columns = (-(-n // pitch) for n in self.image_shape)
        return rows, columns

    def pitch_for(self, diameter: float) -> int:
        """Return the scale that best suits objects of a diameter."""
        best = self.record.object_diameter.best
        wanted = math.log(max(diameter, 1e-6) * STRIDE / best)
        return min(self.pitches, key=lambda p: abs(math.log(p) - wanted))

    def small_block(self, center: Sequence[float], pitch: int) -> BlockKey:
        """Return the small block containing the decoder block at a place."""
        shape = self.shape(pitch)
        if self.whole_inputs:
            step = self._input_step
            # the nearest multiple of the step, or the last block of the scale
            row, column = (
                min(
                    step * round(cell / step),
                    max(0, count - self.cells),
                    key=lambda first: abs(first - cell),
                )
                for cell, count in zip(
                    self._around(center, pitch), shape, strict=True
                )
            )
            return BlockKey(pitch, row, column, self.cells)
        if max(shape) <= WHOLE_SCALE:
            return BlockKey(pitch, 0, 0, max(shape))
        windows = -(-(self.cells + ROOM) // ATTENTION_WINDOW)
        side = windows * ATTENTION_WINDOW
        # a decoder block with any first cell lies in one of the blocks
        step = side - self.cells + 1
        row, column = (
            cell - cell % step for cell in self._around(center, pitch)
        )
        return BlockKey(pitch, row, column, side)

    def _around(self, center: Sequence[float], pitch: int) -> tuple[int, int]:
        """Return the first cell of a decoder block around a place."""
        row, column = (
            _clamped(
                round(place / pitch - self.cells / 2),
                0,
                max(0, count - self.cells),
            )
            for place, count in zip(center, self.shape(pitch), strict=True)
        )
        return row, column

    def large_block(self, center: Sequence[float], pitch: int) -> BlockKey:
        """Return the large block whose core holds a place."""
        counts, side = self._large_blocks(pitch)
        row, column = (
            _even_origin(place / pitch, count, number, side)
            for place, count, number in zip(
                center, self.shape(pitch), counts, strict=True
            )
        )
        return BlockKey(pitch, row, column, side)

    def large_blocks(
        self, window: tuple[int, int, int, int], pitch: int
    ) -> list[BlockKey]:
        """Return large blocks whose cores meet a window, middle first.

        Parameters
        ----------
        window : tuple of int
            (row0, column0, row1, column1) in data pixels.
        pitch : int
            Scale.
        """
        counts, side = self._large_blocks(pitch)
        low, high = window[:2], window[2:]
        # rows and columns of blocks are independent; each owns more than a
        # core along an axis
        rows, columns = (
            sorted(
                {
                    _even_origin(place / pitch, count, number, side)
                    for place in (*range(a, b, self.core * pitch), b - 1)
                }
            )
            for a, b, count, number in zip(
                low, high, self.shape(pitch), counts, strict=True
            )
        )
        middle = np.add(low, high) / (2 * pitch) - side / 2
        return sorted(
            (
                BlockKey(pitch, row, column, side)
                for row in rows
                for column in columns
            ),
            key=lambda key: math.dist((key.row, key.column), middle),
        )

    def _large_blocks(self, pitch: int) -> tuple[list[int], int]:
        """Return the numbers of large blocks per axis, and their side."""
        shape = self.shape(pitch)
        most = self.most_cells
        # A decoder block around the core of a region lies in the block.
        halo = (self.cells - self.core) // 2 + (not self.whole_inputs)
        counts = [_block_count(count, most, halo) for count in shape]
        if self.whole_inputs:
            return counts, most
        # Blocks are square, to limit the number of canvas shapes.
        side = max(
            min(most, _even_side(count, number, halo))
            for count, number in zip(shape, counts, strict=True)
        )
        return counts, side

    def canvas(self, key: BlockKey) -> Canvas:
        """Return the pixels and cells of a block.

        At the lower and right edge of the image, the input is padded to whole
        cells and to a decoder block, as in training.
        """
        low = key.row * key.pitch, key.column * key.pitch
        sides = [
            min(key.side, count - first)
            for first, count in zip(
                (key.row, key.column), self.shape(key.pitch), strict=True
            )
        ]
        window = self._window(low, sides, key.pitch)
        rows, columns = (max(n, self.cells) for n in sides)
        return Canvas(window, on_input(window, key.pitch), (rows, columns))

    def first_cell(
        self, key: BlockKey, center: Sequence[float]
    ) -> tuple[int, int]:
        """Return the first cell of a block's decoder block around a place."""
        canvas = self.canvas(key)
        row, column = (
            _clamped(
                round(place / key.pitch - self.cells / 2),
                first,
                first + length - self.cells,
            )
            for place, first, length in zip(
                center, (key.row, key.column), canvas.cells, strict=True
            )
        )
        return row, column

    def frame(self, key: BlockKey, center: Sequence[float]) -> Frame:
        """Return the frame of a block's decoder block around a place."""
        row, column = self.first_cell(key, center)
        window = self._window(
            (row * key.pitch, column * key.pitch),
            (self.cells, self.cells),
            key.pitch,
        )
        return Frame(
            self.image_shape,
            window,
            on_input(window, key.pitch),
            self.record.input_size,
        )

    def frame_at(
        self, center: Sequence[float], pitch: int, large: bool = False
    ) -> Frame:
        """Return the frame of the decoder block around a place.

        The parameters are those of `DecoderBlock`.
        """
        find = self.large_block if large else self.small_block
        return self.frame(find(center, pitch), center)

    def _window(
        self, low: tuple[int, int], sides: Sequence[int], pitch: int
    ) -> tuple[int, int, int, int]:
        """Return the data pixels of cells, clipped to the image."""
        row1, column1 = (
            min(start + side * pitch, length)
            for start, side, length in zip(
                low, sides, self.image_shape, strict=True
            )
        )
        return (*low, row1, column1)


def on_input(window: tuple[int, int, int, int], pitch: int) -> tuple[int, int]:
    """Return the (h, w) in input pixels of a window at a scale.

    Parameters
    ----------
    window : tuple of int
        (row0, column0, row1, column1) in data pixels, half open.
    pitch : int
        Scale.
    """
    height, width = window[2] - window[0], window[3] - window[1]
    scale = STRIDE / pitch
    return max(1, round(height * scale)), max(1, round(width * scale))


def _block_count(count: int, side: int, halo: int) -> int:
    """Return how many blocks with overlapping halos cover an axis."""
    if count <= side:
        return 1
    return 1 + math.ceil((count - side) / (side - 2 * halo))


def _even_side(count: int, number: int, halo: int) -> int:
    """Return the side of this many blocks dividing an axis evenly."""
    return math.ceil((count + 2 * halo * (number - 1)) / number)


def _even_origin(place: float, count: int, number: int, side: int) -> int:
    """Return the first cell of the evenly spaced block owning a cell."""
    starts, middles = _even_origins(count, number, side)
    return starts[bisect.bisect_right(middles, place)]


@lru_cache(maxsize=64)
def _even_origins(
    count: int, number: int, side: int
) -> tuple[list[int], list[float]]:
    """Return first cells of evenly spaced blocks, and where cores meet."""
    origins = np.linspace(0, count - side, number)
    starts = origins.round().astype(int)
    middles = (starts[1:] + starts[:-1] + side) / 2
    return starts.tolist(), middles.tolist()


def _clamped(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
