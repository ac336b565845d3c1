"""Copies of objects that are saved nowhere else, for after a crash."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import threading
import time
import weakref
from collections import deque
from dataclasses import replace
from pathlib import Path

from napari_mobilesam.session.files.record_json import RecordEncoder
from napari_mobilesam.session.files.saving import Snapshot, owner_of, save
from napari_mobilesam.session.files.saving_jobs import FileOwner
from napari_mobilesam.session.files.session_paths import (
    SUFFIX,
    name_elsewhere,
    saved,
    user_folder,
)
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.runtime.worker import LatestWorker

KEPT_DAYS = 30
# Shortest time between two copies. Copies of thousands of objects take seconds
# of processor time each: pauses are at least so many times as long as these.
PAUSE_SECONDS = 10.0
PAUSE_SHARE = 10

_log = logging.getLogger(__name__)


def copy_folder(first: Path) -> Path:
    """Return the folder with the copies of an image.

    It has a folder for each session that made copies.

    Parameters
    ----------
    first : Path
        The first session file of the image, whether or not it exists.
    """
    return _root() / name_elsewhere(first).removesuffix(SUFFIX)


def is_copy(path: Path) -> bool:
    """Return whether a session file is a copy."""
    return _root() in path.parents


def restorable(first: Path) -> list[Path]:
    """Return the session files of an image, and newer copies.

    The copies are those of the last session that made any. They replace the
    files of the same objects, and are left out if a file was saved later.
    """
    files, copies = saved(first), _newest_copies(first)
    if not copies or _written(files) > _written(copies):
        return files
    owners = {owner_of(copy) for copy in copies}
    return [path for path in files if owner_of(path) not in owners] + copies


def continued_file(copy: Path, first: Path) -> Path | None:
    """Return the session file of the objects of a copy, if there is one."""
    owner = owner_of(copy)
    same = (path for path in saved(first) if owner_of(path) == owner)
    return next(same, None)


def _root() -> Path:
    return user_folder() / 'recovery'


def _newest_copies(first: Path) -> list[Path]:
    sessions = map(_files_in, _folders_in(copy_folder(first)))
    return max(filter(None, sessions), key=_written, default=[])


def _folders_in(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob(f'*{SUFFIX}'))


def _written(files: list[Path]) -> float:
    """Return the time of the newest file."""
    return max((path.stat().st_mtime for path in files), default=0.0)


def _drop_old() -> None:
    """Remove the copies of sessions that ended long ago."""
    oldest = time.time() - KEPT_DAYS * 24 * 3600
    for image in _folders_in(_root()):
        for session in _folders_in(image):
            if max(_written(_files_in(session)), _written([session])) < oldest:
                shutil.rmtree(session, ignore_errors=True)
        with contextlib.suppress(OSError):
            # only if it is empty
            image.rmdir()


class RecoveryCopy:
    """Keep a copy of objects up to date, on a separate thread.

    Like `AutoSave`, it ends when the image of the objects is closed. A failure
    is only logged. While there are no objects, there is no file.

    Parameters
    ----------
    session : FileOwner
        File commands of the session.
    objects : Objects
        Objects to copy; no reference is kept.
    path : Path
        File to write, see `copy_folder`.

    Attributes
    ----------
    path : Path
        The file.
    closed : bool
        Whether the image was closed.
    """

    def __init__(
        self, session: FileOwner, objects: Objects, path: Path
    ) -> None:
        self.path = path
        self.closed = False
        self._session = session
        self._objects = weakref.ref(objects)
        self._owner = ''
        self._follows = False
        self._encoder = RecordEncoder(session.scene())
        self._worker = LatestWorker('napari-mobilesam-recovery')
        self._newest = deque[Snapshot](maxlen=1)
        # earliest time of the next copy, and what waits for it
        self._next = -math.inf
        self._timer: threading.Timer | None = None
        objects.forgotten.connect(self._close)

    def follow(self, owner: str, now: bool) -> None:
        """Copy the objects after each change.

        Parameters
        ----------
        owner : str
            Identity of the objects in their last session file, see
            `continued_file`.
        now : bool
            Copy them at once, too.
        """
        objects = self._objects()
        if self._follows or objects is None:
            return
        self._follows, self._owner = True, owner
        objects.changed.connect(self._later)
        objects.target.edited.connect(self._later)
        if now:
            self._later()

    def stop(self) -> None:
        """Copy the last change now, and none after it."""
        objects = self._objects()
        if self._follows and objects is not None:
            objects.changed.disconnect(self._later)
            objects.target.edited.disconnect(self._later)
        self._follows = False
        self._hurry()

    def wait(self) -> None:
        """Copy the last change now; may be called on any thread."""
        self._hurry()
        self._worker.wait()

    def rest(self) -> None:
        """Copy the last change and end the thread until the next one.

        Call on the thread that makes changes.
        """
        self.wait()
        self._worker.close()

    def _close(self) -> None:
        self.closed = True
        self.stop()

    def _later(self) -> None:
        objects = self._objects()
        if objects is None:
            return
        snapshot = Snapshot.of(objects, self._session.parameters())
        # the objects stay until they are copied, though their layer may go
        held = snapshot.held, objects
        mine = replace(snapshot, owner=self._owner, held=held)
        self._newest.append(mine)
        pause = self._next - time.monotonic()
        if pause <= 0:
            self._start()
        elif self._timer is None:
            self._timer = threading.Timer(pause, self._start)
            # or Python would wait for it when it exits
            self._timer.daemon = True
            self._timer.start()

    def _hurry(self) -> None:
        """End the pause before the next copy."""
        timer = self._timer
        if timer is not None:
            timer.cancel()
            self._start()

    def _start(self) -> None:
        self._timer = None
        self._worker.submit('copy', self._copy)

    # below: on the thread

    def _copy(self) -> None:
        if not self._newest:
            # a timer and the end of its pause may both ask for a copy
            return
        if self._next == -math.inf:
            _drop_old()
        start = time.monotonic()
        try:
            self._write(self._newest.pop())
        except Exception as error:  # noqa: BLE001 - nobody asked for a copy
            _log.warning('%s cannot be written: %s', self.path, error)
        end = time.monotonic()
        self._next = end + max(PAUSE_SECONDS, PAUSE_SHARE * (end - start))

    def _write(self, snapshot: Snapshot) -> None:
        if snapshot.records:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save(self.path, snapshot, self._encoder)
        else:
            self.path.unlink(missing_ok=True)
