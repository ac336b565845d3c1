"""Atomic writing of files and folders, and reading of small JSON files."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

PART = '.part'
# double suffixes that writers look at
OME_TIFF = ('.ome.tif', '.ome.tiff')


@contextmanager
def atomic_path(path: Path, keep_suffix: bool = False) -> Iterator[Path]:
    """Yield a temporary file that replaces ``path`` if nothing is raised.

    The temporary file is in the folder of ``path`` and is renamed at the end:
    readers see the old or the new content, never a part. Threads and
    processes may write the same file without conflicts.

    Parameters
    ----------
    path : Path
        File to write. Its folder must exist.
    keep_suffix : bool
        Give the temporary file the suffix of ``path``, for writers that
        choose the format by suffix. Otherwise it is ``.part``.

    Yields
    ------
    Path
        Path to write to; the file does not exist yet.

    Raises
    ------
    OSError
        If the file cannot be written or renamed. On this and any other
        exception, the temporary file is deleted and an existing ``path`` is
        left unchanged.
    """
    suffix = path.suffix if keep_suffix else PART
    if keep_suffix and path.name.lower().endswith(OME_TIFF):
        suffix = ''.join(path.suffixes[-2:])
    with _renamed(temporary_path(path, suffix), path) as temporary:
        yield temporary


def write_atomic(path: Path, *parts: bytes | bytearray | memoryview) -> None:
    """Write bytes to a file atomically.

    Raises
    ------
    OSError
        As `atomic_path`.
    """
    with atomic_path(path) as temporary, temporary.open('wb') as file:
        file.writelines(parts)


def write_text_atomic(path: Path, text: str) -> None:
    """Write text to a file as UTF-8, atomically.

    Raises
    ------
    OSError
        As `atomic_path`.
    """
    write_atomic(path, text.encode('utf-8'))


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; return {} if it is missing or unreadable."""
    try:
        content = json.loads(path.read_text('utf-8'))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to ``path`` once complete.

    Parameters
    ----------
    path : Path
        Folder to create; its parent must exist.

    Yields
    ------
    Path
        Where to create and fill the folder; nothing exists there yet.

    Raises
    ------
    FileExistsError
        If ``path`` exists; it is never replaced.
    FileNotFoundError
        If the parent folder does not exist.
    OSError
        If the folder cannot be written or renamed. On this and any other
        exception, the temporary folder is deleted.
    """
    if path.exists():
        raise FileExistsError(
            f'{path} exists: remove it, or choose another name.'
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f'There is no folder {path.parent}.')
    with _renamed(temporary_path(path), path) as temporary:
        yield temporary


@contextmanager
def made_folders(*folders: Path) -> Iterator[None]:
    """Create folders; at the end, remove new ones that are still empty.

    Parameters
    ----------
    *folders : Path
        Folders, which may exist.

    Raises
    ------
    OSError
        If one cannot be created.
    """
    with ExitStack() as stack:
        for folder in folders:
            above = (folder, *folder.parents)
            new = [one for one in above if not one.exists()]
            for one in reversed(new):  # the innermost is removed first
                stack.callback(_remove_empty, one)
            folder.mkdir(parents=True, exist_ok=True)
        yield


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def temporary_path(path: Path, suffix: str = PART) -> Path:
    """Return a path in the same folder, unique to this call."""
    token = f'{os.getpid()}-{secrets.token_hex(4)}'
    return path.with_name(f'.{path.name}.{token}{suffix}')


@contextmanager
def _renamed(temporary: Path, path: Path) -> Iterator[Path]:
    """Rename ``temporary`` to ``path``, or delete it after an exception."""
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
    """Name ``path`` in errors about the temporary file.

    Errors about a full disk name no file at all; they get ``path`` as well.
    """
    try:
        yield
    except OSError as error:
        name = error.filename
        known = isinstance(name, str | os.PathLike)
        # writers may have made it absolute
        if known and _is_within(Path(name), temporary):
            error.filename = str(path)
            del error.filename2
        elif name is None and error.errno == errno.ENOSPC:
            error.filename = str(path)
        raise


def _is_within(path: Path, folder: Path) -> bool:
    inside, outside = map(Path, map(os.path.realpath, (path, folder)))
    return outside in (inside, *inside.parents)
