"""Labels as OME-Zarr, with the colours and properties of the objects."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_mobilesam.export.exported import (
    UNKNOWN,
    ExportError,
    LabelsWithTable,
    Plane,
    class_name,
    flaw,
    hex_color,
    smallest_dtype,
)
from napari_mobilesam.export.label_images import check_unnamed
from napari_mobilesam.files import named_errors, temporary_path
from napari_mobilesam.large.erase import finish_interrupted
from napari_mobilesam.large.io.interfaces import Source
from napari_mobilesam.large.io.ngff import image_around
from napari_mobilesam.large.io.object_columns import read_objects
from napari_mobilesam.large.io.ome_zarr import (
    LabelWriter,
    check_replaceable,
    is_begun,
    is_finished,
    remove_labels,
)
from napari_mobilesam.large.io.sources import Geometry, open_source
from napari_mobilesam.palette import rgb
from napari_mobilesam.readers.open_image import (
    ZIPPED_SUFFIXES,
    open_pyramid,
    zarr_node,
)
from napari_mobilesam.readers.pyramid import Pyramid
from napari_mobilesam.readers.unread_views import Reordered
from napari_mobilesam.schema import parse_json
from napari_mobilesam.text import file_name
from napari_mobilesam.types import ImageError, SegmentationError

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 1024
VALUE = 'label-value'
# Colour of objects without a class, if others have one.
NO_COLOR = '#808080'


@dataclass(frozen=True)
class _Origin:
    """Geometry and file of the labelled image, for `LabelWriter`."""

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
        Labels and the properties of the objects.
    path : Path
        Folder of the labels, such as that from `labels_folder`.
        ``image.ome.zarr/labels/cells`` adds labels to that image.
    of : Path, optional
        Image that was segmented. The labels get its pixel sizes, position and
        units, and a link to it. By default the image they are added to.
    overwrite : bool
        Replace labels of this program once the new ones are complete. Nothing
        else is ever replaced.

    Returns
    -------
    int
        Number of objects.

    Raises
    ------
    ExportError
        If the image has another shape.
    FileExistsError
        If there are labels at ``path`` and ``overwrite`` is False.
    ImageError
        If something else is at ``path``.
    """
    if not overwrite and (is_finished(path) or is_begun(path)):
        raise FileExistsError(f'{path} exists: remove it, or overwrite it.')
    like = _like(image, of or image_around(path))
    largest, found = _objects(image)
    check_replaceable(path)
    # write beside the old labels, which may be the ones being exported
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
    """Set existing labels of this program aside while new ones are written.

    If anything is raised, the new labels are removed and the old restored.
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
        # another folder may have appeared meanwhile
        with suppress(ImageError, OSError):
            remove_labels(path)
        if before.exists() and not path.exists():
            before.rename(path)
        raise
    remove_labels(before)


def _write_planes(
    image: LabelsWithTable, path: Path, like: _Origin, largest: int
) -> None:
    """Create the labels and write them at full resolution."""
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
    """Yield ``properties`` and ``colors`` of the labels with a row.

    OME-NGFF requires both lists to have the same labels.
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
    """Return the folder for labels that are written to ``path``.

    If ``path`` is an OME-Zarr image, this is the label image ``name`` in it,
    otherwise ``path`` itself.
    """
    if is_begun(path) or is_finished(path):
        return path
    for place in (path, *path.parents[:2]):
        if _is_array(place):
            raise ExportError(
                f'{place} is a zarr array, which cannot contain labels: '
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
    """Return the largest label, and for each label the plane of its row.

    Warn if labels have other rows for other planes, which are left out.
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
            f'OME-Zarr has one row per label: {len(lost)} {labels} other '
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
    """Check that labels have the shape of an image file.

    A file that cannot be read passes, as only its name is written.

    Raises
    ------
    ExportError
        If the image has another shape.
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
            f'{of} has {planes}planes of {shape[0]} × {shape[1]} pixels, but '
            f'the labels have shape {image.shape}: give the image that they '
            'belong to.'
        )


def image_geometry(path: Path) -> tuple[Geometry, tuple[int, int]]:
    """Return the geometry of an image file and the shape of its planes."""
    try:
        source = open_source(path)
    except ImageError:
        # channels do not matter here; other problems are raised anew
        source = open_source(path, channels=0)
    geometry: Geometry = source.geometry  # type: ignore[attr-defined]
    return geometry, source.shape


def read_ome_zarr(path: Path) -> LabelsWithTable:
    """Read OME-Zarr labels, or the only labels of an OME-Zarr image.

    Returns
    -------
    LabelsWithTable
        Labels that are read on indexing. A channel axis of length 1 is
        dropped.

    Raises
    ------
    ExportError, ImageError
        If there are no labels, or several.
    """
    path = _one_label_image(path)
    if is_begun(path):
        raise ExportError(
            f'{path} is unfinished: repeat the run that writes it first.'
        )
    try:
        finish_interrupted(path)
    except OSError as error:
        warnings.warn(
            f'Objects of {path} may lack pixels: their deletion was '
            f'interrupted, and cannot be undone here. {error}',
            stacklevel=2,
        )
    pyramid = _without_channel(open_pyramid(path))
    if pyramid.axes is None:
        check_unnamed(pyramid.arrays[0].shape, path)
    attributes = dict(zarr_node(path).attrs)
    told = dict(attributes.get('ome', attributes)).get('image-label')
    try:
        table, colors = _table_and_colors(told or {})
    # something is missing or has another type
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ExportError(
            f'The metadata “image-label” of {path} cannot be read: '
            f'{flaw(error)}. Write it again, or give {path / "0"}.'
        ) from error
    if table is None:
        table = read_objects(path)
    return LabelsWithTable(
        pyramid.arrays[0],
        table,
        colors,
        pyramid.axes or '',
        pyramid.scale,
        pyramid.units,
        _name(path),
        pyramid.translation,
    )


def _name(path: Path) -> str:
    name = path.name
    for suffix in (*ZIPPED_SUFFIXES, '.zarr', '.ome'):
        name = name.removesuffix(suffix)
    return name


def _table_and_colors(
    told: Mapping[str, Any],
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """Return the table of the objects, and the colours of their classes."""
    import pandas as pd

    if not told.get('properties'):
        return None, {}
    rows = [
        {k: v for k, v in row.items() if not isinstance(v, dict | list)}
        for row in told['properties']
    ]
    table = pd.DataFrame(rows).rename(columns={VALUE: 'label'})
    shades = {
        entry[VALUE]: hex_color(entry.get('rgba'))
        for entry in told.get('colors') or []
    }
    if 'class' not in table:
        return table, {}
    pairs = zip(table['class'], table['label'], strict=True)
    return table, {
        class_name(name): color
        for name, label in pairs
        for color in [shades.get(label)]
        if class_name(name) and color
    }


def _without_channel(pyramid: Pyramid) -> Pyramid:
    """Drop channel axes of length 1; keep only the finest level."""
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
    if path.is_file() and 'labels' in zarr_node(path):
        raise ExportError(
            f'{path} is an image with labels in a ZIP file: unzip it first.'
        )
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
