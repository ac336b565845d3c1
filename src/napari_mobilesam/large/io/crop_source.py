"""A part of an image as an image by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.io.interfaces import Level, Source
from napari_mobilesam.large.io.sources import Geometry
from napari_mobilesam.types import Window

# Parts begin on multiples of this, and thus on a pixel of coarser levels.
GRAIN = 16


@dataclass(frozen=True, eq=False)
class CropSource:
    """Window of all planes: a `napari_mobilesam.large.io.interfaces.Source`.

    Attributes
    ----------
    source : Source
        The whole image.
    window : tuple of int
        (row0, column0, row1, column1) at level 0; row0 and column0 are
        multiples of `GRAIN`, see `around`.
    """

    source: Source
    window: Window

    @classmethod
    def around(cls, source: Source, window: Window) -> CropSource:
        """Return the smallest part that contains a window."""
        row0, column0 = (edge // GRAIN * GRAIN for edge in window[:2])
        return cls(source, (row0, column0, window[2], window[3]))

    @property
    def shape(self) -> tuple[int, int]:
        row0, column0, row1, column1 = self.window
        return row1 - row0, column1 - column0

    @property
    def planes(self) -> int:
        return self.source.planes

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    @property
    def rgb(self) -> bool:
        return self.source.rgb

    @property
    def nodata(self) -> float | None:
        """Value of pixels that were not recorded, None if unknown."""
        return getattr(self.source, 'nodata', None)

    @property
    def levels(self) -> tuple[Level, ...]:
        """First levels, as far as the window starts on one of their pixels."""
        kept: list[Level] = []
        for level in self.source.levels:
            if any(GRAIN % factor for factor in level.factor):
                break
            row0, column0, row1, column1 = self._at(level)
            if row0 >= row1 or column0 >= column1:
                break
            kept.append(Level(level.factor, (row1 - row0, column1 - column0)))
        return tuple(kept)

    @property
    def geometry(self) -> Geometry | None:
        """Location of the part, if that of the whole image is known."""
        whole = getattr(self.source, 'geometry', None)
        if not isinstance(whole, Geometry):
            return None
        moved = list(whole.translation)
        for axis, start in zip((-2, -1), self.window[:2], strict=True):
            moved[axis] += start * whole.scale[axis]
        return replace(whole, translation=tuple(moved))

    def fingerprint(self) -> str:
        """Return the fingerprint of the whole image, with the window."""
        return f'{self.source.fingerprint()} {self.window}'

    def read(self, plane: int, level: int, window: Window) -> NDArray[Any]:
        """Read a window of the part."""
        row0, column0, _, _ = self._at(self.source.levels[level])
        return self.source.read(
            plane,
            level,
            (
                window[0] + row0,
                window[1] + column0,
                window[2] + row0,
                window[3] + column0,
            ),
        )

    def _at(self, level: Level) -> Window:
        """Return the window at a level."""
        (row0, row1), (column0, column1) = (
            (int(start // factor), min(int(-(-stop // factor)), length))
            for start, stop, factor, length in zip(
                self.window[:2],
                self.window[2:],
                level.factor,
                level.shape,
                strict=True,
            )
        )
        return row0, column0, row1, column1
