"""Boxes and pixels of objects, from the feature table of their layer."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import ArrayLike, NDArray

from napari_mobilesam.session.objects.targets import Indices
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.viewer.layers import data_of
from napari_mobilesam.widgets.viewer.look_at import slider_pixels
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene


def measured_axes(labels: Labels, scene: ViewerScene) -> list[int]:
    """Return the axes of labels except the channel axis of the image.

    Labels are the same in every channel of the current image.
    """
    return axes_without_channels(data_of(labels).shape, scene)


def axes_without_channels(
    shape: tuple[int, ...], scene: ViewerScene
) -> list[int]:
    """Return the axes of an array but that of the channels of the image."""
    image, axes = scene.image, list(range(len(shape)))
    if (
        image is not None
        and scene.channel_axis is not None
        and data_of(image).shape == shape
    ):
        axes.remove(scene.channel_axis)
    return axes


def measured_box(
    labels: Labels, label: int, scene: ViewerScene, others: ArrayLike = 0
) -> NDArray[np.intp] | None:
    """Return the first and last pixel of an object; None if unknown.

    Parameters
    ----------
    labels : napari.layers.Labels
        Labels, measured by *Table*.
    label : int
        Label of the object.
    scene : ViewerScene
        Scene that knows the channels.
    others : array_like
        First and last pixel along all axes, (2, D) or broadcastable to it;
        returned for axes that are not measured.

    Returns
    -------
    ndarray or None
        (2, D) first and last pixel along all axes.
    """
    table = labels.features
    if 'index' not in table or 'row0' not in table:
        return None
    rows = table[table['index'] == label]
    if not len(rows):
        return None
    axes = measured_axes(labels, scene)
    before = [name for name in ('t', 'z') if f'{name}0' in table]
    # labels of a plane may have been measured as part of a stack
    names = [*before[: len(axes) - 2], 'row', 'column']
    low = rows.iloc[0][[f'{name}0' for name in names]].to_numpy(float)
    high = rows.iloc[0][[f'{name}1' for name in names]].to_numpy(float)
    if np.isnan([low, high]).any():
        return None
    box = np.broadcast_to(others, (2, labels.ndim)).astype(np.intp)
    box[:, axes[-len(names) :]] = low, high - 1
    return box


def box_to_look_at(
    labels: Labels, label: int, scene: ViewerScene, here: NDArray[np.intp]
) -> NDArray[np.intp] | None:
    """Return the box of an object, at one time if it moves.

    Parameters
    ----------
    labels, label, scene
        See `measured_box`.
    here : ndarray
        (D,) pixel of the sliders. The nearest of the times between the first
        and the last of the object is taken.

    Returns
    -------
    ndarray or None
        As that of `measured_box`.
    """
    box = measured_box(labels, label, scene, here)
    axes = measured_axes(labels, scene)
    if box is None or 't0' not in labels.features or len(axes) < 3:
        return box
    time = axes[0]
    box[:, time] = np.clip(here[time], *box[:, time])
    part = data_of(labels)[tuple(map(slice, box[0], box[1] + 1))]
    inside = np.argwhere(np.asarray(part) == label)
    if not len(inside):
        return box
    found: NDArray[np.intp] = box[0] + [inside.min(axis=0), inside.max(axis=0)]
    return found


def pixels_of(
    layer: Labels, labels: Collection[int], scene: ViewerScene
) -> Indices:
    """Return the indices of all pixels of some labels.

    Labels that are not in memory are read within the boxes of the objects that
    *Table* has stored in the feature table.

    Raises
    ------
    SegmentationError
        The labels are not in memory, and the position of an object is unknown.
    """
    data = data_of(layer)
    if isinstance(data, np.ndarray):
        return np.nonzero(np.isin(data, list(labels)))
    found = []
    for label in labels:
        inside = _pixels_in_box(layer, label, scene)
        if inside is None:
            raise SegmentationError(
                f'“{layer.name}” is not in memory, and the position of object '
                f'{label} is unknown: measure it first.'
            )
        found.append(inside)
    return tuple(np.concatenate(axes) for axes in zip(*found, strict=True))


def _pixels_in_box(
    layer: Labels, label: int, scene: ViewerScene
) -> Indices | None:
    """Return the pixels of an object where it was measured, if it was."""
    data = data_of(layer)
    whole = [[0] * layer.ndim, [size - 1 for size in data.shape]]
    box = measured_box(layer, label, scene, whole)
    if box is None:
        return None
    low, high = box[0], box[1] + 1
    part = np.asarray(data[tuple(map(slice, low, high))])
    inside = np.nonzero(part == label)
    return tuple(axis + first for axis, first in zip(inside, low, strict=True))


def pixel_near(
    viewer: ViewerModel, labels: Labels, label: int, scene: ViewerScene
) -> NDArray[np.intp]:
    """Return a pixel of an object on the plane nearest to the sliders.

    Raises
    ------
    SegmentationError
        The object is gone, or its position is unknown; see `pixels_of`.
    """
    found = _pixels_in_box(labels, label, scene)
    if found is None or not len(found[0]):
        # never measured, or moved since
        found = pixels_of(labels, [label], scene)
    pixels = np.array(found)
    if not pixels.size:
        raise SegmentationError(
            f'“{labels.name}” has no object {label} any more: measure again.'
        )
    skip = viewer.dims.ndim - labels.ndim
    hidden = [
        axis - skip for axis in viewer.dims.not_displayed if axis >= skip
    ]
    here = slider_pixels(viewer, labels)
    away = abs(pixels[hidden] - here[hidden, None]).sum(axis=0)
    nearest = np.flatnonzero(away == away.min())
    middle: NDArray[np.intp] = pixels[:, nearest[len(nearest) // 2]]
    return middle
