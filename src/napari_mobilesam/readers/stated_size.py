"""The pixel size that an image file states, without its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from napari_mobilesam.readers.open_image import open_zarr
from napari_mobilesam.readers.tiff import (
    TIFF_SUFFIXES,
    UNNAMED,
    opened_series,
    pixel_sizes,
    tiff_axes,
)


class StatedSize(NamedTuple):
    """Shape and pixel size of an image, as its file states them.

    Attributes
    ----------
    shape : tuple of int
        Shape of the image.
    scale : tuple of float
        Pixel size along each axis; 1 if it is not stated. Empty, like
        ``units``, for a zarr that names no axes.
    units : tuple of (str or None)
        Unit along each axis; None if it is not stated.
    """

    shape: tuple[int, ...]
    scale: tuple[float, ...]
    units: tuple[str | None, ...]


def stated_size(path: Path) -> StatedSize | None:
    """Read the pixel size of a TIFF or an OME-Zarr.

    Parameters
    ----------
    path : Path
        File or folder.

    Returns
    -------
    StatedSize or None
        None for other files, which state none.

    Raises
    ------
    ImageError, ImportError, OSError
        If the file cannot be read, or holds several images.
    """
    if path.is_dir():
        pyramid = open_zarr(path)
        shape = tuple(pyramid.arrays[0].shape)
        return StatedSize(shape, pyramid.scale, pyramid.units)
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return None
    with opened_series(path) as (file, series, number):
        axes = tiff_axes(series.axes, series.shape) or UNNAMED
        scale, units = pixel_sizes(path, file, series.keyframe, number)
        shape = tuple(map(int, series.shape))
    return StatedSize(
        shape,
        tuple(scale.get(axis, 1.0) for axis in axes),
        tuple(units.get(axis) for axis in axes),
    )
