"""TIFF files as arrays that are read piece by piece."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_mobilesam.extra import need
from napari_mobilesam.readers.pyramid import Pyramid
from napari_mobilesam.types import ImageError

TIFF_SUFFIXES = ('.tif', '.tiff', '.btf', '.tf8', '.svs', '.ndpi', '.scn')
# Names of OME-NGFF for the units that TIFFs write.
UNITS = {
    'nm': 'nanometer',
    'µm': 'micrometer',
    'um': 'micrometer',
    '\\u00B5m': 'micrometer',
    'micron': 'micrometer',
    'mm': 'millimeter',
    's': 'second',
    'sec': 'second',
}


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
        axes = tiff_axes(series.axes, series.shape)
        scale, units = pixel_sizes(file)
        rgb = 'S' in series.axes and series.keyframe.photometric in (
            tifffile.PHOTOMETRIC.RGB,
            tifffile.PHOTOMETRIC.YCBCR,
        )
    return Pyramid(
        arrays or _decoded(path),
        axes,
        scale=tuple(scale.get(axis, 1.0) for axis in axes),
        units=tuple(units.get(axis) for axis in axes),
        rgb=rgb,
    )


def pixel_sizes(file: Any) -> tuple[dict[str, float], dict[str, str]]:
    """Sizes and units for each axis, as OME and ImageJ write them."""
    if file.is_ome and file.ome_metadata:
        return _ome_sizes(file.ome_metadata)
    if not file.is_imagej:
        return {}, {}
    known = file.imagej_metadata or {}
    tags = file.pages.first.tags
    scale, units = {}, {}
    for axis, name in (('x', 'XResolution'), ('y', 'YResolution')):
        pixels, length = tags[name].value if name in tags else (0, 0)
        if pixels and length:
            scale[axis] = length / pixels
    if known.get('spacing', 0) > 0:
        scale['z'] = float(known['spacing'])
    unit = UNITS.get(known.get('unit', ''))
    if unit is not None:
        units = dict.fromkeys(scale, unit)
    if known.get('finterval', 0) > 0:
        scale['t'], units['t'] = float(known['finterval']), 'second'
    return scale, units


def _ome_sizes(xml: str) -> tuple[dict[str, float], dict[str, str]]:
    scale: dict[str, float] = {}
    units: dict[str, str] = {}
    pixels = ElementTree.fromstring(xml).find('.//{*}Pixels')
    known = {} if pixels is None else pixels.attrib
    for axis in 'XYZ':
        size = float(known.get(f'PhysicalSize{axis}', 0))
        if size > 0:
            scale[axis.lower()] = size
            unit = known.get(f'PhysicalSize{axis}Unit', 'µm')
            if unit in UNITS:
                units[axis.lower()] = UNITS[unit]
    return scale, units


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


def tiff_axes(axes: str, shape: Sequence[int]) -> str:
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
