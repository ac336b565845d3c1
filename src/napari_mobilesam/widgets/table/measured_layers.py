"""Layers that are measured, and the table in their features."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_mobilesam.measure.table_columns import MEASURED, RGB, TIMES
from napari_mobilesam.readers.unread_views import (
    Reordered,
    Stacked,
    without_alpha,
)
from napari_mobilesam.session.measuring import MeasureRequest
from napari_mobilesam.types import ImageError
from napari_mobilesam.units import in_one_unit, is_time_axis
from napari_mobilesam.widgets.viewer.layers import (
    PIXEL,
    Matrix,
    Units,
    apply,
    data_of,
    data_to_world_matrix,
    pixel_sizes,
    rows_by_label,
    slider_name,
    with_class_text,
)
from napari_mobilesam.widgets.viewer.measured_box import measured_axes
from napari_mobilesam.widgets.viewer.sized_layers import axes_in, sized_files
from napari_mobilesam.widgets.viewer.track_layers import TRACKED_MARK
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

if TYPE_CHECKING:
    import pandas as pd

# Column of a user that has the name under which “index” is shown.
OTHER_LABEL = 'label_1'


def request_of(
    labels: Labels, image: Image | None, scene: ViewerScene
) -> MeasureRequest:
    """Return a measurement request for labels, with intensities of an image.

    Parameters
    ----------
    labels : napari.layers.Labels
        Labels to measure, of any size.
    image : napari.layers.Image or None
        Image for intensities; with its channels, or the layers composed with
        it, if it is the current image.
    scene : ViewerScene
        Scene that knows the channels.

    Raises
    ------
    ImageError
        The image is not of the shape of the labels.
    """
    data, axes = data_of(labels), measured_axes(labels, scene)
    if len(axes) < labels.ndim:
        # they are the same in every channel
        data = Reordered(data, axes)
    pixels, channels, note = None, None, ''
    if image is not None:
        pixels, channels = _intensities(image, scene)
        shape = tuple(pixels.shape)[: len(axes)]
        if shape != tuple(data.shape):
            raise ImageError(
                f'“{image.name}” has the shape {shape}, “{labels.name}” has '
                f'{tuple(data.shape)}: choose the image of the labels, or “no '
                'intensities”.'
            )
        # the channels of others come last
        others = axes_in(image, scene)[: len(axes)]
        if _lies_elsewhere(labels, axes, image, others):
            note = (
                f'“{image.name}” does not lie where “{labels.name}” lies: the '
                'intensities are those of the same rows and columns.'
            )
    # a stack of one plane is a plane
    stack = len(axes) > 2 and data.shape[0] > 1
    over_time = stack and _is_time(labels, axes[0], scene)
    scale, units = _scale(labels, axes[over_time:])
    return MeasureRequest(
        data,
        pixels,
        scale,
        units,
        channels,
        volumes=stack and not over_time,
        over_time=over_time,
        owner=labels,
        note=note,
        files=sized_files(labels, axes, image, scene),
    )


def _is_time(labels: Labels, axis: int, scene: ViewerScene) -> bool:
    """Return whether an axis of labels is time."""
    name = slider_name(scene.viewer, labels, axis)
    unit = str(labels.units[axis])
    return TRACKED_MARK in labels.metadata or is_time_axis(name, unit)


def _lies_elsewhere(
    labels: Labels, axes: Sequence[int], image: Image, others: Sequence[int]
) -> bool:
    """Return whether pixels of labels are not at those of an image.

    Of the same index, along some axes of each.
    """
    units = list(image.units)
    for axis, other in zip(axes, others, strict=True):
        units[other] = labels.units[axis]
    to_world = _to_world(labels, axes, labels.units)
    from_world = np.linalg.inv(_to_world(image, others, tuple(units)))
    shape = data_of(labels).shape
    ends = [(0, shape[axis] - 1) for axis in axes]
    corners = np.array(list(itertools.product(*ends)), float)
    found = apply(from_world @ to_world, corners)
    return bool(np.abs(found - corners).max() > 0.5)


def _to_world(layer: Layer, axes: Sequence[int], units: Units) -> Matrix:
    """Map of some axes of a layer to the world, in units of all its axes."""
    kept = [*axes, layer.ndim]
    return data_to_world_matrix(layer, layer.ndim, units)[np.ix_(kept, kept)]


def _intensities(
    image: Image, scene: ViewerScene
) -> tuple[Any, list[str] | None]:
    """Return pixels, channels last, and the names of channels, if known."""
    pixels = data_of(image)
    if image.rgb:
        return without_alpha(pixels), list(RGB)
    if image is scene.image and scene.composed:
        layers = [image, *scene.composed]
        arrays = [data_of(layer) for layer in layers]
        return Stacked(arrays), [str(layer.name) for layer in layers]
    order = axes_in(image, scene)
    channels = set(range(image.ndim)) - set(order)
    if channels:
        pixels = Reordered(pixels, [*order, *channels])
    return pixels, None


def _scale(
    labels: Labels, axes: Sequence[int]
) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the pixel size along some axes and its unit, if known."""
    units = [str(labels.units[axis]) for axis in axes]
    scale = tuple(map(float, abs(pixel_sizes(labels))[list(axes)]))
    ndim = len(scale)
    if ndim > 3 or PIXEL in units[-2:] or not all(scale):
        return None, None
    return in_one_unit(scale, units)


