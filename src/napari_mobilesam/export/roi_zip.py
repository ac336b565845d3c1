"""ROI zips of ImageJ and Fiji, with one ROI per object and plane."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import suppress
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
    geometry_member,
    with_geometry,
)
from napari_mobilesam.export.polygon_file import (
    PolygonObject,
    labels_from_polygons,
)
from napari_mobilesam.extra import need
from napari_mobilesam.palette import rgb
from napari_mobilesam.readers.open_image import reason

# Largest coordinate that a ROI stores as an integer rather than a float.
MOST_INTEGER = 60_535
MOVE, LINE, CLOSE = 0.0, 1.0, 4.0
# An unescaped colon.
KEY_END = re.compile(r'(?<!\\): ')
# Properties that are not measurements.
LABEL, SHAPE, CLASS = 'label', 'shape', 'class'
# pixel sizes and units, which have no field of their own in ROIs
SCALE, UNITS, AXES = 'pixel size', 'pixel unit', 'axes'
# key in the zip comment
OURS = 'napari-mobilesam'
OF_IMAGE = (SHAPE, SCALE, UNITS, AXES)
KEYS = (LABEL, CLASS, *OF_IMAGE)


def write_roi_zip(image: LabelsWithTable, path: Path) -> int:
    """Write the objects of a label image for ImageJ's ROI Manager.

    An object of one part without holes becomes a traced polygon, any other a
    composite; both enclose exactly its pixels. ROIs have the colours of their
    classes. Label, class, measurements, and the shape and pixel sizes of the
    image are stored as ROI properties.

    Parameters
    ----------
    image : LabelsWithTable
        Labels and the properties of the objects.
    path : Path
        File to write; an existing zip is replaced, not appended to.

    Returns
    -------
    int
        Number of ROIs.
    """
    need('roifile', extra='export')
    _warn_of_names(image)
    count = 0
    with zipfile.ZipFile(
        path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1
    ) as file:
        for roi in _rois(image):
            file.writestr(f'{roi.name}.roi', roi.tobytes())
            count += 1
        # without objects, there is no ROI to store the shape
        file.comment = json.dumps({OURS: geometry_member(image)}).encode()
    return count


def _warn_of_names(image: LabelsWithTable) -> None:
    """Warn about columns with names that ROIs reserve."""
    columns = () if image.table is None else image.table.columns
    names = [str(name) for name in columns if name in OF_IMAGE]
    if names:
        warnings.warn(
            f'ROIs use the names {", ".join(names)} themselves: these columns '
            'are left out. Rename them.',
            stacklevel=4,
        )


def _rois(image: LabelsWithTable) -> Iterator[Any]:
    known, colors = image.properties(), image.colors()
    strokes = {n: bytes([255, *rgb(c)]) for n, c in colors.items()}
    groups = {name: number for number, name in enumerate(colors, start=1)}
    of_image = {SHAPE: ','.join(map(str, image.shape)), AXES: image.axes}
    if image.scale:
        of_image[SCALE] = ','.join(repr(float(size)) for size in image.scale)
    if image.units:
        of_image[UNITS] = ','.join(unit or '' for unit in image.units)
    for plane in image.planes():
        prefix = ''.join(
            f'{axis}{getattr(plane, axis) + 1:04}-' for axis in image.axes[:-2]
        )
        for label, polygons in label_contours(plane.labels):
            properties = known(plane.number, label)
            roi = _shape(polygons)
            roi.name = f'{prefix}{label:06}'
            roi.props = _props(label, of_image, properties)
            _place(roi, plane, image.axes)
            if properties.class_name:
                roi.stroke_color = strokes[properties.class_name]
                # ImageJ has 255 groups
                roi.group = min(groups[properties.class_name], 255)
            yield roi


def _props(
    label: int, of_image: dict[str, str], properties: ObjectProperties
) -> str:
    """Return properties as ImageJ stores them, in Java's format."""
    lines = {LABEL: str(label), **of_image}
    if properties.class_name:
        lines[CLASS] = properties.class_name
    lines |= {
        key: repr(value)
        for key, value in properties.measurements.items()
        if key not in KEYS
    }
    return ''.join(
        f'{_escaped(key, "=: ")}: {_escaped(value)}\n'
        for key, value in lines.items()
    )


def _escaped(text: str, special: str = '') -> str:
    """Return ASCII text with a backslash before special characters."""
    text = json.dumps(text)[1:-1]
    for character in special:
        text = text.replace(character, f'\\{character}')
    return text


def _unescaped(text: str) -> str:
    for character in '=: ':
        text = text.replace(f'\\{character}', character)
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:  # rewritten by ImageJ, without escapes
        return text


def _place(roi: Any, plane: Plane, axes: str) -> None:
    """Set the slice of a ROI; ImageJ counts from 1."""
    if len(axes) == 3:
        roi.position = plane.number + 1
    elif len(axes) == 4:
        roi.c_position = 1
        roi.z_position = plane.z + 1
        roi.t_position = plane.t + 1


def _shape(polygons: list[Polygon]) -> Any:
    roifile = need('roifile', extra='export')
    if len(polygons) > 1 or len(polygons[0]) > 1:
        return _composite(polygons, roifile)
    points = polygons[0][0][:, ::-1]
    low, high = points.min(0), points.max(0)
    roi = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.TRACED,
        n_coordinates=len(points),
        integer_coordinates=(points - low).astype(np.int32),
    )
    if (
        high.max() > MOST_INTEGER
        or (high - low).max() > np.iinfo(np.int16).max
    ):
        roi.options = roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.subpixel_coordinates = points.astype(np.float32)
    _bound(roi, low, high)
    return roi


