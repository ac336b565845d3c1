"""Features of blocks of planes, recognized by their appearance."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.lru_cache import LeastRecentlyUsed
from napari_mobilesam.types import Frame

if TYPE_CHECKING:
    import torch

    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.embedding_cache import EmbeddingCache

# Number of blocks remembered by appearance.
LOOKS_KEPT = 128
# Gray levels by which a block may differ, on average and in its most different
# part, before it is embedded anew.
SAME_MEAN, SAME_PEAK = 1.0, 8
# Side of such a part, in pixels of the model's input.
PART = 8
# Number of large blocks kept, which take up to 3 MB each, and cells along a
# side above which a block is large.
LARGE_LOOKS_KEPT, SMALL_CELLS = 16, 28


class _SeenBlock(NamedTuple):
    """Features of a block, and a small picture of its pixels."""

    features: torch.Tensor
    picture: NDArray[np.uint8]


class SeenBlocks:
    """Features of blocks by place, for any appearance of the plane.

    Thread-safe.

    Attributes
    ----------
    cache : EmbeddingCache or None
        Cache of features on disk.
    on_embedded : callable
        Called with the model and the seconds per embedding of one model input.
    seconds : dict of str to float
        These seconds when a model, given by its key, last embedded a block.
    """

    def __init__(self) -> None:
        self.cache: EmbeddingCache | None = None
        self.on_embedded: Callable[[Sam, float], None] = _ignore
        self.seconds: dict[str, float] = {}
        self._small = LeastRecentlyUsed[_SeenBlock](LOOKS_KEPT)
        self._large = LeastRecentlyUsed[_SeenBlock](LARGE_LOOKS_KEPT)

    def clear(self) -> None:
        """Drop the features in memory."""
        self._small.clear()
        self._large.clear()

    def features(
        self,
        model: Sam,
        slot: Hashable,
        rgb: NDArray[np.uint8],
        frame: Frame,
        make: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        """Embed a block, unless it looks the same as when last embedded.

        Parameters
        ----------
        model : Sam
            Model that embeds it.
        slot : hashable
            Place of the block, whatever its pixels look like.
        rgb : ndarray
            (h, w, 3) uint8, its pixels at the scale of the model's input.
        frame : Frame
            Geometry of the block.
        make : callable
            Runs the model.

        Returns
        -------
        Tensor
            (1, C, rows, columns) of cells.
        """
        from napari_mobilesam.segmentation.image import resize
        from napari_mobilesam.types import STRIDE

        large = frame.input_size > SMALL_CELLS * STRIDE
        looks = self._large if large else self._small
        height, width = (max(1, n // PART) for n in frame.input_shape)
        picture = resize(rgb, (height, width))
        newest = looks.peek(slot)
        if newest is not None and _alike(picture, newest.picture):
            return newest.features

        def timed() -> torch.Tensor:
            start = time.perf_counter()
            made = make()
            share = frame.input_size**2 / model.input_size**2
            seconds = (time.perf_counter() - start) / share
            self.seconds[model.key] = seconds
            self.on_embedded(model, seconds)
            return made

        # the viewer's thread may turn it off
        cache = self.cache
        if cache is None:
            features = timed()
        else:
            features = cache.features(rgb, frame, model.key, timed)
        looks.put(slot, _SeenBlock(features, picture))
        return features


class BlocksOfPlace(NamedTuple):
    """Cache of the blocks of one place, for its `ImageEmbedding`."""

    blocks: SeenBlocks
    model: Sam
    place: Hashable

    def features(
        self,
        pixels: NDArray[np.uint8],
        frame: Frame,
        model_key: str,
        make: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        """Return the features of a block; see `BlockCache`."""
        slot = self.place, frame.window, frame.input_shape, model_key
        return self.blocks.features(self.model, slot, pixels, frame, make)


def _ignore(model: Sam, seconds: float) -> None:
    """Do nothing; default callback."""


def _alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    difference = np.abs(one.astype(np.int16) - other)
    return bool(
        difference.mean() <= SAME_MEAN and difference.max() <= SAME_PEAK
    )
