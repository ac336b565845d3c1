"""Embeddings on disk, so that images seen before open at once.

An entry is keyed by what was embedded: the pixels as the model sees them, and
the model. The file name is the hash of both, so entries are never out of date:
changed pixels, contrast or model give another entry. Features are stored in
the precision in which they are used, so that a second visit gives the same
masks.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    check_callable,
    check_number,
    check_path,
)
from napari_mobilesam.files import PART, write_atomic
from napari_mobilesam.types import STRIDE, Frame

if TYPE_CHECKING:
    import torch

# Changes whenever the same pixels and weights would give other features.
FORMAT = b'napari-mobilesam embedding 3\n'
SUFFIX = '.embedding'
DEFAULT_BYTES = 2 * 1024**3
# Age in seconds after which an unfinished temporary file is deleted.
ABANDONED = 3600
# Number of feature channels.
CHANNELS = 256


@dataclass(frozen=True)
class CacheUse:
    """Number and size of the entries of a cache.

    Attributes
    ----------
    entries : int
        Number of embeddings.
    size_bytes : int
        Bytes on disk.
    """

    entries: int
    size_bytes: int


class EmbeddingCache:
    """Embeddings in a folder; the least recently used are deleted first.

    Several processes may share a folder. A damaged entry is recomputed. If the
    disk is full or the folder is not writable, `on_problem` is called once,
    and nothing more is stored.

    Parameters
    ----------
    folder : path, optional
        By default ``embeddings`` in the platform's cache folder, or in
        ``NAPARI_MOBILESAM_CACHE`` if that is set.
    max_bytes : int
        Maximum size.
    on_problem : callable, optional
        Called with one sentence; by default a warning is issued.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        max_bytes: int = DEFAULT_BYTES,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        if folder is not None:
            check_path('folder', folder)
        check_number('max_bytes', max_bytes, 0)
        check_callable('on_problem', on_problem)
        self.folder = default_folder() if folder is None else Path(folder)
        self.max_bytes = max_bytes
        self._on_problem = on_problem or _warn
        self._writable = max_bytes > 0

    def features(
        self,
        pixels: NDArray[np.uint8],
        frame: Frame,
        model_key: str,
        make: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        """Return the features of a window, read from disk if possible.

        Parameters
        ----------
        pixels : ndarray
            (h, w, 3) uint8, at the size of the model's input.
        frame : Frame
            Their place on the input.
        model_key : str
            ``Sam.key`` of the model, and anything else that affects the
            features, such as their precision.
        make : callable
            Runs the model.

        Returns
        -------
        torch.Tensor
            (1, 256, h, w) as made; on the CPU if they were read from disk.
        """
        import torch

        path = self._path(pixels, frame, model_key)
        known = self._read(path)
        if known is not None and _is_sound(known, frame):
            return torch.from_numpy(known)
        features = make()
        if self._writable:
            self._write(path, features.cpu().numpy())
        return features

    def clear(self) -> None:
        """Delete all embeddings, including those of other processes."""
        for file in self._files():
            _delete(Path(file.path))

    def use(self) -> CacheUse:
        """Return the current size of the cache."""
        sizes = []
        for file in self._files():
            # another process may have deleted it
            with contextlib.suppress(FileNotFoundError):
                sizes.append(file.stat().st_size)
        return CacheUse(len(sizes), sum(sizes))

    def _path(
        self, pixels: NDArray[np.uint8], frame: Frame, model_key: str
    ) -> Path:
        digest = xxhash.xxh3_128(FORMAT)
        digest.update(
            repr(
                (model_key, pixels.shape, frame.input_shape, frame.input_size)
            ).encode()
        )
        digest.update(np.ascontiguousarray(pixels).data)
        return self.folder / f'{digest.hexdigest()}{SUFFIX}'

    def _read(self, path: Path) -> NDArray[Any] | None:
        """Return the features of a file; None if missing or damaged."""
        try:
            content = path.read_bytes()
        except OSError:
            return None
        head = len(FORMAT) + 16
        body = memoryview(content)[head:]
        sound = content.startswith(FORMAT) and content[
            len(FORMAT) : head
        ] == xxhash.xxh3_128_digest(body)
        if not sound:
            _delete(path)
            return None
        with contextlib.suppress(OSError):
            # the time of last use determines what is deleted first
            os.utime(path)
        try:
            features: NDArray[Any] = np.load(
                io.BytesIO(body), allow_pickle=False
            )
        except (ValueError, EOFError, OSError):
            _delete(path)
            return None
        return features

    def _write(self, path: Path, features: NDArray[Any]) -> None:
        buffer = io.BytesIO()
        np.save(buffer, features, allow_pickle=False)
        body = buffer.getbuffer()
        if len(body) > self.max_bytes:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, FORMAT, xxhash.xxh3_128_digest(body), body)
        except OSError as error:
            self._writable = False
            self._on_problem(
                f'Embeddings cannot be kept in {self.folder} '
                f'({error.strerror or error}): images will be embedded again '
                'when they are opened again. Free some space, or choose '
                'another folder with NAPARI_MOBILESAM_CACHE.'
            )
            return
        self._evict()

    def _evict(self) -> None:
        """Delete the least recently used entries until the rest fits."""
        found = []
        for file in self._files():
            with contextlib.suppress(OSError):
                status = file.stat()
                found.append((status.st_mtime_ns, status.st_size, file.path))
        excess = sum(size for _, size, _ in found) - self.max_bytes
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            _delete(Path(path))
            excess -= size

    def _files(self) -> Iterator[os.DirEntry[str]]:
        """Return the entries of the folder; delete stale temporary files."""
        try:
            with os.scandir(self.folder) as files:
                entries = list(files)
        except OSError:
            return
        now = time.time()
        for file in entries:
            if file.name.endswith(SUFFIX):
                yield file
            elif file.name.endswith(PART):
                with contextlib.suppress(OSError):
                    if now - file.stat().st_mtime > ABANDONED:
                        _delete(Path(file.path))


def default_folder() -> Path:
    """Return the folder of embeddings in the platform's or user's cache."""
    from napari_mobilesam.model.registry import cache_folder

    return cache_folder().parent / 'embeddings'


def _is_sound(features: NDArray[Any], frame: Frame) -> bool:
    """Return whether features have the form a model makes for a frame."""
    return (
        features.ndim == 4
        and features.shape[:2] == (1, CHANNELS)
        and features.dtype in (np.float16, np.float32)
        and max(features.shape[2:]) == frame.input_size // STRIDE
        and bool(np.isfinite(features).all())
    )


def _delete(path: Path) -> None:
    # another process may read it, or have deleted it
    with contextlib.suppress(OSError):
        path.unlink()


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
