"""Shape and intensity of masks, and filters by them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops

from napari_mobilesam.argument_checks import (
    are_numbers,
    check_flag,
    quoted,
)
from napari_mobilesam.types import Mask, SegmentationError, slices_of

Range = tuple[float, float]


@dataclass(frozen=True)
class ObjectFilters:
    """Ranges that the properties of an object must lie in.

    A range is (minimum, maximum), both inclusive; None lets every object pass.
    The names are those of scikit-image's ``regionprops``. Whole masks are
    measured: the label of a mask that a better one partly covers is smaller.

    Attributes
    ----------
    area : tuple of float or None
        Pixels of the mask.
    eccentricity : tuple of float or None
        0 for a circle, close to 1 for a line.
    solidity : tuple of float or None
        Share of its convex hull that the object fills.
    intensity_mean : tuple of float or None
        Mean intensity of the object, averaged over channels; NaN and infinite
        pixels are ignored.
    border : bool
        Keep objects that touch the border of the image.
    """

    area: Range | None = None
    eccentricity: Range | None = None
    solidity: Range | None = None
    intensity_mean: Range | None = None
    border: bool = True

    def __post_init__(self) -> None:
        check_flag('border', self.border)
        for name, given in self.ranges.items():
            if not are_numbers(given) or len(given) != 2:
                raise SegmentationError(
                    f'{name} is {quoted(given)}; give (least, most), or None.'
                )
            if not given[0] <= given[1]:
                raise SegmentationError(
                    f'{name} is {quoted(given)}: the least value is above '
                    'the most.'
                )

    @property
    def ranges(self) -> dict[str, Range]:
        """The ranges that are set, the cheapest to measure first."""
        names = ('area', 'intensity_mean', 'eccentricity', 'solidity')
        return {
            name: getattr(self, name)
            for name in names
            if getattr(self, name) is not None
        }


def touches_border(mask: Mask, image_shape: tuple[int, int]) -> bool:
    """Return whether a mask has a pixel on the image border."""
    row0, column0, row1, column1 = mask.box
    return (
        row0 == 0
        or column0 == 0
        or row1 == image_shape[0]
        or column1 == image_shape[1]
    )


def measure(
    mask: Mask, name: str, intensity: Callable[[], NDArray[np.float64]]
) -> float:
    """Measure one property of a mask.

    Parameters
    ----------
    mask : Mask
        Not empty.
    name : str
        Field of `ObjectFilters`.
    intensity : callable
        Returns the (H, W) image values; called only if needed.
    """
    if name == 'area':
        return float(mask.area)
    if name == 'intensity_mean':
        values = intensity()[slices_of(mask.box)][mask.data]
        seen = values[np.isfinite(values)]
        return float(seen.mean()) if seen.size else math.nan
    (region,) = regionprops(mask.data.astype(np.uint8))
    return float(getattr(region, name))
