"""Writing masks into Labels layers, one undoable step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from numpy.typing import NDArray

from napari_mobilesam.session.sparse_labels import (
    SparseLabels,
    empty_labels,
)
from napari_mobilesam.types import Mask, SegmentationError
from napari_mobilesam.widgets.layers import (
    LayerPlane,
    data_of,
    insert_below_prompts,
)
from napari_mobilesam.widgets.transforms import apply, data_to_world_matrix

if TYPE_CHECKING:
    from napari.components import ViewerModel

Indices = tuple[NDArray[np.intp], ...]
Place = tuple[Indices, NDArray[Any]]


class LabelsError(SegmentationError):
    """Labels cannot be written; the message says what to do."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    ids : tuple of int
        Label of each mask.
    undoable : bool
        Whether one undo of the layer takes it back.
    """

    ids: tuple[int, ...]
    undoable: bool


def new_labels(plane: LayerPlane, name: str, dtype: Any = np.uint16) -> Labels:
    """Return an empty Labels layer that lies exactly on the plane's image.

    uint16 is drawn an order of magnitude faster than int32 where an image
    exceeds the texture size, and holds all ids that people make by hand. Of
    images that do not fit into memory only what is labelled is kept, see
    `empty_labels`.
    """
    axes = (
        plane.output_axes.index(plane.rows),
        plane.output_axes.index(plane.columns),
    )
    data = empty_labels(plane.output_shape, dtype, axes)
    pyramid = isinstance(data, list)
    return Labels(data, multiscale=pyramid, name=name, **plane.transform())


def next_label(labels: Labels) -> int:
    """Return the lowest id above all ids of a layer."""
    data = data_of(labels)
    if isinstance(data, SparseLabels):
        return data.max() + 1
    if isinstance(data, np.ndarray):
        return int(data.max(initial=0)) + 1
    # lazy arrays are read one index of the first axis at a time
    return 1 + max(
        (int(np.max(np.asarray(data[i]))) for i in range(data.shape[0])),
        default=0,
    )


def free_label(labels: Labels, count: int) -> int:
    """Return the lowest of ``count`` free ids of a layer that is editable.

    Raises
    ------
    LabelsError
        The layer cannot be edited, or has not as many ids left.
    """
    name = labels.name
    if getattr(labels, 'multiscale', False):
        raise LabelsError(
            f'“{name}” is a pyramid, which napari cannot edit: choose or '
            'create another labels layer.'
        )
    data = labels.data
    if isinstance(data, np.ndarray) and not data.flags.writeable:
        raise LabelsError(
            f'“{name}” is read-only: choose or create another labels layer.'
        )
    dtype = np.dtype(data.dtype)
    limit = 1 if dtype.kind == 'b' else int(np.iinfo(dtype).max)
    first = next_label(labels)
    if first + count - 1 > limit:
        raise LabelsError(
            f'“{name}” is full: {dtype} holds ids up to {limit}. Convert it '
            'to uint16 (right-click the layer), or choose another one.'
        )
    return first


def write_masks(
    labels: Labels, plane: LayerPlane, masks: Sequence[Mask]
) -> Written:
    """Write masks under new ids as one undoable step.

    Parameters
    ----------
    labels : napari.layers.Labels
        Layer with any transform; ids already there are overwritten unless
        its “preserve labels” is on.
    plane : LayerPlane
        Plane that the masks' (row, column) data pixels refer to.
    masks : sequence of Mask
        One per object; where they overlap the later one stays.

    Returns
    -------
    Written
        The ids given.

    Raises
    ------
    LabelsError
        The layer cannot be edited, has no free id, or does not meet the
        masks. Nothing is written then.
    """
    first = free_label(labels, len(masks))
    ids = tuple(range(first, first + len(masks)))
    places = []
    for number, mask in zip(ids, masks, strict=True):
        picture = np.where(mask.data, number, 0)
        places.append(layer_pixels(labels, plane, picture, mask.box[:2]))
    _check_covered(labels, places)
    return Written(ids, write_values(labels, places))


def write_everything(
    viewer: ViewerModel,
    plane: LayerPlane,
    labels: Labels | None,
    found: NDArray[Any],
    table: pd.DataFrame,
    name: str,
) -> Labels:
    """Put the label image of a plane into a layer, with its table.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    plane : LayerPlane
        Plane that was segmented.
    labels : napari.layers.Labels or None
        Layer to add the objects to, under ids above those it has, as one
        undoable step; a new layer is made if None.
    found : ndarray
        (H, W) labels 1 … N.
    table : pandas.DataFrame
        One row per label, in a column ``label``.
    name : str
        Name of a new layer.

    Raises
    ------
    LabelsError
        As `write_masks`.
    """
    if labels is None:
        labels = new_labels(plane, name, found.dtype)
        indices, values = layer_pixels(labels, plane, found)
        labels.data[indices] = values.astype(labels.data.dtype)
        labels.features = _features(table, 0)
        insert_below_prompts(viewer, labels)
        return labels
    added = free_label(labels, int(found.max(initial=0))) - 1
    picture = np.where(found > 0, found.astype(np.int64) + added, 0)
    places = [layer_pixels(labels, plane, picture)]
    _check_covered(labels, places)
    write_values(labels, places)
    before = labels.features
    if 'index' not in before:
        # napari numbers rows by label if there is no such column
        before = before.assign(index=np.arange(len(before)))
    labels.features = pd.concat(
        [before, _features(table, added)], ignore_index=True
    )
    return labels


def _features(table: pd.DataFrame, added: int) -> pd.DataFrame:
    """Rename the label column to what napari looks labels up by."""
    features = table.rename(columns={'label': 'index'})
    return features.assign(index=features['index'] + added)


def _check_covered(labels: Labels, places: Sequence[Place]) -> None:
    if not any(len(values) for _, values in places):
        raise LabelsError(
            f'“{labels.name}” does not cover the object: choose or create '
            'another labels layer.'
        )


def write_values(labels: Labels, places: Sequence[Place]) -> bool:
    """Write values as one step; True if one undo takes it back."""
    if labels.preserve_labels:
        places = [_on_background(labels, place) for place in places]
    if hasattr(labels.data, 'dask'):
        # Dask arrays know no fancy assignment, only a new graph; napari
        # keeps the undo history of the old array, so that is useless
        array = np.array(labels.data)
        for indices, values in places:
            array[indices] = values
        labels.data = array
        return False
    with labels.block_history():
        for indices, values in places:
            if len(values):
                labels.data_setitem(indices, values.astype(labels.data.dtype))
    return True


def layer_pixels(
    labels: Labels,
    plane: LayerPlane,
    picture: NDArray[Any],
    corner: tuple[int, int] = (0, 0),
) -> Place:
    """Find the pixels of a layer that a picture of labels covers.

    A layer that lies on the image pixel by pixel gets the picture as it is;
    any other is looked up pixel by pixel, nearest neighbour.

    Parameters
    ----------
    labels : napari.layers.Labels
        Layer with any transform.
    plane : LayerPlane
        Plane of the image that the picture belongs to.
    picture : ndarray
        (h, w) integers, 0 where nothing is to be written.
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
    from_world = np.linalg.inv(data_to_world_matrix(labels, ndim))
    to_labels = from_world @ plane.matrix
    linear, shift = to_labels[:-1, :-1], to_labels[:-1, -1]
    aligned = np.allclose(linear, np.eye(ndim), atol=1e-6) and np.allclose(
        shift, np.round(shift), atol=1e-3
    )
    if aligned:
        rows, columns = np.nonzero(picture)
        points = _positions(plane, rows + corner[0], columns + corner[1])
        found = np.round(points + shift).astype(np.intp)
        values = picture[rows, columns]
    else:
        found, values = _looked_up(labels, plane, picture, corner, to_labels)
    found = found[:, ndim - labels.ndim :]
    inside = np.all((found >= 0) & (found < labels.data.shape), axis=1)
    indices = tuple(found[inside].T)
    values = values[inside]
    return _in_all_channels(labels, plane, indices, values)


