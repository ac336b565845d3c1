"""Label images as TIFF, with the pixel sizes of their image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.files import OME_TIFF
from napari_mobilesam.large.io.sources import Geometry
from napari_mobilesam.readers.tiff import OME_SIZES
from napari_mobilesam.units import SYMBOLS, converted

TILE = 512
# Unit symbols that ImageJ writes in ASCII.
IMAGEJ_UNITS = {'µm': 'um', 'Å': 'angstrom'}
# unit of pixel sizes whose unit is unknown
NO_UNIT = 'pixel'


def write_label_tiff(
    labels: Any, path: Path, largest: int, geometry: Geometry | None = None
) -> None:
    """Write a label image as compressed, tiled TIFF in bounded memory.

    Parameters
    ----------
    labels : array
        (..., H, W) labels, such as a zarr array.
    path : Path
        File to write; an OME-TIFF if the name ends in .ome.tif or .ome.tiff.
    largest : int
        Largest label; the file is uint16 if that is sufficient, else uint32.
    geometry : Geometry, optional
        Pixel sizes and units, written as OME or ImageJ metadata.
    """
    import tifffile

    small = largest <= np.iinfo(np.uint16).max
    dtype = np.dtype(np.uint16 if small else np.uint32)
    leading = 'tz'[-(labels.ndim - 2) :] if labels.ndim > 2 else ''
    axes = f'{leading}yx'
    scale: dict[str, float] = {}
    units: dict[str, str | None] = {}
    if geometry is not None:
        if len(geometry.axes) == labels.ndim:
            axes = geometry.axes
        scale = dict(zip(geometry.axes, geometry.scale, strict=True))
        units = dict(zip(geometry.axes, geometry.units, strict=True))
    tifffile.imwrite(
        path,
        _tiles(labels, dtype),
        shape=labels.shape,
        dtype=dtype,
        tile=(TILE, TILE),
        compression='zlib',
        photometric='minisblack',
        # compression may make it smaller, but by an unknown amount
        bigtiff=int(np.prod(labels.shape)) * dtype.itemsize >= 1 << 32,
        **tiff_metadata(path, axes, labels.shape, scale, units),
    )


def tiff_metadata(
    path: Path,
    axes: str,
    shape: tuple[int, ...],
    scale: Mapping[str, float],
    units: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return the arguments of ``tifffile.imwrite`` for axes and pixel sizes.

    Parameters
    ----------
    path : Path
        File to write; its suffix selects OME or ImageJ.
    axes : str
        A letter from ``'tzyx'`` for each axis.
    shape : tuple of int
        Shape of the label image.
    scale, units : mapping
        Pixel size along each axis, and its OME-NGFF unit. Sizes without a unit
        are not written.
    """
    known = {a: scale[a] for a in axes if units.get(a) and a in scale}
    if path.name.lower().endswith(OME_TIFF):
        sizes = ome_sizes(known, units)
        return {'ome': True, 'metadata': {'axes': axes.upper(), **sizes}}
    unit = imagej_unit(units.get('x'))
    known = imagej_sizes(known, units)
    if unit == NO_UNIT or not {'x', 'y'} <= set(known):
        return {'metadata': {'axes': axes.upper()}}
    return {
        'description': _imagej_description(axes, shape, known, unit),
        'metadata': None,
        'resolution': (1 / known['x'], 1 / known['y']),
        'resolutionunit': 1,  # the unit is in the description
    }


def ome_sizes(
    scale: Mapping[str, float], units: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return pixel sizes and the time between frames as OME metadata.

    Parameters
    ----------
    scale, units : mapping
        Size along each axis, and its OME-NGFF unit. Lengths without a known
        unit are written with a placeholder; such times are left out, as OME
        has no time without a unit.
    """
    sizes: dict[str, Any] = {}
    for axis, name in OME_SIZES.items():
        unit = SYMBOLS.get(str(units.get(axis)))
        if axis in scale and (unit or axis != 't'):
            sizes[name], sizes[f'{name}Unit'] = scale[axis], unit or NO_UNIT
    return sizes


def imagej_unit(unit: str | None) -> str:
    """Return ImageJ's ASCII name for a unit of OME-NGFF."""
    symbol = SYMBOLS.get(str(unit), unit) or NO_UNIT
    name = IMAGEJ_UNITS.get(symbol, symbol)
    return name if name.isascii() else NO_UNIT


def imagej_sizes(
    scale: Mapping[str, float], units: Mapping[str, str | None]
) -> dict[str, float]:
    """Return sizes in ImageJ's terms: one unit of length, and seconds.

    Lengths that cannot be converted to the unit of x are left out; a time with
    an unknown unit is kept unchanged.
    """
    sizes: dict[str, float] = {}
    for axis, size in scale.items():
        if axis == 't':
            in_seconds = converted(size, units.get('t'), 'second')
            sizes['t'] = size if in_seconds is None else in_seconds
        else:
            length = converted(size, units.get(axis), units.get('x'))
            if length is not None:
                sizes[axis] = length
    return sizes


def _imagej_description(
    axes: str, shape: tuple[int, ...], sizes: Mapping[str, float], unit: str
) -> str:
    counts = dict(zip(axes, shape, strict=True))
    slices, frames = counts.get('z', 1), counts.get('t', 1)
    lines = ['ImageJ=1.54f', f'images={slices * frames}']
    if slices * frames > 1:
        lines += [f'slices={slices}', f'frames={frames}', 'hyperstack=true']
    lines.append(f'unit={unit}')
    if 'z' in sizes:
        lines.append(f'spacing={sizes["z"]!r}')
    if 't' in sizes:
        lines.append(f'finterval={sizes["t"]!r}')
    return '\n'.join([*lines, 'loop=false', ''])


def _tiles(labels: Any, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yield whole tiles in reading order, padded with background."""
    height, width = labels.shape[-2:]
    for index in np.ndindex(*labels.shape[:-2]):
        for row in range(0, height, TILE):
            # whole chunks are read once, not once per tile
            strip = labels[(*index, slice(row, row + TILE))]
            for column in range(0, width, TILE):
                part = np.asarray(strip[:, column : column + TILE])
                tile = np.zeros((TILE, TILE), dtype)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
