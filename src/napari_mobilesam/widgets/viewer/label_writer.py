"""Mapping between pixels of a Labels layer and a plane of an image."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_mobilesam.session.objects.sparse_labels import (
    SparseLabels,
    empty_labels,
)
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import apply, data_of

Indices = tuple[NDArray[np.intp], ...]
Place = tuple[Indices, NDArray[Any]]


def new_labels(plane: LayerPlane, name: str, dtype: Any = np.uint16) -> Labels:
    """Return an empty Labels layer that lies exactly on the plane's image.

    uint16 is drawn ten times faster than int32 if an image exceeds the texture
    size, and suffices for manual work. For images that do not fit in memory,
    only labelled pixels are stored; see `empty_labels`.
    """
    data = empty_labels(plane.output_shape, dtype, plane.output_plane)
    pyramid = isinstance(data, list)
    return Labels(data, multiscale=pyramid, name=name, **plane.transform())


def highest_label(labels: Labels) -> int:
    """Return the largest id of a layer; 0 if it has none."""
    parts = _parts(labels)
    return max((int(part.max(initial=0)) for part in parts), default=0)


def labels_present(labels: Labels, ids: Collection[int]) -> set[int]:
    """Return those ids that have pixels in a layer."""
    wanted, found = list(ids), set()
    for part in _parts(labels):
        found.update(np.unique(part[np.isin(part, wanted)]).tolist())
    return found


def _parts(labels: Labels) -> Iterator[NDArray[Any]]:
    """Yield all ids of a layer, of lazy arrays one index at a time."""
    data = data_of(labels)
    if isinstance(data, SparseLabels):
        yield from data.squares()
    elif isinstance(data, np.ndarray):
        yield data
    else:
        for number in range(data.shape[0]):
            yield np.asarray(data[number])


def layer_pixels(
    labels: Labels,
    plane: LayerPlane,
    picture: NDArray[Any],
    corner: tuple[int, int] = (0, 0),
) -> Place:
    """Find the pixels of a layer covered by an array of labels.

    A layer aligned with the image pixel by pixel gets the array unchanged; any
    other is sampled by nearest neighbour.

    Parameters
    ----------
    labels : napari.layers.Labels
        Layer with any transform.
    plane : LayerPlane
        Plane of the image to which the picture belongs.
    picture : ndarray
        (h, w) integers, 0 where nothing is written.
    corner : tuple of int
        (row, column) of the picture's first pixel in the plane.

    Returns
    -------
    indices : tuple of ndarray
        One (N,) intp array per axis of the layer.
    values : ndarray
        (N,) of the picture's dtype.
    """
    ndim = plane.ndim
    to_labels = _to_labels(labels, plane)
    shift = _shift(to_labels)
    if shift is not None:
        indices, values = _moved(plane, picture, corner, shift)
    else:
        found, values = _looked_up(labels, plane, picture, corner, to_labels)
        indices = tuple(found.T)
    indices = indices[ndim - labels.ndim :]
    beyond = [
        (index < 0) | (index >= size)
        for index, size in zip(indices, labels.data.shape, strict=True)
        if len(index) and (index.min() < 0 or index.max() >= size)
    ]
    if beyond:
        inside = ~np.any(beyond, axis=0)
        indices = tuple(index[inside] for index in indices)
        values = values[inside]
    return _in_all_channels(labels, plane, indices, values)


def _moved(
    plane: LayerPlane,
    picture: NDArray[Any],
    corner: tuple[int, int],
    shift: NDArray[np.intp],
) -> Place:
    """Find pixels of a layer aligned with the image pixel by pixel."""
    rows, columns = np.nonzero(picture)
    origin = plane.data_points(np.array([corner]))
    start = np.round(origin[0]).astype(np.intp) + shift
    moving = {plane.offset + plane.rows: rows}
    moving[plane.offset + plane.columns] = columns
    indices = tuple(
        moving[axis] + first
        if axis in moving
        else np.full(len(rows), first, dtype=np.intp)
        for axis, first in enumerate(start)
    )
    return indices, picture[rows, columns]


def seen_on_plane(
    labels: Labels,
    plane: LayerPlane,
    box: tuple[int, int, int, int],
    data: Any = None,
) -> NDArray[Any]:
    """Return the labels of a layer in the pixels of a plane.

    Parameters
    ----------
    labels : napari.layers.Labels
        Layer with any transform.
    plane : LayerPlane
        Plane of the image.
    box : tuple of int
        (row0, column0, row1, column1), half open, inside the plane.
    data : array, optional
        Array of the same shape that is read instead of that of the layer.

    Returns
    -------
    ndarray
        (h, w) labels by nearest neighbour; 0 outside the layer. For a layer
        with a channel axis, those of the first channel.
    """
    data = data_of(labels) if data is None else data
    to_labels = _to_labels(labels, plane)
    shift = _shift(to_labels)
    first_axis = plane.offset + min(plane.rows, plane.columns)
    if shift is not None and first_axis >= plane.ndim - labels.ndim:
        return _cut_out(data, plane, box, shift)
    pixels = np.mgrid[box[0] : box[2], box[1] : box[3]]
    points = plane.data_points(pixels.reshape(2, -1).T)
    if plane.channel_axis is not None:
        points[:, plane.offset + plane.channel_axis] = 0
    found = apply(to_labels, points)
    found = np.round(found[:, plane.ndim - labels.ndim :]).astype(np.intp)
    inside = np.all((found >= 0) & (found < data.shape), axis=1)
    seen = np.zeros(len(points), dtype=data.dtype)
    indices = tuple(found[inside].T)
    seen[inside] = np.asarray(
        data.vindex[indices] if hasattr(data, 'dask') else data[indices]
    )
    return seen.reshape(pixels.shape[1:])


def _cut_out(
    data: Any,
    plane: LayerPlane,
    box: tuple[int, int, int, int],
    shift: NDArray[np.intp],
) -> NDArray[Any]:
    """Return a box of a plane from a layer aligned pixel by pixel."""
    skip = plane.ndim - data.ndim
    before = plane.offset - skip
    seen = np.zeros((box[2] - box[0], box[3] - box[1]), dtype=data.dtype)
    corner = plane.data_points(np.array([box[:2]]))[0]
    if plane.channel_axis is not None:
        corner[plane.offset + plane.channel_axis] = 0
    start = (np.round(corner).astype(np.intp) + shift)[skip:]
    index: list[Any] = []
    shown = [before + plane.rows, before + plane.columns]
    inside: list[slice] = [slice(None)] * 2
    for axis, size in enumerate(data.shape):
        at = int(start[axis])
        if axis not in shown:
            if not 0 <= at < size:
                return seen
            index.append(at)
            continue
        place = shown.index(axis)
        stop = min(size, at + seen.shape[place])
        low = max(0, at)
        if stop <= low:
            return seen
        index.append(slice(low, stop))
        inside[place] = slice(low - at, stop - at)
    seen[tuple(inside)] = np.asarray(data[tuple(index)])
    return seen


def _to_labels(labels: Labels, plane: LayerPlane) -> NDArray[np.float64]:
    """Return the map from image data to layer data."""
    to_world = plane.matrix
    from_world = np.linalg.inv(plane.matrix_of(labels))
    matrix: NDArray[np.float64] = from_world @ to_world
    return matrix


def _shift(to_labels: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """Return the shift between aligned layers in whole pixels.

    None if they do not align because of another scale, a rotation or half a
    pixel.
    """
    linear, shift = to_labels[:-1, :-1], to_labels[:-1, -1]
    aligned = np.allclose(linear, np.eye(len(linear)), atol=1e-6)
    if not aligned or not np.allclose(shift, np.round(shift), atol=1e-3):
        return None
    return np.round(shift).astype(np.intp)


def _looked_up(
    labels: Labels,
    plane: LayerPlane,
    picture: NDArray[Any],
    corner: tuple[int, int],
    to_labels: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Find (N, world ndim) positions whose centre is in the picture."""
    ndim, skip = plane.ndim, plane.ndim - labels.ndim
    axes = [plane.offset + plane.rows, plane.offset + plane.columns]
    ends = np.array([corner, np.add(corner, picture.shape)]) - 0.5
    corners = np.stack(np.meshgrid(*ends.T, indexing='ij'), -1).reshape(-1, 2)
    corners = apply(to_labels, plane.data_points(corners))
    ranges = []
    for axis in range(ndim):
        if axis < skip:
            ranges.append(np.zeros(1))
        elif axis in axes:
            size = labels.data.shape[axis - skip]
            low = max(0, int(np.floor(corners[:, axis].min())))
            high = min(size - 1, int(np.ceil(corners[:, axis].max())))
            ranges.append(np.arange(low, high + 1, dtype=float))
        else:
            ranges.append(np.round(corners[:1, axis]))
    grid = np.stack(np.meshgrid(*ranges, indexing='ij'), -1).reshape(-1, ndim)
    positions = grid.copy()
    positions[:, :skip] = corners[0, :skip]
    image = apply(np.linalg.inv(to_labels), positions)[:, axes]
    pixel = np.round(image).astype(np.intp) - np.asarray(corner)
    inside = np.all((pixel >= 0) & (pixel < picture.shape), axis=1)
    values = np.zeros(len(grid), dtype=picture.dtype)
    values[inside] = picture[tuple(pixel[inside].T)]
    return grid[values > 0].astype(np.intp), values[values > 0]


def channel_axis_of(labels: Labels, plane: LayerPlane) -> int | None:
    """Return the axis of a layer along the channels of the image, if any."""
    if plane.channel_axis is None:
        return None
    axis = plane.channel_axis + plane.offset - (plane.ndim - labels.ndim)
    return axis if axis >= 0 else None


def _in_all_channels(
    labels: Labels, plane: LayerPlane, indices: Indices, values: NDArray[Any]
) -> Place:
    """Repeat pixels in every channel if the layer has a channel axis."""
    axis = channel_axis_of(labels, plane)
    if axis is None:
        return indices, values
    count = labels.data.shape[axis]
    repeated = [np.tile(index, count) for index in indices]
    repeated[axis] = np.repeat(np.arange(count), len(values))
    return tuple(repeated), np.tile(values, count)
