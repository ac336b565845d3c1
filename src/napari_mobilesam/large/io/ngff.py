"""OME-NGFF metadata of label images, versions 0.4 and 0.5.

See https://ngff.openmicroscopy.org/0.5/.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from napari_mobilesam.extra import need
from napari_mobilesam.large.io.interfaces import Source
from napari_mobilesam.large.io.sources import Geometry
from napari_mobilesam.readers.open_image import open_pyramid
from napari_mobilesam.types import ImageError

FORMATS = {'0.4': 2, '0.5': 3}
# Version that most programs read, for images that are not OME-Zarr themselves.
DEFAULT_VERSION = '0.4'
AXIS_TYPES = {'t': 'time', 'z': 'space', 'y': 'space', 'x': 'space'}


def image_around(path: Path) -> Path | None:
    """Return the OME-Zarr image to which labels at ``path`` belong."""
    if path.parent.name != 'labels':
        return None
    image = path.parent.parent
    there = any((image / name).exists() for name in ('.zattrs', 'zarr.json'))
    return image if there else None


def levels_around(path: Path) -> int | None:
    """Return the number of levels required of labels in a pyramid.

    OME-NGFF requires as many as the image has. None for labels elsewhere, and
    for those in an image without coarser levels, where coarser labels help to
    see the whole.
    """
    image = image_around(path)
    if image is None:
        return None
    try:
        levels = len(open_pyramid(image).arrays)
    except ImageError:
        return None
    return levels if levels > 1 else None


def choose_version(
    path: Path, image: Path | None, asked: str | None, of_source: str
) -> str:
    """Return the requested version, or that of the parent or source image."""
    if image is not None:
        version = '0.5' if (image / 'zarr.json').exists() else '0.4'
        if asked not in (None, version):
            raise ImageError(
                f'{image} is an OME-Zarr {version}: labels in it cannot be '
                f'version {asked}.'
            )
        return version
    if asked is None:
        return of_source if of_source in FORMATS else DEFAULT_VERSION
    if asked not in FORMATS:
        raise ImageError(
            f'OME-Zarr version {asked!r} cannot be written to {path}: there '
            f'are {", ".join(FORMATS)}.'
        )
    return asked


def source_link(
    path: Path, image: Path | None, like: Source | None, geometry: Geometry
) -> str | None:
    """Return the relative path from labels to their image, None if unknown."""
    if image is not None:
        return '../../'
    origin = getattr(like, 'path', None)
    if origin is None or geometry.version not in FORMATS:
        return None
    try:
        return Path(os.path.relpath(origin, path)).as_posix()
    except ValueError:  # on another drive
        return None


def progress_mark(
    geometry: Geometry, version: str, source: str | None
) -> dict[str, Any]:
    """Return the state for `finish`, which is stored with the labels."""
    return {
        'complete': False,
        'version': version,
        'axes': geometry.axes,
        'scale': list(geometry.scale),
        'translation': list(geometry.translation),
        'units': list(geometry.units),
        'source': source,
    }


def label_metadata(
    name: str, mark: dict[str, Any], levels: int
) -> dict[str, Any]:
    """Return ``multiscales`` and ``image-label`` of OME-NGFF."""
    axes = []
    for letter, unit in zip(mark['axes'], mark['units'], strict=True):
        axis = {'name': letter, 'type': AXIS_TYPES[letter]}
        axes.append({**axis, 'unit': unit} if unit else axis)
    datasets = []
    for level in range(levels):
        scale = list(mark['scale'])
        scale[-2:] = [size * 2**level for size in scale[-2:]]
        steps: list[dict[str, Any]] = [{'type': 'scale', 'scale': scale}]
        if any(mark['translation']):
            steps.append(
                {'type': 'translation', 'translation': mark['translation']}
            )
        datasets.append(
            {'path': str(level), 'coordinateTransformations': steps}
        )
    image: dict[str, Any] = {
        'name': name,
        'axes': axes,
        'datasets': datasets,
        'type': 'nearest',
    }
    label: dict[str, Any] = {}
    if mark['source'] is not None:
        label['source'] = {'image': mark['source']}
    if mark['version'] == '0.4':
        image['version'] = label['version'] = '0.4'
    return {'multiscales': [image], 'image-label': label}


def register_labels(path: Path, version: str) -> None:
    """Add the labels to the ``labels`` group of the image around them."""
    if image_around(path) is None:
        return
    zarr = need('zarr')
    group = zarr.open_group(
        str(path.parent), mode='a', zarr_format=FORMATS[version]
    )
    attributes = dict(group.attrs)
    known = attributes.get('ome', {}) if version == '0.5' else attributes
    names = [*known.get('labels', [])]
    if path.name not in names:
        names.append(path.name)
    if version == '0.5':
        attributes['ome'] = {**known, 'version': version, 'labels': names}
    else:
        attributes['labels'] = names
    group.attrs.put(attributes)
