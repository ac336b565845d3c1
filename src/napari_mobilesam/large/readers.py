"""Image files as arrays that are read piece by piece."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mobilesam.large.extra import need
from napari_mobilesam.types import ImageError

TIFF_SUFFIXES = ('.tif', '.tiff', '.btf', '.tf8', '.svs', '.ndpi', '.scn')
COLOURS = ('FF0000', '00FF00', '0000FF')


@dataclass(frozen=True)
class Pyramid:
    """An image as arrays, finest first, none of it read.

    Attributes
    ----------
    arrays : tuple of array
        Indexed as NumPy's; all with the same axes.
    axes : str or None
        A letter of ``'tzcsyx'`` for each axis; None if unknown.
    scale, translation : tuple of float
        Size of a pixel and position of the first one for each axis, of the
        finest array; empty if unknown.
    units : tuple of (str or None)
        Unit for each axis; empty if unknown.
    rgb : bool
        The three channels are red, green and blue.
    channels : tuple of str
        Names of the channels; empty if unknown.
    version : str
        Of the OME-Zarr; empty if it is none.
    """

    arrays: tuple[Any, ...]
    axes: str | None = None
    scale: tuple[float, ...] = ()
    translation: tuple[float, ...] = ()
    units: tuple[str | None, ...] = ()
    rgb: bool = False
    channels: tuple[str, ...] = ()
    version: str = ''


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


def open_tiff(path: Path) -> Pyramid:
    """Open the first series of a TIFF with its pyramid levels.

    Pixels that lie as they are in the file are mapped into memory; others
    are decoded tile by tile or strip by strip.
    """
    import tifffile

    with _whole_pages(path), tifffile.TiffFile(path) as file:
        if not file.series:
            raise ImageError(f'{path} has no image in it.')
        series = file.series[0]
        if series.dataoffset is not None and series.keyframe.is_memmappable:
            arrays: tuple[Any, ...] = (_mapped(path, file, series),)
        else:
            arrays = ()
        axes = _tiff_axes(series.axes, series.shape)
        rgb = 'S' in series.axes and series.keyframe.photometric in (
            tifffile.PHOTOMETRIC.RGB,
            tifffile.PHOTOMETRIC.YCBCR,
        )
    return Pyramid(arrays or _decoded(path), axes, rgb=rgb)


@contextlib.contextmanager
def _whole_pages(path: Path) -> Iterator[None]:
    """Refuse a file of which tifffile says in its log only that it ends."""
    heard = _Heard()
    logger = logging.getLogger('tifffile')
    logger.addHandler(heard)
    try:
        yield
    finally:
        logger.removeHandler(heard)
    if any('page' in text for text in heard.texts):
        raise ImageError(
            f'{path} was cut short: pages that it lists are not there. Copy '
            'it again.'
        )


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _mapped(path: Path, file: Any, series: Any) -> Any:
    return np.memmap(
        path,
        dtype=np.dtype(file.byteorder + series.dtype.char),
        mode='r',
        offset=series.dataoffset,
        shape=series.shape,
    )


def _decoded(path: Path) -> tuple[Any, ...]:
    """Levels as zarr arrays over the file, which stays open for them."""
    zarr = need('zarr')
    import tifffile

    series = tifffile.TiffFile(path).series[0]
    return tuple(
        zarr.open_array(series.aszarr(level=level), mode='r')
        for level in range(len(series.levels))
    )


def _tiff_axes(axes: str, shape: Sequence[int]) -> str:
    """Letters of this package for those of tifffile.

    Q, I and others of unknown meaning are pages: planes.
    """
    names = ''.join(
        name if name in 'tzcsyx' else 'z' if 'z' not in axes.lower() else 't'
        for name in axes.lower()
    )
    if len(set(names)) < len(names):
        raise ImageError(
            f'A TIFF with the axes {axes} and the shape {tuple(shape)} has '
            'no order of planes: save it as (t or z, y, x).'
        )
    return names


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


def downsampling(
    finest: tuple[int, int], shape: tuple[int, int]
) -> tuple[float, float]:
    """Pixels of the finest level per pixel of a coarser one, both axes.

    Whole numbers where rounding of the last pixel explains the shape.
    """
    factors = []
    for full, size in zip(finest, shape, strict=True):
        whole = max(1, round(full / size))
        fits = size in (full // whole, math.ceil(full / whole))
        factors.append(float(whole) if fits else full / size)
    return factors[0], factors[1]
