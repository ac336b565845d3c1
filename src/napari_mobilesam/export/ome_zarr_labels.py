"""Labels as OME-Zarr, with colours and properties of the objects."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from napari_mobilesam.export.exported import (
    UNKNOWN,
    ExportError,
    LabelsWithTable,
    Plane,
    class_name,
    smallest_dtype,
)
from napari_mobilesam.extra import need
from napari_mobilesam.files import named_errors, temporary_path
from napari_mobilesam.large.io.interfaces import Source
from napari_mobilesam.large.io.ngff import image_around
from napari_mobilesam.large.io.ome_zarr import (
    LabelWriter,
    check_replaceable,
    is_begun,
    is_finished,
    remove_labels,
)
from napari_mobilesam.large.io.sources import Geometry, open_source
from napari_mobilesam.palette import rgb
from napari_mobilesam.readers.open_image import open_pyramid
from napari_mobilesam.readers.pyramid import Pyramid
from napari_mobilesam.readers.unread_views import Reordered
from napari_mobilesam.schema import parse_json
from napari_mobilesam.text import file_name
from napari_mobilesam.types import ImageError, SegmentationError

CHUNK = 1024
VALUE = 'label-value'
# Of objects without a class, among others that have one.
NO_COLOR = '#808080'


@dataclass(frozen=True)
class _Origin:
    """Geometry and file that labels are of, as `LabelWriter` asks for."""

    geometry: Geometry
    path: Path | None = None


def write_ome_zarr(
    image: LabelsWithTable,
    path: Path,
    of: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Write labels as OME-Zarr.

    Parameters
    ----------
    image : LabelsWithTable
        The labels, and what is known of the objects.
    path : Path
        Folder of the labels, such as that of `labels_folder`:
        ``image.ome.zarr/labels/cells`` adds labels to that image.
    of : Path, optional
        Image that they are of: they get its pixel sizes, position and units,
        and a link to it. By default the image that they are added to.
    overwrite : bool
        Replace labels of this program, once the new ones are whole. Nothing
        else is ever replaced.

    Returns
    -------
    int
        Number of objects.

    Raises
    ------
    ExportError
        If the image is of another shape.
    FileExistsError
        If there are labels at ``path``, and they are not to be replaced.
    ImageError
        If something else is at ``path``.
    """
    if not overwrite and (is_finished(path) or is_begun(path)):
        raise FileExistsError(f'{path} exists: remove it, or overwrite it.')
    like = _like(image, of or image_around(path))
    largest, found = _objects(image)
    if not path.is_dir() or any(path.iterdir()):
        # nothing of somebody else is replaced
        check_replaceable(path)
    # beside the labels that it replaces: they may be what is exported
    new = temporary_path(path)
    try:
        with named_errors(new, path):
            _write_planes(image, new, like, largest)
            # empty lists are not allowed
            described = _described(image, found)
            told = {key: entries for key, entries in described if entries}
            with _replacing(path):
                new.rename(path)
                LabelWriter(path).finish(told)
    finally:
        with suppress(OSError):
            remove_labels(new)
    return len(found)


@contextmanager
def _replacing(path: Path) -> Iterator[None]:
    """Put labels of this program aside until others are there.

    They come back, and the others are removed, if anything is raised.
    """
    before = temporary_path(path, '.before')
    if is_finished(path) or is_begun(path):
        path.rename(before)
    elif path.exists():
        # an empty folder
        path.rmdir()
    try:
        yield
    except BaseException:
        # a folder of somebody else came meanwhile
        with suppress(ImageError, OSError):
            remove_labels(path)
        if before.exists() and not path.exists():
            before.rename(path)
        raise
    remove_labels(before)


def _write_planes(
    image: LabelsWithTable, path: Path, like: _Origin, largest: int
) -> None:
    """Begin labels, and write all of them at full resolution."""
    height, width = image.shape[-2:]
    writer = LabelWriter.create(
        path,
        int(np.prod(image.shape[:-2])),
        (height, width),
        (CHUNK, CHUNK),
        smallest_dtype(largest),
        like=cast(Source, like),
    )
    for plane in image.planes():
        _write_plane(writer, plane)


