"""Multi-resolution images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Pyramid:
    """An image as arrays that are read later, finest first.

    Attributes
    ----------
    arrays : tuple of array
        Arrays that are indexed like NumPy arrays, finest first, all with the
        same axes.
    axes : str or None
        A letter of ``'tzcsyx'`` for each axis; None if unknown.
    scale, translation : tuple of float
        Pixel size and position of the first pixel along each axis of the
        finest array; empty if unknown.
    units : tuple of (str or None)
        Unit for each axis; empty if unknown.
    rgb : bool
        Whether the channels are red, green and blue.
    channels : tuple of str
        Names of the channels; empty if unknown.
    version : str
        Version of the OME-Zarr; empty for other files.
    nodata : float or None
        Value of pixels that were not recorded; None if there is none.
    files : tuple of Path
        Files with the pixels, if there are several.
    series : int or None
        Index of the image in its file, if it was chosen.
    """

    arrays: tuple[Any, ...]
    axes: str | None = None
    scale: tuple[float, ...] = ()
    translation: tuple[float, ...] = ()
    units: tuple[str | None, ...] = ()
    rgb: bool = False
    channels: tuple[str, ...] = ()
    version: str = ''
    nodata: float | None = None
    files: tuple[Path, ...] = ()
    series: int | None = None


def downsampling(
    finest: tuple[int, int], shape: tuple[int, int]
) -> tuple[float, float]:
    """Return the downsampling factors of a coarser level, for both axes.

    Factors are integers if the shape is consistent with rounding.
    """
    factors = []
    for full, size in zip(finest, shape, strict=True):
        whole = max(1, round(full / size))
        fits = size in (full // whole, math.ceil(full / whole))
        factors.append(float(whole) if fits else full / size)
    return factors[0], factors[1]