def merged(features: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return a feature table with new measurements.

    Other columns, such as score and class, are kept; rows without pixels are
    dropped.

    Parameters
    ----------
    features : DataFrame
        Feature table of the layer, with the label in a column ``index``, or
        ``label``; rows are numbered by label if there is neither, as napari
        does.
    measured : DataFrame
        Rows from `measure_objects`.
    """
    measured = measured.rename(columns={'label': 'index'})
    if not len(features):
        return measured
    features = rows_by_label(features)
    kept = [
        name
        for name in features.columns
        if name == 'index'
        or (name not in measured and not MEASURED.fullmatch(str(name)))
    ]
    others = features[kept].drop_duplicates('index', keep='last')
    table = with_class_text(measured.merge(others, how='left', on='index'))
    # existing columns first, then measurements
    first = ['index', *[name for name in kept if name != 'index']]
    return table[[*first, *[n for n in table.columns if n not in first]]]


def object_rows(labels: Labels | None) -> pd.DataFrame:
    """Return the feature table of labels, without background.

    The label of each row is in a column ``index``, shown and saved as
    ``label``; a column of the user of that name gets another one.
    """
    import pandas as pd

    if labels is None or not len(labels.features):
        return pd.DataFrame({'index': np.zeros(0, np.int64)})
    table = rows_by_label(labels.features)
    if 'label' in table:
        if table['label'].equals(table['index']):
            table = table.drop(columns='label')
        else:
            table = table.rename(columns={'label': OTHER_LABEL})
    known = table[table['index'].notna()]
    if TIMES in known and 'area' in known:
        # of objects written since, which is no mean over frames
        area = known['area'].where(known[TIMES].notna())
        known = known.assign(area=area)
    return known[known['index'] != 0].astype({'index': 'int64'})


def still_measured(table: pd.DataFrame) -> pd.Series:
    """Return the labels of rows that are as they were measured."""
    if 'area' not in table:
        return table['index'][:0]
    return table.loc[table['area'].notna(), 'index']


def for_export(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the dock in the form in which it is saved.

    Numbers of prompts become integers; they are floats in the dock, since
    foreign objects have none.
    """
    table = table.rename(columns={'index': 'label'}).sort_values('label')
    if 'prompts' in table and table['prompts'].dtype.kind == 'f':
        known = table['prompts'].dropna()
        if (known == known.round()).all():
            table = table.astype({'prompts': 'Int64'})
    return table
