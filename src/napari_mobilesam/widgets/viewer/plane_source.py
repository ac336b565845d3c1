"""What a layer's plane is to the session: how it is read and shown."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.windows import Viewport
from napari_mobilesam.session.images.planes import (
    ImagePlane,
    Level,
    in_memory,
    strided_levels,
    view_plane,
)
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.viewer.transforms import (
    Matrix,
    apply,
    data_to_world_matrix,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane

Colors = NDArray[np.uint8]

# One color each for what has no colours of its own to be told apart by.
PRIMARY = np.eye(3)


def describe(plane: LayerPlane) -> ImagePlane:
    """Describe the plane of a layer, and of those composed with it."""
    if not plane.composed:
        return _describe_one(plane, plane.layer, None)
    layers = (plane.layer, *plane.composed)
    parts = [
        _describe_one(plane, layer, colors)
        for layer, colors in zip(layers, colors_of(layers), strict=True)
    ]
    if len({tuple(level.shape for level in p.coarser) for p in parts}) > 1:
        # an array beside a pyramid: what they share is the finest level
        parts = [replace(part, coarser=()) for part in parts]
    first, *others = parts
    return replace(
        first,
        key=tuple(part.key for part in parts),
        place=tuple(part.place for part in parts),
        added=tuple(others),
    )


def _describe_one(
    plane: LayerPlane, image: Image, colors: Colors | None
) -> ImagePlane:
    limits, gamma = None, 1.0
    if not image.rgb:
        low, high = image.contrast_limits
        limits, gamma = (float(low), float(high)), float(image.gamma)
    channels = None
    if plane.channel_axis is not None:
        count = int(data_of(image).shape[plane.channel_axis])
        channels = tuple(range(min(3, count)))
    place = (
        Identity(image.data),
        plane.rows,
        plane.columns,
        plane.index,
        plane.channel_axis,
    )
    shown = None if colors is None else colors.tobytes()
    read, coarser = _levels(plane, image)
    return ImagePlane(
        (*place, limits, gamma, shown),
        read,
        plane.shape,
        limits,
        gamma,
        channels,
        plane.name,
        place,
        plane,
        coarser,
        colors,
        (),
        plane.viewport,
    )


def _levels(
    plane: LayerPlane, image: Image
) -> tuple[Callable[[], Any], tuple[Level, ...]]:
    """How the plane is read at full resolution, and at coarser ones."""
    axes = [plane.rows, plane.columns]
    if plane.channel_axis is not None:
        axes.append(plane.channel_axis)
    if image.rgb:
        axes.append(image.ndim)
    full = data_of(image)

    def reader(data: Any) -> Callable[[], Any]:
        # other axes may be coarser too
        index = [
            int((place + 0.5) * data.shape[axis] / full.shape[axis])
            for axis, place in enumerate(plane.index)
        ]
        index += [0] * image.rgb
        return lambda: view_plane(data, index, axes)

    if image.multiscale:
        coarser = tuple(
            Level(
                (int(data.shape[plane.rows]), int(data.shape[plane.columns])),
                reader(data),
            )
            for data in image.data[1:]
        )
    elif in_memory(full):
        coarser = strided_levels(reader(full)())
    else:
        coarser = ()
    return reader(full), coarser


def data_of(layer: Layer) -> Any:
    """Return the array of a layer, the finest level of a pyramid."""
    return layer.data[0] if getattr(layer, 'multiscale', False) else layer.data


def colors_of(layers: Sequence[Image]) -> list[Colors]:
    """Return the colours that layers are composed in.

    As they are shown; layers that share a colormap, such as gray, are red,
    green and blue in their order instead, to be told apart.

    Returns
    -------
    list of ndarray
        (256, 3) uint8 from black to white each.
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


def check_composed(
    image: Image,
    composed: Sequence[Image],
    channel_axis: int | None,
    ndim: int,
) -> None:
    """Refuse layers that cannot be composed.

    Raises
    ------
    ImageError
        More than three layers, colours in one of them already, or layers
        that do not lie on each other pixel by pixel.
    """
    if composed and channel_axis is not None:
        raise ImageError(
            f'The channels of “{image.name}” are its colours already: choose '
            'no channel axis to compose it with other layers.'
        )
    if len(composed) > 2:
        raise ImageError(
            f'{1 + len(composed)} layers are composed, but a model sees three '
            'colours: choose at most three.'
        )
    matrix = data_to_world_matrix(image, ndim)
    for other in composed:
        if image.rgb or other.rgb:
            name = image.name if image.rgb else other.name
            raise ImageError(
                f'“{name}” has colours of its own: it cannot be composed '
                'with other layers.'
            )
        if data_of(other).shape != data_of(image).shape or not np.allclose(
            data_to_world_matrix(other, ndim), matrix
        ):
            raise ImageError(
                f'“{other.name}” does not lie on “{image.name}” pixel by '
                'pixel: layers that are composed have the same shape, scale '
                'and position.'
            )


def viewport_of(
    viewer: ViewerModel,
    matrix: Matrix,
    position: NDArray[np.float64],
    displayed: Sequence[int],
) -> Viewport | None:
    """Return where a viewer looks at an image; None without a window.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    matrix : ndarray
        Data of the image to world.
    position : ndarray
        (world ndim,) data coordinates of the plane.
    displayed : sequence of int
        World axes shown as rows and columns.
    """
    if not hasattr(viewer, 'window'):
        return None
    camera = camera_of(viewer)
    axes = list(displayed)
    world = apply(matrix, position[None])
    world[0, axes] = camera.center[-2:]
    center = apply(np.linalg.inv(matrix), world)[0, axes]
    sizes = np.linalg.norm(matrix[:-1, axes], axis=0)
    return Viewport(
        (float(center[0]), float(center[1])),
        float(1 / (camera.zoom * sizes.max())),
    )


def camera_of(viewer: ViewerModel) -> Any:
    """Return the camera, which napari 0.9 moved to the scene."""
    scene = getattr(viewer, 'scene', None)
    return viewer.camera if scene is None else scene.camera


class Identity:
    """Hashable stand-in for an object that is equal to itself only.

    Keys of caches must not keep images alive, and an ``id`` alone is reused
    as soon as an array is gone.
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
