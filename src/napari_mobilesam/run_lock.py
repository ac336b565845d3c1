"""Lock of a folder, so that only one run writes to it at a time."""

from __future__ import annotations

import errno
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from napari_mobilesam.types import SegmentationError

LOCK = 'lock'
# Byte locked on Windows, beyond the text so that others can still read it.
FAR = 1 << 20
# Errors of file systems without locks, such as Lustre in its default setup.
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)


class OutputInUseError(SegmentationError):
    """Another run, named in the message, writes to the same output."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder of a run.

    The operating system releases the lock when the process ends, even by a
    crash. The lock also excludes other threads of the same process. If the
    folder is empty at the end, it is removed. On a file system without locks,
    a warning is issued and no lock is held.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.

    Raises
    ------
    OutputInUseError
        If another run holds the lock.
    OSError
        If the folder cannot be written to.
    """
    path = folder / LOCK
    descriptor = _open_locked(path)
    try:
        os.ftruncate(descriptor, 0)
        now = datetime.now().astimezone().isoformat(' ', 'seconds')
        host = socket.gethostname()
        text = f'process {os.getpid()} on {host} since {now}'
        # only informs other runs; a full disk will fail later anyway
        with suppress(OSError):
            os.write(descriptor, text.encode())
        yield
    finally:
        # Windows cannot delete an open file. Elsewhere, delete before
        # unlocking: afterwards the file may belong to the next run.
        if sys.platform != 'win32':
            path.unlink(missing_ok=True)
        os.close(descriptor)
        if sys.platform == 'win32':
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            folder.rmdir()


def _open_locked(path: Path) -> int:
    """Open and lock a file that the previous run may be deleting."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the folder was removed meanwhile
        try:
            locked = _lock(descriptor)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(descriptor)
                raise
            warnings.warn(
                f'The file system of {path.parent} has no locks: make sure '
                'that no other run writes there at the same time.',
                stacklevel=4,
            )
            locked = True
        if not locked:
            holder = _read(descriptor)
            os.close(descriptor)
            raise OutputInUseError(
                f'{path.parent} is in use by another run{holder}. Wait until '
                'it ends or cancel it, or give another output.'
            )
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # locked, but deleted by the previous run


def _read(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 1000).decode('utf-8', 'replace')
    return f' ({text})' if text else ''


if sys.platform == 'win32':
    import msvcrt

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(descriptor, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
