"""Export of the table of objects, and of their measurements in each frame."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtWidgets import QMenu

from napari_mobilesam.large.io.tables import write_table
from napari_mobilesam.session.measuring import Measuring
from napari_mobilesam.text import counted, explain, file_name
from napari_mobilesam.widgets.parts.controls import wide_button
from napari_mobilesam.widgets.parts.layer_choices import LayerChoices
from napari_mobilesam.widgets.parts.save_dialog import ask_where_to_save
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.table.measured_layers import (
    for_export,
    object_rows,
    still_measured,
)
from napari_mobilesam.widgets.viewer.layers import file_of

if TYPE_CHECKING:
    import pandas as pd

NOTHING = 'The table has no rows: the labels have no object.'
KINDS = {'CSV (*.csv)': '.csv', 'Parquet (*.parquet)': '.parquet'}
EXPORT_TIP = (
    'Save the table as CSV or Parquet; of a time series also with a row for\n'
    'each object and frame.\n'
    'For QuPath, Fiji and others, select the labels layer, choose\n'
    'File ▸ Save Selected Layers…, and a format in Files of type.'
)


class TableExport:
    """Save the table of the chosen labels.

    Parameters
    ----------
    dock : ViewerWidget
        Parent of dialogs, with the scene.
    layers : LayerChoices
        The chosen labels and image.
    measuring : Measuring
        Writes files on its thread.
    status : StatusLine
        Status line of the dock.

    Attributes
    ----------
    button : QPushButton
        Asks for a file; has a menu if frames were measured.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        layers: LayerChoices,
        measuring: Measuring,
        status: StatusLine,
    ) -> None:
        self._dock, self._layers = dock, layers
        self._measuring, self._status = measuring, status
        self._frames: weakref.WeakKeyDictionary[Labels, pd.DataFrame] = (
            weakref.WeakKeyDictionary()
        )
        self.button = wide_button('Export …')
        self.button.setToolTip(EXPORT_TIP)
        self.button.clicked.connect(self._ask_table)
        self._menu = QMenu(self.button)
        for text, act in (
            ('One row for each object …', self._ask_table),
            ('One row for each object and frame …', self._ask_frames),
        ):
            action = self._menu.addAction(text)
            assert action is not None
            action.triggered.connect(act)

    def note_frames(self, labels: Labels, frames: pd.DataFrame | None) -> None:
        """Take the measurements in each frame; None if there are none."""
        self._frames.pop(labels, None)
        if frames is not None:
            self._frames[labels] = frames

    def refresh(self) -> None:
        """Follow the chosen labels and their table."""
        labels = self._layers.labels.layer
        self.button.setEnabled(len(object_rows(labels)) > 0)
        in_frames = labels is not None and labels in self._frames
        self.button.setMenu(self._menu if in_frames else None)

    def proposed_path(self, ending: str = '.csv') -> str:
        """Default file for the table.

        It is named after the image, and lies next to it if that is a file.
        """
        image, labels = self._layers.image.layer, self._layers.labels.layer
        layer = image or self._dock.scene.image or labels
        if layer is None:
            return f'objects{ending}'
        file, name = file_of(layer), file_name(str(layer.name)) + ending
        return name if file is None else str(file.with_suffix('')) + ending

    def _ask_table(self) -> None:
        self._ask('Save the table', '.csv', self.save)

    def _ask_frames(self) -> None:
        self._ask('Save the table of frames', '_frames.csv', self.save_frames)

    def _ask(
        self, title: str, ending: str, save: Callable[[Path], None]
    ) -> None:
        path = self.proposed_path(ending)
        ask_where_to_save(self._dock, title, path, KINDS, save)

    def save(self, path: str | Path) -> None:
        """Save the table in the background.

        Parameters
        ----------
        path : path
            File that ends in .csv or .parquet; an existing file is replaced
            atomically.
        """
        self._save(path, for_export(object_rows(self._layers.labels.layer)))

    def save_frames(self, path: str | Path) -> None:
        """Save the measurements of the objects in each frame; see `save`.

        Objects that were changed or added since are left out, and the status
        says so.
        """
        labels = self._layers.labels.layer
        if labels is None or labels not in self._frames:
            self._status.fail('Press Measure first: no frame was measured.')
            return
        table, frames = object_rows(labels), self._frames[labels]
        kept = still_measured(table)
        rest = len(table) - len(kept)
        note = (
            f' {counted(rest, "object")} changed since and left out: press '
            'Measure to include all.'
            if rest
            else ''
        )
        if not len(kept):
            self._status.fail(
                'Press Measure first: all objects changed since.'
            )
            return
        self._save(path, frames[frames['label'].isin(kept)], note)

    def _save(
        self, path: str | Path, table: pd.DataFrame, note: str = ''
    ) -> None:
        if not len(table):
            self._status.fail(f'{NOTHING} There is nothing to save.{note}')
            return
        self._status.say(f'Saving {Path(path).name} …', busy=True)

        def write() -> Callable[[], None]:
            try:
                write_table(table, path)
            except Exception as error:  # noqa: BLE001 - told to the user
                text = f'The table is not saved. {explain(error)}'
                return partial(self._status.fail, text)
            text = f'{counted(len(table), "row")} saved to {path}.{note}'
            return partial(self._status.say, text)

        self._measuring.save(write)
