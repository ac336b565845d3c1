"""Image layers as sources for tiled segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_mobilesam.segmentation.sampling import in_memory
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import (
    MARK,
    PIXEL,
    data_of,
    pixel_sizes,
)

if TYPE_CHECKING:
    from napari_mobilesam.large.io.interfaces import Source
    from napari_mobilesam.types import Window

# Maximum pixels of an array of labels, and of a lazy image read at once.
MOST_PIXELS = 8192**2
MOST_LAZY_PIXELS = 2048**2


@dataclass(frozen=True, eq=False)
class LargeImage:
    """Planes of a layer, or a part of them, for tiled segmentation.

    Attributes
    ----------
    plane : LayerPlane
        Displayed plane.
    source : Source
        The pixels.
    planes_shape : tuple of int
        Sizes of the axes before rows and columns.
    origin : tuple of float
        Data position of the first pixel on the axes of labels.
    """

    plane: LayerPlane
    source: Source
    planes_shape: tuple[int, ...]
    origin: tuple[float, ...]

    def transform(self) -> dict[str, Any]:
        """Return keyword arguments that place a Labels layer on the image."""
        layer = self.plane.layer
        return {
            'affine': self.plane.output_matrix(self.origin),
            **self.plane.axes(),
            'metadata': {MARK: str(layer.unique_id)},
        }


def is_large(plane: LayerPlane, axis: int | None) -> bool:
    """Return True if planes are too large to be segmented in memory.

    Parameters
    ----------
    plane : LayerPlane
        Displayed plane.
    axis : int or None
        Axis along which all planes are segmented; None for one plane.
    """
    image = plane.layer
    full = data_of(image)
    pixels = int(np.prod(plane.shape, dtype=np.int64))
    if axis is not None:
        pixels *= int(full.shape[axis])
    lazy = image.multiscale or not in_memory(full)
    return pixels > (MOST_LAZY_PIXELS if lazy else MOST_PIXELS)


def check_size(plane: LayerPlane, planes: int = 1) -> None:
    """Refuse planes that are too large to be read at once.

    Parameters
    ----------
    plane : LayerPlane
        One of them.
    planes : int
        Number of planes.

    Raises
    ------
    ImageError
        The planes are too large.
    """
    pixels = planes * plane.shape[0] * plane.shape[1]
    if pixels > MOST_PIXELS:
        raise ImageError(
            f'“{plane.layer.name}” is too large to be read at once '
            f'({pixels / 1e6:,.0f} million pixels, at most '
            f'{MOST_PIXELS / 1e6:,.0f} million): crop it, or use Run.'
        )


def large_image(
    plane: LayerPlane, axis: int | None, window: Window | None = None
) -> LargeImage:
    """Return a plane, or all planes along an axis, as a large image.

    Parameters
    ----------
    plane : LayerPlane
        Displayed plane.
    axis : int or None
        Axis along which all planes are segmented; None for one plane.
    window : tuple of int, optional
        (row0, column0, row1, column1) of the part to segment.

    Raises
    ------
    ImageError
        The viewer shows axes other than the last two, there are too many axes
        before them, or other layers are composed with the image.
    """
    from napari_mobilesam.large.io.crop_source import CropSource
    from napari_mobilesam.large.io.sources import open_source
    from napari_mobilesam.readers.pyramid import Pyramid

    image = plane.layer
    if plane.composed:
        raise ImageError(
            f'“{image.name}” is too large to be segmented together with other '
            'layers: choose “this layer only” under Channels, or open the '
            'layers as one image with a channel axis.'
        )
    names = _axis_names(plane)
    select = {
        names[other]: plane.index[other]
        for other in plane.travel_axes
        if other != axis
    }
    channels = None
    if plane.channel_axis is not None:
        count = int(data_of(image).shape[plane.channel_axis])
        channels = tuple(range(min(3, count)))
    origin = image.data_to_world((0,) * image.ndim)
    units = [None if str(u) == PIXEL else str(u) for u in image.units]
    pyramid = Pyramid(
        tuple(image.data) if image.multiscale else (image.data,),
        names + 's' * image.rgb,
        scale=(*map(float, pixel_sizes(image)), *[1.0] * image.rgb),
        translation=(*map(float, origin), *[0.0] * image.rgb),
        units=(*units, *[None] * image.rgb),
    )
    source = open_source(pyramid, channels=channels, select=select)
    start = (0, 0)
    if window is not None:
        source = CropSource.around(source, window)
        start = source.window[:2]
    place = {plane.rows: start[0], plane.columns: start[1]}
    if axis is not None:
        place[axis] = 0
    return LargeImage(
        plane,
        source,
        tuple(
            int(data_of(image).shape[other]) if other == axis else 1
            for other in plane.travel_axes
        ),
        tuple(
            float(place.get(it, plane.index[it])) for it in plane.output_axes
        ),
    )


def _axis_names(plane: LayerPlane) -> str:
    """Return one letter per axis of the layer."""
    image = plane.layer
    if (plane.rows, plane.columns) != (image.ndim - 2, image.ndim - 1):
        raise ImageError(
            f'The viewer does not show rows and columns of “{image.name}”: '
            'reset the order of the axes to segment an image of this size.'
        )
    if plane.channel_axis not in (None, 0):
        raise ImageError(
            f'The channels of “{image.name}” are not its first axis: choose '
            'no channel axis to segment the displayed channel.'
        )
    if len(plane.travel_axes) > 2:
        raise ImageError(
            f'“{image.name}” has {len(plane.travel_axes)} axes besides rows '
            'and columns, but an image of this size can have two at most: '
            'open a part of it.'
        )
    letters = iter('tz'[-len(plane.travel_axes) :])
    names = []
    for axis in range(image.ndim):
        if axis == plane.channel_axis:
            names.append('c')
        elif axis in plane.travel_axes:
            names.append(next(letters))
    return ''.join([*names, 'yx'])
