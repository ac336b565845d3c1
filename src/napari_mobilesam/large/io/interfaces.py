"""Protocols of image sources and label writers.

Both are sent to other processes and machines, pickled as a reference (a path)
and never as pixels, unless the image is an array in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import Window


class Level(NamedTuple):
    """One level of a pyramid.

    Attributes
    ----------
    factor : tuple of float
        Pixels of level 0 per pixel of this level, along rows and columns.
    shape : tuple of int
        (H, W) of a plane at this level.
    """

    factor: tuple[float, float]
    shape: tuple[int, int]


class Source(Protocol):
    """Image with one or many planes, read window by window.

    Attributes
    ----------
    shape : tuple of int
        (H, W) of a plane at level 0.
    planes : int
        Number of planes; 1 for a 2D image.
    levels : tuple of Level
        The image itself, followed by coarser levels.
    dtype : numpy.dtype
        Type of the pixels returned by `read`.
    rgb : bool
        True if the channels are the colours of one photograph, which share
        their contrast limits.
    """

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def planes(self) -> int: ...

    @property
    def levels(self) -> tuple[Level, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def rgb(self) -> bool: ...

    def fingerprint(self) -> str:
        """Return the identity of the image, without reading all of it.

        It changes with the image and its pixels. For computed arrays (dask),
        only a sample of the pixels is compared.
        """
        ...

    def read(self, plane: int, level: int, window: Window) -> NDArray[Any]:
        """Read a window.

        Parameters
        ----------
        plane : int
            0 … ``planes`` - 1.
        level : int
            0 … ``len(levels)`` - 1.
        window : tuple of int
            (row0, column0, row1, column1) in pixels of that level, half open
            and within it.

        Returns
        -------
        ndarray
            (h, w) or (h, w, channels) with one to three channels.
        """
        ...


class LabelSink(Protocol):
    """Writer of rendered labels, chunk by chunk, from any process."""

    def write_chunk(
        self, plane: int, window: Window, labels: NDArray[np.uint32]
    ) -> None:
        """Write the labels of one chunk at level 0."""
        ...
