"""Layers of a viewer: coordinates, arrays, markers, and their order.

Everything is mapped through world coordinates with homogeneous matrices, so
scale, translation, rotation, shear and affine of any layer, and layers with
fewer dimensions than the viewer, need no special case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

# key in the metadata of layers created by the plugin: the image they are for
MARK = 'napari-mobilesam'
# key in the metadata of labels that are only shown, never written to
PREVIEW_MARK = 'napari-mobilesam-preview'

# key in the metadata of images and labels of a series, which saves them
SERIES_MARK = 'napari-mobilesam-series'
# key in the metadata of images of a series; the value is their channel
CHANNEL = 'napari-mobilesam-channel'

# mouse button number in napari events
RIGHT_BUTTON = 2

# types of shapes that enclose a region, and of lines
CLOSED_SHAPES = ('rectangle', 'ellipse', 'polygon')
OPEN_SHAPES = ('line', 'path')

# napari's method that makes the picture of a slice; a layer attribute with
# this name is called instead
DISPLAY = '_raw_to_displayed'
# napari's unit of layers without one
PIXEL = 'pixel'

Matrix = NDArray[np.float64]
# pint.Unit of each axis
Units = tuple[Any, ...]


def coincide(one: Matrix, other: Matrix) -> bool:
    """Return whether two layers are aligned, pixel by pixel.

    The tolerance is a thousandth of a pixel, whatever the unit of the world.

    Parameters
    ----------
    one, other : ndarray
        Affine maps from `data_to_world_matrix`.
    """
    between = np.linalg.solve(one, other)[:-1]
    linear, shift = between[:, :-1], between[:, -1]
    return bool(
        np.allclose(linear, np.eye(len(linear)), atol=1e-5)
        and np.allclose(shift, 0, atol=1e-3)
    )


def data_to_world_matrix(
    layer: Layer, ndim: int, units: Units | None = None
) -> Matrix:
    """Return the affine map of a layer's data to a world of ``ndim`` axes.

    Parameters
    ----------
    layer : napari.layers.Layer
        Layer with at most ``ndim`` dimensions; napari aligns its axes with the
        last axes of the world.
    ndim : int
        Number of world axes.
    units : tuple of pint.Unit, optional
        Units of the world, see `world_units`; by default those of the layer.

    Returns
    -------
    ndarray
        (ndim + 1, ndim + 1) float64 homogeneous matrix; identity on axes that
        the layer lacks.
    """
    n = layer.ndim
    origin = np.asarray(layer.data_to_world(np.zeros(n)), dtype=float)
    matrix = np.eye(ndim + 1)
    for axis in range(n):
        corner = np.asarray(layer.data_to_world(np.eye(n)[axis]), float)
        matrix[ndim - n : ndim, ndim - n + axis] = corner - origin
    matrix[ndim - n : ndim, ndim] = origin
    if units is not None and len(units) == ndim:
        factors = unit_factors(tuple(layer.units), tuple(units[-n:]))
        matrix[ndim - n : ndim] *= factors[:, None]
    return matrix


def pixel_sizes(layer: Layer) -> NDArray[np.float64]:
    """Return the size of a layer's pixels along its axes, in its units.

    Labels of a part of an image, and possibly those of other plugins, are
    placed by their affine, so the scale alone is not sufficient. Sizes are
    negative if the scale is.
    """
    turned = layer.affine.linear_matrix @ layer.rotate
    return np.linalg.norm(turned, axis=0) * layer.scale


def axes_of(layer: Layer, axes: Sequence[int]) -> dict[str, Any]:
    """Return units and labels of some axes, for a layer that has them.

    A layer in pixels would move images with other units in the scene.
    """
    return {
        'units': [layer.units[axis] for axis in axes],
        'axis_labels': [layer.axis_labels[axis] for axis in axes],
    }


def placement(layer: Layer, axes: Sequence[int]) -> dict[str, Any]:
    """Return keyword arguments that place a new layer on another one.

    Parameters
    ----------
    layer : napari.layers.Layer
        The other one.
    axes : sequence of int
        Axes of it that the new layer has. For a subset, rotation and shear are
        in the affine.
    """
    place = axes_of(layer, axes)
    if len(axes) == layer.ndim:
        names = ('scale', 'translate', 'rotate', 'shear')
        place |= {name: getattr(layer, name) for name in names}
        return place | {'affine': layer.affine.affine_matrix}
    keep = [*axes, layer.ndim]
    matrix = data_to_world_matrix(layer, layer.ndim)[np.ix_(keep, keep)]
    scale = np.diagonal(matrix)[:-1]
    if np.array_equal(matrix[:-1, :-1], np.diag(scale)):
        return place | {'scale': scale, 'translate': matrix[:-1, -1]}
    return place | {'affine': matrix}


def world_units(viewer: ViewerModel) -> Units | None:
    """Return the units of positions in a viewer.

    napari shows layers in nm and in µm together, in the smaller unit.

    Returns
    -------
    tuple of pint.Unit or None
        None if there are none, for example with layers in nm and in pixels.
    """
    units = getattr(viewer.dims, 'units', None)
    return None if units is None else tuple(units)


@lru_cache(maxsize=64)
def unit_factors(own: Units, world: Units) -> NDArray[np.float64]:
    """Return the units of the world per unit of a layer, for each axis.

    Parameters
    ----------
    own, world : tuple of pint.Unit
        (N,) units of the axes; the factor is 1 for different quantities.
    """
    return np.array(
        [
            float((1 * one).to(other).magnitude)
            if one.dimensionality == other.dimensionality
            else 1.0
            for one, other in zip(own, world, strict=True)
        ]
    )


def use_units(layer: Layer, units: Units | None) -> None:
    """Give a layer the units of the world, without moving it.

    napari interprets mouse positions in the units of the layer: a click would
    miss a layer in other units by orders of magnitude.

    Parameters
    ----------
    layer : napari.layers.Layer
        Layer of the plugin.
    units : tuple of pint.Unit or None
        See `world_units`.
    """
    if units is None or len(units) < layer.ndim:
        return
    wanted, own = tuple(units[-layer.ndim :]), tuple(layer.units)
    factors = unit_factors(own, wanted)
    if wanted == own or (factors == 1).all():
        return
    factor, affine = np.diag(factors), np.array(layer.affine.affine_matrix)
    parts = [layer.rotate, affine[:-1, :-1]]
    # scaled by one factor, a layer keeps its shear
    one_factor = (factors == factors[0]).all()
    if (one_factor or not np.any(layer.shear)) and all(
        np.allclose(factor @ part, part @ factor) for part in parts
    ):
        # napari takes the pixel size, and thus the smallest rectangle that can
        # be drawn, from the scale alone
        layer.scale = layer.scale * factors
        layer.translate = layer.translate * factors
        affine[:-1, -1] *= factors
    else:
        affine[:-1] *= factors[:, None]
    layer.affine = affine
    layer.units = wanted


def mouse_position(
    viewer: ViewerModel, layer: Layer, position: Sequence[float]
) -> Matrix:
    """Return a position of the mouse in the units of a layer.

    napari's layer methods expect it in these units; see `use_units`.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer.
    layer : napari.layers.Layer
        Layer whose methods are called.
    position : sequence of float
        Position in the units of the world.
    """
    ndim, points = len(position), np.array([position], float)
    to_world = data_to_world_matrix(layer, ndim, world_units(viewer))
    data = apply(np.linalg.inv(to_world), points)
    return apply(data_to_world_matrix(layer, ndim), data)[0]


def apply(matrix: NDArray[Any], points: NDArray[Any]) -> Matrix:
    """Map (N, ndim) points with a homogeneous matrix."""
    return np.asarray(points) @ matrix[:-1, :-1].T + matrix[:-1, -1]


def unwrap(obj: Any) -> Any:
    """Return the object behind the proxy that napari passes to plugins."""
    return getattr(obj, '__wrapped__', obj)


def data_of(layer: Layer) -> Any:
    """Return the array of a layer, or the finest level of a pyramid."""
    return layer.data[0] if getattr(layer, 'multiscale', False) else layer.data


def file_of(layer: Layer) -> Path | None:
    """Return the file of a layer, if it is on this computer."""
    path = layer.source.path
    there = isinstance(path, str | Path) and Path(path).exists()
    return Path(path) if there else None


def rows_by_label(features: pd.DataFrame) -> pd.DataFrame:
    """Return a feature table with the label of each row in ``index``.

    Measurement tables have it in ``label``, each label once. napari itself
    numbers rows by label if there is no column ``index``.
    """
    if 'index' in features:
        return features
    labels = features.get('label')
    if (
        labels is not None
        and labels.dtype.kind in 'iu'
        and labels.is_unique
        and (labels > 0).all()
    ):
        return features.rename(columns={'label': 'index'})
    return features.assign(index=np.arange(len(features)))


def with_class_text(features: pd.DataFrame) -> pd.DataFrame:
    """Return a feature table with empty text for unclassified objects.

    Otherwise, rows from several tables would have NaN, which differs from
    empty text.
    """
    if 'class' not in features or not features['class'].isna().any():
        return features
    classes = features['class'].astype(object)
    return features.assign(**{'class': classes.where(classes.notna(), '')})


def refresh_pixels(layer: Layer) -> None:
    """Redraw a layer after its array was changed in place.

    The extent is left alone; otherwise the viewer would update its dimensions
    and iterate over all layers.
    """
    layer.refresh(extent=False)


def redraw_from_disk(layer: Labels) -> None:
    """Redraw labels after their files were changed.

    napari keeps the coarsest level of a pyramid until its array is replaced.
    """
    editable = layer.editable
    layer.data = layer.data
    # it depends on the array by default
    layer.editable = editable


def channel_axes(image: Image) -> list[int]:
    """Return the axes of an image that may hold channels, not slices."""
    if image.rgb:
        return []
    shape = data_of(image).shape
    return [a for a in range(image.ndim - 2) if 2 <= shape[a] <= 8]


def axis_name(layer: Layer, axis: int) -> str:
    """Return the name of an axis of a layer for messages."""
    label = str(layer.axis_labels[axis])
    return f'axis {axis}' if _is_default(label) else label


def slider_name(viewer: ViewerModel, layer: Layer, axis: int) -> str:
    """Return the label of the slider for an axis of a layer.

    Without a name, the slider is labelled by a negative number, which follows
    the axis number: ``'axis 0 (slider -3)'``.
    """
    label = str(viewer.dims.axis_labels[axis - layer.ndim])
    if not _is_default(label):
        return label
    name = axis_name(layer, axis)
    return f'{name} (slider {label})' if name == f'axis {axis}' else name


def place_names(
    layer: Layer, axes: Sequence[int], index: Sequence[float]
) -> list[str]:
    """Return the position of a plane on each axis besides rows and columns.

    Parameters
    ----------
    layer : napari.layers.Layer
        The layer.
    axes : sequence of int
        Axes besides rows and columns.
    index : sequence of float
        Index on every axis of the layer.

    Returns
    -------
    list of str
        Such as ``['z 11']``; without axis labels, ``['plane 11']`` or ``['axis
        0 at 3', 'axis 1 at 11']``.
    """
    names = []
    for axis in axes:
        label, place = str(layer.axis_labels[axis]), round(index[axis])
        if not _is_default(label):
            names.append(f'{label} {place}')
        elif len(axes) == 1:
            names.append(f'plane {place}')
        else:
            names.append(f'axis {axis} at {place}')
    return names


def _is_default(label: str) -> bool:
    # napari's default labels are negative numbers
    return label.lstrip('-').isdigit()


def is_ours(layer: Layer, image: Image | None = None) -> bool:
    """Return True if this plugin created a layer.

    Parameters
    ----------
    layer : napari.layers.Layer
        Any layer.
    image : napari.layers.Image, optional
        Image for which it must have been created.
    """
    made_for = layer.metadata.get(MARK)
    return made_for is not None and (
        image is None or made_for == str(image.unique_id)
    )


def is_of(kind: type[Layer]) -> Callable[[Layer], bool]:
    """Return a predicate for layers of a type."""
    return lambda layer: isinstance(layer, kind)


def is_output(layer: Layer) -> bool:
    """Return True for labels that can be written to, but not previews."""
    return isinstance(layer, Labels) and PREVIEW_MARK not in layer.metadata


def suitability(labels: Labels, image: Image) -> int:
    """Return how well a labels layer suits an image.

    Parameters
    ----------
    labels : napari.layers.Labels
        Any labels.
    image : napari.layers.Image
        Any image.

    Returns
    -------
    int
        2 for labels that this plugin created for the image, 1 for others with
        the same pixel grid, else 0.
    """
    if is_ours(labels, image):
        return 2
    shape = data_of(image).shape
    sizes = shape[:-1] if image.rgb else shape
    same = data_of(labels).shape[-2:] == sizes[-2:] and coincide(
        _placed(labels), _placed(image)
    )
    return int(same)


def _placed(layer: Layer) -> Matrix:
    """Return the affine of rows and columns from scale and translation."""
    matrix = np.diag([*layer.scale[-2:], 1.0])
    matrix[:2, 2] = layer.translate[-2:]
    return matrix


def insert_below_prompts(viewer: ViewerModel, layer: Layer) -> None:
    """Insert a layer above images and labels, below points and shapes.

    The selection is kept: napari would select the new layer, and the next
    click would miss the prompts.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    layer : napari.layers.Layer
        What to add.
    """
    layers = viewer.layers
    active = layers.selection.active
    preview = PREVIEW_MARK in layer.metadata
    pixels = [
        index
        for index, other in enumerate(layers)
        if _has_pixels(other)
        # labels would hide the preview of a new mask
        and (preview or PREVIEW_MARK not in other.metadata)
    ]
    layers.insert(pixels[-1] + 1 if pixels else 0, layer)
    # nor is a layer selected that is only shown
    if active is not None or preview:
        layers.selection.active = active


def raise_above(
    viewer: ViewerModel, image: Layer, layers: Sequence[Layer | None]
) -> None:
    """Move layers below an image above it, keeping their order.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    image : napari.layers.Layer
        Image that must not hide them.
    layers : sequence of (Layer or None)
        Layers to show; those not in the viewer are skipped.
    """
    order = viewer.layers
    if image not in order:
        return
    below = [
        layer
        # a slice of the layer list would be another layer list
        for layer in list(order)[: order.index(image)]
        if any(layer is other for other in layers)
    ]
    # pixel layers first, so that they do not hide points and shapes
    for layer in sorted(below, key=lambda layer: not _has_pixels(layer)):
        if _has_pixels(layer):
            above = order.index(image) + 1
            while above < len(order) and _has_pixels(order[above]):
                above += 1
            order.move(order.index(layer), above)
        else:
            order.move(order.index(layer), len(order))


def _has_pixels(layer: Layer) -> bool:
    return type(layer).__name__ in ('Image', 'Labels')