def seen_on_plane(
    labels: Labels, plane: LayerPlane, box: tuple[int, int, int, int]
) -> NDArray[Any]:
    """Return what a layer has in the pixels of a plane.

    Parameters
    ----------
    labels : napari.layers.Labels
        Layer with any transform.
    plane : LayerPlane
        Plane of the image.
    box : tuple of int
        (row0, column0, row1, column1), half open, inside the plane.

    Returns
    -------
    ndarray
        (h, w) labels, nearest neighbour; 0 beyond the layer. Of a layer with
        the channel axis, those of the first channel.
    """
    rows, columns = np.mgrid[box[0] : box[2], box[1] : box[3]]
    points = _positions(plane, rows.ravel(), columns.ravel())
    if plane.channel_axis is not None:
        points[:, plane.offset + plane.channel_axis] = 0
    from_world = np.linalg.inv(data_to_world_matrix(labels, plane.ndim))
    found = apply(from_world @ plane.matrix, points)
    found = np.round(found[:, plane.ndim - labels.ndim :]).astype(np.intp)
    inside = np.all((found >= 0) & (found < labels.data.shape), axis=1)
    seen = np.zeros(rows.size, dtype=labels.data.dtype)
    indices = tuple(found[inside].T)
    data = data_of(labels)
    seen[inside] = np.asarray(
        data.vindex[indices] if hasattr(data, 'dask') else data[indices]
    )
    return seen.reshape(rows.shape)


def _positions(
    plane: LayerPlane, rows: NDArray[Any], columns: NDArray[Any]
) -> NDArray[np.float64]:
    """Return pixels of the plane as (N, world ndim) data coordinates."""
    points = np.tile(plane.position, (len(rows), 1))
    points[:, plane.offset :] = plane.index
    points[:, plane.offset + plane.rows] = rows
    points[:, plane.offset + plane.columns] = columns
    return points


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
    corners = _positions(plane, ends[[0, 0, 1, 1], 0], ends[[0, 1, 0, 1], 1])
    corners = apply(to_labels, corners)
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


def _in_all_channels(
    labels: Labels, plane: LayerPlane, indices: Indices, values: NDArray[Any]
) -> Place:
    """Repeat pixels in every channel, if the layer has the channel axis."""
    if plane.channel_axis is None:
        return indices, values
    axis = plane.channel_axis + plane.offset - (plane.ndim - labels.ndim)
    if axis < 0:
        return indices, values
    count = labels.data.shape[axis]
    repeated = [np.tile(index, count) for index in indices]
    repeated[axis] = np.repeat(np.arange(count), len(values))
    return tuple(repeated), np.tile(values, count)


def _on_background(labels: Labels, place: Place) -> Place:
    indices, values = place
    free = np.asarray(labels.data[indices]) == 0
    return tuple(index[free] for index in indices), values[free]
