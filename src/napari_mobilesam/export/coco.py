"""COCO instance annotations, one per object and plane.

Masks are compressed run lengths, which are exact and allow holes, or
polygons. As COCO polygons have no holes, each hole is joined to its shell by
a cut of zero width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_pixels
from napari_mobilesam.export.contours import Polygon, label_contours
from napari_mobilesam.export.exported import (
    NO_CLASS,
    ExportError,
    LabelsWithTable,
    ObjectProperties,
    Plane,
    PropertiesLookup,
    finite_numbers,
    flaw,
    geometry_member,
    hex_color,
    objects_of,
    smallest_dtype,
    with_geometry,
)
from napari_mobilesam.export.filling import fill_polygons
from napari_mobilesam.export.geojson import read_json
from napari_mobilesam.export.polygon_file import (
    check_size,
    properties_table,
    with_free_labels,
)
from napari_mobilesam.export.run_lengths import (
    decompress,
    encode_objects,
    paint_runs,
    runs_of,
)
from napari_mobilesam.palette import default_color, rgb

SEGMENTATIONS = ('rle', 'polygons')
OURS = 'napari-mobilesam'


def write_coco(
    image: LabelsWithTable, path: Path, segmentation: str = 'rle'
) -> int:
    """Write the objects of a label image as COCO instances.

    Each plane becomes an image of the file, each class a category. In
    addition to the fields of COCO, annotations have ``label``, ``score`` and
    ``measurements``.

    Parameters
    ----------
    image : LabelsWithTable
        Labels and the properties of the objects.
    path : Path
        File to write.
    segmentation : {'rle', 'polygons'}
        Encoding of the masks.

    Returns
    -------
    int
        Number of annotations.
    """
    if segmentation not in SEGMENTATIONS:
        raise ExportError(
            f'COCO has no segmentation {segmentation!r}: choose '
            f'{", ".join(SEGMENTATIONS)}.'
        )
    categories, known = _categories(image), image.properties()
    planes: list[int] = []
    count, used = 0, set()
    with path.open('w', encoding='utf-8') as file:
        file.write('{"annotations": [')
        for plane in image.planes():
            planes.append(plane.number)
            for entry in _annotations(plane, known, categories, segmentation):
                count += 1
                used.add(entry['category_id'])
                entry = {'id': count, 'image_id': plane.number + 1, **entry}
                file.write(',\n' if count > 1 else '\n')
                file.write(json.dumps(entry))
        if len(categories) > 1 and categories[''][0] not in used:
            # an unused category would be an extra class in training
            del categories['']
        rest = _header(image, planes, categories)
        file.write(f'\n], {json.dumps(rest)[1:]}\n')
    return count


def _header(
    image: LabelsWithTable,
    planes: Sequence[int],
    categories: Mapping[str, tuple[int, str]],
) -> dict[str, Any]:
    """Return the content of a file except its annotations."""
    height, width = image.shape[-2:]
    several = len(image.shape) > 2
    # names of categories are unique
    no_class = 'no class' if NO_CLASS in categories else NO_CLASS
    return {
        'images': [
            {
                'id': number + 1,
                'file_name': f'{image.name}-{number}'
                if several
                else image.name,
                'height': height,
                'width': width,
            }
            for number in planes
        ],
        'categories': [
            {
                'id': number,
                'name': name or no_class,
                'supercategory': NO_CLASS,
                'color': list(rgb(color)),
                OURS: {'class': name},
            }
            for name, (number, color) in categories.items()
        ],
        'info': {
            'description': f'Objects of {image.name}',
            OURS: geometry_member(image),
        },
        'licenses': [],
    }


def _categories(image: LabelsWithTable) -> dict[str, tuple[int, str]]:
    """Return the number and colour per class; '', the last, means none."""
    colors = image.colors()
    colors[''] = default_color(len(colors))
    return {
        name: (number, color)
        for number, (name, color) in enumerate(colors.items(), start=1)
    }


def _annotations(
    plane: Plane,
    known: PropertiesLookup,
    categories: dict[str, tuple[int, str]],
    segmentation: str,
) -> Iterator[dict[str, Any]]:
    check_pixels(plane.labels.shape, 'A plane of the labels')
    labels = np.asarray(plane.labels)
    found, areas, boxes = objects_of(labels)
    at = {label: number for number, label in enumerate(found.tolist())}
    for label, mask in _masks(labels, segmentation):
        number = at[label]
        rows, columns = boxes[number]
        properties = known(plane.number, label)
        entry: dict[str, Any] = {
            'category_id': categories[properties.class_name][0],
            'segmentation': mask,
            'area': int(areas[number]),
            'bbox': [
                columns.start,
                rows.start,
                columns.stop - columns.start,
                rows.stop - rows.start,
            ],
            'iscrowd': 0,
            'label': label,
        }
        if 'score' in properties.measurements:
            entry['score'] = properties.measurements['score']
        if properties.measurements:
            entry['measurements'] = properties.measurements
        yield entry


def _masks(
    labels: NDArray[Any], segmentation: str
) -> Iterator[tuple[int, Any]]:
    if segmentation == 'rle':
        size = list(labels.shape)
        for label, counts in encode_objects(labels).items():
            yield label, {'size': size, 'counts': counts}
        return
    for label, polygons in label_contours(labels):
        yield (
            label,
            [_joined(p)[:, ::-1].reshape(-1).tolist() for p in polygons],
        )


def _joined(polygon: Polygon) -> NDArray[np.int64]:
    """Return one ring that joins the shell with all holes.

    A straight cut, followed forth and back, connects the leftmost corner of
    each hole to the nearest corner of the ring so far, and encloses no area.
    """
    ring, *holes = polygon
    for hole in sorted(holes, key=lambda points: points[:, 1].min()):
        start = int(np.argmin(hole[:, 1]))
        turned = np.roll(hole, -start, axis=0)
        near = int(np.argmin(((ring - turned[0]) ** 2).sum(1)))
        ring = np.concatenate(
            [ring[: near + 1], turned, turned[:1], ring[near:]]
        )
    return ring


def read_coco(
    path: Path, shape: tuple[int, ...] | None = None
) -> LabelsWithTable:
    """Read COCO instances; several images of the same size become planes.

    Parameters
    ----------
    path : Path
        File of this or another program, with run lengths or polygons.
    shape : tuple of int, optional
        Shape of the labels; by default that of the images in the file.

    Returns
    -------
    LabelsWithTable
        Labels and a table of classes and measurements. Overlapping objects
        are painted in the order of the file.

    Raises
    ------
    ExportError
        If it is not a COCO file, its images differ in size, or an annotation
        has only a box.
    """
    content = read_json(path)
    try:
        return _decoded(content, path, shape)
    except ExportError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ExportError(
            f'{path} is not a file of COCO instances: {flaw(error)}.'
        ) from error
    except ValueError as error:
        raise ExportError(
            f'{path} has a mask that cannot be read: {error}.'
        ) from error


def _decoded(
    content: Any, path: Path, shape: tuple[int, ...] | None
) -> LabelsWithTable:
    images, annotations = content['images'], content['annotations']
    sizes = {(int(i['height']), int(i['width'])) for i in images}
    if len(sizes) != 1:
        raise ExportError(
            f'{path} has {len(images)} images of {len(sizes)} sizes: only '
            'images of the same size can be read, as planes of one image.'
        )
    size = sizes.pop()
    check_size((len(images), *size), path)
    info = content.get('info') or {}
    known = (info.get(OURS) or {}).get('shape')
    planes = (len(images),) if len(images) > 1 else ()
    shape = shape or (tuple(known) if known else (*planes, *size))
    plane_of = {entry['id']: n for n, entry in enumerate(images)}
    if len(plane_of) < len(images):
        raise ExportError(
            f'{path} has {len(images)} images with {len(plane_of)} different '
            'ids: give each its own, so that annotations have one image.'
        )
    categories = content.get('categories', [])
    names = {entry['id']: _class_name(entry) for entry in categories}
    labels = with_free_labels(entry.get('label') for entry in annotations)
    # column-major, like run lengths
    columns = np.zeros(
        (len(images), size[1], size[0]), smallest_dtype(max(labels, default=0))
    )
    for label, entry in zip(labels, annotations, strict=True):
        _check_annotation(entry, label, plane_of, path)
        plane = columns[plane_of[entry['image_id']]]
        _paint(entry['segmentation'], label, plane)
    out = np.ascontiguousarray(columns.swapaxes(1, 2))
    if out.size != np.prod(shape) or tuple(shape[-2:]) != size:
        raise ExportError(
            f'{path} has {len(images)} images of {size[0]} × {size[1]} '
            f'pixels, which are not labels of shape {tuple(shape)}.'
        )
    table = properties_table(
        labels,
        [plane_of[entry['image_id']] for entry in annotations],
        [_properties(entry, names) for entry in annotations],
    )
    colors = {
        names[c['id']]: color
        for c in categories
        for color in [hex_color(c.get('color'))]
        if color and names[c['id']]
    }
    image = LabelsWithTable(out.reshape(shape), table, colors, name=path.stem)
    return with_geometry(image, info.get(OURS))


def _check_annotation(
    entry: Any, label: int, plane_of: dict[Any, int], path: Path
) -> None:
    """Raise `ExportError` if an annotation lacks its image or a mask."""
    of = entry['image_id']
    if of not in plane_of:
        raise ExportError(
            f'{path} has an annotation of image {of!r}, which it lacks.'
        )
    if not entry['segmentation']:
        raise ExportError(
            f'{path} has no mask for annotation {entry.get("id", label)}, '
            'only a box: add a mask, or remove such annotations.'
        )


def _properties(entry: Any, names: dict[Any, str]) -> ObjectProperties:
    name = names.get(entry.get('category_id'), '')
    numbers = dict(entry.get('measurements') or {})
    if 'score' in entry:
        numbers['score'] = entry['score']
    return ObjectProperties(name, finite_numbers(numbers))


def _class_name(category: Any) -> str:
    """Return the class of a category; '' for objects without a class."""
    name = str(category['name'])
    ours = category.get(OURS)
    if isinstance(ours, dict):
        return str(ours['class'])
    return '' if name == NO_CLASS else name


def _paint(mask: Any, label: int, columns: NDArray[Any]) -> None:
    """Paint a mask into a column-major plane."""
    width, height = columns.shape
    if isinstance(mask, dict):
        if list(mask['size']) != [height, width]:
            raise ValueError(
                f'its size is {mask["size"]}, but the image has '
                f'{[height, width]}'
            )
        counts = mask['counts']
        counts = decompress(counts) if isinstance(counts, str) else counts
        if sum(counts) > height * width or min(counts, default=0) < 0:
            raise ValueError('its run lengths go beyond the image')
        paint_runs(runs_of(counts), label, columns.reshape(-1))
        return
    if any(len(polygon) % 2 for polygon in mask):
        raise ValueError('a polygon has an odd number of coordinates')
    # programs that split masks leave lines and points beside the polygons
    areas = [polygon for polygon in mask if len(polygon) >= 6]
    if mask and not areas:
        raise ValueError('no polygon has three corners')
    polygons = [[np.asarray(p, float).reshape(-1, 2)] for p in areas]
    # the plane is transposed: (x, y) are its row and column
    fill_polygons(polygons, [label] * len(polygons), columns)
