"""Commands on session files, and the script of a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_mobilesam.argument_checks import check_path
from napari_mobilesam.session.files.record_json import RecordEncoder
from napari_mobilesam.session.files.recovery import (
    RecoveryCopy,
    copy_folder,
    is_copy,
)
from napari_mobilesam.session.files.saving import (
    LoadedSession,
    SessionParameters,
    Snapshot,
    check_place,
    load,
    owner_of,
    put,
    save,
)
from napari_mobilesam.session.files.saving_jobs import AutoSave, Loader, Writer
from napari_mobilesam.session.files.session_paths import (
    SUFFIX,
    Version,
    free,
    version_of,
)
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.replay_code import script
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.session_parts import SessionParts
from napari_mobilesam.session.waiting import SAVING
from napari_mobilesam.types import SegmentationError


class FileCommands:
    """Commands to save and load session files, and to get the script.

    Attributes
    ----------
    loaded : Signal(LoadedSession)
        The file of `start_loading` was read.
    not_loaded : Signal(Path, str)
        File that could not be read, and the error message.
    """

    loaded = Signal(object)
    not_loaded = Signal(object, str)

    def __init__(self, parts: SessionParts) -> None:
        self._parts = parts
        self._autosaves = WeakKeyDictionary[Objects, AutoSave]()
        self._copies = WeakKeyDictionary[Objects, RecoveryCopy]()
        self._copying_to = uuid4().hex[:8]
        self._loader: Loader | None = None
        # file of objects, its version when it was written or read, and whose
        # objects it had
        self._paths = WeakKeyDictionary[Objects, Path]()
        self._versions = WeakKeyDictionary[Objects, Version | None]()
        self._owners = WeakKeyDictionary[Objects, str]()
        self.later = parts.services.deliver

    def tell(self, problem: str) -> None:
        """Report an error message, from any thread."""
        self._parts.tell(problem, SAVING)

    def scene(self) -> Scene:
        """Return the viewer of the session."""
        return self._parts.scene()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write objects, prompts, candidates and parameters to a file.

        Parameters
        ----------
        path : path
            ``'cells.session'``; an existing session file is replaced.

        Raises
        ------
        SegmentationError
            There are no objects, or the file is not a session file.
        OSError
            The file cannot be written.
        """
        check_path('path', path)
        check_place(Path(path))
        scene = self.scene()
        objects = scene.objects(False)
        if objects is None:
            raise SegmentationError(
                'The selected image has no labels with objects to save.'
            )
        snapshot = Snapshot.of(objects, self.parameters())
        save(path, snapshot, RecordEncoder(scene))
        if self._paths.get(objects) == Path(path):
            self.note_file(objects, Path(path))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Load the objects of a file written by `save`.

        The image of the session must be open and selected, and its labels must
        not have objects yet. Missing pixels are written. Loading cannot be
        undone: with autosave, an undo would empty the file.

        Parameters
        ----------
        path : path
            File to read.

        Raises
        ------
        SegmentationError
            The file is not a session file, belongs to another image, or the
            labels already have objects.
        """
        check_path('path', path)
        scene = self.scene()
        objects = scene.objects(True)
        assert objects is not None
        for writer in self._writers(Path(path)):
            writer.rest()
        choices = load(path, scene, objects)
        self._parts.editor.options = choices.options
        self._parts.prompting.clean_up = choices.clean_up
        self._parts.classes.update(choices.classes)
        self.note_file(objects, Path(path))
        if choices.model != self._parts.models.name:
            self._parts.models.use(choices.model)

    def autosave(
        self,
        path: str | os.PathLike[str] | None,
        spare: Callable[[], Path] | None = None,
    ) -> None:
        """Save in the background after every change of the objects.

        Objects of other labels continue to be saved to their own files.

        Parameters
        ----------
        path : path or None
            File to write; None ends autosaving for all labels.
        spare : callable, optional
            Returns an alternative file in case another window has written to
            the first one; without it, saving then fails.

        Raises
        ------
        SegmentationError
            There is no image to create labels for, the file is not a session
            file, or it contains other objects, which would be lost.
        """
        if path is None:
            self._end_autosaves(lambda objects, saved: True)
            return
        check_path('path', path)
        file = Path(path)
        check_place(file)
        chosen = self.scene().objects(True)
        assert chosen is not None
        if spare is None:
            self._check_objects(file, chosen)
        self.save_along(chosen, file, spare)

    def save_along(
        self,
        objects: Objects,
        path: Path,
        spare: Callable[[], Path] | None = None,
        home: Path | None = None,
    ) -> None:
        """Save objects in the background after each of their changes.

        Parameters
        ----------
        objects : Objects
            Objects of any labels.
        path, spare
            See `autosave`.
        home : Path, optional
            File to use again once it can be written, unless it has the
            objects of another window; see `AutoSave`.
        """
        if home is not None and home.exists():
            home = home if owner_of(home) == owner_of(path) else None
        # a file holds the objects of one labels layer
        self._end_autosaves(
            lambda each, saved: each is objects or saved.path == path
        )
        copy = self._copies.get(objects)
        if copy is not None:
            copy.stop()
        if self._paths.get(objects) != path:
            # the existing file is replaced
            self.note_file(objects, path)
        self._autosaves[objects] = AutoSave(self, objects, path, spare, home)

    def _check_objects(self, path: Path, objects: Objects) -> None:
        """Raise `SegmentationError` if a file holds other objects."""
        owner = owner_of(path)
        if owner and owner not in (
            objects.identity,
            self._owners.get(objects),
        ):
            raise SegmentationError(
                f'{path} has objects that are not in “{objects.target.name}”: '
                'load them first (session.load), remove the file, or give '
                'another one.'
            )

    def _end_autosaves(
        self, which: Callable[[Objects, AutoSave], bool]
    ) -> None:
        for objects, saved in list(self._autosaves.items()):
            if which(objects, saved):
                saved.stop()
                del self._autosaves[objects]

    def keep_copy(self, objects: Objects, first: Path) -> None:
        """Copy objects after each change, to restore them after a crash.

        Parameters
        ----------
        objects : Objects
            Objects that are not saved.
        first : Path
            The first session file of their image.
        """
        copy = self._copies.get(objects)
        if copy is None or copy.closed:
            taken = {each.path for each in self._copies.values()}
            folder = copy_folder(first) / self._copying_to
            path = free(folder / f'objects{SUFFIX}', taken)
            copy = self._copies[objects] = RecoveryCopy(self, objects, path)
        file = self.file_of(objects)
        copy.follow(
            self._owners.get(objects) or objects.identity,
            now=file is None or is_copy(file),
        )

    def copy_of(self, objects: Objects) -> Path | None:
        """Return the file that objects of an open image are copied to."""
        copy = self._copies.get(objects)
        return None if copy is None or copy.closed else copy.path

    def saves(self, objects: Objects) -> bool:
        """Return whether objects are saved in the background."""
        saved = self._autosaves.get(objects)
        return saved is not None and saved.following

    @property
    def paths(self) -> set[Path]:
        """Files of objects, including those not yet written."""
        return set(self._paths.values())

    def file_of(self, objects: Objects) -> Path | None:
        """Return the file that objects were saved to or loaded from."""
        return self._paths.get(objects)

    def forget_file(self, objects: Objects) -> None:
        """Leave the file of objects unchanged from now on."""
        self._paths.pop(objects, None)

    def note_file(self, objects: Objects, path: Path) -> None:
        """Note that a file now holds these objects."""
        self._paths[objects] = path
        self.note_version(objects, path)

    def note_version(self, objects: Objects, path: Path) -> None:
        """Note the current version of a file as written for these objects."""
        self._versions[objects] = version_of(path)
        self._owners[objects] = owner_of(path)

    def is_foreign(self, objects: Objects, path: Path) -> bool:
        """Return whether someone else has written the file of objects.

        False for a deleted file, which is written again, and for one that only
        appears to have changed, as on some network drives.
        """
        now = version_of(path)
        if now is None or now == self._versions.get(objects):
            return False
        owner = owner_of(path)
        return not owner or owner != self._owners.get(objects)

    def start_loading(self, path: str | os.PathLike[str]) -> None:
        """Read a session file in the background.

        `loaded` emits the content, or `not_loaded` the reason for failure.
        """
        self.stop_loading()
        file = Path(path)
        self._loader = Loader(self, file, self._writers(file))

    def _writers(self, path: Path) -> list[Writer]:
        """Return the savers that may still write a file.

        For example, those of an image that was closed and opened again.
        """
        return [each for each in self._all_writers() if each.path == path]

    def _all_writers(self) -> list[Writer]:
        return [*self._autosaves.values(), *self._copies.values()]

    def stop_loading(self) -> None:
        """Stop reading a file."""
        if self._loader is not None:
            self._loader.stop()
            self._loader = None

    def take(self, loaded: LoadedSession, objects: Objects) -> None:
        """Write the objects of a file that was read; cannot be undone.

        Of the parameters, only the classes are taken over.

        Raises
        ------
        SegmentationError
            The labels already have objects, or cannot be written.
        """
        # registered first: listeners to the objects ask for their file
        self.note_file(objects, loaded.path)
        try:
            put(loaded, objects)
        except SegmentationError:
            self.forget_file(objects)
            raise
        self._parts.classes.update(loaded.choices.classes)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until a file is read; return False on timeout."""
        return self._loader is None or self._loader.wait(timeout)

    def close(self) -> None:
        """Stop reading, and save changes."""
        self.stop_loading()
        self.rest()

    def rest(self) -> None:
        """Wait until all changes are saved or copied."""
        for writer in self._all_writers():
            writer.rest()

    def unsaved(self) -> list[Path]:
        """Return the files that cannot be written, after one more attempt."""
        saves = list(self._autosaves.values())
        for saved in saves:
            saved.retry()
        return [saved.path for saved in saves if saved.failed]

    def script(self) -> str:
        """Return Python code that makes the same labels from the same image.

        Undone steps are left out. A step that cannot be replayed, such as a
        cancelled run or painted pixels, becomes a comment.
        """
        objects = self.scene().objects(False)
        steps = [] if objects is None else objects.history.replay_codes
        used = {record.class_name for record in objects or ()}
        colors = [
            f'session.set_class_color({name!r}, {color!r})'
            for name, color in self._parts.classes.colors.items()
            if name in used
        ]
        return script([*self.scene().setup_code(), *colors], steps)

    def parameters(self) -> SessionParameters:
        """Return the parameters stored in a session file."""
        return SessionParameters(
            self._parts.models.name,
            self._parts.editor.options,
            self._parts.prompting.clean_up,
            self._parts.classes.colors,
        )
