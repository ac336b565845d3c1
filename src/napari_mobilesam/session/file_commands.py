"""Keeping a session: its file, written as it goes, and its script."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.class_commands import ClassCommands
from napari_mobilesam.session.objects import Objects
from napari_mobilesam.session.recipe import script
from napari_mobilesam.session.saving import (
    Choices,
    SessionFileError,
    Snapshot,
    load,
    save,
)
from napari_mobilesam.session.targets import WriteOptions
from napari_mobilesam.session.worker import LatestWorker
from napari_mobilesam.types import SegmentationError


class FileCommands(ClassCommands):
    """Methods of a session that keep what was done; see `PromptCommands`."""

    _autosave: AutoSave | None = None

    def use_model(self, name: str) -> None:
        """Answer with another model from now on."""
        raise NotImplementedError

    def tell(self, problem: str) -> None:
        """Say what went wrong, on any thread."""
        raise NotImplementedError

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
        save(path, scene, Snapshot.of(objects, self._choices()))

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
            self._autosave = AutoSave(self, objects, Path(path))

    def script(self) -> str:
        """Return the Python that makes the same labels from the same image.

        It is what is there now: steps that were undone are left out. A step
        that cannot be typed, such as a run of segment everything or one that
        was stopped, becomes a comment.
        """
        objects = self._scene().objects(False)
        steps = [] if objects is None else objects.history.recipes
        return script(self._scene().setup_code(), steps)

    def _choices(self) -> Choices:
        return Choices(
            self.model_name,
            asdict(self.editor.options),
            asdict(self.prompting.clean_up),
            self.classes.colors,
        )


class AutoSave:
    """Saves a session on a thread of its own; the newest change wins.

    Parameters
    ----------
    session : FileCommands
        What is saved.
    objects : Objects
        Whose changes are followed.
    path : Path
        File to write.
    """

    def __init__(
        self, session: FileCommands, objects: Objects, path: Path
    ) -> None:
        self._session = session
        self._objects = objects
        self._path = path
        self._worker = LatestWorker('napari-mobilesam-saving')
        objects.changed.connect(self._later)
        self._later()

    def stop(self) -> None:
        """Save no more; what is being saved is finished."""
        self._objects.changed.disconnect(self._later)
        self.rest()

    def rest(self) -> None:
        """Save what has changed and end the thread, until the next change."""
        self._worker.wait()
        self._worker.close()

    def _later(self) -> None:
        snapshot = Snapshot.of(self._objects, self._session._choices())
        self._worker.submit('save', lambda: self._save(snapshot))

    def _save(self, snapshot: Snapshot) -> None:
        try:
            save(self._path, self._session._scene(), snapshot)
        except (OSError, SegmentationError) as error:
            text = f'The session cannot be saved to {self._path}: {error}'
            self._session.tell(text)
