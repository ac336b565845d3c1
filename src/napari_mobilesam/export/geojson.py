"""GeoJSON of QuPath, with one feature per object and plane.

Coordinates are (x, y) in pixels at full resolution, where the pixel at row 0,
column 0 covers 0 to 1. QuPath reads the ``id`` of a feature, its ``geometry``
with ``plane``, and the properties ``objectType``, ``classification``,
``measurements`` and ``isLocked``.
"""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.export.contours import Polygon, label_contours
from napari_mobilesam.export.exported import (
    ExportError,
    LabelsWithTable,
    ObjectProperties,
    Plane,
    finite_numbers,
    flaw,
    geometry_member,
    hex_color,
    with_geometry,
)
from napari_mobilesam.export.polygon_file import (
    PolygonObject,
    labels_from_polygons,
)
from napari_mobilesam.palette import rgb
from napari_mobilesam.schema import SchemaError, parse_json
from napari_mobilesam.text import counted

OBJECT_TYPES = ('detection', 'annotation', 'cell')
# Measurement that preserves the label in QuPath.
LABEL = 'Label'
# Member of the collection with the shape; other programs ignore it.
OURS = 'napari-mobilesam'
# Geometries of annotations that are not objects.
NO_AREA = ('Point', 'MultiPoint', 'LineString', 'MultiLineString')
# Namespace of feature ids, so that the same objects get the same ids.
NAMESPACE = uuid.UUID('6f1d3a54-52a0-4c1c-9d0b-2c1f5c9e8a11')


def write_geojson(
    image: LabelsWithTable, path: Path, object_type: str = 'detection'
) -> int:
    """Write the objects of a label image for QuPath.

    Parameters
    ----------
    image : LabelsWithTable
        Labels and the properties of the objects.
    path : Path
        File to write.
    object_type : {'detection', 'annotation', 'cell'}
        Type of the objects in QuPath: detections are fast for many objects,
        annotations can be edited.

    Returns
    -------
    int
        Number of features.
    """
    if object_type not in OBJECT_TYPES:
        raise ExportError(
            f'QuPath has no objects of type {object_type!r}: choose '
            f'{", ".join(OBJECT_TYPES)}.'
        )
    count = 0
    ours = geometry_member(image)
    with path.open('w', encoding='utf-8') as file:
        file.write('{"type": "FeatureCollection", ')
        file.write(f'"{OURS}": {json.dumps(ours)}, "features": [')
        for feature in _features(image, object_type):
            file.write(',\n' if count else '\n')
            file.write(json.dumps(feature))
            count += 1
        file.write('\n]}\n')
    return count


def _features(
    image: LabelsWithTable, object_type: str
) -> Iterator[dict[str, Any]]:
    known, colors = image.properties(), image.colors()
    classes = {
        name: {'name': name, 'color': list(rgb(color))}
        for name, color in colors.items()
    }
    for plane in image.planes():
        for label, polygons in label_contours(plane.labels):
            properties = known(plane.number, label)
            told: dict[str, Any] = {'objectType': object_type}
            if properties.class_name:
                told['classification'] = classes[properties.class_name]
            told['isLocked'] = False
            # last, to override a column of that name
            told['measurements'] = {**properties.measurements, LABEL: label}
            key = f'{image.name}/{plane.number}/{label}'
            yield {
                'type': 'Feature',
                'id': str(uuid.uuid5(NAMESPACE, key)),
                'geometry': _geometry(polygons, plane),
                'properties': told,
            }


def _geometry(polygons: list[Polygon], plane: Plane) -> dict[str, Any]:
    parts = []
    for polygon in polygons:
        rings = []
        for ring in polygon:
            points = ring[:, ::-1].tolist()
            points.append(points[0])
            rings.append(points)
        parts.append(rings)
    at = {'c': -1, 'z': plane.z, 't': plane.t}
    if len(parts) == 1:
        return {'type': 'Polygon', 'coordinates': parts[0], 'plane': at}
    return {'type': 'MultiPolygon', 'coordinates': parts, 'plane': at}


