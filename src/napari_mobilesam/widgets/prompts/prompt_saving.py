"""Objects that are kept as one goes, and are there again the next time."""

from __future__ import annotations

import contextlib
import weakref
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_mobilesam.session.files.saving import LoadedSession
from napari_mobilesam.session.files.session_files import (
    beside,
    by_pixels,
    free,
    saved,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.widgets.prompts.prompt_output import PromptOutput
from napari_mobilesam.widgets.viewer.layers import data_of

NO_PLACE = (
    'This image is no file on this computer, so that there is no place to '
    'save beside it: use session.autosave(path) in the console.'
)


class PromptSaving(PromptOutput):
    """Saving as one goes, and bringing back what was saved."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        # where the objects of the image go, the first name of them
        self._file: Path | None = None
        self._to_load: list[Path] = []
        self._watched: weakref.ref[Objects] | None = None
        # what came of reading, said again once the image is ready
        self._reading = False
        self._news: tuple[str, bool] | None = None
        # whether the session saves because of the check box
        self._saves = False

    def _connect_saving(self) -> None:
        self.save_box.setChecked(self.settings.autosave)
        self.save_box.toggled.connect(self._save_as_i_go)
        self.restore_button.clicked.connect(self._bring_back)

    def _save_as_i_go(self, wanted: bool) -> None:
        self._remember(autosave=wanted)
        self._follow_saving()
        if not wanted:
            self.status.say('Objects are not saved any more.')
        elif self._file is None:
            self.status.fail(NO_PLACE)
        else:
            self.status.say(f'Objects are saved to {self._goes_to()}.')

    # the image

    def _look_for_saved(self, image: Image) -> None:
        """Find what was saved of an image; bring it back, or offer that."""
        self.session.files.stop_loading()
        self._to_load, self._news = [], None
        self._file = session_file(image)
        self._follow_saving()
        if self.settings.autosave and not self.restore_button.isHidden():
            self._bring_back()

    def _use_labels(self, layer: Labels | None) -> None:
        super()._use_labels(layer)
        self._follow_saving()

    def _follow_output(self) -> None:
        super()._follow_output()
        self._follow_saving()

    def _follow_saving(self) -> None:
        """Save the objects that there are now, if there are any."""
        objects = self.scene.objects(False)
        self._watch(objects)
        self._offer(objects)
        wanted = self.settings.autosave and self._file is not None
        if not wanted:
            if self._saves:
                self.session.autosave(None)
            self._saves = False
        elif (
            objects is not None
            and len(objects)
            and self.session.files.saved_objects is not objects
        ):
            path = self._goes_to()
            # a folder that cannot be made is told of when saving fails
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
            self.session.autosave(path)
            self._saves = True
        self.save_box.setToolTip(
            NO_PLACE
            if self._file is None
            else 'Saves objects, prompts and candidates after each change, '
            f'to\n{self._goes_to()}.'
        )

    def _goes_to(self) -> Path:
        """Where the objects go: to their own file, or to one that is new."""
        objects = self.scene.objects(False)
        known = (
            None if objects is None else self.session.files.file_of(objects)
        )
        assert self._file is not None
        return known or free(self._file)

    def _watch(self, objects: Objects | None) -> None:
        before = None if self._watched is None else self._watched()
        if before is objects:
            return
        if before is not None:
            before.changed.disconnect(self._follow_saving)
        self._watched = None
        if objects is not None:
            objects.changed.connect(self._follow_saving)
            self._watched = weakref.ref(objects)

    # bringing back

    def _offer(self, objects: Objects | None) -> None:
        files = [] if self._file is None else saved(self._file)
        nothing = objects is None or not len(objects)
        self.restore_button.setVisible(bool(files) and nothing)
        if files:
            when = datetime.fromtimestamp(files[-1].stat().st_mtime)
            self.restore_button.setToolTip(
                f'{files[-1]},\nsaved on {when:%d %B %Y at %H:%M}.'
            )

    def _bring_back(self) -> None:
        assert self._file is not None
        self._to_load = saved(self._file)
        self._load_next()

    def _load_next(self) -> None:
        if self._to_load:
            path = self._to_load.pop(0)
            self._reading = True
            self.session.files.start_loading(path)
            self.status.say(f'Reading {path.name} …', busy=True)

    def _loaded(self, loaded: LoadedSession) -> None:
        """Write what was read into labels of its own."""

        def take() -> None:
            labels = self.scene.add_labels(loaded.labels)
            self.session.files.take(loaded, self.scene.objects_of(labels))
            self._follow_output()
            count = len(loaded.records)
            what = 'object is' if count == 1 else 'objects are'
            self._tell_news(
                f'{count} {what} back from {loaded.path.name}, with their '
                'prompts.'
            )

        self._reading = False
        self._try(take)
        self._load_next()

    def _not_read(self, text: str) -> None:
        """Give up reading, if it was that which went wrong."""
        if self._reading:
            self._reading = False
            self._to_load = []
            self._tell_news(text, failed=True)

    def _tell_news(self, text: str, failed: bool = False) -> None:
        self._news = text, failed
        self._repeat_news()

    def _repeat_news(self) -> None:
        """Say again what an image that was embedded meanwhile has hidden."""
        if self._news is not None:
            text, failed = self._news
            (self.status.fail if failed else self.status.say)(text)

    def _editor_changed(self) -> None:
        super()._editor_changed()
        if not self.editor.record.empty:
            self._news = None


def session_file(image: Image) -> Path | None:
    """Return where the objects of an image are saved.

    Beside its file; an image in memory that comes from none has a file among
    the user's own, told by its pixels. None if there is no such place.
    """
    path = image.source.path
    if isinstance(path, str | Path) and Path(path).exists():
        return beside(path)
    array = data_of(image)
    if not isinstance(array, np.ndarray) or array.size == 0:
        return None
    while array.ndim > (3 if image.rgb else 2):
        array = array[0]
    height, width = (int(size) for size in array.shape[:2])
    return by_pixels(ImagePlane('first', lambda: array, (height, width)))
