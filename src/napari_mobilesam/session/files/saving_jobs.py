"""Writing and reading of session files in the background."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from napari_mobilesam.session.files.record_json import (
    RecordEncoder,
    SessionFileError,
)
from napari_mobilesam.session.files.saving import (
    SessionParameters,
    Snapshot,
    decode,
    find_planes,
    read,
    save,
)
from napari_mobilesam.session.files.session_paths import (
    free,
    rescued,
    saved,
    version_of,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.text import explain


class FileOwner(Protocol):
    """Commands that own background saving and loading."""

    loaded: Any
    not_loaded: Any

    def parameters(self) -> SessionParameters:
        """Return the parameters that a session file keeps."""

    def later(self, function: Callable[[], None]) -> None:
        """Run a function on the viewer's thread, from any thread."""

    def tell(self, problem: str) -> None:
        """Report an error message, from any thread."""

    def forget_file(self, objects: Objects) -> None:
        """Leave the file of objects unchanged from now on."""

    def note_file(self, objects: Objects, path: Path) -> None:
        """Note that a file now holds these objects."""

    def note_version(self, objects: Objects, path: Path) -> None:
        """Note that a file was written for these objects."""

    def is_foreign(self, objects: Objects, path: Path) -> bool:
        """Return whether someone else has written the file of objects."""

    def scene(self) -> Scene:
        """Return the viewer of the session."""


class Writer(Protocol):
    """Writer of a session file on a separate thread.

    Attributes
    ----------
    path : Path
        The file.
    """

    path: Path

    def wait(self) -> None:
        """Finish writing; may be called on any thread."""

    def rest(self) -> None:
        """Finish writing and end the thread until the next change."""


class AutoSave:
    """Save a session on a separate thread; the newest change wins.

    Saving ends when the image of the objects is closed: their prompts are
    dropped then, and the file must keep them. It also ends with the objects,
    to which no reference is kept. If the file cannot be written, changes go to
    a file in the user's folder until it can.

    Parameters
    ----------
    session : FileOwner
        File commands of the session.
    objects : Objects
        Objects whose changes are saved.
    path : Path
        File to write.
    spare : callable, optional
        Returns an alternative file in case someone else has written the first
        one; without it, nothing is saved then.
    home : Path, optional
        File that ``path`` stands for, as it could not be written before.

    Attributes
    ----------
    failed : bool
        Whether the newest change could not be saved.
    following : bool
        Whether changes are saved.
    path : Path
        The file.
    """

    def __init__(
        self,
        session: FileOwner,
        objects: Objects,
        path: Path,
        spare: Callable[[], Path] | None = None,
        home: Path | None = None,
    ) -> None:
        self.following = True
        self.path = path
        # the file to return to, unless someone else writes it
        self._home = home
        self._home_version = None if home is None else version_of(home)
        self._objects = weakref.ref(objects)
        self._session = session
        self._spare = spare
        self.failed = False
        # a written file is noted as theirs, or forgotten
        self._noting = threading.Lock()
        self._encoder = RecordEncoder(session.scene())
        self._worker = LatestWorker('napari-mobilesam-saving')
        objects.changed.connect(self._later)
        objects.target.edited.connect(self._later)
        objects.forgotten.connect(self._keep_file)
        self._later()

    def stop(self) -> None:
        """Stop saving after the current save."""
        self.rest()
        self._unfollow()

    def wait(self) -> None:
        """Finish the current save; may be called on any thread."""
        self._worker.wait()

    def rest(self) -> None:
        """Finish the current save and end the thread until the next change.

        Call on the thread that makes changes: a change in the meantime would
        be lost.
        """
        self.wait()
        self._worker.close()

    def retry(self) -> None:
        """Finish the current save, and retry a failed one once."""
        self.wait()
        if self.failed and self.following:
            self._later()
        self.rest()

    def _unfollow(self) -> None:
        objects = self._objects()
        if self.following and objects is not None:
            objects.changed.disconnect(self._later)
            objects.target.edited.disconnect(self._later)
            objects.forgotten.disconnect(self._keep_file)
        self.following = False

    def _keep_file(self) -> None:
        # a write in progress or waiting has the objects as they were
        with self._noting:
            self._unfollow()
            objects = self._objects()
            if objects is not None:
                self._session.forget_file(objects)

    def _later(self) -> None:
        objects = self._objects()
        if objects is not None:
            snapshot = Snapshot.of(objects, self._session.parameters())
            self._worker.submit('save', lambda: self._save(objects, snapshot))

    # below: on the thread

    def _save(self, objects: Objects, snapshot: Snapshot) -> None:
        try:
            self._check_file(objects)
            if not self._returned(snapshot):
                try:
                    save(self.path, snapshot, self._encoder)
                except OSError as error:
                    self._rescue(error, snapshot)
            self._note(objects)
        except Exception as error:  # noqa: BLE001 - every failure is reported
            # reported once, not after each object
            if not self.failed:
                self._session.tell(
                    f'The objects are not saved. {explain(error)} They are '
                    'kept while the image is open, and the next change tries '
                    'again.'
                )
            self.failed = True
        else:
            self.failed = False

    def _returned(self, snapshot: Snapshot) -> bool:
        """Save to the file itself if it can be written again by now."""
        home = self._home
        if home is None or version_of(home) != self._home_version:
            return False
        if saved(home) != [self.path]:
            # another window could not write it either
            return False
        try:
            save(home, snapshot, self._encoder)
        except OSError:
            return False
        # of both, the newer one counts
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.path, self._home = home, None
        return True

    def _rescue(self, error: OSError, snapshot: Snapshot) -> None:
        """Save to the user's folder from now on.

        Raises
        ------
        OSError
            ``error``, if that is not possible either.
        """
        first = rescued(self.path)
        if first is None:
            raise error
        try:
            first.parent.mkdir(parents=True, exist_ok=True)
            other = free(first)
            save(other, snapshot, self._encoder)
        except OSError:
            raise error from None
        self._session.tell(
            f'{explain(error)} The objects are saved to {other} instead.'
        )
        self._home, self._home_version = self.path, version_of(self.path)
        self.path = other

    def _note(self, objects: Objects) -> None:
        with self._noting:
            if self.following:
                self._session.note_file(objects, self.path)
            else:
                self._session.note_version(objects, self.path)

    def _check_file(self, objects: Objects) -> None:
        """Switch to another file if someone else has written this one.

        Two viewers or layers of one image have the same file.
        """
        if not self._session.is_foreign(objects, self.path):
            return
        if self._spare is None:
            raise SessionFileError(
                f'Another window or layer has written {self.path} in the '
                'meantime: choose another file.'
            )
        other = self._spare()
        self._session.tell(
            f'{self.path.name} now has the objects of another window or '
            f'layer: these objects are saved to {other}.'
        )
        self.path = other


