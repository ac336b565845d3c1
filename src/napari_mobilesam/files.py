"""Writing files all or nothing."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = '.part'
# in which writers see more than the last suffix
OME_TIFF = ('.ome.tif', '.ome.tiff')


@contextmanager
def atomic_path(path: Path, keep_suffix: bool = False) -> Iterator[Path]:
    """Path of a temporary file that replaces ``path`` if nothing is raised.

    The temporary file lies in the folder of ``path``, so that the last step
    is a rename: a reader finds the old content or the new, never a part.
    Threads and processes that write the same file do not meet.

    Parameters
    ----------
    path : Path
        The file to be written. Its folder must exist.
    keep_suffix : bool
        End the temporary name as ``path`` does, for writers that choose a
        format by it. Otherwise it ends in ``.part``.

    Yields
    ------
    Path
        Where to write; the file does not exist yet.

    Raises
    ------
    OSError
        If the file cannot be written or renamed. The temporary file is
        deleted and an earlier ``path`` stays as it was, as with any other
        exception.
    """
    suffix = path.suffix if keep_suffix else PART
    if keep_suffix and path.name.lower().endswith(OME_TIFF):
        suffix = ''.join(path.suffixes[-2:])
    with _renamed(temporary_path(path, suffix), path) as temporary:
        yield temporary


def write_atomic(path: Path, *parts: bytes | bytearray | memoryview) -> None:
    """Write bytes to a file, all or nothing.

    Raises
    ------
    OSError
        As `atomic_path`.
    """
    with atomic_path(path) as temporary, temporary.open('wb') as file:
        file.writelines(parts)


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text to a file, all or nothing.

    Raises
    ------
    OSError
        As `atomic_path`.
    """
    write_atomic(path, text.encode('utf-8'))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Path of a folder to fill, which gets its name once it is whole.

    Parameters
    ----------
    path : Path
        The folder to be made; the folder that it lies in must exist.

    Yields
    ------
    Path
        Where to make and fill it; nothing exists there yet.

    Raises
    ------
    FileExistsError
        If ``path`` exists; it is never replaced.
    FileNotFoundError
        If there is no folder for it.
    OSError
        If it cannot be written or renamed. What was written is deleted, as
        with any other exception.
    """
    if path.exists():
        raise FileExistsError(
            f'{path} exists: remove it, or choose another name.'
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f'There is no folder {path.parent}.')
    with _renamed(temporary_path(path), path) as temporary:
        yield temporary


def temporary_path(path: Path, suffix: str = PART) -> Path:
    """Name in the same folder that no other thread or process takes."""
    token = f'{os.getpid()}-{secrets.token_hex(4)}'
    return path.with_name(f'.{path.name}.{token}{suffix}')


@contextmanager
def _renamed(temporary: Path, path: Path) -> Iterator[Path]:
    """Rename what was written if nothing is raised, or else delete it."""
    try:
        with named_errors(temporary, path):
            yield temporary
            os.replace(temporary, path)
    finally:
        # a failure to clean up must not hide the failure to write
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def named_errors(temporary: Path, path: Path) -> Iterator[None]:
    """Name the file that the user has chosen, not the temporary one.

    A full disk has no name at all.
    """
    try:
        yield
    except OSError as error:
        name = error.filename
        known = isinstance(name, str | os.PathLike)
        if known and temporary in (Path(name), *Path(name).parents):
            error.filename = str(path)
            del error.filename2
        elif name is None and error.errno == errno.ENOSPC:
            error.filename = str(path)
        raise
