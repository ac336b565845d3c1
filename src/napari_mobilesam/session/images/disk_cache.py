"""Disk cache of the embeddings of a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.embedding_cache import EmbeddingCache
from napari_mobilesam.types import Frame

if TYPE_CHECKING:
    import torch


class DiskCache:
    """Keeps the features of blocks on disk, for the engine.

    Parameters
    ----------
    on_problem : callable
        Called with a message on the worker thread.
    """

    def __init__(self, on_problem: Callable[[str], None]) -> None:
        self._on_problem = on_problem
        self._cache: EmbeddingCache | None = None

    def use(self, max_mb: int, folder: str | os.PathLike[str] | None) -> None:
        """Set folder and size in megabytes; 0 turns the cache off."""
        self._cache = (
            EmbeddingCache(folder, max_mb * 2**20, self._on_problem)
            if max_mb > 0
            else None
        )

    def clear(self) -> None:
        """Delete all cached embeddings, even if the cache is turned off."""
        (self._cache or EmbeddingCache(max_bytes=0)).clear()

    def features(
        self,
        pixels: NDArray[np.uint8],
        frame: Frame,
        model_key: str,
        make: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        """Return the features of a block; see `BlockCache`."""
        if self._cache is None:
            return make()
        return self._cache.features(pixels, frame, model_key, make)
