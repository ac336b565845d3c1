"""Regions of a plane: the visible part, and drawn shapes."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Shapes
from numpy.typing import NDArray

from napari_mobilesam.types import SegmentationError, Window
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import CLOSED_SHAPES

OUTSIDE = 'The drawn regions are outside the image: draw one on it.'

Region = NDArray[np.bool_]


def visible_region(plane: LayerPlane) -> Region | None:
    """Return the visible part of a plane; None if all of it is visible.

    Raises
    ------
    SegmentationError
        The plane is out of sight.
    """
    window = visible_window(plane)
    if window is None:
        return None
    row0, column0, row1, column1 = window
    region = np.zeros(plane.shape, dtype=bool)
    region[row0:row1, column0:column1] = True
    return region


def visible_window(plane: LayerPlane) -> Window | None:
    """Return the visible window of a plane: row0, column0, row1, column1.

    Like `visible_region`, but without a picture of the plane.
    """
    layer = plane.layer
    factors = (
        layer.downsample_factors[layer.data_level]
        if layer.multiscale
        else np.ones(layer.ndim)
    )
    axes = [plane.rows, plane.columns]
    corners = layer.corner_pixels[:, axes] * np.asarray(factors)[axes]
    low = np.clip(np.floor(corners[0]), 0, plane.shape).astype(int)
    high = np.clip(np.ceil(corners[1]) + 1, 0, plane.shape).astype(int)
    if (high - low <= 1).any() and min(plane.shape) > 1:
        raise SegmentationError(
            f'“{layer.name}” cannot be seen: move it into the view.'
        )
    if (low == 0).all() and (high == plane.shape).all():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def narrowed(
    window: Window | None, viewer: ViewerModel, plane: LayerPlane
) -> Window | None:
    """Limit the loaded window of a multiscale layer to its visible part.

    napari keeps the loaded data when the view zooms in.
    """
    canvas = getattr(getattr(viewer, 'window', None), '_qt_viewer', None)
    size = getattr(getattr(canvas, 'canvas', None), 'size', None)
    look = plane.viewport
    if not plane.layer.multiscale or size is None or look is None:
        return window
    edges = window or (0, 0, *plane.shape)
    half = look.pixel * np.asarray(size, float) / 2
    low = np.maximum(np.floor(look.center - half), edges[:2]).astype(int)
    high = np.minimum(np.ceil(look.center + half), edges[2:]).astype(int)
    if (low >= high).any():
        return window
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def drawn_region(plane: LayerPlane, shapes: Shapes | None) -> Region:
    """Return the pixels of a plane inside the closed shapes of a layer.

    If there are no shapes on the plane, those on other planes count, so that a
    region drawn once applies to a whole stack.

    Raises
    ------
    SegmentationError
        There is no such shape, or it is outside the image.
    """
    from napari_mobilesam.segmentation.shapes import region_of

    region = np.zeros(plane.shape, dtype=bool)
    for outline in drawn_outlines(plane, shapes):
        mask = region_of(outline, plane.shape)
        if mask is not None:
            row0, column0, row1, column1 = mask.box
            region[row0:row1, column0:column1] |= mask.data
    if not region.any():
        raise SegmentationError(OUTSIDE)
    return region


def drawn_window(plane: LayerPlane, shapes: Shapes | None) -> Window:
    """Return row0, column0, row1, column1 around the shapes of a layer.

    Like `drawn_region`, but without a picture of the plane.
    """
    vertices = np.concatenate(drawn_outlines(plane, shapes))
    low = np.clip(np.floor(vertices.min(axis=0)), 0, plane.shape).astype(int)
    high = np.clip(np.ceil(vertices.max(axis=0)) + 1, 0, plane.shape)
    high = high.astype(int)
    if (low >= high).any():
        raise SegmentationError(OUTSIDE)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def drawn_outlines(
    plane: LayerPlane, shapes: Shapes | None
) -> list[NDArray[np.float64]]:
    """Return the outlines of the closed shapes of a layer, see `drawn_region`.

    Returns
    -------
    list of ndarray
        (N, 2) row and column in data pixels of the plane.
    """
    from napari_mobilesam.segmentation.shapes import ellipse_outline

    here: list[NDArray[np.float64]] = []
    elsewhere: list[NDArray[np.float64]] = []
    if shapes is not None:
        for vertices, kind in zip(shapes.data, shapes.shape_type, strict=True):
            if kind not in CLOSED_SHAPES:
                continue
            outline, on_plane = plane.image_points(shapes, vertices)
            if kind == 'ellipse':
                outline = ellipse_outline(outline)
            (here if on_plane.all() else elsewhere).append(outline)
    if not here and not elsewhere:
        raise SegmentationError(
            'No region yet: press Draw and drag a rectangle.'
        )
    return here or elsewhere
