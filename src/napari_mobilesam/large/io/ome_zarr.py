"""Label images as OME-Zarr: chunks first, then a pyramid, metadata last.

An unfinished OME-Zarr has no ``multiscales``, so no reader takes it for an
image. OME-NGFF 0.4 (zarr 2) and 0.5 (zarr 3) are written.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.extra import need
from napari_mobilesam.files import new_folder, temporary_path
from napari_mobilesam.large.io.interfaces import Source
from napari_mobilesam.large.io.ngff import (
    FORMATS,
    choose_version,
    image_around,
    label_metadata,
    levels_around,
    progress_mark,
    register_labels,
    source_link,
)
from napari_mobilesam.large.io.object_columns import write_objects
from napari_mobilesam.large.io.sources import Geometry
from napari_mobilesam.types import ImageError, Window, window_at

if TYPE_CHECKING:
    import pandas as pd

OURS = 'napari-mobilesam'


class LabelWriter:
    """Labels on disk: a `napari_mobilesam.large.io.interfaces.LabelSink`.

    Use `create` to make one. It is pickled as a reference. Chunks may be
    written from any thread or process, but each by only one.

    Parameters
    ----------
    path : Path
        Folder of labels started by `create`.
    """

    def __init__(self, path: Path) -> None:
        zarr = need('zarr')
        self.path = Path(path)
        self._group = zarr.open_group(str(self.path), mode='r+')
        self.array = self._group['0']

    def __reduce__(self) -> tuple[Any, ...]:
        return LabelWriter, (self.path,)

    @classmethod
    def create(
        cls,
        path: str | Path,
        planes: int,
        shape: tuple[int, int],
        chunk: tuple[int, int],
        dtype: Any = np.uint32,
        like: Source | None = None,
        version: str | None = None,
    ) -> LabelWriter:
        """Start a label image, or continue the same unfinished one.

        Parameters
        ----------
        path : path
            Folder to create, such as ``out.ome.zarr``;
            ``BIG.ome.zarr/labels/x`` adds labels to the OME-Zarr image
            ``BIG.ome.zarr``.
        planes : int
            Number of planes.
        shape : tuple of int
            (H, W) of a plane.
        chunk : tuple of int
            (h, w) of a chunk.
        dtype : dtype
            Type of the labels.
        like : Source, optional
            Image from which axes, pixel sizes, position and units are copied.
        version : str, optional
            OME-NGFF version, '0.4' or '0.5'; by default that of the image.

        Raises
        ------
        ImageError
            If ``path`` exists and is not an unfinished label image of the same
            shape.
        """
        zarr = need('zarr')
        path = Path(path).absolute()
        geometry = _geometry_of(like, planes)
        image = image_around(path)
        version = choose_version(path, image, version, geometry.version)
        full = (*geometry.planes_shape, *shape)
        chunks = (*(1 for _ in geometry.planes_shape), *_within(chunk, shape))
        if is_begun(path):
            writer = cls(path)
            writer._check_layout(full, chunks, dtype, version)
            return writer
        if path.exists():
            if not _is_empty(path):
                raise ImageError(
                    f'{path} exists: remove it, or give another output.'
                )
            path.rmdir()
        path.parent.mkdir(parents=True, exist_ok=True)
        # atomically: a folder without the mark is not recognized as unfinished
        # labels
        with new_folder(path) as part:
            group = zarr.create_group(str(part), zarr_format=FORMATS[version])
            create_level(group, 0, full, chunks, dtype, geometry.axes)
            source = source_link(path, image, like, geometry)
            group.attrs[OURS] = progress_mark(geometry, version, source)
        return cls(path)

    def _check_layout(
        self,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: Any,
        version: str,
    ) -> None:
        """Raise `ImageError` if the unfinished labels differ in kind."""
        asked = (shape, chunks, np.dtype(dtype), FORMATS[version])
        if self._layout() != asked:
            raise ImageError(
                f'{self.path} holds unfinished labels of shape '
                f'{self.array.shape}, chunks {self.array.chunks} and type '
                f'{self.array.dtype}, not {shape}, {chunks} and '
                f'{np.dtype(dtype)}: remove it, or give another output.'
            )

    def _layout(self) -> tuple[Any, ...]:
        array = self.array
        return (
            array.shape,
            array.chunks,
            array.dtype,
            array.metadata.zarr_format,
        )

    def write_chunk(
        self, plane: int, window: Window, labels: NDArray[Any]
    ) -> None:
        """Write the labels of one chunk at level 0.

        Parameters
        ----------
        plane : int
            Plane.
        window : tuple of int
            (row0, column0, row1, column1) of the chunk, half open; starts at a
            multiple of the chunk size.
        labels : ndarray
            (h, w) labels, 0 is background.
        """
        row0, column0, _, _ = window
        chunk = self.array.chunks[-2:]
        if row0 % chunk[0] or column0 % chunk[1]:
            raise ValueError(
                f'The window {window} does not begin on a chunk of {chunk}: '
                'two writers would share a chunk.'
            )
        self.array[block_index(self.array, plane, window)] = labels

    def finish(
        self,
        described: Mapping[str, Any] | None = None,
        table: pd.DataFrame | None = None,
    ) -> None:
        """Write the coarser levels, then the metadata.

        Labels in a pyramid get as many levels as that; others get levels until
        a plane is a single chunk.

        Parameters
        ----------
        described : mapping, optional
            ``colors`` and ``properties`` of the labels, as in ``image-label``
            of OME-NGFF.
        table : DataFrame, optional
            Table of the objects, see `read_objects`.
        """
        attributes = dict(self._group.attrs)
        mark = attributes[OURS]
        wanted = levels_around(self.path)
        levels, array = 1, self.array
        while (
            levels < wanted
            if wanted
            else max(array.shape[-2:]) > max(array.chunks[-2:])
        ):
            array = _write_coarser(self._group, levels, array, mark['axes'])
            levels += 1
        if table is not None:
            write_objects(self._group, table)
        metadata = label_metadata(self.path.name, mark, levels)
        metadata['image-label'].update(described or {})
        if mark['version'] == '0.4':
            attributes.update(metadata)
        else:
            attributes['ome'] = {'version': mark['version'], **metadata}
        attributes[OURS] = {**mark, 'complete': True}
        self._group.attrs.put(attributes)
        register_labels(self.path, mark['version'])


def is_begun(path: Path) -> bool:
    """Return whether there are unfinished labels at a path."""
    return _state(path) is False


def is_finished(path: Path) -> bool:
    """Return whether there are finished labels at a path."""
    return _state(path) is True


def remove_labels(path: Path) -> None:
    """Remove labels written by `LabelWriter`, finished or not.

    Raises
    ------
    ImageError
        If something else is at ``path``.
    OSError
        If they cannot be removed, for example because another program has them
        open on Windows. Either the labels stay complete, or nothing is left at
        ``path``.
    """
    check_replaceable(path)
    if not path.exists():
        return
    # atomically: a partial folder would look like foreign data
    gone = temporary_path(path)
    os.replace(path, gone)
    shutil.rmtree(gone)


def check_replaceable(path: Path) -> None:
    """Check that a path holds nothing but labels of `LabelWriter`.

    An empty folder counts as nothing.

    Raises
    ------
    ImageError
        If something else is at ``path``.
    """
    if path.exists() and _state(path) is None and not _is_empty(path):
        raise ImageError(
            f'{path} exists and is not a label image of this program: it is '
            'not replaced. Remove it, or give another output.'
        )


def open_labels(path: str | Path, mode: Literal['r', 'r+'] = 'r') -> list[Any]:
    """Open the levels of a label image, finest first, as zarr arrays.

    Parameters
    ----------
    path : path
        Folder written by `LabelWriter`; an unfinished one only has the first
        level.
    mode : {'r', 'r+'}
        Whether they are only read, or written, too.
    """
    zarr = need('zarr')
    group = zarr.open_group(str(path), mode=mode)
    if not is_finished(Path(path)):
        return [group['0']]
    return [group[name] for name in sorted(group.array_keys(), key=int)]


def _state(path: Path) -> bool | None:
    """Return whether labels are complete; None if they are not ours."""
    if not path.is_dir():
        return None
    zarr = need('zarr')
    try:
        # a group, or a foreign array
        node = zarr.open(str(path), mode='r')
    except (OSError, ValueError):
        return None
    mark = node.attrs.get(OURS)
    return None if mark is None else bool(mark['complete'])


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _geometry_of(like: Source | None, planes: int) -> Geometry:
    known = getattr(like, 'geometry', None)
    if isinstance(known, Geometry):
        return known
    axes = 'zyx' if planes > 1 else 'yx'
    count = len(axes)
    return Geometry(
        axes,
        (planes,) * (count - 2),
        (1.0,) * count,
        (0.0,) * count,
        (None,) * count,
    )


def _within(chunk: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    return min(chunk[0], shape[0]), min(chunk[1], shape[1])


def create_level(
    group: Any,
    level: int,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: Any,
    axes: str,
) -> Any:
    """Create the empty array of a level in a group, replacing another.

    Parameters
    ----------
    group : zarr.Group
        Its format, 2 or 3, determines that of the array.
    level : int
        Level of the pyramid, 0 the finest; the name of the array.
    shape, chunks : tuple of int
        Length of the array and of its chunks along each axis.
    dtype : dtype
        Type of the labels.
    axes : str
        One letter per axis, such as ``'zyx'``.

    Returns
    -------
    zarr.Array
        Filled with 0.
    """
    v2 = group.metadata.zarr_format == 2
    if v2:
        compressor = need('numcodecs').Blosc('zstd', 3, shuffle=1)
        separate = {'name': 'v2', 'separator': '/'}
    else:
        compressor = need('zarr.codecs').BloscCodec(
            cname='zstd', clevel=3, shuffle='shuffle'
        )
        separate = {'name': 'default', 'separator': '/'}
    names = {} if v2 else {'dimension_names': axes}
    return group.create_array(
        str(level),
        shape=shape,
        chunks=chunks,
        dtype=np.dtype(dtype),
        compressors=compressor,
        chunk_key_encoding=separate,
        fill_value=0,
        overwrite=True,
        **names,
    )


def block_index(array: Any, plane: int, window: Window) -> tuple[Any, ...]:
    """Return the index of a window of a plane in the array of a level."""
    where = np.unravel_index(plane, array.shape[:-2] or (1,))
    row0, column0, row1, column1 = window
    return (
        *map(int, where[: array.ndim - 2]),
        slice(row0, row1),
        slice(column0, column1),
    )


def coarser_block(finer: Any, plane: int, window: Window) -> NDArray[Any]:
    """Return the pixels in a window of the level after a level.

    They are every second pixel.
    """
    row0, column0, row1, column1 = (2 * place for place in window)
    *place, rows, columns = block_index(
        finer, plane, (row0, column0, row1, column1)
    )
    every_second = (
        slice(part.start, part.stop, 2) for part in (rows, columns)
    )
    block: NDArray[Any] = finer[(*place, *every_second)]
    return block


def _write_coarser(group: Any, level: int, finer: Any, axes: str) -> Any:
    """Write every second pixel of a level, chunk by chunk."""
    sides = [(size + 1) // 2 for size in finer.shape[-2:]]
    shape = (*finer.shape[:-2], *sides)
    array = create_level(group, level, shape, finer.chunks, finer.dtype, axes)
    for plane in range(math.prod(finer.shape[:-2])):
        for window in _chunk_windows(array):
            block = coarser_block(finer, plane, window)
            if np.any(block):
                array[block_index(array, plane, window)] = block
    return array


def _chunk_windows(array: Any) -> Iterator[Window]:
    shape, chunk = array.shape[-2:], array.chunks[-2:]
    for row in range(0, shape[0], chunk[0]):
        for column in range(0, shape[1], chunk[1]):
            yield window_at(row, column, chunk, shape)