def read_geojson(
    path: Path, shape: tuple[int, ...] | None = None
) -> LabelsWithTable:
    """Read objects from a GeoJSON of this program or QuPath.

    Points and lines, which have no area, are skipped, and so are annotations
    around several detections or cells: regions in which they were found.

    Parameters
    ----------
    path : Path
        File to read.
    shape : tuple of int, optional
        Shape of the labels; by default that in the file, or else the
        smallest that contains all objects.

    Returns
    -------
    LabelsWithTable
        Labels and a table of classes and measurements.

    Raises
    ------
    ExportError
        If it is not GeoJSON, has no object with an area, or has objects
        outside the shape.

    Warns
    -----
    UserWarning
        If annotations are left out.
    """
    content = read_json(path)
    if isinstance(content, dict):
        ours = content.get(OURS, {})
        features = content.get('features', [content])
    else:
        # QuPath can write a plain list of features
        ours, features = {}, content
    read: list[PolygonObject | None] = []
    colors: dict[str, str] = {}
    try:
        told = ours.get('shape') if isinstance(ours, dict) else None
        known = tuple(map(int, told)) if told and not shape else None
        for feature in features:
            found, color = _object(feature)
            read.append(found)
            colors.update(color)
    except (
        AttributeError, IndexError, KeyError, TypeError, ValueError
    ) as error:  # fmt: skip
        raise ExportError(
            f'{path} is not GeoJSON with objects: feature {len(read)} cannot '
            f'be read: {flaw(error)}.'
        ) from error
    objects = _without_regions(path, features, read)
    image = labels_from_polygons(objects, shape, colors, path, known=known)
    return with_geometry(image, ours)


def _without_regions(
    path: Path, features: list[Any], read: list[PolygonObject | None]
) -> list[PolygonObject]:
    """Leave out annotations that enclose several other objects."""
    drawn = [_is_annotation(feature) for feature in features]
    pairs = [
        (found, annotation)
        for found, annotation in zip(read, drawn, strict=True)
        if found is not None
    ]
    inside = np.array(
        [found.polygons[0][0].mean(0) for found, drawn in pairs if not drawn]
    )
    objects = [
        found
        for found, annotation in pairs
        if not (annotation and len(inside) and _encloses(found, inside))
    ]
    if len(objects) < len(pairs):
        warnings.warn(
            f'{path}: {counted(len(pairs) - len(objects), "annotation")} '
            'around several detections or cells left out.',
            stacklevel=2,
        )
    return objects


def _is_annotation(feature: Any) -> bool:
    properties = feature.get('properties') or {}
    # QuPath before 0.4 has other names
    kind = properties.get('objectType') or properties.get('object_type')
    return 'annotation' in str(kind or feature.get('id')).lower()


def _encloses(region: PolygonObject, points: NDArray[Any]) -> bool:
    """Return whether more than one of (N, 2) points is in a region."""
    from skimage.measure import points_in_poly

    found = [points_in_poly(points, rings[0]) for rings in region.polygons]
    return int(np.any(found, axis=0).sum()) > 1


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    ExportError
        If it is not JSON.
    """
    try:
        return parse_json(path.read_text('utf-8-sig'), str(path))
    except UnicodeDecodeError as error:
        raise ExportError(f'{path} is not JSON: {error}.') from error
    except SchemaError as error:
        raise ExportError(f'{error}.') from error


def _object(feature: Any) -> tuple[PolygonObject | None, dict[str, str]]:
    """Return the object of a feature, if any, and the colour of its class."""
    geometry = feature['geometry']
    if geometry is None or geometry['type'] in NO_AREA:
        return None, {}
    kind = geometry['type']
    if kind not in ('Polygon', 'MultiPolygon'):
        raise ValueError(f'it is a {kind}, not a Polygon or MultiPolygon')
    parts = geometry['coordinates']
    if kind == 'Polygon':
        parts = [parts]
    if not parts or not all(parts):
        raise ValueError('it has no corners')
    polygons = [
        [_ring(np.asarray(ring, float)) for ring in part] for part in parts
    ]
    properties = feature.get('properties') or {}
    measurements = properties.get('measurements') or {}
    if isinstance(measurements, list):  # QuPath before 0.4
        measurements = {m['name']: m['value'] for m in measurements}
    numbers = finite_numbers(measurements)
    label = numbers.pop(LABEL, None)
    known = properties.get('classification') or {}
    # a subclass, such as Tumor: Positive, lists both names
    name = ': '.join(known.get('names') or [str(known.get('name') or '')])
    color = hex_color(known.get('color'))
    colors = {name: color} if name and color else {}
    at = geometry.get('plane') or {}
    return (
        PolygonObject(
            polygons,
            None if label is None else int(label),
            int(at.get('t', 0)),
            int(at.get('z', 0)),
            ObjectProperties(name, numbers),
        ),
        colors,
    )


def _ring(points: Any) -> Any:
    """Return the (N, 2) (row, column) of the corners of a ring."""
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError('a ring is not a list of (x, y) points')
    if not np.isfinite(points).all():
        raise ValueError('a corner is not a number')
    # some programs do not repeat the first point at the end
    corners = points[:-1] if (points[0] == points[-1]).all() else points
    if len(corners) < 3:
        raise ValueError('a ring needs at least three corners')
    return corners[:, 1::-1]


def is_geojson(path: Path) -> bool:
    """Return whether a JSON file starts like GeoJSON."""
    with path.open(encoding='utf-8', errors='replace') as file:
        return '"Feature' in file.read(200)
