"""Autosave of objects next to their image, and restoring them."""

from __future__ import annotations

import contextlib
import weakref
from datetime import datetime
from pathlib import Path

import numpy as np
from napari.layers import Image

from napari_mobilesam.session.files.recovery import (
    continued_file,
    is_copy,
    restorable,
)
from napari_mobilesam.session.files.saving import LoadedSession
from napari_mobilesam.session.files.session_paths import (
    beside,
    by_pixels,
    free,
    home_of,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.viewer.layers import (
    SERIES_MARK,
    data_of,
    file_of,
    is_ours,
)

NO_PLACE = (
    'This image is not a file on this computer, so nothing can be saved next '
    'to it: call session.autosave(path) in the console.'
)

COPY = 'A copy made while Autosave was off'

BY_SERIES = (
    'The series saves the labels, objects and prompts of this image on every '
    'change.'
)


class PromptSaving:
    """Save the objects of the image on every change, and restore them.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides the session.
    panel : PromptPanel
        Check box, restore button and status line.

    Attributes
    ----------
    news : tuple of (str, bool) or None
        Result of reading, and whether it failed, to be shown again once the
        image is embedded.
    """

    def __init__(self, dock: ViewerWidget, panel: PromptPanel) -> None:
        self._dock = dock
        self._files = dock.session.files
        self._panel = panel
        self._scene = dock.scene
        self._settings = panel.settings
        # the image, and the first choice of a file for its objects
        self._image: weakref.ref[Image] | None = None
        self._file: Path | None = None
        self._to_load: list[Path] = []
        # objects restored from each file, and any failure
        self._counts: dict[Path, int] = {}
        self._problem = ''
        self._watched: weakref.ref[Objects] | None = None
        self.news: tuple[str, bool] | None = None
        # whether the session saves because of the check box
        self._saves = False
        panel.save_box.setChecked(panel.settings.current.autosave)
        panel.save_box.toggled.connect(self._toggle)
        panel.restore_button.clicked.connect(self.restore)

    def _toggle(self, wanted: bool) -> None:
        status = self._panel.status
        self._settings.save(status, autosave=wanted)
        self.follow()
        if not wanted:
            status.say('Autosave off.')
        elif self._in_series():
            status.say(BY_SERIES)
        elif self._file is None:
            status.fail(NO_PLACE)
        else:
            status.say(f'Autosave to {self._target()}.')

    def start_image(self, image: Image) -> None:
        """Find the saved objects of an image; restore them, or offer to."""
        self._files.stop_loading()
        self._to_load, self.news = [], None
        self._image = weakref.ref(image)
        self._file = session_file(image)
        self.follow()
        if (
            self._settings.current.autosave
            and not self._panel.restore_button.isHidden()
        ):
            self.restore()

    # saving

    def follow(self) -> None:
        """Save the objects of the output layer, which may have changed."""
        if self._image is None or self._image() is not self._scene.image:
            # the file still belongs to another image
            return
        self.watch(self._scene.objects(False))
        self._show_target()
        self._save()

    def _save(self) -> None:
        """Start or stop autosave, and offer to restore."""
        objects = None if self._watched is None else self._watched()
        self._offer(objects)
        wanted = self._settings.current.autosave
        if self._saves and not wanted:
            self._files.autosave(None)
            self._saves = False
        for each in self._of_image(objects):
            if self._file and each and not self._files.saves(each):
                if wanted:
                    self._save_along(each, self._file)
                else:
                    self._files.keep_copy(each, self._file)

    def _of_image(self, objects: Objects | None) -> list[Objects]:
        """Return the objects that are written to, and others of the image.

        The latter are, for example, those of a run while an object of other
        labels is open.
        """
        image = self._scene.image
        found = [] if objects is None else [objects]
        for layer in self._scene.labels_layers():
            of_layer = self._scene.objects_of(layer)
            if is_ours(layer, image) and of_layer not in found:
                found.append(of_layer)
        return found

    def _save_along(self, objects: Objects, first: Path) -> None:
        path = self._path_of(objects, first)
        # saving reports a folder that cannot be created
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._files.save_along(
            objects,
            path,
            lambda: free(first, self._files.paths),
            home_of(path, first),
        )
        self._saves = True
        self._show_target()

    def _path_of(self, objects: Objects, first: Path) -> Path:
        """Return the file of objects, or a new one."""
        path = self._files.file_of(objects)
        if path is not None and is_copy(path):
            path = continued_file(path, first)
        return path or free(first, self._files.paths)

    def _show_target(self) -> None:
        if self._in_series():
            text = BY_SERIES
        elif self._file is None:
            text = NO_PLACE
        else:
            text = (
                'Save objects, prompts and candidates after each change, to\n'
                f'{self._target()}.'
            )
        self._panel.save_box.setToolTip(text)

    def _in_series(self) -> bool:
        image = None if self._image is None else self._image()
        return image is not None and SERIES_MARK in image.metadata

    def _target(self) -> Path:
        """Return the file of the objects, or a new one."""
        objects = self._scene.objects(False)
        assert self._file is not None
        if objects is None:
            return free(self._file, self._files.paths)
        return self._path_of(objects, self._file)

    def watch(self, objects: Objects | None) -> None:
        """Follow the changes of objects, in place of previous ones."""
        before = None if self._watched is None else self._watched()
        if before is objects:
            return
        if before is not None:
            self._dock.deafen(before.changed, self._save)
        self._watched = None
        if objects is not None:
            self._dock.listen(objects.changed, self._save)
            self._watched = weakref.ref(objects)

    # restoring

    def _saved(self) -> list[Path]:
        """Return the files with objects that are not in the viewer."""
        if self._file is None:
            return []
        shown = map(self._scene.objects_of, self._scene.labels_layers())
        here = {
            path
            for objects in shown
            if objects
            for path in (
                self._files.file_of(objects),
                self._files.copy_of(objects),
            )
        }
        return [path for path in restorable(self._file) if path not in here]

    def _offer(self, objects: Objects | None) -> None:
        files = [] if objects else self._saved()
        self._panel.restore_button.setVisible(bool(files))
        if files:
            last = files[-1]
            what = COPY if is_copy(last) else last
            when = datetime.fromtimestamp(last.stat().st_mtime)
            self._panel.restore_button.setToolTip(
                f'{what},\nsaved on {when:%d %B %Y at %H:%M}.'
            )

    def restore(self) -> None:
        """Read the saved objects into new labels."""
        self._to_load, self._counts, self._problem = self._saved(), {}, ''
        self._load_next()

    def _load_next(self) -> None:
        if self._to_load:
            path = self._to_load.pop(0)
            self._files.start_loading(path)
            self._panel.status.say(f'Reading {path.name} …', busy=True)

    def loaded(self, loaded: LoadedSession) -> None:
        """Write objects that were read to a new labels layer."""
        with self._panel.status.errors():
            self._choose_channels(loaded)
            labels = self._scene.add_labels(loaded.labels)
            self._files.take(loaded, self._scene.objects_of(labels))
            self._panel.labels_combo.layer = labels
            self._counts[loaded.path] = len(loaded.records)
            self._report()
        self._load_next()

    def _choose_channels(self, loaded: LoadedSession) -> None:
        """Choose the channels with which objects were last made."""
        axes = [
            view.plane.geometry.channel_axis
            for record, _ in loaded.records
            for view in record.views.values()
        ]
        if axes and axes[-1] != self._scene.channel_axis:
            self._scene.use_channels(axes[-1], ())
            self._scene.channels_changed.emit()

    def not_loaded(self, path: Path, problem: str) -> None:
        """Continue with the next file if one could not be read.

        Channels of a file may be layers whose session files share a folder.
        """
        self._problem = f'{path.name} was not restored: {problem}'
        self._report()
        self._load_next()

    def _report(self) -> None:
        if self._counts:
            self._tell(f'{self._restored()} {self._problem}'.rstrip())
        else:
            self._tell(self._problem, failed=True)

    def _restored(self) -> str:
        text = (
            f'Restored {counted(sum(self._counts.values()), "saved object")}'
        )
        if len(self._counts) > 1:
            return f'{text} in {len(self._counts)} labels layers.'
        image = None if self._image is None else self._image()
        path = next(iter(self._counts))
        if image is None or image.source.path is None or is_copy(path):
            # the file is named after a hash of the pixels, or of the path
            return f'{text}.'
        beside_image = self._file is not None and (
            path.parent == self._file.parent
        )
        return f'{text} from {path.name if beside_image else path}.'

    def _tell(self, text: str, failed: bool = False) -> None:
        self.news = text, failed
        self.repeat_news()

    def repeat_news(self) -> None:
        """Show the result of reading again, after other messages."""
        if self.news is not None:
            text, failed = self.news
            status = self._panel.status
            (status.fail if failed else status.say)(text)


def session_file(image: Image) -> Path | None:
    """Return the file to which the objects of an image are saved.

    It is next to the image file; for an array in memory, it is in the user's
    folder, named after a hash of the pixels. None for other images, and for
    those of a series.
    """
    if SERIES_MARK in image.metadata:
        # saved by the series it belongs to
        return None
    file = file_of(image)
    if file is not None:
        return beside(file)
    array = data_of(image)
    if not isinstance(array, np.ndarray) or array.size == 0:
        return None
    # the first planes of stacks are often blank
    stacked = array.shape[: array.ndim - (3 if image.rgb else 2)]
    middle = array[tuple(size // 2 for size in stacked)]
    height, width = (int(size) for size in middle.shape[:2])
    plane = ImagePlane('middle', lambda: middle, (height, width))
    return by_pixels(plane, array.shape)
