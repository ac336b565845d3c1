"""Arrays as references that can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MappedArray:
    """Location of the pixels of a memory map in its file.

    NumPy pickles the pixels of a memory map; this refers to the file instead.
    """

    filename: str
    offset: int
    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...]

    def open(self) -> NDArray[Any]:
        """Map the file again, read-only."""
        return np.ndarray(
            self.shape,
            self.dtype,
            np.memmap(self.filename, np.uint8, 'r'),
            self.offset,
            self.strides,
        )


def file_behind(array: Any) -> MappedArray | None:
    """Return the file that an array is a view of, None if there is none."""
    root = array
    while isinstance(root, np.ndarray) and isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or not root.filename:
        return None
    start = array.__array_interface__['data'][0]
    offset = start - root.__array_interface__['data'][0] + root.offset
    return MappedArray(
        str(root.filename), offset, array.shape, array.dtype.str, array.strides
    )


def metadata_file(array: Any) -> Path | None:
    """Return the file that describes a zarr array on disk, None for others."""
    root = getattr(getattr(array, 'store', None), 'root', None)
    if not isinstance(root, Path):
        return None
    folder = root / str(getattr(array, 'path', ''))
    for name in ('zarr.json', '.zarray'):
        if (folder / name).exists():
            return folder / name
    return None


def as_reference(array: Any) -> Any:
    """Return the file behind an array if there is one, else the array."""
    return file_behind(array) or array


def opened(reference: Any) -> Any:
    """Return the array that was passed to `as_reference`."""
    if isinstance(reference, MappedArray):
        return reference.open()
    return reference
