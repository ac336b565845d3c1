"""Measurement of one label image, with its image, for ``measure``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_mobilesam.cli.exit_codes import UsageError
from napari_mobilesam.cli.export_commands import warn_of_mask
from napari_mobilesam.cli.measure_planes import (
    MeasuredPart,
    measured_parts,
    parts_of,
    plane_of_image,
    refuse_other_planes,
)
from napari_mobilesam.export.exported import LabelsWithTable
from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.measure.table_columns import RGB
from napari_mobilesam.readers.axes import check_names, guessed_axes
from napari_mobilesam.readers.open_image import open_pyramid
from napari_mobilesam.readers.unread_views import Reordered, without_alpha
from napari_mobilesam.types import Progress
from napari_mobilesam.units import in_one_unit, symbol_of

if TYPE_CHECKING:
    import pandas as pd

PICTURES = ('.png', '.jpg', '.jpeg')


class Intensities(NamedTuple):
    """An image whose intensities are measured.

    Attributes
    ----------
    pixels : array
        (…, rows, columns[, channels]), read in parts if possible.
    scale : dict of str to float
        Pixel size along each axis, by its letter, if the file states it.
    units : dict of str to str
        Unit along each axis, or None.
    channels : sequence of str or None
        Names of the channels, if they are colours.
    """

    pixels: Any
    scale: dict[str, float]
    units: dict[str, str | None]
    channels: Sequence[str] | None = None


def measured(
    options: argparse.Namespace,
    path: Path,
    image_path: Path | None,
    known: pd.DataFrame | None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure the objects of a label image.

    Parameters
    ----------
    options : Namespace
        Options of ``measure``.
    path, image_path : Path
        Label image, and image of the intensities, if there is one.
    known : DataFrame or None
        Class, score and stability; by default those in the file.
    progress : callable, optional
        See `measure_objects`.

    Raises
    ------
    InputError, UsageError, SegmentationError
        If a file cannot be read, or they do not belong together.
    """
    from napari_mobilesam.measure.object_table import measure_objects

    labels = read_labels(path, shape=options.shape, channel=options.channel)
    plane = options.plane if max(labels.shape[:-2], default=1) > 1 else None
    if plane is None:
        labels = _with_axes(labels, 3)
    image = None
    if image_path is not None:
        image = open_image(image_path, labels, options.plane)
        flat = tuple(image.pixels.shape[:2]) == labels.shape[-2:]
        if flat and plane is None:
            labels = _with_axes(labels, 2)
        refuse_other_planes(image.pixels, image_path, labels)
        if not labels.scale:
            labels = _with_scale_of(image, labels)
    parts = [*parts_of(labels, image and image.pixels, path, plane)]
    scale, units = _scale(options, path, labels)
    measure = partial(
        measure_objects,
        scale=_of_part(scale, labels, parts[0], options.volumes),
        units=units,
        channels=image and image.channels,
        volumes=options.volumes,
    )
    table = measured_parts(
        parts, labels.table if known is None else known, measure, progress
    )
    warn_of_mask(path, labels.labels, set(table['label']))
    return table


def _of_part(
    scale: tuple[float, ...] | None,
    labels: LabelsWithTable,
    part: MeasuredPart,
    volumes: bool,
) -> tuple[float, ...] | None:
    """Return the pixel size along the axes of a part of the labels."""
    ndim = len(part.labels.shape)
    if scale is None or len(scale) > len(labels.shape):
        return scale
    if volumes:
        return scale[-ndim:]
    # planes are measured one by one
    return (1.0,) * (ndim - 2) + scale[-2:]


def _with_axes(labels: LabelsWithTable, most: int) -> LabelsWithTable:
    """Drop leading axes of length one while there are too many."""
    single = [axis for axis, size in enumerate(labels.shape[:-2]) if size == 1]
    left_out = single[: max(0, len(labels.shape) - most)]
    if not left_out:
        return labels
    kept = [n for n in range(len(labels.shape)) if n not in left_out]
    return LabelsWithTable(
        Reordered(labels.labels, kept),
        labels.table,
        axes=''.join(labels.axes[axis] for axis in kept),
        scale=tuple(labels.scale[axis] for axis in kept if labels.scale),
        units=tuple(labels.units[axis] for axis in kept if labels.units),
    )


