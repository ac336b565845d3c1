"""Lazy embedding of an image at every scale.

Each scale is embedded in overlapping blocks. A decoder block, as many cells as
the decoder takes, is cut out of one of them around the prompts. TinyViT (Wu et
al. 2022) has no absolute positions, so any canvas can be embedded in one pass.
For encoders with absolute positions (ViT), a block is the model's whole input.

There are two lattices of blocks. Prompts of one object use small blocks, so
that the first click on an image is quick. Segment everything and prefetching
use large blocks, which overlap as little as the prompts allow. If the decoder
block of a prompt lies in any embedded block, that one is used.

The features of a cell depend on its surroundings in the block. With the
bundled weights, on electron micrographs and cells, they vary by 0.6 of their
root mean square in the outermost cells of a block, 0.35 one cell further in,
and 0.1 to 0.28 from the fourth cell on. The masks of objects within a decoder
block differ only in a few edge pixels.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    check_instance,
    check_model,
)
from napari_mobilesam.lru_cache import LeastRecentlyUsed
from napari_mobilesam.model.versions import LatestOnly
from napari_mobilesam.segmentation.embedding_grid import (
    BlockKey,
    EmbeddingGrid,
)
from napari_mobilesam.segmentation.image import resize
from napari_mobilesam.types import (
    STRIDE,
    Box,
    Embedding,
    Frame,
    SegmentationError,
    slices_of,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

# read(window, shape): the pixels of a window in data pixels, resized to
# (h, w, 3) uint8
ReadPixels = Callable[[Box, tuple[int, int]], NDArray[np.uint8]]

# Features kept, in bytes of half precision.
BUDGET = 256 * 2**20
# Number of decoder blocks cached: repeated requests return the same tensor,
# for which the decoder has cached its shared part.
DECODER_BLOCKS_KEPT = 32
# To check that an embedding belongs to an image, windows of this many pixels
# are compared, this many along each side.
SAMPLE, SAMPLES = 16, 5
# Minimum standard deviation of their gray values for a comparison, and minimum
# correlation for the same image, whose contrast may differ.
LEAST_CONTRAST, LEAST_ALIKE = 2.0, 0.3


class BlockCache(Protocol):
    """Cache of the features of blocks, such as `EmbeddingCache`."""

    def features(
        self,
        pixels: NDArray[np.uint8],
        frame: Frame,
        model_key: str,
        make: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        """Return known features of pixels, or make them."""


class ImageEmbedding:
    """Lazy embedding of an image at all scales.

    Thread-safe: two threads may compute the same block twice, with the same
    result. It cannot be pickled or copied: embed the image again in another
    process, which is fast with an `EmbeddingCache` on disk.

    Parameters
    ----------
    model : Sam
        Model.
    image_shape : tuple of int
        (H, W).
    read : callable
        ``read(window, shape)`` returns the pixels of a window (row0,
        column0, row1, column1) in data pixels, resized to (h, w, 3) uint8.
    cache : BlockCache, optional
        Cache of blocks, for instance on disk.
    budget : int
        Maximum bytes of features in memory; the least recently used are
        dropped.

    Attributes
    ----------
    grid : EmbeddingGrid
        Geometry of the blocks.
    embedded_pixels : int
        Pixels of model input embedded so far.
    diameters : list of float or None
        Typical object diameters in data pixels, once `diameters_of` has
        found them.
    kept_maps : LatestOnly
        Latest maps of the instance head; see `maps_of`.
    """

    def __init__(
        self,
        model: Sam,
        image_shape: tuple[int, int],
        read: ReadPixels,
        cache: BlockCache | None = None,
        budget: int = BUDGET,
    ) -> None:
        self.model = model
        self.model_key = model.key
        self.image_shape = image_shape
        self.grid = EmbeddingGrid(image_shape, model.record)
        self.embedded_pixels = 0
        self.diameters: list[float] | None = None
        self.kept_maps = LatestOnly[Any]()
        self._read = read
        self._cache = cache
        self._budgets = [budget]
        self._blocks: OrderedDict[BlockKey, torch.Tensor] = OrderedDict()
        self._decoder_blocks = LeastRecentlyUsed[Embedding](
            DECODER_BLOCKS_KEPT
        )
        self._lock = threading.Lock()

    @classmethod
    def of_rgb(
        cls,
        model: Sam,
        rgb: NDArray[np.uint8],
        cache: BlockCache | None = None,
    ) -> ImageEmbedding:
        """Create the embedding of an (H, W, 3) uint8 image in memory."""

        def read(window: Box, shape: tuple[int, int]) -> NDArray[np.uint8]:
            return resize(rgb[slices_of(window)], shape)

        return cls(model, (rgb.shape[0], rgb.shape[1]), read, cache)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            'An ImageEmbedding cannot be pickled or copied: embed the image '
            'again, in another process with the same '
            'Predictor(model, cache=EmbeddingCache(folder)) to be fast.'
        )

    def decoder_block(
        self,
        center: Sequence[float],
        pitch: int,
        large: bool | None = None,
    ) -> Embedding:
        """Return the decoder block around a place.

        Parameters
        ----------
        center : (row, column)
            Middle of the decoder block in data pixels, as far as the edges of
            the image and of the block it is cut from allow.
        pitch : int
            Scale.
        large : bool, optional
            Cut from a large block (for prompts all over the image) or from a
            small one; if None, from any that is embedded.
        """
        grid = self.grid
        if large is None:
            key = self.block_at(center, pitch)
        elif large:
            key = grid.large_block(center, pitch)
        else:
            key = grid.small_block(center, pitch)
        row, column = grid.first_cell(key, center)

        def make() -> Embedding:
            top, left, side = row - key.row, column - key.column, grid.cells
            block = self.block(key)[None]
            part = block[..., top : top + side, left : left + side]
            # several threads would only wait for busy cores on so small a
            # piece
            with self.model.threads():
                features = part.float().contiguous()
            frame = grid.frame(key, center)
            return Embedding(features, frame, self.model_key)

        return self._decoder_blocks.get((*key, row, column), make)

    def overview(self) -> NDArray[np.uint8]:
        """Return the whole image, (h, w, 3) uint8, at model input size."""
        key = self.grid.small_block((0, 0), self.grid.pitches[0])
        window, shape, _ = self.grid.canvas(key)
        return self._read(window, shape)

    def is_of(self, rgb: NDArray[np.uint8]) -> bool:
        """Return False if an (H, W, 3) image clearly differs from this one.

        Takes milliseconds: a few small windows are compared.
        """
        places = [
            np.linspace(0, max(0, length - SAMPLE), SAMPLES).astype(int)
            for length in self.image_shape
        ]
        known, given = [], []
        for row, column in itertools.product(*places):
            part = rgb[row : row + SAMPLE, column : column + SAMPLE]
            shape = part.shape[:2]
            window = (row, column, row + shape[0], column + shape[1])
            known.append(self._read(window, shape).mean(axis=2).ravel())
            given.append(part.mean(axis=2).ravel())
        first, second = np.concatenate(known), np.concatenate(given)
        if min(first.std(), second.std()) < LEAST_CONTRAST:
            return True
        return bool(np.corrcoef(first, second)[0, 1] >= LEAST_ALIKE)

    def window(self, window: Box) -> Embedding:
        """Embed a window as one input of the model, as the papers do."""
        size = self.model.input_size
        frame = Frame.of(self.image_shape, window, size)
        rgb = self._read(window, frame.input_shape)
        features = encode_canvas(self.model, rgb, (size, size))
        self.embedded_pixels += size * size
        return Embedding(features, frame, self.model_key)

    def has(self, center: Sequence[float], pitch: int) -> bool:
        """Return True if `decoder_block` from any block needs no embedding."""
        return self.knows(self.block_at(center, pitch))

    def block_at(self, center: Sequence[float], pitch: int) -> BlockKey:
        """Return the block that the decoder block around a place is cut from.

        The small block, or an embedded one that also contains the decoder
        block.
        """
        grid = self.grid
        small = grid.small_block(center, pitch)
        with self._lock:
            if small in self._blocks:
                return small
            others = sorted(key for key in self._blocks if key.pitch == pitch)
        first = np.array(grid.first_cell(small, center))
        for key in others:
            low = np.array([key.row, key.column])
            high = low + grid.canvas(key).cells
            if (low <= first).all() and (first + grid.cells <= high).all():
                return key
        return small

    def knows(self, key: BlockKey) -> bool:
        """Return True if a block is embedded."""
        with self._lock:
            return key in self._blocks

    def block(self, key: BlockKey) -> torch.Tensor:
        """Return the features of a block, embedding it if necessary.

        Returns
        -------
        Tensor
            (C, h, w) in half precision, on the model's device.
        """
        with self._lock:
            known = self._blocks.get(key)
            if known is not None:
                self._blocks.move_to_end(key)
                return known
        made = self._embed(key)
        with self._lock:
            self._blocks[key] = made
            self._drop()
        return made

    def _drop(self) -> None:
        """Drop the least recently used blocks beyond the budget."""
        size = sum(block.nbytes for block in self._blocks.values())
        while size > max(self._budgets) and len(self._blocks) > 1:
            _, dropped = self._blocks.popitem(last=False)
            size -= dropped.nbytes

    @contextmanager
    def larger_budget(self, budget: int) -> Iterator[None]:
        """Keep more bytes of features within this context."""
        with self._lock:
            self._budgets.append(budget)
        try:
            yield
        finally:
            # with several runs at a time, the others keep theirs
            with self._lock:
                self._budgets.remove(budget)
                self._drop()

    def _embed(self, key: BlockKey) -> torch.Tensor:
        window, shape, cells = self.grid.canvas(key)
        rgb = self._read(window, shape)
        canvas = STRIDE * cells[0], STRIDE * cells[1]

        def encode() -> torch.Tensor:
            self.embedded_pixels += canvas[0] * canvas[1]
            return encode_canvas(self.model, rgb, canvas).half()

        if self._cache is None:
            features = encode()
        else:
            frame = Frame(self.image_shape, window, shape, max(canvas))
            features = self._cache.features(rgb, frame, self.model_key, encode)
            if features.shape[2:] != cells:
                # cached for equal pixels on another canvas
                features = encode()
        return features[0].to(self.model.device)


def embedding_of(
    model: Sam, rgb: NDArray[np.uint8], known: ImageEmbedding | None = None
) -> ImageEmbedding:
    """Return the known embedding of an image, or a new one.

    Parameters
    ----------
    model : Sam
        Model.
    rgb : ndarray
        (H, W, 3) uint8.
    known : ImageEmbedding, optional
        Embedding of the same pixels by the same model.

    Raises
    ------
    SegmentationError
        The embedding belongs to another model or image.
    """
    check_model(model)
    check_instance('embedding', known, ImageEmbedding)
    if known is None:
        return ImageEmbedding.of_rgb(model, rgb)
    if known.model_key != model.key:
        raise SegmentationError(
            f'The embedding was made by model {known.model_key}, this is '
            f'{model.key}: embed the image with this model.'
        )
    if known.image_shape != rgb.shape[:2]:
        raise SegmentationError(
            f'The embedding is of an image of {known.image_shape} pixels, '
            f'this one has {rgb.shape[:2]}: embed this image.'
        )
    if not known.is_of(rgb):
        raise SegmentationError(
            'The embedding is of another image of this size: embed this image.'
        )
    return known


@torch.no_grad()
def encode_canvas(
    model: Sam, rgb: NDArray[np.uint8], canvas: tuple[int, int]
) -> torch.Tensor:
    """Embed pixels on a canvas of any whole number of cells.

    Parameters
    ----------
    model : Sam
        Model; with a ViT encoder, the canvas must be its input.
    rgb : ndarray
        (h, w, 3) uint8 at the scale of the input.
    canvas : tuple of int
        (H, W), multiples of 16; padded with zeros at the bottom and right.

    Returns
    -------
    Tensor
        (1, C, H / 16, W / 16) float32.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
    # all of torch's work: threads() refuses a fork, which would wait
    with model.threads(long=True):
        batch = pixels[None].to(model.device, torch.float32)
        return model.encode(model.preprocess(batch, canvas))