def _write_plane(writer: LabelWriter, plane: Plane) -> None:
    height, width = plane.labels.shape
    for row in range(0, height, CHUNK):
        strip = np.asarray(plane.labels[row : row + CHUNK])
        for column in range(0, width, CHUNK):
            block = strip[:, column : column + CHUNK]
            if block.any():
                rows, columns = block.shape
                window = (row, column, row + rows, column + columns)
                writer.write_chunk(plane.number, window, block)


def _described(
    image: LabelsWithTable, found: dict[int, int]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """``colors`` and ``properties`` of the labels that have a row.

    OME-NGFF wants both lists to be of the same labels.
    """
    known, shades = image.properties(), image.colors()
    properties: list[dict[str, Any]] = []
    colors: list[dict[str, Any]] = []
    for label, number in found.items():
        told = known(number, label)
        entry: dict[str, Any] = {VALUE: label, **told.measurements}
        if told.class_name:
            entry['class'] = told.class_name
        if told is not UNKNOWN:
            properties.append(entry)
            color = shades.get(told.class_name, NO_COLOR)
            colors.append({VALUE: label, 'rgba': [*rgb(color), 255]})
    yield 'properties', properties
    if any('class' in entry for entry in properties):
        yield 'colors', colors


def labels_folder(path: Path, name: str) -> Path:
    """Return the group of labels, within an OME-Zarr image at ``path``.

    They are called ``name`` if there is an image, else they are ``path``.
    """
    if is_begun(path) or is_finished(path):
        return path
    for place in (path, *path.parents[:2]):
        if _is_array(place):
            raise ExportError(
                f'{place} is a zarr array, in which labels have no place: '
                'give another output.'
            )
    if any((path / mark).exists() for mark in ('.zattrs', 'zarr.json')):
        return path / 'labels' / file_name(name)
    return path


def _is_array(path: Path) -> bool:
    if (path / '.zarray').exists():
        return True
    try:
        content = parse_json((path / 'zarr.json').read_text('utf-8'), '')
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get('node_type') == 'array'


def _objects(image: LabelsWithTable) -> tuple[int, dict[int, int]]:
    """Largest label, and each label with a plane that its row is of.

    Warns of rows of the table that are of other planes.
    """
    found: dict[int, int] = {}
    known, lost = image.properties(), set()
    for plane in image.planes():
        for row in range(0, image.shape[-2], CHUNK):
            strip = np.asarray(plane.labels[row : row + CHUNK])
            for label in np.unique(strip[strip != 0]).tolist():
                first = found.setdefault(label, plane.number)
                here, told = known(plane.number, label), known(first, label)
                if told is UNKNOWN:
                    found[label] = plane.number
                elif here not in (told, UNKNOWN):
                    lost.add(label)
    if lost:
        labels = 'label has' if len(lost) == 1 else 'labels have'
        warnings.warn(
            f'OME-Zarr has one row for each label: {len(lost)} {labels} other '
            'values on later planes, which are left out.',
            stacklevel=4,
        )
    return max(found, default=0), dict(sorted(found.items()))


def _like(image: LabelsWithTable, of: Path | None) -> _Origin:
    count = len(image.axes)
    own = Geometry(
        image.axes,
        image.shape[:-2],
        image.scale or (1.0,) * count,
        image.translation or (0.0,) * count,
        image.units or (None,) * count,
    )
    if of is None:
        return _Origin(own)
    geometry, shape = image_geometry(of)
    _check_planes(image, of, geometry, shape)
    return _Origin(geometry, of)


def check_image(image: LabelsWithTable, of: Path) -> None:
    """Check that labels are of the shape of an image file.

    A file that cannot be read passes: only its name is written.

    Raises
    ------
    ExportError
        If the image is of another shape.
    """
    try:
        geometry, shape = image_geometry(of)
    except (SegmentationError, OSError):
        return
    _check_planes(image, of, geometry, shape)


def _check_planes(
    image: LabelsWithTable,
    of: Path,
    geometry: Geometry,
    shape: tuple[int, int],
) -> None:
    count = int(np.prod(geometry.planes_shape))
    if shape != image.shape[-2:] or count != int(np.prod(image.shape[:-2])):
        planes = '' if count == 1 else f'{count} '
        raise ExportError(
            f'{of} has {planes}planes of {shape[0]} × {shape[1]} pixels, the '
            f'labels are of shape {image.shape}: they are not of this image.'
        )


def image_geometry(path: Path) -> tuple[Geometry, tuple[int, int]]:
    """Geometry of an image file, and the shape of its planes."""
    try:
        source = open_source(path)
    except ImageError:
        # channels do not matter here; other problems are raised again
        source = open_source(path, channels=0)
    geometry: Geometry = source.geometry  # type: ignore[attr-defined]
    return geometry, source.shape


def read_ome_zarr(path: Path) -> LabelsWithTable:
    """Read OME-Zarr labels, or those of an image that has one label image.

    Returns
    -------
    LabelsWithTable
        Its labels are read when they are indexed. A channel is left
        out if it is the only one.

    Raises
    ------
    ExportError, ImageError
        If there are none, or several.
    """
    zarr = need('zarr')
    path = _one_label_image(path)
    if is_begun(path):
        raise ExportError(
            f'{path} was not finished: run what writes it again first.'
        )
    pyramid = _without_channel(open_pyramid(path))
    attributes = dict(zarr.open(str(path), mode='r').attrs)
    told = dict(attributes.get('ome', attributes)).get('image-label', {})
    colors: dict[str, str] = {}
    table = None
    if told.get('properties'):
        import pandas as pd

        table = pd.DataFrame(told['properties'])
        table = table.rename(columns={VALUE: 'label'})
        shades = {
            entry[VALUE]: '#{:02x}{:02x}{:02x}'.format(*entry['rgba'][:3])
            for entry in told.get('colors', [])
            if entry.get('rgba')
        }
        if 'class' in table:
            pairs = zip(table['class'], table['label'], strict=True)
            colors = {
                class_name(name): shades[label]
                for name, label in pairs
                if class_name(name) and label in shades
            }
    return LabelsWithTable(
        pyramid.arrays[0],
        table,
        colors,
        pyramid.axes or '',
        pyramid.scale,
        pyramid.units,
        path.name.removesuffix('.zarr').removesuffix('.ome'),
        pyramid.translation,
    )


def _without_channel(pyramid: Pyramid) -> Pyramid:
    """Leave out a channel of one index, of the finest array."""
    labels, axes = pyramid.arrays[0], pyramid.axes or ''
    kept = [
        axis
        for axis, name in enumerate(axes)
        if name in 'tzyx' or labels.shape[axis] > 1
    ]
    if len(kept) == len(axes):
        return pyramid

    def pick(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(values[axis] for axis in kept) if values else ()

    return replace(
        pyramid,
        arrays=(Reordered(labels, kept),),
        axes=''.join(axes[axis] for axis in kept),
        scale=pick(pyramid.scale),
        units=pick(pyramid.units),
        translation=pick(pyramid.translation),
    )


def _one_label_image(path: Path) -> Path:
    folder = path / 'labels'
    if not folder.is_dir():
        return path
    names = sorted(
        each.name
        for each in folder.iterdir()
        if each.is_dir() and not each.name.startswith('.')
    )
    if len(names) != 1:
        raise ExportError(
            f'{path} has {len(names)} label images '
            f'({", ".join(names) or "none"}): give one of them, such as '
            f'{folder / (names[0] if names else "cells")}.'
        )
    return folder / names[0]
