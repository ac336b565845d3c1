"""Box of an object in the feature table of its layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mobilesam.widgets.viewer.layers import data_of

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene


def measured_axes(labels: Labels, scene: ViewerScene) -> list[int]:
    """Return the axes of labels but that of the channels of the image.

    Labels are the same in every channel of the image that is worked on.
    """
    image, axes = scene.image, list(range(labels.ndim))
    if (
        image is not None
        and scene.channel_axis is not None
        and data_of(image).shape == data_of(labels).shape
    ):
        axes.remove(scene.channel_axis)
    return axes


def measured_box(
    labels: Labels, label: int, scene: ViewerScene, others: ArrayLike = 0
) -> NDArray[np.intp] | None:
    """Return first and last pixel of an object, None if it is unknown.

    Parameters
    ----------
    labels : napari.layers.Labels
        Labels, measured by *Table*.
    label : int
        Label of the object.
    scene : ViewerScene
        Knows the channels.
    others : array_like
        First and last pixel along all axes, (2, D), or what can be broadcast
        to it; those of axes that are not measured are returned.

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
    names = ['row', 'column']
    if 'z0' in table and len(axes) > 2:
        names = ['z', *names]
    low = rows.iloc[0][[f'{name}0' for name in names]].to_numpy(float)
    high = rows.iloc[0][[f'{name}1' for name in names]].to_numpy(float)
    if np.isnan([low, high]).any():
        return None
    box = np.broadcast_to(others, (2, labels.ndim)).astype(np.intp)
    box[:, axes[-len(names) :]] = low, high - 1
    return box
