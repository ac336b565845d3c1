"""Arrays with one entry per crop, computed once and kept on disk.

The output of a frozen encoder for a crop does not change; MobileSAM, section
3.2, saves the embeddings of the teacher in the same way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_mobilesam.files import write_text_atomic
from napari_mobilesam.training.train import TrainingError
from napari_mobilesam.types import Progress, SegmentationError

SPARE_BYTES = 200 << 20  # kept free on the disk
FLUSH_EVERY = 16


class CropStore:
    """Arrays of a fixed number of crops in a folder.

    Parameters
    ----------
    folder : Path
        Holds ``<name>.npy`` for each array, ``done.npy`` (N,) bool and
        ``cache.json``; finished entries are not computed again.
    crops : int
        N.
    arrays : mapping
        Dtype and shape of the entry of a crop, by array name.
    identity : mapping
        Everything that affects the entries, as JSON values.
    title : str
        Name of the entries in messages.
    make : callable
        Computes the entries of one crop, by array name.
    max_bytes : int, optional
        Maximum size on disk; if N crops need more, an error asks for fewer.

    Attributes
    ----------
    arrays : dict of ndarray
        (N, …) memory-mapped arrays by name.
    done : ndarray
        (N,) bool, True where entries are computed.

    Raises
    ------
    SegmentationError
        If the folder holds entries with another identity.
    TrainingError
        If the disk is too small, or a file cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        crops: int,
        arrays: Mapping[str, tuple[DTypeLike, tuple[int, ...]]],
        identity: Mapping[str, Any],
        title: str,
        make: Callable[[int], Mapping[str, NDArray[Any]]],
        max_bytes: int | None = None,
    ) -> None:
        self.folder, self.crops, self.title = folder, crops, title
        self._make = make
        self.bytes_per_crop = sum(
            np.dtype(dtype).itemsize * int(np.prod(shape))
            for dtype, shape in arrays.values()
        )
        self._check_room(next(iter(arrays)), max_bytes)
        self._check_identity(dict(identity) | {'crops': crops})
        if not all((folder / f'{name}.npy').exists() for name in arrays):
            # deleted to free disk space: nothing is done any more
            (folder / 'done.npy').unlink(missing_ok=True)
        self.arrays = {
            name: self._open(f'{name}.npy', dtype, (crops, *shape))
            for name, (dtype, shape) in arrays.items()
        }
        self.done = self._open('done.npy', np.bool_, (crops,))

    def _check_room(self, first: str, max_bytes: int | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        needed = self.crops * self.bytes_per_crop
        there = (self.folder / f'{first}.npy').exists()
        free = shutil.disk_usage(self.folder).free - SPARE_BYTES
        room = needed if there else free
        if max_bytes is not None:
            room = min(room, max_bytes)
        if needed > room:
            raise TrainingError(
                f'{self.crops} {self.title} take {needed / 1e9:.2f} GB, but '
                f'{room / 1e9:.2f} GB may be used in {self.folder}; choose '
                f'{max(0, room // self.bytes_per_crop)} crops or fewer'
            )

    def _check_identity(self, identity: dict[str, Any]) -> None:
        path = self.folder / 'cache.json'
        if not path.exists():
            write_text_atomic(path, json.dumps(identity))
            return
        try:
            there = json.loads(path.read_text('utf-8'))
        except ValueError:
            there = None
        if there != identity:
            raise SegmentationError(
                f'{self.folder} holds {self.title} of another model or of '
                'other crops, or its cache.json is damaged; use another folder'
            )

    def _open(
        self, name: str, dtype: DTypeLike, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        path = self.folder / name
        try:
            # A new file is sparse: all zero, which means not done.
            opened: NDArray[Any] = np.lib.format.open_memmap(
                path,
                mode='r+' if path.exists() else 'w+',
                dtype=dtype,
                shape=shape,
            )
        except (OSError, ValueError) as error:
            raise TrainingError(
                f'{path} cannot be opened: {error}; delete the folder to '
                f'compute the {self.title} again'
            ) from error
        return opened

    def fill(
        self,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> bool:
        """Compute missing entries; return whether all are there."""
        for count, number in enumerate(np.flatnonzero(self.done == 0)):
            if cancelled is not None and cancelled():
                break
            for name, values in self._make(int(number)).items():
                self.arrays[name][number] = values
            if count % FLUSH_EVERY == FLUSH_EVERY - 1:
                self._commit(int(number) + 1)
            if progress is not None:
                progress(int(number) + 1, self.crops, self.title)
        else:
            self._commit(self.crops)
        return bool(self.done.all())

    def _commit(self, count: int) -> None:
        """Flush entries to disk, then mark them as done."""
        for array in self.arrays.values():
            _flush(array)
        self.done[:count] = True
        _flush(self.done)


def _flush(array: NDArray[Any]) -> None:
    assert isinstance(array, np.memmap)
    array.flush()
