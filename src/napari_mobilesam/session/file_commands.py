"""Keeping a session: its file, written as it goes, and its script."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.class_commands import ClassCommands
from napari_mobilesam.session.files.record_json import SessionFileError
from napari_mobilesam.session.files.saving import (
    LoadedSession,
    SessionParameters,
    Snapshot,
    load,
    put,
    save,
)
from napari_mobilesam.session.files.saving_jobs import AutoSave, Loader
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.replay_code import script
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.session.runtime.inbox import Inbox
from napari_mobilesam.types import SegmentationError


class FileCommands(ClassCommands):
    """Methods of a session that keep what was done; see `PromptCommands`.

    Attributes
    ----------
    loaded : Signal(LoadedSession)
        The file of `start_loading` was read.
    """

    loaded = Signal(object)
    _autosave: AutoSave | None = None
    _loader: Loader | None = None
    _deliver: Inbox

    @cached_property
    def _files(self) -> WeakKeyDictionary[Objects, Path]:
        return WeakKeyDictionary()

    def use_model(self, name: str) -> None:
        """Answer with another model from now on."""
        raise NotImplementedError

    def later(self, function: Callable[[], None]) -> None:
        """Run a function on the viewer's thread, from any thread."""
        self._deliver(function)

    def tell(self, problem: str) -> None:
        """Say what went wrong beside the work on objects, on any thread."""
        self.later(lambda: self.failed.emit(problem, 'objects'))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write objects, prompts, candidates and parameters into a file.

        Parameters
        ----------
        path : path
            ``'cells.session'``; what was there is replaced.

        Raises
        ------
        SegmentationError
            There are no objects.
        OSError
            The file cannot be written.
        """
        scene = self._scene()
        objects = scene.objects(False)
        if objects is None:
            raise SegmentationError('There are no objects to save yet.')
        save(path, scene, Snapshot.of(objects, self.choices()))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Bring back the objects of a file that `save` has written.

        The image of the session has to be open, and to be the one that is
        chosen; its labels must not have objects yet. Pixels are written
        where they are not there already, as one step.

        Raises
        ------
        SegmentationError
            It is no session file, of another image, or there are objects.
        """
        scene = self._scene()
        objects = scene.objects(True)
        assert objects is not None
        choices = load(path, scene, objects)
        try:
            options = WriteOptions(**choices.options)
            clean_up = CleanUp(**choices.clean_up)
        except TypeError as error:
            raise SessionFileError(f'{path} is damaged ({error}).') from error
        self.editor.options, self.prompting.clean_up = options, clean_up
        self.classes.update(choices.classes)
        self._files[objects] = Path(path)
        if choices.model != self.model_name:
            self.use_model(choices.model)

    def autosave(self, path: str | os.PathLike[str] | None) -> None:
        """Save in the background whenever the objects have changed.

        Parameters
        ----------
        path : path or None
            File to write; None saves no more.

        Raises
        ------
        SegmentationError
            There is no image to make labels for.
        """
        if self._autosave is not None:
            self._autosave.stop()
            self._autosave = None
        if path is not None:
            objects = self._scene().objects(True)
            assert objects is not None
            self._files[objects] = Path(path)
            self._autosave = AutoSave(self, objects, Path(path))

    @property
    def saved_objects(self) -> Objects | None:
        """Objects that are saved as they change, None if none are."""
        running = self._autosave
        return running.objects if running and running.following else None

    def file_of(self, objects: Objects) -> Path | None:
        """Return the file that objects were saved to, or loaded from."""
        return self._files.get(objects)

    def forget_file(self, objects: Objects) -> None:
        """Leave the file of objects as it is, whatever becomes of them."""
        self._files.pop(objects, None)

    def start_loading(self, path: str | os.PathLike[str]) -> None:
        """Read a session file in the background; `loaded` brings it.

        What is wrong with it is told by ``failed``.
        """
        self.stop_loading()
        self._loader = Loader(self, Path(path))

    def stop_loading(self) -> None:
        """Forget the file that is being read."""
        if self._loader is not None:
            self._loader.stop()
            self._loader = None

    def take(self, loaded: LoadedSession, objects: Objects) -> None:
        """Write what `loaded` brought into labels, as one step.

        Parameters stay as they are, but for the classes.

        Raises
        ------
        SegmentationError
            There are objects already, or the labels cannot be written.
        """
        # known first: those who hear of the objects ask for their file
        self._files[objects] = loaded.path
        try:
            put(loaded, objects)
        except SegmentationError:
            self.forget_file(objects)
            raise
        self.classes.update(loaded.choices.classes)

    def wait_for_file(self, timeout: float | None = None) -> bool:
        """Block until a file is read; False on time-out."""
        return self._loader is None or self._loader.wait(timeout)

    def end_files(self) -> None:
        """Save what has changed; neither read nor save until the next use."""
        self.stop_loading()
        if self._autosave is not None:
            self._autosave.rest()

    def script(self) -> str:
        """Return the Python that makes the same labels from the same image.

        It is what is there now: steps that were undone are left out. A step
        that cannot be typed, such as a run of segment everything or one that
        was stopped, becomes a comment.
        """
        objects = self._scene().objects(False)
        steps = [] if objects is None else objects.history.replay_codes
        return script(self._scene().setup_code(), steps)

    def choices(self) -> SessionParameters:
        """Return the parameters that a session file keeps."""
        return SessionParameters(
            self.model_name,
            asdict(self.editor.options),
            asdict(self.prompting.clean_up),
            self.classes.colors,
        )
