"""Label images as TIFF and PNG, from this program and others.

Label images of Cellpose (``_cp_masks.tif`` and ``.png``), StarDist (ImageJ
TIFF, possibly float32) and InstanSeg (a channel each for nuclei and cells) are
read as integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import MOST_PIXELS
from napari_mobilesam.export.exported import (
    ExportError,
    LabelsWithTable,
    as_uint,
    count_labels,
)
from napari_mobilesam.files import OME_TIFF
from napari_mobilesam.large.io.label_tiff import (
    imagej_sizes,
    imagej_unit,
    ome_sizes,
)
from napari_mobilesam.readers.axes import looks_like_channels_last
from napari_mobilesam.readers.label_names import stem_of
from napari_mobilesam.readers.open_image import (
    reason,
    unreadable,
    with_plane_last,
)
from napari_mobilesam.readers.tiff import (
    opened_series,
    pixel_sizes,
    tiff_axes,
    unnamed_axes,
)
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.units import METERS


def write_tiff(image: LabelsWithTable, path: Path) -> int:
    """Write labels as compressed TIFF with their pixel size.

    Labels up to 65,535 are written as ImageJ TIFF. Larger ones need OME-TIFF,
    as ImageJ TIFF has no larger integers.

    Returns
    -------
    int
        Number of labels.
    """
    import tifffile

    labels = as_uint(in_memory(image))
    scale = dict(zip(image.axes, image.scale, strict=False))
    units = dict(zip(image.axes, image.units, strict=False))
    options: dict[str, Any] = {'compression': 'zlib'}
    if labels.dtype == np.uint16 and not path.name.lower().endswith(OME_TIFF):
        metadata: dict[str, Any] = {}
        options['imagej'] = True
        # give all of ImageJ's axes: with fewer, tifffile takes planes that
        # are one column wide for channels
        sizes = dict(zip(image.axes, image.shape, strict=True))
        labels = labels.reshape([sizes.get(axis, 1) for axis in 'tzcyxs'])
        scale = imagej_sizes(scale, units)
        if scale.get('x') and scale.get('y'):
            options['resolution'] = (1 / scale['x'], 1 / scale['y'])
            metadata['unit'] = imagej_unit(units.get('x'))
        if scale.get('z'):
            metadata['spacing'] = scale['z']
        if scale.get('t'):
            metadata['finterval'] = scale['t']
    else:
        # otherwise a last axis of length 3 or 4 is taken for colours
        options |= {'ome': True, 'photometric': 'minisblack'}
        metadata = {'axes': image.axes.upper(), **ome_sizes(scale, units)}
    tifffile.imwrite(path, labels, metadata=metadata, **options)
    return count_labels(labels)


def write_png(image: LabelsWithTable, path: Path) -> int:
    """Write labels of one plane as 16-bit PNG.

    Raises
    ------
    ExportError
        If there are several planes, or labels above 65,535.
    """
    from PIL import Image

    labels = in_memory(image)
    if labels.size != np.prod(labels.shape[-2:]):
        raise ExportError(
            f'PNG has one plane, labels of shape {labels.shape} have more: '
            'write a TIFF or an OME-Zarr.'
        )
    largest = int(labels.max(initial=0))
    if largest > np.iinfo(np.uint16).max:
        raise ExportError(
            f'Label {largest} is too large for a 16-bit PNG: write a '
            'TIFF or an OME-Zarr.'
        )
    options: dict[str, Any] = {}
    unit = METERS.get(str(image.units[-1])) if image.units else None
    if unit and image.scale and min(image.scale[-2:]) > 0:
        inch = 0.0254
        options['dpi'] = tuple(
            inch / (size * unit) for size in image.scale[:-3:-1]
        )
    plane = np.ascontiguousarray(labels.reshape(labels.shape[-2:]))
    Image.fromarray(plane.astype(np.uint16)).save(path, 'PNG', **options)
    return count_labels(plane)


def in_memory(image: LabelsWithTable) -> NDArray[Any]:
    """Return all labels as one array.

    Raises
    ------
    ExportError
        If they do not fit in memory.
    """
    labels = image.labels
    if math.prod(image.shape) > MOST_PIXELS:
        raise ExportError(
            f'Labels of shape {image.shape} are too large for one TIFF or '
            'PNG: write an OME-Zarr.'
        )
    if hasattr(labels, 'compute'):
        labels = labels.compute(scheduler='synchronous')
    return as_labels(np.asarray(labels[...]), image.name)


def read_tiff(
    path: Path, channel: int | None = None, frames: bool = False
) -> LabelsWithTable:
    """Read a label image from TIFF.

    Parameters
    ----------
    path : Path
        File to read.
    channel : int, optional
        Channel of a file with several, such as InstanSeg's.
    frames : bool
        Whether the file is a time series. By default, tifffile writes three
        or four planes as colours: read them as frames; otherwise they are
        read as planes unless a channel is given.

    Raises
    ------
    ExportError
        If it is not a label image, or has several channels and none is
        chosen.
    ImageError
        If planes are missing, or the file holds several images.
    """
    alone = 'save the one that holds the labels separately.'
    try:
        with opened_series(path, advice=alone) as (file, series, number):
            labels = series.asarray()
            letters = series.axes
            # a single page needs no known order of planes
            while labels.ndim > 2 and len(labels) == 1 and letters[0] in 'QI':
                labels, letters = labels[0], letters[1:]
            # label images have no colours: take them for planes, unless a
            # channel is given
            if letters[0] == 'S' and (frames or channel is None):
                letters = f'{"T" if frames else "Z"}{letters[1:]}'
            axes = tiff_axes(letters, labels.shape)
            if axes is None and channel is not None and labels.ndim == 3:
                axes = 'cyx'  # InstanSeg does not name its channels
            if axes is None:
                check_unnamed(labels.shape, path)
                axes = unnamed_axes(labels.ndim)
            scale, units = pixel_sizes(path, file, series.keyframe, number)
    except SegmentationError:
        raise
    # on damaged files, the reader raises all kinds of errors
    except Exception as error:  # noqa: BLE001
        raise ExportError(unreadable(path, error)) from error
    labels, axes = with_plane_last(*_one_channel(labels, axes, channel, path))
    return LabelsWithTable(
        as_labels(labels, path),
        axes=axes,
        scale=tuple(scale.get(a, 1.0) for a in axes) if scale else (),
        units=tuple(units.get(a) for a in axes) if units else (),
        name=stem_of(path),
    )


def check_unnamed(shape: Sequence[int], path: Path) -> None:
    """Refuse labels without named axes whose last one is not of columns.

    Raises
    ------
    ExportError
        If they look like an image with colours or channels.
    """
    if looks_like_channels_last(shape[-3:]):
        raise ExportError(
            f'{path} has the shape {tuple(shape)}, whose last axis looks like '
            'colours or channels: give labels as (rows, columns) or (planes, '
            'rows, columns).'
        )


def _one_channel(
    labels: NDArray[Any], axes: str, channel: int | None, path: Path
) -> tuple[NDArray[Any], str]:
    for axis, name in reversed(list(enumerate(axes))):
        if name in 'cs':
            count = labels.shape[axis]
            if count > 1 and channel is None:
                raise ExportError(
                    f'{path} has {count} channels: give the one that holds '
                    f'the labels, 0 to {count - 1}.'
                )
            if not 0 <= (channel or 0) < count:
                raise ExportError(
                    f'{path} has no channel {channel}: there are {count}, '
                    'counted from 0.'
                )
            labels = labels.take(channel or 0, axis)
            axes = axes.replace(name, '')
            channel = None
    if channel:
        raise ExportError(
            f'{path} has no channel {channel}: it has no channels.'
        )
    # a single page is a plane, not a stack
    while len(axes) > 2 and labels.shape[0] == 1:
        labels, axes = labels[0], axes[1:]
    return labels, axes


def as_labels(labels: NDArray[Any], path: Path | str) -> NDArray[Any]:
    """Return a label image of any dtype as integers.

    Raises
    ------
    ExportError
        If there are negative or fractional values.
    """
    kind = labels.dtype.kind
    if kind == 'b':
        return labels.astype(np.uint8)
    if kind not in 'iuf':
        raise ExportError(f'{path} is of type {labels.dtype}, not labels.')
    if kind == 'f':
        with np.errstate(invalid='ignore'):
            whole = labels.astype(np.int64)
        if not np.array_equal(whole, labels):
            raise ExportError(
                f'{path} has fractions or NaN (type {labels.dtype}): it is '
                'an image, not labels.'
            )
        labels = whole
    if kind != 'u' and labels.min(initial=0) < 0:
        raise ExportError(
            f'{path} has negative values ({labels.min()}): labels must be '
            'numbers from 1, and 0 for the background.'
        )
    return as_uint(labels) if kind == 'f' else labels


def read_png(path: Path) -> LabelsWithTable:
    """Read a label image from an 8-bit, 16-bit or palette PNG."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            labels = np.array(file)
    # on damaged files, the reader raises all kinds of errors
    except Exception as error:  # noqa: BLE001
        raise ExportError(
            f'{path} cannot be read: {reason(error)}.'
        ) from error
    if labels.ndim != 2:
        raise ExportError(f'{path} has colours: it is an image, not labels.')
    return LabelsWithTable(as_labels(labels, path), name=stem_of(path))