def _with_scale_of(
    image: Intensities, labels: LabelsWithTable
) -> LabelsWithTable:
    """Return labels with the pixel size of their image, if it states one."""
    if not (image.units.get('y') and image.units.get('x')):
        return labels
    return replace(
        labels,
        scale=tuple(image.scale.get(axis, 1.0) for axis in labels.axes),
        units=tuple(image.units.get(axis) for axis in labels.axes),
    )


def _scale(
    options: argparse.Namespace, path: Path, labels: LabelsWithTable
) -> tuple[tuple[float, ...] | None, str | None]:
    """Return pixel size and unit, as given or stated in the file."""
    if options.scale:
        # the unit in the file belongs to the size that is replaced
        unit = symbol_of(options.units) if options.units else None
        return options.scale, unit
    scale, units = labels.scale, labels.units or ()
    if not scale:
        if options.units:
            raise UsageError(
                f'--units {options.units} needs a pixel size, which '
                f'{path} does not have: give --scale'
            )
        return None, None
    if not any(units):
        if not options.units:
            return None, None
        return scale, symbol_of(options.units)
    # for planes, only the last two axes count
    first = max(0, len(scale) - (3 if options.volumes else 2))
    sizes, symbol = in_one_unit(scale[first:], units[first:], options.units)
    if options.units and sizes is None:
        named = ', '.join(unit or 'no unit' for unit in units[first:])
        raise UsageError(
            f'--units {options.units}: {path} has pixel sizes in '
            f'{named}; give --scale too'
        )
    return sizes and (*scale[:first], *sizes), symbol


def open_image(
    path: Path, labels: LabelsWithTable, plane: Sequence[int] | None = None
) -> Intensities:
    """Open an image with channels last, read in parts if possible.

    Parameters
    ----------
    path : Path
        File or folder of the image.
    labels : LabelsWithTable
        Labels, whose axes are kept even if their length is one.
    plane : sequence of int, optional
        Plane of an image with several.

    Raises
    ------
    InputError, ImageError
        If the image cannot be read, or has no such plane.
    """
    if path.suffix.lower() in PICTURES:
        from napari_mobilesam.cli.image_files import read_single_plane

        pixels = read_single_plane(path).pixels
        if pixels.ndim == 2:
            return Intensities(pixels, {}, {})
        return Intensities(without_alpha(pixels), {}, {}, RGB)
    pyramid = open_pyramid(path)
    array = pyramid.arrays[0]
    names = pyramid.axes
    colours = pyramid.rgb
    if names in (None, 'syx') and tuple(array.shape) == labels.shape:
        # tifffile writes three or four planes of integers as colours
        names, colours = labels.axes, False
    if names is None:
        names = guessed_axes(array.shape)
    check_names(names, array.shape)
    sizes = dict(zip(names, pyramid.scale, strict=False))
    units = dict(zip(names, pyramid.units, strict=False))
    if max(labels.shape[:-2], default=1) > 1:
        # a plane is chosen along the axes of the labels, which have this
        # order; for labels of one plane, along those of the file
        array, names = _in_order(array, names, 'tzyxcs')
    if plane is not None:
        array, names = plane_of_image(array, names, path, plane)
    array, names = _in_order(array, names, 'yxcs')
    opened = _without_single(array, names, labels.axes)
    colours = colours and opened.shape[-1] in (3, 4)
    if colours:
        return Intensities(without_alpha(opened), sizes, units, RGB)
    return Intensities(opened, sizes, units)


def _in_order(array: Any, names: str, last: str) -> tuple[Reordered, str]:
    """Return an array with some axes last, in this order, without reading."""
    order = sorted(range(len(names)), key=lambda n: last.find(names[n]))
    return Reordered(array, order), ''.join(names[axis] for axis in order)


def _without_single(array: Any, names: str, wanted: str) -> Reordered:
    """Return an array without unwanted axes of length one."""
    kept = [
        axis
        for axis, name in enumerate(names)
        if name in wanted or array.shape[axis] > 1
    ]
    return Reordered(array, kept)
