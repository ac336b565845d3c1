"""A source as the model sees it: one level, one contrast, 8-bit RGB."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.io.interfaces import Source
from napari_mobilesam.segmentation.image import Limits, as_colors, as_rgb_plane
from napari_mobilesam.types import Window

# Pixels read at once when a window is read coarser than its level.
STRIP_PIXELS = 1 << 24


@dataclass(frozen=True, eq=False)
class ImageView:
    """View of a source at the working resolution.

    Attributes
    ----------
    source : Source
        The image.
    level : int
        Pyramid level from which tiles are read.
    step : int
        Pixels of that level per pixel of the working plane, along an axis;
        above 1 only if the pyramid lacks a sufficiently coarse level.
    limits : tuple of (low, high)
        Contrast limits of the whole image, one pair or one per channel.
    gamma : float
        Exponent applied after the contrast limits.
    """

    source: Source
    level: int
    step: int
    limits: tuple[Limits, ...]
    gamma: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the working plane."""
        height, width = self.source.levels[self.level].shape
        return -(-height // self.step), -(-width // self.step)

    @property
    def factor(self) -> tuple[float, float]:
        """Pixels of level 0 per pixel of the working plane."""
        rows, columns = self.source.levels[self.level].factor
        return rows * self.step, columns * self.step

    def rgb(
        self, plane: int, window: Window, shrink: int = 1
    ) -> NDArray[np.uint8]:
        """Read a window as shown to the model.

        Parameters
        ----------
        plane : int
            Plane of the source.
        window : tuple of int
            (row0, column0, row1, column1) on the working plane; starts are
            multiples of ``shrink``.
        shrink : int
            Pixels of the working plane per pixel returned.

        Returns
        -------
        ndarray
            (h, w, 3) uint8, ``h = ceil((row1 - row0) / shrink)``.
        """
        pixels = self._read(plane, window, shrink)
        return to_rgb(pixels, self.limits, self.gamma)

    def rgb_at(
        self, plane: int, level: int, window: Window
    ) -> NDArray[np.uint8]:
        """Read a window of another level, in pixels of that level."""
        pixels = self.source.read(plane, level, window)
        return to_rgb(pixels, self.limits, self.gamma)

    def _read(self, plane: int, window: Window, shrink: int) -> NDArray[Any]:
        step = self.step * shrink
        level, ratio = self._coarser_level(step)
        step //= ratio
        height, width = self.source.levels[level].shape
        row0, column0 = (edge // shrink * step for edge in window[:2])
        rows, columns = (
            -(-(stop - start) // shrink)
            for start, stop in zip(window[:2], window[2:], strict=True)
        )
        row1 = min(row0 + rows * step, height)
        column1 = min(column0 + columns * step, width)
        parts = [
            _mean_blocks(
                self.source.read(
                    plane, level, (top, column0, bottom, column1)
                ),
                step,
            )
            for top, bottom in _strips(row0, row1, column1 - column0, step)
        ]
        pixels = np.concatenate(parts)
        # A last pixel is missing if the sides of a level are rounded down.
        missing = (rows - pixels.shape[0], columns - pixels.shape[1])
        if any(missing):
            pixels = _pad(pixels, (max(0, missing[0]), max(0, missing[1])))
        return pixels[:rows, :columns]

    def _coarser_level(self, step: int) -> tuple[int, int]:
        """Return the coarsest level that divides ``step``, and the rest.

        The result is its index, and the pixels of the view's own level per
        pixel of it.
        """
        own = self.source.levels[self.level].factor
        best = (self.level, 1)
        for index, level in enumerate(self.source.levels):
            ratios = [a / b for a, b in zip(level.factor, own, strict=True)]
            ratio = round(ratios[0])
            exact = all(math.isclose(r, ratio, rel_tol=0.01) for r in ratios)
            if exact and ratio > best[1] and step % ratio == 0:
                best = (index, ratio)
        return best


def to_rgb(
    pixels: NDArray[Any], limits: tuple[Limits, ...], gamma: float
) -> NDArray[np.uint8]:
    """Stretch (h, w) or (h, w, channels) to (h, w, 3) uint8.

    Infinite values are clipped to the contrast limits; a mosaic is NaN where
    nothing was recorded.
    """
    if pixels.dtype.kind == 'f':
        low = min(pair[0] for pair in limits)
        high = max(pair[1] for pair in limits)
        pixels = np.nan_to_num(pixels, nan=low, posinf=high, neginf=low)
    channels = [pixels] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    pairs = limits * len(channels) if len(limits) == 1 else limits
    shown = [
        as_rgb_plane(channel, contrast_limits=pair, gamma=gamma)[..., 0]
        for channel, pair in zip(channels, pairs, strict=True)
    ]
    return as_colors(shown)


def _strips(
    start: int, stop: int, width: int, step: int
) -> Iterator[tuple[int, int]]:
    rows = max(1, STRIP_PIXELS // (width * step)) * step
    for top in range(start, stop, rows):
        yield top, min(top + rows, stop)


def _mean_blocks(pixels: NDArray[Any], step: int) -> NDArray[Any]:
    """Average step x step pixels, padding incomplete blocks."""
    if step == 1:
        return pixels
    fill = (-pixels.shape[0] % step, -pixels.shape[1] % step)
    pixels = _pad(pixels, fill).astype(np.float32)
    rows, columns = (n // step for n in pixels.shape[:2])
    blocks = pixels.reshape(rows, step, columns, step, *pixels.shape[2:])
    return blocks.mean(axis=(1, 3))


def _pad(pixels: NDArray[Any], after: tuple[int, int]) -> NDArray[Any]:
    """Repeat the last rows and columns."""
    widths = [(0, after[0]), (0, after[1])] + [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, widths, mode='edge')
