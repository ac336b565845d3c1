"""Planes of an image paired with those of a Labels layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_mobilesam.session.fine_tuning_messages import LabelledPlane, Planes
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import data_of


def labelled_planes(plane: LayerPlane, labels: Labels) -> Planes:
    """Pair an image with its labels, plane by plane.

    Parameters
    ----------
    plane : LayerPlane
        The displayed plane of the image.
    labels : napari.layers.Labels
        Layer with equally large planes at the same position. Labels without
        the leading axes of the image belong to the displayed plane.

    Returns
    -------
    callable
        Reads the planes when called, on any thread.

    Raises
    ------
    ImageError
        If the labels do not belong to the image.
    """
    image = plane.layer
    rows, columns = plane.rows + plane.offset, plane.columns + plane.offset
    missing = plane.ndim - labels.ndim
    if min(rows, columns) < missing:
        raise ImageError(
            f'“{labels.name}” does not have the displayed axes: choose other '
            'labels, or reset the order of the axes.'
        )
    if labels.ndim > image.ndim:
        raise ImageError(
            f'“{labels.name}” has {labels.ndim} axes but “{image.name}” has '
            f'{image.ndim}: choose the labels that were drawn on this image.'
        )
    shape = data_of(labels).shape
    size = (int(shape[rows - missing]), int(shape[columns - missing]))
    if size != plane.shape:
        raise ImageError(
            f'“{labels.name}” is {size[0]} × {size[1]} but “{image.name}” is '
            f'{plane.shape[0]} × {plane.shape[1]}: choose the labels that '
            'were drawn on this image.'
        )
    to_image = np.linalg.inv(plane.matrix) @ plane.matrix_of(labels)
    shared = range(missing, plane.ndim)
    linear = to_image[np.ix_(shared, shared)]
    shift = to_image[:-1, -1]
    if not np.allclose(linear, np.eye(len(linear)), atol=1e-3) or (
        max(abs(shift[rows]), abs(shift[columns])) > 0.5
    ):
        raise ImageError(
            f'“{labels.name}” does not lie on “{image.name}”: give it the '
            'same scale, translation and rotation.'
        )
    offsets = np.round(shift).astype(int)
    return lambda: _planes(plane, data_of(labels), offsets)


def _planes(
    plane: LayerPlane, labels: Any, offsets: np.ndarray[Any, Any]
) -> Iterator[LabelledPlane]:
    """Yield the planes of the labels; offsets give those of the image."""
    missing = plane.ndim - labels.ndim
    rows = plane.rows + plane.offset - missing
    columns = plane.columns + plane.offset - missing
    sizes = data_of(plane.layer).shape
    counts = list(labels.shape)
    counts[rows] = counts[columns] = 1
    channels = None
    if plane.channel_axis is not None:
        channels = plane.channel_axis + plane.offset - missing
        if channels >= 0:
            # labels of all channels belong to one plane
            counts[channels] = 1
    for where in np.ndindex(*counts):
        index = list(plane.index)
        for axis in range(plane.layer.ndim):
            own = axis + plane.offset - missing
            if own >= 0 and axis not in (
                plane.rows,
                plane.columns,
                plane.channel_axis,
            ):
                index[axis] = where[own] + int(offsets[axis + plane.offset])
        if not all(
            0 <= i < size for i, size in zip(index, sizes, strict=False)
        ):
            continue
        part: list[Any] = list(where)
        part[rows] = part[columns] = slice(None)
        if channels is not None and channels >= 0:
            part[channels] = slice(None)
        drawn = np.array(labels[tuple(part)])
        if drawn.ndim > 2:
            drawn = drawn.max(axis=sum(c < channels for c in (rows, columns)))
        if not drawn.any():
            continue
        source = replace(plane, index=tuple(index)).source()
        yield LabelledPlane(source, drawn)