class Loader:
    """Read a session file on a separate thread.

    Only finding the planes runs on the viewer's thread.

    Parameters
    ----------
    session : FileOwner
        Commands whose signal ``loaded`` emits the content, or ``not_loaded``
        the reason for failure.
    path : Path
        File to read.
    writers : sequence of Writer
        Savers that must finish writing to it first.
    """

    def __init__(
        self, session: FileOwner, path: Path, writers: Sequence[Writer]
    ) -> None:
        self._session = session
        self._path = path
        self._writers = writers
        self._wanted = True
        self._worker = LatestWorker('napari-mobilesam-loading')
        self._worker.submit('load', self._guarded(self._read))

    def stop(self) -> None:
        """Stop reading and drop the content."""
        self._wanted = False
        self._worker.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the thread is idle; False on time-out."""
        return self._worker.wait(timeout)

    def _guarded(self, job: Callable[[], None]) -> Callable[[], None]:
        """Return a job that reports its errors and heeds `stop`."""

        def run() -> None:
            if not self._wanted:
                return
            try:
                job()
            except Exception as error:  # noqa: BLE001 - every failure is reported
                problem = explain(error)
                self._session.later(lambda: self._fail(problem))

        return run

    def _fail(self, problem: str) -> None:
        # it may have been stopped since
        if self._wanted:
            self._session.not_loaded.emit(self._path, problem)

    def _read(self) -> None:
        for writer in self._writers:
            writer.wait()
        content = read(self._path)
        self._session.later(self._guarded(lambda: self._find(content)))

    def _find(self, content: dict[str, Any]) -> None:
        planes = find_planes(self._path, content, self._session.scene())
        self._worker.submit(
            'load', self._guarded(lambda: self._decode(content, planes))
        )

    def _decode(
        self, content: dict[str, Any], planes: list[ImagePlane]
    ) -> None:
        loaded = decode(self._path, content, planes)
        self._session.later(self._guarded(lambda: self._tell(loaded)))

    def _tell(self, loaded: Any) -> None:
        self._worker.close()
        self._session.loaded.emit(loaded)
