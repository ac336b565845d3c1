"""Images and labels of a series as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.readers.open_image import (
    axis_names,
    open_pyramid,
    unreadable,
    with_plane_last,
)
from napari_mobilesam.types import ImageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ImageArray:
    """An image in memory.

    Attributes
    ----------
    pixels : ndarray
        Pixels with rows and columns as the last axes, followed only by colour
        samples; leading axes of length 1 are dropped.
    axes : str
        A letter of ``'tzcyxs'`` for each axis.
    scale : tuple of float
        Pixel size for each axis except samples; empty if unknown.
    units : tuple of (str or None)
        Unit for each axis except samples; empty if unknown.
    """

    pixels: NDArray[Any]
    axes: str
    scale: tuple[float, ...] = ()
    units: tuple[str | None, ...] = ()

    @property
    def rgb(self) -> bool:
        """Return whether the last axis holds colours."""
        return self.axes.endswith('s')

    @property
    def label_axes(self) -> str:
        """Axes of labels of this image, without channels and samples."""
        return ''.join(name for name in self.axes if name not in 'cs')

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of labels of this image."""
        return tuple(
            int(size)
            for size, name in zip(self.pixels.shape, self.axes, strict=True)
            if name not in 'cs'
        )

    def of_label_axes(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return scale or units of `label_axes`; empty if unknown."""
        if not values:
            return ()
        named = dict(zip(self.axes, values, strict=False))
        return tuple(named[name] for name in self.label_axes)

    def channel(self, number: int) -> NDArray[Any]:
        """Return a channel, or the image itself if it has at most one.

        Raises
        ------
        ImageError
            If there is no such channel.
        """
        channels = self.channels
        if not self.several_channels:
            return channels[0]
        if not 0 <= number < len(channels):
            raise ImageError(
                f'The image has no channel {number}: it has '
                f'{len(channels)}, counted from 0.'
            )
        return channels[number]

    @property
    def several_channels(self) -> bool:
        """Return whether there are channels to choose from."""
        return len(self.channels) > 1

    @property
    def channels(self) -> list[NDArray[Any]]:
        """Pixels of each channel, or of the image if it has none."""
        if 'c' not in self.axes:
            return [self.pixels]
        return list(np.moveaxis(self.pixels, self.axes.index('c'), 0))


@dataclass(frozen=True, eq=False)
class SavedLabels:
    """Labels of an image as saved.

    Attributes
    ----------
    labels : ndarray
        Integers in the shape of the image without channels and samples.
    table : DataFrame or None
        One row per object, with its label in a column ``label``.
    """

    labels: NDArray[Any]
    table: pd.DataFrame | None = None


# Maximum bytes of a memory-mapped image that is copied to memory.
MOST_HELD = 1 << 29


def out_of_file(pixels: NDArray[Any]) -> NDArray[Any]:
    """Copy an array that is mapped to a file into memory.

    The system kills a process that reads a mapped file after another program
    has truncated it. Arrays of more than `MOST_HELD` bytes stay mapped.
    """
    mapped: Any = pixels
    while mapped is not None and not isinstance(mapped, np.memmap):
        mapped = getattr(mapped, 'base', None)
    large = pixels.nbytes > MOST_HELD
    return pixels if mapped is None or large else np.array(pixels)


def read_image_array(path: Path) -> ImageArray:
    """Read an image file.

    Raises
    ------
    ImageError
        If it cannot be read, or its axes are unknown.
    """
    pyramid = open_pyramid(path, lazy=False)
    names = axis_names(pyramid)
    array = pyramid.arrays[0]
    if len(names) != len(array.shape):
        raise ImageError(
            f'{path} names the axes {names}, but its shape is '
            f'{tuple(array.shape)}: save it as TIFF with axes.'
        )
    try:
        pixels = out_of_file(np.asarray(array[...]))
    # on damaged files, decoders raise all kinds of errors
    except Exception as error:  # noqa: BLE001
        raise ImageError(unreadable(path, error)) from error
    if 0 in pixels.shape:
        raise ImageError(f'{path} is empty: it has no pixel.')
    pixels, axes = with_plane_last(pixels, names)
    scale = dict(zip(names, pyramid.scale, strict=False))
    units = dict(zip(names, pyramid.units, strict=False))
    while axes[0] not in 'yx' and pixels.shape[0] == 1:
        pixels, axes = pixels[0], axes[1:]
    if axes.endswith('s') and pixels.shape[-1] < 3:
        # gray, perhaps with alpha
        pixels, axes = pixels[..., 0], axes[:-1]
    elif axes.endswith('yxs') and pixels.shape[-1] > 4:
        pixels, axes = np.moveaxis(pixels, -1, -3), f'{axes[:-3]}cyx'
    spatial = [name for name in axes if name != 's']
    return ImageArray(
        np.ascontiguousarray(pixels),
        axes,
        tuple(scale.get(name, 1.0) for name in spatial) if scale else (),
        tuple(units.get(name) for name in spatial) if units else (),
    )
