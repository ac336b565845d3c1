"""Any image, in memory or on disk, read window by window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    checked_array,
)
from napari_mobilesam.large.io.array_references import (
    as_reference,
    file_behind,
    metadata_file,
    opened,
)
from napari_mobilesam.large.io.image_identity import array_state, file_state
from napari_mobilesam.large.io.interfaces import Level, Source
from napari_mobilesam.readers.axes import Axes, plane_slices, read_axes
from napari_mobilesam.readers.open_image import (
    is_url,
    open_pyramid,
    reason,
)
from napari_mobilesam.readers.pyramid import Pyramid, downsampling
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.types import ImageError, Window, window_at

# Number of pixels used to identify an image: a grid of small blocks.
SAMPLE_BLOCK = 32
SAMPLES_PER_SIDE = 3


@dataclass(frozen=True)
class Geometry:
    """Location of an image, for files written beside it.

    Attributes
    ----------
    axes : str
        Letters of the axes without channels, such as ``'tzyx'``.
    planes_shape : tuple of int
        Sizes of the axes before rows and columns; their product is the
        number of planes.
    scale, translation : tuple of float
        Size of a pixel and position of the first one for each axis.
    units : tuple of (str or None)
        Unit for each axis.
    version : str
        OME-Zarr version of the image; empty if it is not OME-Zarr.
    """

    axes: str
    planes_shape: tuple[int, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str | None, ...]
    version: str = ''


class ArraySource:
    """Planes of array-likes: a `napari_mobilesam.large.io.interfaces.Source`.

    Parameters
    ----------
    pyramid : Pyramid
        The arrays.
    axes : Axes
        Interpretation of the axes.
    name : str
        Name for messages.
    first, planes : int
        First plane to use, and number of planes.
    path : Path, optional
        File of the image; a source with a path is pickled as a reference.
    """

    def __init__(
        self,
        pyramid: Pyramid,
        axes: Axes,
        name: str,
        first: int,
        planes: int,
        path: Path | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.planes = planes
        self.rgb = axes.rgb
        self.nodata = pyramid.nodata
        self._first = first
        self._axes = axes
        self._pyramid = pyramid
        self._arrays, self.levels = _usable_levels(pyramid.arrays, axes)
        self._metadata = [metadata_file(array) for array in self._arrays]
        self.shape = self.levels[0].shape
        self.dtype = np.dtype(self._arrays[0].dtype).newbyteorder('=')
        self.geometry = _geometry(pyramid, axes, first, planes)

    def __repr__(self) -> str:
        height, width = self.shape
        return f'<{self.name}: {self.planes} × {height} × {width}>'

    def __reduce__(self) -> tuple[Any, ...]:
        given: Path | Pyramid | None = self.path
        if given is None:
            arrays = tuple(map(as_reference, self._pyramid.arrays))
            given = replace(self._pyramid, arrays=arrays)
        known = (self._axes, self.name, self._first, self.planes)
        if self.path is not None:
            return _rebuilt, (given, *known, self._pyramid.series)
        return _rebuilt, (given, *known)

    @property
    def in_memory(self) -> bool:
        """True if pickling includes the pixels."""
        return self.path is None and any(
            isinstance(array, np.ndarray) and file_behind(array) is None
            for array in self._arrays
        )

    def fingerprint(self) -> str:
        """Return the identity of the image, see `Source.fingerprint`.

        It consists of name and axes, size and time of the files or a checksum
        of arrays in memory, and a sample of the pixels.
        """
        digest = xxhash.xxh128()
        array = self._arrays[0]
        known: list[Any] = [array.shape, str(self.dtype), self._axes]
        known += [self._first, self.planes, self._pyramid.series]
        if self.path is not None:
            known.append(self.path.name)
            files = self._pyramid.files or (self.path,)
            known += [file_state(path) for path in files if path.is_file()]
        if self.path is None or self.path.is_dir():
            known += [array_state(level) for level in self._arrays]
        digest.update(repr(known).encode())
        for plane in sorted({0, self.planes // 2, self.planes - 1}):
            for window in _sample_windows(self.shape):
                block = np.ascontiguousarray(self.read(plane, 0, window))
                digest.update(block.view(np.uint8).data)
        return f'xxh128:{digest.hexdigest()}'

    def read(self, plane: int, level: int, window: Window) -> NDArray[Any]:
        """Read a window, see `napari_mobilesam.large.io.interfaces.Source`.

        Raises
        ------
        ImageError
            If the window is not within the image or cannot be read.
        """
        self._check(plane, level, window)
        array = self._arrays[level]
        index, order = plane_slices(
            self._axes, array.shape, self._first + plane, window
        )
        try:
            block = array[index]
            if hasattr(block, 'compute'):  # dask, on our own threads
                block = block.compute(scheduler='synchronous')
            block = np.asarray(block).transpose(order)
            metadata = self._metadata[level]
            if metadata is not None and not metadata.exists():
                # zarr reads missing chunks as fill values
                raise FileNotFoundError(f'there is no {metadata} any more')
        # readers raise all kinds of errors on damaged data
        except Exception as error:  # noqa: BLE001
            row0, column0, row1, column1 = window
            raise ImageError(
                f'{self.name} cannot be read at plane {plane}, level '
                f'{level}, rows {row0} to {row1}, columns {column0} to '
                f'{column1}: {reason(error)}. The file may be damaged or '
                'gone.'
            ) from error
        if self._axes.channels is not None:
            first = min(self._axes.channels)
            picked = [channel - first for channel in self._axes.channels]
            block = block[..., picked[0] if len(picked) == 1 else picked]
        return block.astype(self.dtype, copy=False)

    def _check(self, plane: int, level: int, window: Window) -> None:
        row0, column0, row1, column1 = window
        height, width = self.levels[level].shape
        if not (
            0 <= plane < self.planes
            and 0 <= row0 < row1 <= height
            and 0 <= column0 < column1 <= width
        ):
            raise ImageError(
                f'The window {tuple(window)} of plane {plane} is empty or '
                f'not within {self.name}: {self.planes} planes of {height} × '
                f'{width} at level {level}.'
            )


def open_source(
    image: Any,
    *,
    axes: str | None = None,
    channels: Channels | None = None,
    select: Mapping[str, int] | None = None,
    planes: tuple[int, int] | None = None,
    series: int | None = None,
) -> Source:
    """Open an image to be read window by window.

    Parameters
    ----------
    image : path, array, sequence of arrays, Pyramid, or Source
        Path of a .npy, TIFF (tiled, pyramidal, multi-page), zarr or OME-Zarr;
        an array (NumPy, memory map, zarr, dask); the levels of a pyramid,
        finest first; or a `Pyramid`, with pixel sizes.
    axes : str, optional
        A letter for each axis: t, z, c(hannel), y, x. By default as stated in
        the file, or (H, W), (H, W, 3 or 4), (planes, H, W) or (planes, H, W, 3
        or 4).
    channels : int or sequence of int, optional
        One to three channels, shown gray (one) or as red, green, blue.
    select : mapping, optional
        Index on axes of which only one position is segmented: ``{'t': 0}``.
    planes : tuple of int, optional
        (first, last), half open: only these planes.
    series : int, optional
        Index of the image in a TIFF with several.

    Returns
    -------
    Source
        See `napari_mobilesam.large.io.interfaces.Source`.

    Raises
    ------
    ImageError
        If the image is missing, damaged or empty, or its axes do not form
        planes.
    ImportError
        If a package required to read it is not installed; names the package.
    """
    if all(hasattr(image, it) for it in ('read', 'levels', 'fingerprint')):
        return image
    pyramid, path = _opened(image, series)
    name = 'the image' if path is None else path.name
    finest = pyramid.arrays[0]
    _check_dtype(name, np.dtype(finest.dtype))
    if pyramid.channels and channels is None and not pyramid.rgb:
        _want_channels(name, pyramid)
    if pyramid.rgb and axes is None and pyramid.axes is not None:
        axes = pyramid.axes.replace('c', 's')
    read = read_axes(finest.shape, axes or pyramid.axes, channels, select)
    first, last = _plane_range(planes, read.planes(finest.shape))
    return ArraySource(pyramid, read, name, first, last - first, path)


def _opened(image: Any, series: int | None) -> tuple[Pyramid, Path | None]:
    """Open the input of `open_source`; return its path if it is a file."""
    if isinstance(image, str | Path):
        # a URL stays unchanged, so it is refused by name
        path = Path(image)
        path = path if is_url(str(path)) else path.absolute()
        return open_pyramid(path, series=series), path
    if isinstance(image, Pyramid):
        return image, None
    return Pyramid(_as_arrays(image)), None


def _check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in 'buif':
        raise ImageError(
            f'{name} has the type {dtype}; give bool, integer or real numbers.'
        )


def _want_channels(name: str, pyramid: Pyramid) -> None:
    if len(pyramid.channels) > 1:
        listed = ', '.join(
            f'{number} {label}'.strip()
            for number, label in enumerate(pyramid.channels)
        )
        raise ImageError(
            f'{name} has {len(pyramid.channels)} channels ({listed}): choose '
            'one (gray) with channels=0 (--channels 0), or up to three (red, '
            'green, blue) with channels=(0, 1) (--channels 0,1).'
        )


def _as_arrays(image: Any) -> tuple[Any, ...]:
    if hasattr(image, 'shape') and hasattr(image, 'dtype'):
        return (checked_array(image),)
    is_pyramid = isinstance(image, Sequence) and all(
        hasattr(level, 'shape') for level in image
    )
    if not is_pyramid:
        return (checked_array(image),)
    if not image:
        raise ImageError('The pyramid has no level: give at least one array.')
    image = [checked_array(level) for level in image]
    sizes = [math.prod(level.shape) for level in image]
    if any(b >= a for a, b in zip(sizes, sizes[1:], strict=False)):
        raise ImageError(
            'A list of arrays is a pyramid, each smaller than the one '
            f'before, but the shapes are {[tuple(a.shape) for a in image]}. '
            'Stack planes into one array, for example with dask.array.stack.'
        )
    return tuple(image)


def _plane_range(
    planes: tuple[int, int] | None, count: int
) -> tuple[int, int]:
    if planes is None:
        return 0, count
    first, last = planes
    if not 0 <= first < last <= count:
        raise ImageError(
            f'Planes {first} to {last} (not included) were chosen, but the '
            f'image has {count}: choose within 0 to {count}.'
        )
    return first, last


def _usable_levels(
    arrays: Sequence[Any], axes: Axes
) -> tuple[list[Any], tuple[Level, ...]]:
    """Return levels that differ from the first only in rows and columns."""
    finest = axes.plane_shape(arrays[0].shape)
    planes = axes.planes_shape(arrays[0].shape)
    kept, levels = [], []
    for array in arrays:
        shape = axes.plane_shape(array.shape)
        factor = downsampling(finest, shape)
        if axes.planes_shape(array.shape) == planes and 0 not in shape:
            kept.append(array)
            levels.append(Level(factor, shape))
    return kept, tuple(levels)


def _geometry(
    pyramid: Pyramid, axes: Axes, first: int, planes: int
) -> Geometry:
    kept = [i for i, name in enumerate(axes.names) if name in 'tzyx']
    count = len(axes.names)
    scale = pyramid.scale or (1.0,) * count
    translation = list(pyramid.translation or (0.0,) * count)
    units = pyramid.units or (None,) * count
    for axis, index in axes.fixed:
        translation[axis] += index * scale[axis]
    shape = pyramid.arrays[0].shape
    sizes = dict(zip(axes.plane_axes, axes.planes_shape(shape), strict=True))
    if planes != axes.planes(shape):
        # at most one axis has more than one plane
        long = max(sizes, key=lambda axis: sizes[axis])
        translation[long] += first * scale[long]
        sizes[long] = planes
    names = sorted(kept, key=lambda axis: 'tzyx'.index(axes.names[axis]))
    return Geometry(
        ''.join(axes.names[axis] for axis in names),
        tuple(sizes[axis] for axis in names if axis in sizes),
        tuple(float(scale[axis]) for axis in names),
        tuple(float(translation[axis]) for axis in names),
        tuple(units[axis] for axis in names),
        pyramid.version,
    )


def _sample_windows(shape: tuple[int, int]) -> list[Window]:
    rows, columns = (
        sorted(
            {
                int(start)
                for start in np.linspace(
                    0, max(0, size - SAMPLE_BLOCK), SAMPLES_PER_SIDE
                )
            }
        )
        for size in shape
    )
    return [
        window_at(row, column, (SAMPLE_BLOCK, SAMPLE_BLOCK), shape)
        for row in rows
        for column in columns
    ]


def _rebuilt(
    given: Path | Pyramid,
    axes: Axes,
    name: str,
    first: int,
    planes: int,
    series: int | None = None,
) -> ArraySource:
    if isinstance(given, Path):
        pyramid = open_pyramid(given, series=series)
        return ArraySource(pyramid, axes, name, first, planes, given)
    arrays = tuple(map(opened, given.arrays))
    pyramid = replace(given, arrays=arrays)
    return ArraySource(pyramid, axes, name, first, planes)
