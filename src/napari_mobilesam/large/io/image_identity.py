"""Identity of an image, determined without reading all of it.

A resumed run must see the same pixels as before. Files are identified by size
and modification time, arrays in memory by a checksum.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from napari_mobilesam.large.io.array_references import file_behind

# Bytes read of an array in memory, which takes a second.
MOST_BYTES = 1 << 31
# Number of zarr files checked, and number counted; of more files, every n-th
# is checked.
MOST_FILES = 100_000
MOST_COUNTED = 2_000_000


def array_state(array: Any) -> str | None:
    """Return the state of the pixels of an array; None if unknown.

    Parameters
    ----------
    array : array-like
        NumPy array or memory map, zarr array in a folder or an archive, or
        dask array of these. The pixels of others are unknown without computing
        them.
    """
    mapped = file_behind(array)
    if mapped is not None:
        return file_state(Path(mapped.filename))
    if isinstance(array, np.ndarray):
        return _checksum(array)
    if hasattr(array, '__dask_graph__'):
        return _dask_state(array)
    place = _zarr_place(array)
    if place is None:
        return None
    return folder_state(place) if place.is_dir() else file_state(place)


def file_state(path: Path) -> str:
    """Return size and modification time of a file."""
    state = path.stat()
    return f'{state.st_size} {state.st_mtime_ns}'


def folder_state(folder: Path) -> str:
    """Return a digest of names, sizes and times of the files in a folder."""
    count = sum(1 for _ in islice(_files(folder), MOST_COUNTED))
    step = max(1, -(-count // MOST_FILES))
    digest = xxhash.xxh128(str(count).encode())
    for entry in islice(_files(folder), 0, MOST_COUNTED, step):
        state = entry.stat()
        name = os.path.relpath(entry.path, folder)
        digest.update(f'{name} {state.st_size} {state.st_mtime_ns}'.encode())
    return digest.hexdigest()


def _files(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """Yield the files in a folder and its subfolders, in order."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir():
            yield from _files(entry.path)
        else:
            yield entry


def _zarr_place(array: Any) -> Path | None:
    """Return the folder or archive of a zarr array; None for others."""
    store = getattr(array, 'store', None)
    # zarr 3, zarr 2
    root = getattr(store, 'root', None) or getattr(store, 'path', None)
    if not isinstance(root, str | Path):
        return None
    if Path(root).is_file():
        return Path(root)
    folder = Path(root) / str(getattr(array, 'path', ''))
    return folder if folder.is_dir() else None


def _dask_state(array: Any) -> str | None:
    """Return the state of the arrays that a dask array is computed from."""
    layers = getattr(array.__dask_graph__(), 'layers', {})
    behind = [
        part
        for name in sorted(layers)
        for part in _arrays_of(layers[name])
        if hasattr(part, 'shape') and not hasattr(part, '__dask_graph__')
    ]
    # those in memory are read entirely
    loaded = [
        part
        for part in behind
        if isinstance(part, np.ndarray) and file_behind(part) is None
    ]
    if sum(part.nbytes for part in loaded) > MOST_BYTES:
        skipped = set(map(id, loaded))
        behind = [part for part in behind if id(part) not in skipped]
    states = [array_state(part) for part in behind]
    known = sorted(state for state in states if state is not None)
    return xxhash.xxh128(repr(known).encode()).hexdigest() if known else None


def _arrays_of(layer: Any) -> Iterator[Any]:
    """Yield the arrays that a layer of a dask graph holds directly."""
    # a lazy layer has inputs, others have tasks
    inputs = getattr(layer, 'indices', ())
    tasks = getattr(layer, 'mapping', {})
    yield from (value for value, _ in inputs)
    yield from tasks.values()


def _checksum(array: NDArray[Any]) -> str:
    """Return a checksum of all rows, or every n-th of a very large array."""
    rows = array.reshape(-1, array.shape[-1]) if array.ndim else array
    rows = rows[:: max(1, -(-array.nbytes // MOST_BYTES))]
    digest = xxhash.xxh128()
    some = max(1, (1 << 24) // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), some):
        block = np.ascontiguousarray(rows[start : start + some])
        digest.update(block.view(np.uint8).data)
    return digest.hexdigest()
