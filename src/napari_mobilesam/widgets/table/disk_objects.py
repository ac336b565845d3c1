"""Deletion of objects whose labels are on disk, as those of a large run."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtWidgets import QPushButton

from napari_mobilesam.session.everything.erase_jobs import EraseJobs
from napari_mobilesam.session.objects.history import Entry, History
from napari_mobilesam.session.objects.targets import with_rows
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layers import (
    data_of,
    redraw_from_disk,
    rows_by_label,
    with_class_text,
)

if TYPE_CHECKING:
    import pandas as pd

NOTHING = 'Nothing to undo.'


class Deletion:
    """A deletion that can be undone and redone, in the background.

    Parameters
    ----------
    layer : napari.layers.Labels
        Layer that shows the labels.
    path : Path
        Folder of the labels.
    labels : tuple of int
        Labels of the deleted objects.
    viewer : napari.components.ViewerModel
        Viewer, in which other layers may show the same labels.
    jobs : EraseJobs
        Thread on which labels are written.
    history : History
        History with the deletion as its only step.
    """

    def __init__(
        self,
        layer: Labels,
        path: Path,
        labels: tuple[int, ...],
        viewer: ViewerModel,
        jobs: EraseJobs,
        history: History,
    ) -> None:
        self._layer = layer
        self._path = path
        self._labels = labels
        self._viewer = viewer
        self._jobs = jobs
        self._objects = counted(len(labels), 'object')
        # with measurements and classes
        self._rows = self._take_rows()
        self.history = history
        history.push(Entry(f'deleting {self._objects}', labels=labels))

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(self._layer.name)

    def undo(self) -> str | None:
        """Begin to restore the objects; return the title of the deletion."""
        title = self.history.undoable
        if title is not None:
            self._jobs.restore(self._path, self._undone)
        return title

    def redo(self) -> str | None:
        """Begin to delete the objects again; return the title."""
        title = self.history.redoable
        if title is not None:
            self._jobs.erase(self._path, self._labels, self._redone)
        return title

    def _undone(self, rows: pd.DataFrame | None) -> None:
        if rows is None:
            # labels were written anew, by another run
            self.history.clear()
            self._jobs.finished.emit(NOTHING)
            return
        same = set(rows['label']) == set(self._labels)
        if same:
            self.history.pop_undo()
        # otherwise a newer deletion, of another window, was undone
        for layer in self._layers():
            _put_rows(layer, self._rows if same else _features(rows))
        self._jobs.finished.emit(f'Restored {counted(len(rows), "object")}.')

    def _redone(self, rows: pd.DataFrame) -> None:
        self.history.pop_redo()
        self._rows = self._take_rows()
        self._jobs.finished.emit(f'Deleted {self._objects}.')

    def _layers(self) -> list[Labels]:
        return _showing(self._viewer, self._path, self._layer)

    def _take_rows(self) -> pd.DataFrame:
        return [_take_rows(each, self._labels) for each in self._layers()][0]


class DiskObjects:
    """Objects of a table whose labels are on disk.

    Parameters
    ----------
    dock : ViewerWidget
        The table: its scene, session and status line.
    cancel_button : QPushButton
        Button that cancels a deletion.
    """

    def __init__(self, dock: ViewerWidget, cancel_button: QPushButton) -> None:
        self._dock = dock
        self._jobs = dock.session.erasing
        self._cancel_button = cancel_button
        # whose objects are being deleted
        self._layer: Labels | None = None
        cancel_button.clicked.connect(self._jobs.cancel)

    def attach(self) -> None:
        """Show the progress of deletions until the dock closes."""
        self._dock.listen_all(
            (self._jobs.progress, self._progress),
            (self._jobs.finished, self._end),
            (self._jobs.stopped, self._stopped),
            (self._jobs.failed, self._fail),
        )

    def delete(self, layer: Labels, labels: Collection[int]) -> bool:
        """Begin to delete objects; return False if they are not on disk."""
        path = output_of(layer)
        if path is None:
            return False
        with self._dock.status.errors():
            self._jobs.erase(path, labels, partial(self._deleted, layer, path))
            self._layer = layer
            self._cancel_button.setEnabled(True)
            self._dock.status.say('Deleting …', busy=True)
        return True

    def undo_earlier(self, layer: Labels | None) -> bool:
        """Begin to undo a deletion of an earlier session.

        Returns
        -------
        bool
            False if something else is to be undone first, or the labels are
            not on disk.
        """
        path = None if layer is None else output_of(layer)
        newest = self._dock.session.navigation.next_undo
        if path is None or newest is not None:
            return False
        with self._dock.status.errors():
            self._jobs.restore(path, partial(self._restored, layer, path))
        return True

    def _deleted(self, layer: Labels, path: Path, rows: pd.DataFrame) -> None:
        labels = tuple(rows['label'].tolist())
        self._dock.scene.with_history(
            partial(
                Deletion, layer, path, labels, self._dock.viewer, self._jobs
            )
        )
        objects = counted(len(labels), 'object')
        self._jobs.finished.emit(f'Deleted {objects}.')

    def _restored(
        self, layer: Labels, path: Path, rows: pd.DataFrame | None
    ) -> None:
        if rows is None:
            self._jobs.finished.emit(NOTHING)
            return
        for each in _showing(self._dock.viewer, path, layer):
            _put_rows(each, _features(rows))
        objects = counted(len(rows), 'object')
        self._jobs.finished.emit(f'Restored {objects}.')

    def _progress(self, done: int, total: int, text: str) -> None:
        self._dock.status.say(f'{text} …', busy=True)
        self._dock.status.show_progress(done, total)

    def _end(self, text: str) -> None:
        self._cancel_button.setEnabled(False)
        self._dock.status.say(text)

    def _stopped(self) -> None:
        self._redraw()
        self._end('Stopped; no object is deleted.')

    def _fail(self, text: str) -> None:
        self._redraw()
        self._end('')
        self._dock.status.fail(text)

    def _redraw(self) -> None:
        """Show the labels without the traces of an unfinished deletion."""
        layer, self._layer = self._layer, None
        if layer is not None:
            redraw_from_disk(layer)


def output_of(layer: Labels) -> Path | None:
    """Return the folder of labels of a finished large run, None for others.

    Exported labels are others: they have no table of where objects are.
    """
    from napari_mobilesam.large.io.object_columns import GROUP
    from napari_mobilesam.large.io.ome_zarr import is_finished

    data = data_of(layer)
    root = getattr(getattr(data, 'store', None), 'root', None)
    if root is None:
        return None
    path = Path(root, str(data.path)).absolute().parent
    return path if is_finished(path) and (path / GROUP).is_dir() else None


def _showing(viewer: ViewerModel, path: Path, layer: Labels) -> list[Labels]:
    """Return a layer, and the others that show the labels of its folder."""
    others = [
        other
        for other in viewer.layers
        if isinstance(other, Labels)
        and other is not layer
        and output_of(other) == path
    ]
    return [layer, *others]


def _features(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.rename(columns={'label': 'index'})


def _take_rows(layer: Labels, labels: Collection[int]) -> pd.DataFrame:
    """Remove and return the features of objects."""
    table = rows_by_label(layer.features)
    gone = table['index'].isin(list(labels))
    layer.features = table[~gone].reset_index(drop=True)
    redraw_from_disk(layer)
    return table[gone]


def _put_rows(layer: Labels, rows: pd.DataFrame) -> None:
    """Add the features of objects that have none."""
    table = rows_by_label(layer.features)
    missing = rows[~rows['index'].isin(table['index'])]
    layer.features = with_class_text(with_rows(table, (), missing))
    redraw_from_disk(layer)
