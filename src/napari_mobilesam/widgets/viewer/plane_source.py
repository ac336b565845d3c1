"""Planes of image layers as read by the session."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_mobilesam.segmentation.sampling import in_memory
from napari_mobilesam.session.files.record_json import fingerprint
from napari_mobilesam.session.images.planes import (
    ImagePlane,
    PlaneLevel,
    strided_levels,
    view_plane,
)
from napari_mobilesam.widgets.viewer.layers import data_of

Colors = NDArray[np.uint8]
# Contrast limits and gamma.
Contrast = tuple[tuple[float, float] | None, float]

# Colours of layers that share a colormap, such as gray.
PRIMARY = np.eye(3)


@dataclass(frozen=True)
class PlaneAxes:
    """Axes and index of a plane in the data of an image.

    Attributes
    ----------
    rows, columns : int
        Axes of the data shown as rows and columns.
    index : tuple of int
        Index on every axis; 0 on ``rows``, ``columns`` and ``channel_axis``.
    channel_axis : int or None
        Axis of colour channels.
    """

    rows: int
    columns: int
    index: tuple[int, ...]
    channel_axis: int | None


def image_plane(
    layers: Sequence[Image], axes: PlaneAxes, contrast: Contrast | None = None
) -> ImagePlane:
    """Describe a plane of an image, and of layers composed with it.

    Parameters
    ----------
    layers : sequence of napari.layers.Image
        The image, and layers added to it in their colours.
    axes : PlaneAxes
        Which plane.
    contrast : (limits, gamma), optional
        Contrast of the first layer; by default its current contrast.
    """
    if len(layers) == 1:
        return _single(layers[0], axes, None, contrast)
    colors = colors_of(layers)
    parts = [
        _single(layer, axes, color, None if number else contrast)
        for number, (layer, color) in enumerate(
            zip(layers, colors, strict=True)
        )
    ]
    if len({tuple(level.shape for level in p.coarser) for p in parts}) > 1:
        # an array next to a pyramid: they only share the finest level
        parts = [replace(part, coarser=()) for part in parts]
    return replace(
        parts[0],
        key=tuple(part.key for part in parts),
        added=tuple(parts[1:]),
    )


def _single(
    image: Image,
    axes: PlaneAxes,
    colors: Colors | None,
    contrast: Contrast | None,
) -> ImagePlane:
    limits, gamma = contrast or _contrast(image)
    # as set by napari: the range of the pixels, not chosen by the user
    automatic = not image.rgb and limits == tuple(image.contrast_limits_range)
    shape = data_of(image).shape
    channels = None
    if axes.channel_axis is not None:
        channels = tuple(range(min(3, int(shape[axes.channel_axis]))))
    place = (Identity(image.data), axes)
    read, coarser = _levels(image, axes)
    return ImagePlane(
        key=(
            *place,
            limits,
            gamma,
            None if colors is None else colors.tobytes(),
        ),
        read=read,
        shape=(int(shape[axes.rows]), int(shape[axes.columns])),
        contrast_limits=limits,
        gamma=gamma,
        channels=channels,
        place=place,
        coarser=coarser,
        colors=colors,
        automatic=automatic,
    )


def _contrast(image: Image) -> Contrast:
    if image.rgb:
        return None, 1.0
    low, high = image.contrast_limits
    return (float(low), float(high)), float(image.gamma)


def _levels(
    image: Image, axes: PlaneAxes
) -> tuple[Callable[[], Any], tuple[PlaneLevel, ...]]:
    """Return readers of a plane at full and coarser resolution."""
    order = [axes.rows, axes.columns]
    if axes.channel_axis is not None:
        order.append(axes.channel_axis)
    if image.rgb:
        order.append(image.ndim)
    full = data_of(image)

    def reader(data: Any) -> Callable[[], Any]:
        # other axes may be coarser, too
        index = [
            int((place + 0.5) * data.shape[axis] / full.shape[axis])
            for axis, place in enumerate(axes.index)
        ]
        index += [0] * image.rgb
        return lambda: view_plane(data, index, order)

    if image.multiscale:
        coarser = tuple(
            PlaneLevel(
                (int(data.shape[axes.rows]), int(data.shape[axes.columns])),
                reader(data),
            )
            for data in image.data[1:]
        )
    elif in_memory(full):
        coarser = strided_levels(reader(full)())
    else:
        coarser = ()
    return reader(full), coarser


def colors_of(layers: Sequence[Image]) -> list[Colors]:
    """Return the colours in which layers are composed.

    They are the layers' own colormaps. If two layers share one, such as gray,
    all are red, green and blue in order instead.

    Returns
    -------
    list of ndarray
        (256, 3) uint8 each, from black to white.
    """
    steps = np.linspace(0, 1, 256)
    maps = [layer.colormap.map(steps)[:, :3] for layer in layers]
    told_apart = all(
        not np.allclose(one, other)
        for number, one in enumerate(maps)
        for other in maps[:number]
    )
    if not told_apart:
        maps = [steps[:, None] * PRIMARY[i] for i in range(len(layers))]
    return [np.round(255 * colors).astype(np.uint8) for colors in maps]


class Identity:
    """Hashable, weak stand-in for an object, compared by identity.

    Cache keys must not keep images alive, and an ``id`` alone is reused as
    soon as an array is gone.
    """

    def __init__(self, obj: Any) -> None:
        self._id = id(obj)
        try:
            self._get: Callable[[], Any] = weakref.ref(obj)
        except TypeError:
            self._get = lambda: obj

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Identity):
            return NotImplemented
        mine = self._get()
        return mine is not None and mine is other._get()


def has_data(plane: ImagePlane, data: Any) -> bool:
    """Return whether a plane from `image_plane` shows this image data."""
    place: Any = plane.place
    return bool(place[0] == Identity(data))


def has_same_pixels(plane: ImagePlane, image: Image) -> bool:
    """Return whether an image has a plane with the same pixels.

    They are compared by `fingerprint`.

    Parameters
    ----------
    plane : ImagePlane
        Plane from `image_plane`, of the previous data of the image.
    image : napari.layers.Image
        The image with new data.
    """
    place: Any = plane.place
    _, axes = place
    shape = data_of(image).shape[: image.ndim]
    if len(shape) != len(axes.index) or np.any(axes.index >= np.array(shape)):
        return False
    now = _single(image, axes, None, None)
    return now.shape == plane.shape and fingerprint(now) == fingerprint(plane)
