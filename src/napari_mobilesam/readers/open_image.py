"""Image files as arrays that are read piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_mobilesam.extra import need
from napari_mobilesam.readers.pyramid import Pyramid
from napari_mobilesam.readers.tiff import TIFF_SUFFIXES, open_tiff
from napari_mobilesam.types import ImageError

COLOURS = ('FF0000', '00FF00', '0000FF')


def open_pyramid(path: Path) -> Pyramid:
    """Open a .npy, TIFF, zarr or OME-Zarr without reading its pixels.

    Parameters
    ----------
    path : Path
        File or folder. Inside a zarr, an array or a group of it.

    Raises
    ------
    ImageError
        If it is missing, damaged, or of a kind that cannot be read piece by
        piece.
    """
    if not path.exists():
        raise ImageError(f'There is no file or folder {path}.')
    if path.is_dir():
        return _open(path, open_zarr)
    suffix = path.suffix.lower()
    if suffix == '.npy':
        return _open(path, open_npy)
    if suffix in TIFF_SUFFIXES:
        return _open(path, open_tiff)
    raise ImageError(
        f'{path} is no TIFF, .npy or zarr: only these can be read piece by '
        'piece. Save it as a tiled TIFF or an OME-Zarr.'
    )


def _open(path: Path, opener: Any) -> Pyramid:
    try:
        opened: Pyramid = opener(path)
    except (ImageError, ImportError):
        raise
    # readers fail with whatever comes to hand on a damaged file
    except Exception as error:  # noqa: BLE001
        raise ImageError(f'{path} cannot be read: {reason(error)}.') from error
    return opened


def reason(error: BaseException) -> str:
    """Message of an error on one line; its type where it has none."""
    text = ' '.join(str(error).split()).rstrip('.')
    return text or type(error).__name__


def open_npy(path: Path) -> Pyramid:
    """Map a .npy file into memory."""
    return Pyramid((np.load(path, mmap_mode='r', allow_pickle=False),))


def open_zarr(path: Path) -> Pyramid:
    """Open a zarr array, an OME-Zarr image, or a group of one array."""
    zarr = need('zarr')
    node = zarr.open(str(path), mode='r')
    if isinstance(node, zarr.Array):
        return Pyramid((node,))
    attributes = dict(node.attrs)
    ome = dict(attributes.get('ome', attributes))
    if 'multiscales' in ome:
        return _open_multiscale(node, ome)
    _refuse_containers(path, node, ome)
    arrays = list(node.array_keys())
    if len(arrays) == 1:
        return Pyramid((node[arrays[0]],))
    inside = sorted([*arrays, *node.group_keys()])
    raise ImageError(
        f'{path} is a zarr group without an OME-Zarr image. Give the one of '
        f'its arrays or groups to segment: {_some(path, inside)}.'
    )


def _refuse_containers(path: Path, node: Any, ome: dict[str, Any]) -> None:
    """Say which image to give where there are many."""
    if 'plate' in ome:
        wells = [well['path'] for well in ome['plate'].get('wells', [])]
        raise ImageError(
            f'{path} is a plate of {len(wells)} wells. Segment its fields '
            f'one by one: {_some(path, [f"{well}/0" for well in wells])}.'
        )
    if 'well' in ome:
        fields = [image['path'] for image in ome['well'].get('images', [])]
        raise ImageError(
            f'{path} is a well of {len(fields)} fields. Segment them one by '
            f'one: {_some(path, fields)}.'
        )
    if 'bioformats2raw.layout' in ome:
        images = sorted(name for name in node.group_keys() if name != 'OME')
        raise ImageError(
            f'{path} is a collection of {len(images)} images. Give one of '
            f'them: {_some(path, images)}.'
        )
    if 'labels' in ome:
        raise ImageError(
            f'{path} is the list of the labels of an image. Give the image, '
            f'{path.parent}.'
        )


def _some(path: Path, names: Sequence[str]) -> str:
    shown = ', '.join(str(path / name) for name in names[:3])
    return (shown or 'there is none') + (' …' if len(names) > 3 else '')


def _open_multiscale(group: Any, ome: dict[str, Any]) -> Pyramid:
    """Read OME-Zarr metadata 0.1 to 0.5."""
    image = ome['multiscales'][0]
    arrays = [group[level['path']] for level in image['datasets']]
    ndim = len(arrays[0].shape)
    axes = image.get('axes', 'tczyx'[-ndim:])
    named = [axis if isinstance(axis, str) else axis['name'] for axis in axes]
    units = [
        None if isinstance(axis, str) else axis.get('unit') for axis in axes
    ]
    scale, translation = _transform(
        [
            *image['datasets'][0].get('coordinateTransformations', ()),
            *image.get('coordinateTransformations', ()),
        ],
        ndim,
    )
    shown = ome.get('omero', {}).get('channels', [])
    colours = tuple(channel.get('color', '').upper() for channel in shown)
    return Pyramid(
        tuple(arrays),
        ''.join(named),
        scale,
        translation,
        tuple(units),
        rgb=colours == COLOURS and arrays[0].dtype == np.uint8,
        channels=tuple(str(channel.get('label', '')) for channel in shown),
        version=str(ome.get('version', image.get('version', ''))),
    )


def _transform(
    steps: Sequence[dict[str, Any]], ndim: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and translation of transformations applied one after another."""
    scale, translation = np.ones(ndim), np.zeros(ndim)
    for step in steps:
        factor = np.array(step.get('scale', 1.0), dtype=float)
        scale, translation = scale * factor, translation * factor
        translation = translation + np.array(step.get('translation', 0.0))
    return tuple(map(float, scale)), tuple(map(float, translation))
