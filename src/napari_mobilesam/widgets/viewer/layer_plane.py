"""The plane of an image shown by a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_number, quoted
from napari_mobilesam.session.images.planes import ImagePlane, Viewport
from napari_mobilesam.session.prompts.prefetch import planes_ahead
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.viewer.layers import (
    MARK,
    Matrix,
    Units,
    apply,
    axes_of,
    axis_name,
    coincide,
    data_of,
    data_to_world_matrix,
    place_names,
    placement,
    unwrap,
    world_units,
)
from napari_mobilesam.widgets.viewer.plane_source import (
    Contrast,
    PlaneAxes,
    image_plane,
)

# Names of axes of channels, and most planes along an axis that may be one.
CHANNEL_NAMES = ('c', 'channel', 'channels')
FEW_PLANES = 4


@dataclass(frozen=True, eq=False)
class LayerPlane:
    """The plane of an image layer shown by the viewer.

    Attributes
    ----------
    layer : napari.layers.Image
        The image.
    position : ndarray
        (world ndim,) data coordinates of the plane on the world's axes.
    rows, columns : int
        Axes of the image's data shown as rows and columns.
    index : tuple of int
        Data index of the plane on every axis of the image, 0 for ``rows`` and
        ``columns``.
    shape : tuple of int
        (H, W).
    channel_axis : int or None
        Axis whose first channels the model sees as colours.
    composed : tuple of napari.layers.Image
        Layers added to it in their colours.
    viewport : Viewport or None
        Visible part of the image, if the viewer has a window.
    units : tuple of pint.Unit or None
        Units of the world; see `world_units`.
    """

    layer: Image
    position: NDArray[np.float64]
    rows: int
    columns: int
    index: tuple[int, ...]
    shape: tuple[int, int]
    channel_axis: int | None = None
    composed: tuple[Image, ...] = ()
    viewport: Viewport | None = None
    units: Units | None = None

    @property
    def matrix(self) -> Matrix:
        """Data-to-world matrix of the image as it is now.

        See `data_to_world_matrix`.

        Raises
        ------
        ImageError
            The image has got other axes since.
        """
        if not self.fits:
            raise ImageError(
                f'“{self.layer.name}” has {self.layer.ndim} axes now and had '
                f'{len(self.index)}: its earlier objects cannot be changed.'
            )
        return self.matrix_of(self.layer)

    @property
    def fits(self) -> bool:
        """False if a script gave the image a different number of axes."""
        return len(self.index) == self.layer.ndim

    @property
    def ndim(self) -> int:
        """Number of world axes."""
        return len(self.position)

    @property
    def offset(self) -> int:
        """World axis of the image's first axis."""
        return self.ndim - self.layer.ndim

    @property
    def output_axes(self) -> tuple[int, ...]:
        """Image axes that its labels have.

        A leading channel axis is dropped: labels are the same in every
        channel, and layers align with the last axes of the world.
        """
        first = 1 if self.channel_axis == 0 else 0
        return tuple(range(first, self.layer.ndim))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of a labels array for the whole image."""
        shape = data_of(self.layer).shape
        return tuple(int(shape[axis]) for axis in self.output_axes)

    @property
    def output_index(self) -> tuple[int, ...]:
        """Index of the plane on `output_axes`."""
        return tuple(self.index[axis] for axis in self.output_axes)

    @property
    def output_plane(self) -> tuple[int, int]:
        """Rows and columns among the `output_axes`."""
        axes = self.output_axes
        return axes.index(self.rows), axes.index(self.columns)

    @property
    def name(self) -> str:
        """Name for messages: layers, and the index on other axes."""
        fixed = place_names(self.layer, self.stack_axes, self.index)
        names = [layer.name for layer in (self.layer, *self.composed)]
        return ', '.join([' + '.join(names), *fixed])

    def transform(self) -> dict[str, Any]:
        """Return keyword arguments that place a new layer on the image."""
        mark = {MARK: str(self.layer.unique_id)}
        return {**placement(self.layer, self.output_axes), 'metadata': mark}

    def axes(self) -> dict[str, Any]:
        """Return units and labels of `output_axes`, for a layer on them."""
        return axes_of(self.layer, self.output_axes)

    def output_matrix(self, origin: Sequence[float] | None = None) -> Matrix:
        """Return the homogeneous data-to-world matrix of `output_axes`.

        It is in the units of the image.

        Parameters
        ----------
        origin : sequence of float, optional
            Data position of the layer's first pixel.
        """
        keep = [self.offset + axis for axis in self.output_axes]
        own = data_to_world_matrix(self.layer, self.ndim)
        matrix = own[np.ix_([*keep, self.ndim], [*keep, self.ndim])]
        if origin is not None:
            shift = np.eye(len(matrix))
            shift[:-1, -1] = origin
            matrix = matrix @ shift
        return matrix

    def data_points(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N, 2) pixels as (N, ndim) data coordinates.

        These are on the world's axes; see `position`.
        """
        points = np.tile(self.position, (len(pixels), 1))
        points[:, self.offset :] = self.index
        axes = [self.offset + self.rows, self.offset + self.columns]
        points[:, axes] = pixels
        return points

    def output_points(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N, 2) pixels as data coordinates of labels of the image."""
        axes = [self.offset + axis for axis in self.output_axes]
        return self.data_points(pixels)[:, axes]

    def output_picture(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Return an (H, W) picture with the axes of labels of the image."""
        others = set(range(len(self.output_axes))) - set(self.output_plane)
        return np.expand_dims(picture, tuple(others))

    def layer_points(
        self, layer: Layer, pixels: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Map pixels of the plane to the data of another layer.

        Parameters
        ----------
        layer : napari.layers.Layer
            Layer with any transform.
        pixels : ndarray
            (N, 2) row and column in data pixels of the image.

        Returns
        -------
        ndarray
            (N, layer.ndim); `image_points` is the inverse.
        """
        world = apply(self.matrix, self.data_points(pixels))
        data = apply(np.linalg.inv(self.matrix_of(layer)), world)
        return data[:, self.ndim - layer.ndim :]

    def image_points(
        self, layer: Layer, points: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Map points of another layer to the plane.

        Parameters
        ----------
        layer : napari.layers.Layer
            Layer in whose data the points are given.
        points : ndarray
            (N, layer.ndim).

        Returns
        -------
        positions : ndarray
            (N, 2) row and column in data pixels of the image.
        here : ndarray
            (N,) bool, whether the point lies on this plane.
        """
        data = self.image_data(layer, points)
        here = np.ones(len(data), dtype=bool)
        for axis in self.travel_axes:
            here &= np.round(data[:, axis]) == self.index[axis]
        return data[:, [self.rows, self.columns]], here

    def image_data(
        self, layer: Layer, points: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Map points of another layer to the data of the image.

        Parameters
        ----------
        layer : napari.layers.Layer
            Layer in whose data the points are given; on axes that it lacks,
            they are on this plane.
        points : ndarray
            (N, layer.ndim).

        Returns
        -------
        ndarray
            (N, image ndim).
        """
        points = np.asarray(points, dtype=float).reshape(-1, layer.ndim)
        extra = self.ndim - layer.ndim
        # a layer without the world's leading axes is shown at each position
        world_position = apply(self.matrix, self.position[None])[0]
        padded = np.hstack(
            [np.tile(world_position[:extra], (len(points), 1)), points]
        )
        world = apply(self.matrix_of(layer), padded)
        return apply(np.linalg.inv(self.matrix), world)[:, self.offset :]

    def at(self, position: Sequence[float]) -> tuple[float, float]:
        """Return the (row, column) of a position in world coordinates."""
        data = apply(np.linalg.inv(self.matrix), np.array([position]))[0]
        row, column = data[
            [self.offset + self.rows, self.offset + self.columns]
        ]
        return float(row), float(column)

    def matrix_of(self, layer: Layer) -> Matrix:
        """Return the data-to-world map of another layer."""
        return data_to_world_matrix(layer, self.ndim, self.units)

    def source(self, contrast: Contrast | None = None) -> ImagePlane:
        """Describe the plane for the session; see `image_plane`."""
        # all channels are its colours, whichever is shown
        index = tuple(
            0 if axis == self.channel_axis else place
            for axis, place in enumerate(self.index)
        )
        found = image_plane(
            (self.layer, *self.composed),
            PlaneAxes(self.rows, self.columns, index, self.channel_axis),
            contrast,
        )
        return replace(
            found, name=self.name, geometry=self, viewport=self.viewport
        )

    @property
    def travel_axes(self) -> tuple[int, ...]:
        """Image axes along which there are other planes."""
        return tuple(
            axis
            for axis in range(self.layer.ndim)
            if axis not in (self.rows, self.columns, self.channel_axis)
        )

    @property
    def stack_axes(self) -> tuple[int, ...]:
        """Axes in `travel_axes` with more than one plane."""
        shape = data_of(self.layer).shape
        return tuple(axis for axis in self.travel_axes if shape[axis] > 1)

    @property
    def followed_axis(self) -> int | None:
        """Default axis along which objects are followed, if any.

        This is the last of the `stack_axes` not named like channels. An axis
        with few planes may hold channels, so the last one with more is
        preferred.
        """
        shape = data_of(self.layer).shape
        named = [
            axis
            for axis in self.stack_axes
            if axis_name(self.layer, axis).lower() not in CHANNEL_NAMES
        ]
        axes = named or list(self.stack_axes)
        long = [axis for axis in axes if shape[axis] > FEW_PLANES]
        return next(reversed(long or axes), None)

    def moved(self, axis: int, by: int) -> LayerPlane | None:
        """Return the plane some steps along an image axis, if it exists."""
        index, position = list(self.index), self.position.copy()
        index[axis] += by
        if not 0 <= index[axis] < data_of(self.layer).shape[axis]:
            return None
        position[self.offset + axis] = index[axis]
        return replace(self, index=tuple(index), position=position)

    def along(self, axis: int) -> list[LayerPlane]:
        """Return all planes along an image axis, in order."""
        steps = np.arange(data_of(self.layer).shape[axis]) - self.index[axis]
        moved = [self.moved(axis, int(by)) for by in steps]
        return [plane for plane in moved if plane is not None]

    def neighbours(self, before: LayerPlane | None) -> list[LayerPlane]:
        """Return the planes likely to be shown next.

        Parameters
        ----------
        before : LayerPlane or None
            The plane shown before this one.
        """
        seen = None
        if before is not None and before.layer is self.layer:
            seen = before.index
        steps = planes_ahead(seen, self.index, self.travel_axes)
        moved = [self.moved(axis, by) for axis, by in steps]
        return [plane for plane in moved if plane is not None]


def plane_of(
    viewer: ViewerModel,
    image: Image,
    channel_axis: int | None = None,
    composed: Sequence[Image] = (),
) -> LayerPlane:
    """Return the plane of an image shown by the viewer.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (no proxy) whose sliders choose the plane.
    image : napari.layers.Image
        2D to n-D image, RGB or gray, multiscale or not.
    channel_axis : int, optional
        Data axis used as colours instead of being sliced.
    composed : sequence of napari.layers.Image
        At most two other layers, aligned with the image and added to it in
        their colours, as with additive blending.

    Raises
    ------
    ImageError
        If no plane of the image is shown (3D display, axes that the image
        lacks, a slider beyond the image, or an empty image), or if layers
        cannot be composed.
    """
    rows, columns = _shown_axes(viewer, image)
    if channel_axis is not None:
        last = image.ndim - 1
        check_number('channel_axis', channel_axis, 0, last, whole=True)
    if channel_axis in (rows, columns):
        raise ImageError(
            f'Axis {channel_axis} cannot be both channels and shown: choose '
            'other channels.'
        )
    ndim = viewer.dims.ndim
    shape = data_of(image).shape
    units = world_units(viewer)
    matrix = data_to_world_matrix(image, ndim, units)
    check_composed(image, composed, channel_axis, ndim, units)
    position = apply(
        np.linalg.inv(matrix), np.asarray(viewer.dims.point, float)[None]
    )[0]
    index = np.round(position[ndim - image.ndim :]).astype(int)
    if channel_axis is not None:
        index[channel_axis] = np.clip(
            index[channel_axis], 0, shape[channel_axis] - 1
        )
    index[[rows, columns]] = 0
    _check_index(image, index, (rows, columns))
    return LayerPlane(
        image,
        position,
        rows,
        columns,
        tuple(int(i) for i in index),
        (int(shape[rows]), int(shape[columns])),
        channel_axis,
        tuple(composed),
        viewport_of(viewer, matrix, position, viewer.dims.displayed),
        units,
    )


def _shown_axes(viewer: ViewerModel, image: Image) -> tuple[int, int]:
    """Return the displayed axes of an image, rows and columns.

    They are in data order, so that a transposed image has the same plane.
    """
    displayed = viewer.dims.displayed
    # napari also shows two axes of a 2D image in the 3D view
    if viewer.dims.ndisplay != 2 or len(displayed) != 2:
        raise ImageError(
            'The viewer shows a volume: switch to 2D display to segment the '
            'current plane.'
        )
    rows, columns = sorted(
        axis - viewer.dims.ndim + image.ndim for axis in displayed
    )
    if min(rows, columns) < 0:
        raise ImageError(
            f'“{image.name}” is not shown along these axes: reset the order '
            'of the axes.'
        )
    return rows, columns


def _check_index(
    image: Image, index: NDArray[np.intp], shown: tuple[int, int]
) -> None:
    """Raise an error for an index at which an image has no pixel."""
    shape = data_of(image).shape
    if 0 in (shape[shown[0]], shape[shown[1]]):
        raise ImageError(f'“{image.name}” is empty: it has no pixel.')
    for axis in range(image.ndim):
        if axis not in shown and not 0 <= index[axis] < shape[axis]:
            raise ImageError(
                f'“{image.name}” has no plane here: move the slider of '
                f'{axis_name(image, axis)} back onto the image.'
            )


def check_composed(
    image: Image,
    composed: Sequence[Image],
    channel_axis: int | None,
    ndim: int,
    units: Units | None = None,
) -> None:
    """Raise an error for layers that cannot be composed.

    Raises
    ------
    ImageError
        More than three layers, one that is already RGB, or layers not aligned
        pixel by pixel.
    """
    layers = isinstance(composed, Sequence) and all(
        isinstance(unwrap(layer), Image) for layer in composed
    )
    if not layers:
        raise ImageError(
            f'composed is {quoted(composed)}; give a tuple of image layers.'
        )
    if composed and channel_axis is not None:
        raise ImageError(
            f'The channels of “{image.name}” already are its colours: choose '
            'no channel axis to compose it with other layers.'
        )
    if len(composed) > 2:
        raise ImageError(
            f'{1 + len(composed)} layers are composed, but a model sees three '
            'colours: choose at most three.'
        )
    matrix = data_to_world_matrix(image, ndim, units)
    for other in composed:
        if image.rgb or other.rgb:
            name = image.name if image.rgb else other.name
            raise ImageError(
                f'“{name}” is an RGB image: it cannot be composed with other '
                'layers.'
            )
        if data_of(other).shape != data_of(image).shape or not coincide(
            data_to_world_matrix(other, ndim, units), matrix
        ):
            raise ImageError(
                f'“{other.name}” is not aligned with “{image.name}” pixel by '
                'pixel: composed layers must have the same shape, scale and '
                'position.'
            )


def viewport_of(
    viewer: ViewerModel,
    matrix: Matrix,
    position: NDArray[np.float64],
    displayed: Sequence[int],
) -> Viewport | None:
    """Return the visible part of an image; None without a window.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    matrix : ndarray
        Data of the image to world.
    position : ndarray
        (world ndim,) data coordinates of the plane.
    displayed : sequence of int
        World axes in display order.
    """
    if not hasattr(viewer, 'window'):
        return None
    camera = camera_of(viewer)
    axes = sorted(displayed)
    world = apply(matrix, position[None])
    world[0, list(displayed)] = camera.center[-2:]
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


def shows(plane: ImagePlane, layer: Image | None) -> bool:
    """Return whether a plane shows an image, alone or with others."""
    shown: LayerPlane | None = plane.geometry
    return shown is not None and layer in (shown.layer, *shown.composed)


def lies_on(plane: ImagePlane, layer: Image | None) -> bool:
    """Return whether a plane is one of an image."""
    return plane.geometry is not None and plane.geometry.layer is layer
