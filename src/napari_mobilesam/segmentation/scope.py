"""Part of an image that segment everything works on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import quoted, small_array
from napari_mobilesam.segmentation.painting import VISIBLE_FRACTION
from napari_mobilesam.segmentation.prompt_checks import warn_beyond
from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import Box, Mask, SegmentationError, slices_of


@dataclass(frozen=True, eq=False)
class Scope:
    """Region in which to prompt, and pixels to skip.

    Attributes
    ----------
    region : tuple of int or ndarray or None
        (row0, column0, row1, column1), half open, or (H, W) bool: only these
        pixels are prompted. Masks may extend beyond.
    skip : ndarray or None
        (H, W) bool: these pixels are not prompted, and masks do not cover
        them.
    """

    region: Box | NDArray[np.bool_] | None = None
    skip: NDArray[np.bool_] | None = None

    def admits(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (N,) bool: which (N, 2) (row, column) may be prompted."""
        admitted = np.ones(len(points), dtype=bool)
        if isinstance(self.region, np.ndarray):
            admitted &= at_points(self.region, points)
        elif self.region is not None:
            low, high = np.array(self.region[:2]), np.array(self.region[2:])
            admitted &= ((points >= low) & (points < high)).all(axis=1)
        if self.skip is not None:
            admitted &= ~at_points(self.skip, points)
        return admitted

    def trim(self, mask: Mask) -> Mask | None:
        """Cut skipped pixels from a mask; None if too little is left."""
        if self.skip is None:
            return mask
        free = mask.data & ~self.skip[slices_of(mask.box)]
        left = int(np.count_nonzero(free))
        if left == mask.area:
            return mask
        if left == 0 or left < VISIBLE_FRACTION * mask.area:
            return None
        data, box = crop_to_mask(free, mask.box[:2])
        return replace(mask, data=data, box=box)


def at_points(
    plane: NDArray[Any], points: NDArray[np.float64]
) -> NDArray[Any]:
    """Return values of the pixels that (N, 2) points (row, column) lie on.

    Points count from the image corner, like those of a lattice: the first
    pixel spans 0 to 1.
    """
    last = np.array(plane.shape[:2]) - 1
    pixels = np.clip(np.floor(points), 0, last).astype(np.intp)
    return plane[pixels[:, 0], pixels[:, 1]]


def checked_scope(
    shape: tuple[int, int], region: Any = None, skip: Any = None
) -> Scope:
    """Check region and skip against the (H, W) of an image.

    Raises
    ------
    SegmentationError
        If a plane has another shape than the image or fractional values, or
        the region has no pixel within the image.

    Warns
    -----
    UserWarning
        If a part of the region is outside the image.
    """
    if skip is not None:
        skip = _plane(shape, skip, 'skip')
    if region is None:
        return Scope(None, skip)
    corners = _array(region, 'region')
    if corners.ndim == 2:
        region = _plane(shape, region, 'region')
        if not region.any():
            raise SegmentationError('The region has no pixel.')
        return Scope(region, skip)
    numbers = corners.dtype.kind in 'iuf'
    if corners.shape != (4,) or not (numbers and np.isfinite(corners).all()):
        raise SegmentationError(
            f'region is {quoted(region)}; give (row0, column0, row1, '
            f'column1) or a bool plane of the shape {shape}.'
        )
    first, last = corners[:2], corners[2:]
    if (last <= first).any():
        raise SegmentationError(
            f'The region {tuple(corners.tolist())} has no area: row1 has to '
            'be larger than row0, and column1 larger than column0.'
        )
    row0, column0 = (max(0, int(value)) for value in corners[:2])
    row1, column1 = (
        min(length, int(np.ceil(value)))
        for length, value in zip(shape, corners[2:], strict=True)
    )
    if row1 <= row0 or column1 <= column0:
        raise SegmentationError(
            f'The region {tuple(corners.tolist())} has no pixel of the image '
            f'of shape {shape}.'
        )
    warn_beyond('The region', corners, shape)
    return Scope((row0, column0, row1, column1), skip)


def _array(values: Any, name: str) -> NDArray[Any]:
    try:
        return small_array(values, name)
    except SegmentationError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise SegmentationError(
            f'{name} is {quoted(values)}; it has to be a box or a plane.'
        ) from error


def _plane(
    shape: tuple[int, int], values: Any, name: str
) -> NDArray[np.bool_]:
    plane = _array(values, name)
    if plane.dtype.kind not in 'buif':
        raise SegmentationError(
            f'{name} has the type {plane.dtype}; it has to be a plane of bool '
            'or of labels.'
        )
    if plane.shape != shape:
        raise SegmentationError(
            f'{name} has the shape {plane.shape}; it has to be a plane of '
            f"the image's shape {shape}."
        )
    if plane.dtype.kind == 'f' and (plane != np.floor(plane)).any():
        raise SegmentationError(
            f'{name} has fractions or NaN: it is an image. Give labels, or a '
            'bool plane.'
        )
    return plane.astype(bool)
