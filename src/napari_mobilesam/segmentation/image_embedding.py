"""One embedding of an image at every scale, made where it is asked for.

A scale is the number of data pixels along a cell of the embedding, its
*pitch*; a cell is 16 pixels of the model's input. Each scale is embedded in
overlapping blocks of a lattice that depends on the shape of the image and the
model alone, and a decoder block, as many cells as the decoder takes, is cut
out of one of them around the prompts.

TinyViT (Wu et al. 2022) has no absolute positions: any canvas can be embedded
in one pass. Encoders with absolute positions (ViT) embed blocks that are the
model's whole input.

There are two lattices. Prompts of one object take small blocks, so that the
first click on an image waits for little. Segment everything takes large
blocks that overlap as little as its prompts allow.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mobilesam.model.sam import STRIDE
from napari_mobilesam.segmentation.image import resize
from napari_mobilesam.types import Embedding, Frame

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.embedding_cache import EmbeddingCache

Window = tuple[int, int, int, int]
# read(window, shape): the pixels of a window in data pixels, resized to
# (h, w, 3) uint8
ReadPixels = Callable[[Window, tuple[int, int]], NDArray[np.uint8]]

# Side of TinyViT's smaller attention windows, in cells: a canvas of a multiple
# of it has less padding. By processor time 21 cells cost 1.3 times as much
# as 16, 24 cost 2.2 times as much.
ATTENTION_WINDOW = 7
# Cells of a small block beyond a decoder block: prompts nearby find what they
# need in it.
ROOM = 5
# A scale of at most so many cells along its longer side is one block.
WHOLE_SCALE = 28
# Greatest side of a large block in cells.
LARGE_SIDE = 72
# Cells that neighbouring large blocks have around their cores: half a decoder
# block less half the core of a region of segment everything, and one more.
HALO = 5
# Enlarging more than 8 times adds no detail that the decoder could use.
SMALLEST_PITCH = 2
# Features kept, in bytes of half precision.
BUDGET = 256 * 2**20
# Decoder blocks kept as they were cut: asked again, they are the same
# tensor, of which the decoder has kept its share.
CUTS_KEPT = 32


def pitches(
    image_shape: tuple[int, int], cells: int, finest: int = SMALLEST_PITCH
) -> list[int]:
    """Scales of an image, from the whole image to the finest.

    Powers of the square root of two, as integers: a cell is whole pixels.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    cells : int
        Side of the decoder block in cells.
    finest : int
        Smallest pitch.

    Returns
    -------
    list of int
        Data pixels along a cell, descending. The first shows the whole image
        in one decoder block.
    """
    whole = max(1, math.ceil(max(image_shape) / cells))
    finer = [
        pitch
        for exponent in range(40)
        if finest <= (pitch := round(2 ** (exponent / 2))) < 0.85 * whole
    ]
    return [whole, *sorted(set(finer), reverse=True)]


class Block(NamedTuple):
    """Embedded part of a scale.

    Attributes
    ----------
    features : Tensor
        (C, h, w) in half precision, on the model's device.
    origin : tuple of int
        (row, column) of its first cell.
    """

    features: torch.Tensor
    origin: tuple[int, int]


class BlockKey(NamedTuple):
    """Place of a block: pitch, first cell and greatest side in cells."""

    pitch: int
    row: int
    column: int
    side: int


class ImageEmbedding:
    """Lazy embedding of an image at all scales.

    Safe to use from several threads: a block may then be made twice, with
    the same result.

    Parameters
    ----------
    model : Sam
        Model.
    image_shape : tuple of int
        (H, W).
    read : callable
        ``read(window, shape)`` returns the pixels of a window (row0,
        column0, row1, column1) in data pixels, resized to (h, w, 3) uint8.
    cache : EmbeddingCache, optional
        Keeps blocks on disk.
    budget : int
        Bytes of features in memory; the least recently used are dropped.

    Attributes
    ----------
    cells : int
        Side of a decoder block.
    embedded_pixels : int
        Pixels of model input embedded so far.
    """

    def __init__(
        self,
        model: Sam,
        image_shape: tuple[int, int],
        read: ReadPixels,
        cache: EmbeddingCache | None = None,
        budget: int = BUDGET,
    ) -> None:
        self.model = model
        self.model_key = model.key
        self.image_shape = image_shape
        self.cells = model.embedding_size
        self.embedded_pixels = 0
        self._read = read
        self._cache = cache
        self._budget = budget
        self._blocks: OrderedDict[BlockKey, Block] = OrderedDict()
        self._cuts: OrderedDict[tuple[int, ...], Embedding] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def of_rgb(
        cls,
        model: Sam,
        rgb: NDArray[np.uint8],
        cache: EmbeddingCache | None = None,
    ) -> ImageEmbedding:
        """Embedding of an image in memory, (H, W, 3) uint8."""

        def read(window: Window, shape: tuple[int, int]) -> NDArray[np.uint8]:
            row0, column0, row1, column1 = window
            return resize(rgb[row0:row1, column0:column1], shape)

        return cls(model, (rgb.shape[0], rgb.shape[1]), read, cache)

    @property
    def whole_inputs(self) -> bool:
        """Whether the encoder has absolute positions."""
        return self.model.record.architecture != 'vit_t'

    @property
    def pitches(self) -> list[int]:
        """Scales of the image, see `pitches`."""
        return pitches(self.image_shape, self.cells)

    def grid(self, pitch: int) -> tuple[int, int]:
        """Rows and columns of cells of a scale."""
        rows, columns = (-(-n // pitch) for n in self.image_shape)
        return rows, columns

    def pitch_for(self, diameter: float) -> int:
        """Scale at which objects of a diameter in data pixels suit best."""
        best = self.model.record.object_diameter.best
        wanted = math.log(max(diameter, 1e-6) * STRIDE / best)
        return min(self.pitches, key=lambda p: abs(math.log(p) - wanted))

    def cut(
        self, center: Sequence[float], pitch: int, large: bool = False
    ) -> Embedding:
        """Decoder block around a place.

        Parameters
        ----------
        center : (row, column)
            In data pixels; the middle of the decoder block, as far as the
            edges of the image and of the block it is cut from allow.
        pitch : int
            Scale.
        large : bool
            Cut from a large block: for prompts all over the image.
        """
        find = self.large_block_key if large else self.block_key
        key = find(center, pitch)
        return self.cut_from(self.block(key), key, center)

    def has(self, center: Sequence[float], pitch: int) -> bool:
        """Whether `cut` needs no embedding."""
        with self._lock:
            return self.block_key(center, pitch) in self._blocks

    def block_key(self, center: Sequence[float], pitch: int) -> BlockKey:
        """Small block that a decoder block around a place is cut from."""
        grid = self.grid(pitch)
        side, step = self._small_blocks(grid)
        row, column = (
            _nearest_origin(place / pitch, count, side, step)
            for place, count in zip(center, grid, strict=True)
        )
        return BlockKey(pitch, row, column, side)

    def _small_blocks(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Side of small blocks and distance of their origins, in cells."""
        if self.whole_inputs:
            return self.cells, self.cells // 4
        if max(grid) <= WHOLE_SCALE:
            return WHOLE_SCALE, 1
        whole = -(-(self.cells + ROOM) // ATTENTION_WINDOW)
        return whole * ATTENTION_WINDOW, ATTENTION_WINDOW

    def large_block_key(self, center: Sequence[float], pitch: int) -> BlockKey:
        """Large block whose core holds a place."""
        grid = self.grid(pitch)
        most = self.cells if self.whole_inputs else LARGE_SIDE
        most = max(most, self.cells)
        halo = min(HALO, self.cells // 4)
        counts = [_block_count(count, most, halo) for count in grid]
        # Blocks are square, so that a few shapes of canvas are all there are.
        side = max(
            min(most, _even_side(count, number, halo))
            for count, number in zip(grid, counts, strict=True)
        )
        row, column = (
            _even_origin(place / pitch, count, number, side)
            for place, count, number in zip(center, grid, counts, strict=True)
        )
        return BlockKey(pitch, row, column, side)

    def block(self, key: BlockKey) -> Block:
        """Return a block, embedding it if it is not known."""
        with self._lock:
            known = self._blocks.get(key)
            if known is not None:
                self._blocks.move_to_end(key)
                return known
        made = Block(self._embed(key), (key.row, key.column))
        with self._lock:
            self._blocks[key] = made
            size = sum(_bytes(block) for block in self._blocks.values())
            while size > self._budget and len(self._blocks) > 1:
                _, dropped = self._blocks.popitem(last=False)
                size -= _bytes(dropped)
        return made

    def _embed(self, key: BlockKey) -> torch.Tensor:
        window, shape, canvas = self._canvas(key)
        rgb = self._read(window, shape)

        def encode() -> torch.Tensor:
            return encode_canvas(self.model, rgb, canvas).half()

        if self._cache is None:
            features = encode()
        else:
            frame = Frame(self.image_shape, window, shape, max(canvas))
            features = self._cache.features(rgb, frame, self.model_key, encode)
        self.embedded_pixels += canvas[0] * canvas[1]
        return features[0].to(self.model.device)

    def _canvas(
        self, key: BlockKey
    ) -> tuple[Window, tuple[int, int], tuple[int, int]]:
        """Window of a block, its shape on the input, and that of the input.

        At the lower and right edge of the image the input is padded to whole
        cells, and to a decoder block, as the model was trained.
        """
        sides = [
            min(key.side, count - first)
            for first, count in zip(
                (key.row, key.column), self.grid(key.pitch), strict=True
            )
        ]
        low = (key.row * key.pitch, key.column * key.pitch)
        row1, column1 = (
            min(start + side * key.pitch, length)
            for start, side, length in zip(
                low, sides, self.image_shape, strict=True
            )
        )
        window = (*low, row1, column1)
        shape = (
            _on_input(row1 - low[0], key.pitch),
            _on_input(column1 - low[1], key.pitch),
        )
        rows, columns = (STRIDE * max(n, self.cells) for n in sides)
        return window, shape, (rows, columns)

    def cut_from(
        self, block: Block, key: BlockKey, center: Sequence[float]
    ) -> Embedding:
        """Decoder block of a block, as much around a place as it allows."""
        pitch = key.pitch
        features, origin = block
        row, column = (
            _clamped(
                round(place / pitch - self.cells / 2),
                first,
                first + length - self.cells,
            )
            for place, first, length in zip(
                center, origin, features.shape[1:], strict=True
            )
        )
        slot = (*key, row, column)
        with self._lock:
            known = self._cuts.get(slot)
            if known is not None:
                self._cuts.move_to_end(slot)
                return known
        top, left = row - origin[0], column - origin[1]
        part = features[
            None, :, top : top + self.cells, left : left + self.cells
        ]
        embedding = Embedding(
            part.float().contiguous(),
            self._frame(row, column, pitch),
            self.model_key,
        )
        with self._lock:
            self._cuts[slot] = embedding
            while len(self._cuts) > CUTS_KEPT:
                self._cuts.popitem(last=False)
        return embedding

    def _frame(self, row: int, column: int, pitch: int) -> Frame:
        """Frame of the decoder block whose first cell this is."""
        height, width = self.image_shape
        row0, column0 = row * pitch, column * pitch
        row1 = min(row0 + self.cells * pitch, height)
        column1 = min(column0 + self.cells * pitch, width)
        shape = (
            _on_input(row1 - row0, pitch),
            _on_input(column1 - column0, pitch),
        )
        return Frame(
            self.image_shape,
            (row0, column0, row1, column1),
            shape,
            self.model.input_size,
        )


@torch.no_grad()
def encode_canvas(
    model: Sam, rgb: NDArray[np.uint8], canvas: tuple[int, int]
) -> torch.Tensor:
    """Embed pixels on a canvas of any whole number of cells.

    Parameters
    ----------
    model : Sam
        Model; with a ViT encoder the canvas has to be its input.
    rgb : ndarray
        (h, w, 3) uint8 on the scale of the input.
    canvas : tuple of int
        (H, W) multiples of 16, padded with zeros below and to the right.

    Returns
    -------
    Tensor
        (1, C, H / 16, W / 16) float32.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
    batch = pixels[None].to(model.device, torch.float32)
    with model.threads():
        return model.encode(model.preprocess(batch, canvas))


def _on_input(pixels: int, pitch: int) -> int:
    """Pixels of the model's input that data pixels take."""
    return max(1, round(pixels * STRIDE / pitch))


def _nearest_origin(place: float, count: int, side: int, step: int) -> int:
    """First cell of the block in whose middle a place in cells lies best."""
    if count <= side:
        return 0
    # The last block reaches the edge of the image, beyond it if need be.
    last = -(-(count - side) // step)
    return step * _clamped(round((place - side / 2) / step), 0, last)


def _block_count(count: int, side: int, halo: int) -> int:
    """Blocks of a side that divide an axis of cells, overlapping by halos."""
    if count <= side:
        return 1
    return 1 + math.ceil((count - side) / max(1, side - 2 * halo))


def _even_side(count: int, number: int, halo: int) -> int:
    """Side of so many blocks that divide an axis of cells evenly."""
    return math.ceil((count + 2 * halo * (number - 1)) / number)


def _even_origin(place: float, count: int, number: int, side: int) -> int:
    """First cell of the one of evenly spaced blocks whose core it is."""
    if number == 1:
        return 0
    origins = np.linspace(0, max(0, count - side), number)
    starts = origins.round().astype(int)
    middles = (starts[1:] + starts[:-1] + side) / 2
    return int(starts[np.searchsorted(middles, place, side='right')])


def _clamped(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


def _bytes(block: Block) -> int:
    return block.features.numel() * block.features.element_size()
