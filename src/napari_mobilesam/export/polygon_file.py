"""Label images of polygons read from files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.export.exported import (
    ExportError,
    LabelsWithTable,
    ObjectProperties,
    smallest_dtype,
)
from napari_mobilesam.export.filling import fill_polygons
from napari_mobilesam.text import counted

# Limit of label images from files, which may be damaged.
MOST_PIXELS_OF_FILE = 1 << 34
# An object may extend this many pixels beyond an edge without losing a pixel,
# as the next pixel centre is that far away.
HALF = 0.5


class PolygonObject(NamedTuple):
    """An object of a plane, as read from a file.

    Attributes
    ----------
    polygons : list of list of ndarray
        Rings of each polygon, (N, 2) (row, column).
    label : int or None
        Label, if it is in the file.
    t, z : int
        Indices in time and depth, from 0.
    properties : ObjectProperties
        Class and measurements in the file.
    """

    polygons: list[list[NDArray[Any]]]
    label: int | None
    t: int
    z: int
    properties: ObjectProperties


def labels_from_polygons(
    objects: Sequence[PolygonObject],
    shape: tuple[int, ...] | None,
    colors: Mapping[str, str],
    path: Path,
    *,
    known: tuple[int, ...] | None = None,
) -> LabelsWithTable:
    """Paint objects into a label image.

    Objects keep their labels; those without one get the next free labels in
    the order of the file. Later objects paint over earlier ones.

    Parameters
    ----------
    objects : sequence of PolygonObject
        The objects.
    shape : tuple of int or None
        Requested shape.
    colors : mapping
        Class to colour.
    path : Path
        The file, for messages and the name of the labels.
    known : tuple of int, optional
        Shape in the file, used if none is requested; without either, the
        smallest that contains the objects. Objects are clipped to it, as
        other programs do with shapes drawn beyond the image.

    Raises
    ------
    ExportError
        If an object is outside, on a plane that does not exist, or clipped by
        the requested shape.
    """
    labels = with_free_labels(found.label for found in objects)
    asked, shape = shape is not None, shape or known or _extent(objects)
    if min(shape, default=0) <= 0 or not 2 <= len(shape) <= 4:
        raise ExportError(f'{path} has no object, and no shape is given.')
    check_size(shape, path)
    _check_inside(objects, shape, asked, path)
    out = np.zeros(shape, smallest_dtype(max(labels, default=0)))
    planes = out.reshape(-1, *shape[-2:])
    on_plane = [_plane_number(found, shape, path) for found in objects]
    groups: dict[int, list[int]] = {}
    for number, at in enumerate(on_plane):
        groups.setdefault(at, []).append(number)
    for at, numbers in groups.items():
        polygons = [(n, p) for n in numbers for p in objects[n].polygons]
        fill_polygons(
            [polygon for _, polygon in polygons],
            [labels[number] for number, _ in polygons],
            planes[at],
        )
    properties = [found.properties for found in objects]
    table = properties_table(labels, on_plane, properties)
    in_time = len(shape) == 3 and any(found.t for found in objects)
    axes = 'tyx' if in_time else ''
    return LabelsWithTable(out, table, dict(colors), axes, name=path.stem)


def check_size(shape: tuple[int, ...], path: Path) -> None:
    """Check the size of labels, which may come from a damaged file.

    Raises
    ------
    ExportError
        If there are too many pixels.
    """
    if int(np.prod(shape, dtype=object)) > MOST_PIXELS_OF_FILE:
        raise ExportError(
            f'{path} has objects far outside: an image of shape {shape} '
            'would be too large. Give the shape of the image.'
        )


def _check_inside(
    objects: Sequence[PolygonObject],
    shape: tuple[int, ...],
    whole: bool,
    path: Path,
) -> None:
    """Check that no object is outside or, if ``whole``, clipped.

    Raises
    ------
    ExportError
        If there are such objects; the message gives a sufficient shape.
    """
    if not objects:
        return
    points = [
        np.concatenate([ring for part in found.polygons for ring in part])
        for found in objects
    ]
    low = np.array([each.min(axis=0) for each in points])
    high = np.array([each.max(axis=0) for each in points])
    edge = np.array(shape[-2:])
    before = ((high <= 0) & (low < 0)).any(axis=1)
    if before.any():
        raise ExportError(
            f'{path} has {counted(int(before.sum()), "object")} at negative '
            'rows or columns, outside any labels: move or remove them in '
            'the program that drew them.'
        )
    beyond = (low >= edge) & (high > edge)
    if whole:
        beyond |= high > edge + HALF
    count = int(beyond.any(axis=1).sum())
    if count:
        rows, columns = map(int, np.maximum(edge, np.ceil(high.max(axis=0))))
        raise ExportError(
            f'{path} has {counted(count, "object")} beyond the edges of '
            f'labels of shape {shape}: give a shape of at least '
            f'{(*shape[:-2], rows, columns)}.'
        )


def _plane_number(
    found: PolygonObject, shape: tuple[int, ...], path: Path
) -> int:
    """Return the plane index of an object.

    The first of three axes is taken for time if the object is at z = 0.

    Raises
    ------
    ExportError
        If labels of this shape have no such plane.
    """
    times, depth = (1, 1, *shape[:-2])[-2:]
    if len(shape) == 3 and found.z == 0:
        times, depth = depth, times
    if not (0 <= found.z < depth and 0 <= found.t < times):
        raise ExportError(
            f'{path} has an object on plane z={found.z}, t={found.t}, '
            f'which labels of shape {shape} do not have.'
        )
    return found.t * depth + found.z


def with_free_labels(known: Iterable[float | None]) -> list[int]:
    """Return the labels of objects, with free ones for those without.

    Objects added in another program have no label. Existing labels are kept,
    as they join the parts of an object on several planes.

    Parameters
    ----------
    known : iterable of float or None
        Label of each object; None, at most 0 or a fraction if it has none.
    """
    labels = [
        int(label) if label and label > 0 and label % 1 == 0 else 0
        for label in known
    ]
    free = itertools.count(max(labels, default=0) + 1)
    return [label or next(free) for label in labels]


def _extent(objects: Sequence[PolygonObject]) -> tuple[int, ...]:
    if not objects:
        return ()
    rings = [ring for o in objects for p in o.polygons for ring in p]
    height, width = np.ceil(np.max([r.max(0) for r in rings], axis=0))
    times = max(found.t for found in objects) + 1
    depth = max(found.z for found in objects) + 1
    leading = [count for count in (times, depth) if count > 1]
    return (*leading, int(height), int(width))


def properties_table(
    labels: Sequence[int],
    planes: Sequence[int],
    properties: Sequence[ObjectProperties],
) -> Any:
    """Return a table of class, score and measurements.

    It has one row per label or, if the properties of a label differ between
    planes, one per label and plane, with a column ``plane``.
    """
    import pandas as pd

    known: dict[int, ObjectProperties] = {}
    each = list(zip(labels, planes, properties, strict=True))
    same = all(known.setdefault(n, told) == told for n, _, told in each)
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for label, plane, told in each:
        row = rows.setdefault((label, 0 if same else plane), {'label': label})
        if not same:
            row['plane'] = plane
        if told.class_name:
            row['class'] = told.class_name
        row.update(told.measurements)
    if not rows:
        return pd.DataFrame({'label': np.zeros(0, np.int64)})
    keys = ['label'] if same else ['label', 'plane']
    table = pd.DataFrame(list(rows.values()))
    return table.sort_values(keys).reset_index(drop=True)
