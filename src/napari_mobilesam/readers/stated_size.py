"""The pixel size that an image file states, without its pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from napari_mobilesam.readers.open_image import open_zarr
from napari_mobilesam.readers.tiff import (
    is_tiff,
    opened_series,
    pixel_sizes,
    tiff_axes,
    unnamed_axes,
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
    path : Path
        The file.
    """

    shape: tuple[int, ...]
    scale: tuple[float, ...]
    units: tuple[str | None, ...]
    path: Path


class SizedFile(NamedTuple):
    """A file that may state the pixel size of labels.

    Attributes
    ----------
    path : Path
        The file.
    shape : tuple of int
        Shape of the array that was read from it.
    axes : tuple of int
        Axes of that array for each axis of the labels.
    """

    path: Path
    shape: tuple[int, ...]
    axes: tuple[int, ...]


def stated_sizes(files: Iterable[SizedFile]) -> Iterator[StatedSize]:
    """Yield the pixel sizes that files state along the axes of labels.

    Files without any, and those of another shape, are left out.

    Parameters
    ----------
    files : iterable of SizedFile
        Files from which labels or their image were read.
    """
    for file in files:
        try:
            found = stated_size(file.path)
        # without a size, everything is still known in pixels
        except Exception:  # noqa: BLE001
            continue
        if found is None or found.shape != file.shape or not found.units:
            continue
        yield StatedSize(
            tuple(found.shape[axis] for axis in file.axes),
            tuple(found.scale[axis] for axis in file.axes),
            tuple(found.units[axis] for axis in file.axes),
            file.path,
        )


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
        return StatedSize(shape, pyramid.scale, pyramid.units, path)
    if not is_tiff(path):
        return None
    with opened_series(path) as (file, series, number):
        axes = tiff_axes(series.axes, series.shape)
        axes = axes or unnamed_axes(series.ndim)
        scale, units = pixel_sizes(path, file, series.keyframe, number)
        shape = tuple(map(int, series.shape))
    return StatedSize(
        shape,
        tuple(scale.get(axis, 1.0) for axis in axes),
        tuple(units.get(axis) for axis in axes),
        path,
    )