def _composite(polygons: list[Polygon], roifile: Any) -> Any:
    rings = [ring for polygon in polygons for ring in polygon]
    path = []
    for ring in rings:
        steps = np.empty((len(ring), 3), np.float32)
        steps[:, 0] = LINE
        steps[0, 0] = MOVE
        steps[:, 1:] = ring[:, ::-1]
        path += [steps.reshape(-1), np.array([CLOSE], np.float32)]
    coordinates = np.concatenate(path)
    points = np.concatenate(rings)[:, ::-1]
    roi = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.RECT,
        shape_roi_size=len(coordinates),
        multi_coordinates=coordinates,
    )
    _bound(roi, points.min(0), points.max(0))
    return roi


def _bound(roi: Any, low: NDArray[Any], high: NDArray[Any]) -> None:
    roi.left, roi.top = map(int, low)
    roi.right, roi.bottom = map(int, high)


def read_roi_zip(
    path: Path, shape: tuple[int, ...] | None = None
) -> LabelsWithTable:
    """Read the ROIs with an area from a .zip or .roi file.

    Parameters
    ----------
    path : Path
        File of this program or of ImageJ.
    shape : tuple of int, optional
        Shape of the labels; by default that in the file, or else the
        smallest that contains all ROIs.

    Returns
    -------
    LabelsWithTable
        Labels and a table of the properties of the ROIs.

    Raises
    ------
    ExportError
        If it is not a file of ROIs, or some are outside the shape.
    """
    roifile = need('roifile', extra='export')
    try:
        rois = roifile.roiread(path)
        rois = rois if isinstance(rois, list) else [rois]
        known = [_known(roi) for roi in rois]
        axes = _axes(shape, known)
        objects = [
            found
            for roi, props in zip(rois, known, strict=True)
            for found in [_object(roi, props, axes)]
            if found is not None
        ]
    except PermissionError:
        raise
    # on damaged files, the reader raises all kinds of errors
    except Exception as error:  # noqa: BLE001
        raise ExportError(
            f'{path} is not a file of ImageJ ROIs: {reason(error)}.'
        ) from error
    colors = {
        props[CLASS]: color
        for roi, props in zip(rois, known, strict=True)
        for color in [roi.hexcolor(roi.stroke_color)]
        if CLASS in props and color
    }
    told: tuple[int, ...] | None = None
    if shape is None and known and SHAPE in known[0]:
        told = tuple(int(n) for n in known[0][SHAPE].split(','))
    of_image = _geometry(known[0]) if known else _comment(path)
    if not known:
        told = of_image.get(SHAPE)
    labels = labels_from_polygons(objects, shape, colors, path, known=told)
    return with_geometry(labels, of_image)


def _comment(path: Path) -> dict[str, Any]:
    """Read the geometry from the comment of a zip of this program."""
    try:
        with zipfile.ZipFile(path) as file:
            found: dict[str, Any] = json.loads(file.comment)[OURS]
        return found | {SHAPE: tuple(map(int, found[SHAPE]))}
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return {}


def _geometry(known: dict[str, str]) -> dict[str, Any]:
    """Return the geometry in the form that `with_geometry` reads."""
    member: dict[str, Any] = {'axes': known.get(AXES)}
    # files without pixel sizes have no numbers here
    with suppress(ValueError):
        member['scale'] = [float(x) for x in known.get(SCALE, '').split(',')]
    return {**member, 'units': known.get(UNITS, '').split(',')}


def _axes(shape: tuple[int, ...] | None, known: list[dict[str, str]]) -> int:
    """Return the number of axes of the labels, 0 if unknown."""
    if shape is not None:
        return len(shape)
    return known[0].get(SHAPE, '').count(',') + 1 if known else 0


def _known(roi: Any) -> dict[str, str]:
    pairs = (
        KEY_END.split(line, maxsplit=1) for line in roi.props.splitlines()
    )
    return {
        _unescaped(pair[0]): _unescaped(pair[1])
        for pair in pairs
        if len(pair) == 2
    }


def _object(
    roi: Any, known: dict[str, str], axes: int
) -> PolygonObject | None:
    rings = [
        np.asarray(ring, float)[:, ::-1]
        for ring in roi.coordinates(multi=True)
        if len(ring) > 2
    ]
    roifile = need('roifile', extra='export')
    lines = (
        roifile.ROI_TYPE.LINE,
        roifile.ROI_TYPE.POLYLINE,
        roifile.ROI_TYPE.FREELINE,
        roifile.ROI_TYPE.ANGLE,
        roifile.ROI_TYPE.POINT,
    )
    # texts and images are drawn in a rectangle
    overlays = (roifile.ROI_SUBTYPE.TEXT, roifile.ROI_SUBTYPE.IMAGE)
    if not rings or roi.roitype in lines or roi.subtype in overlays:
        return None
    numbers = {}
    for key, value in known.items():
        if key not in KEYS:
            try:
                numbers[key] = float(value)
            except ValueError:
                continue
    label = known.get(LABEL, '')
    t, z = max(0, roi.t_position - 1), max(0, roi.z_position - 1)
    if roi.position > 0 and axes != 4:
        z = roi.position - 1
    return PolygonObject(
        [rings],
        int(label) if label.isdecimal() else None,
        t,
        z,
        ObjectProperties(known.get(CLASS, ''), numbers),
    )
