"""Files that may state the pixel size of layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_mobilesam.readers.stated_size import SizedFile
from napari_mobilesam.widgets.viewer.layers import (
    PIXEL,
    data_of,
    file_of,
    is_ours,
    pixel_sizes,
)
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene


def sized_files(
    labels: Labels,
    axes: Sequence[int],
    image: Image | None,
    scene: ViewerScene,
) -> list[SizedFile]:
    """Return the files of layers in pixels, for the size that they state.

    napari's own reader leaves it out.

    Parameters
    ----------
    labels : napari.layers.Labels
        The labels.
    axes : sequence of int
        Axes of them whose size is asked for.
    image : napari.layers.Image or None
        Image of the same pixels; by default the one of the scene, if the
        labels were made for it.
    scene : ViewerScene
        Scene that knows the channels.
    """
    made_for = scene.image
    if image is None and made_for is not None and is_ours(labels, made_for):
        image = made_for
    layers: list[tuple[Layer, Sequence[int]]] = [(labels, axes)]
    if image is not None:
        layers.append((image, axes_in(image, scene)[: len(axes)]))
    shape = [data_of(labels).shape[axis] for axis in axes]
    files = []
    for layer, kept in layers:
        path, full = file_of(layer), tuple(map(int, data_of(layer).shape))
        in_pixels = {str(unit) for unit in layer.units} == {PIXEL}
        if (
            path is not None
            and in_pixels
            and np.array_equal(abs(pixel_sizes(layer)), np.ones(layer.ndim))
            and [full[axis] for axis in kept] == shape
        ):
            files.append(SizedFile(path, full, tuple(kept)))
    return files


def axes_in(image: Image, scene: ViewerScene) -> list[int]:
    """Return the axes of an image but that of its channels."""
    channels = scene.channel_axis if image is scene.image else None
    return [axis for axis in range(image.ndim) if axis != channels]
