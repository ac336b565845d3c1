"""List of tracks that can be sorted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import (  # type: ignore[attr-defined]
    QModelIndex,
    Qt,
    Signal,
)
from qtpy.QtWidgets import QTableView

from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.widgets.parts.object_list import (
    RIGHT,
    ObjectListModel,
    as_object_list,
)

COLUMNS = ('track', 'first', 'last', 'objects', 'parent')
LIST_ROWS = 6


def summary_rows(tracks: Tracks) -> NDArray[np.int64]:
    """Return (N, 5) rows: track, first and last frame, objects, parent."""
    order = np.lexsort((tracks.frames, tracks.ids))
    ids, starts, counts = np.unique(
        tracks.ids[order], return_index=True, return_counts=True
    )
    frames = tracks.frames[order]
    parents = [tracks.parents.get(int(track), 0) for track in ids]
    return np.column_stack(
        [ids, frames[starts], frames[starts + counts - 1], counts, parents]
    ).astype(np.int64)


class _TracksModel(ObjectListModel):
    """Rows of `summary_rows` in an order of their own."""

    def __init__(self) -> None:
        super().__init__(COLUMNS)
        self.rows: NDArray[np.int64] = np.zeros((0, len(COLUMNS)), np.int64)
        self._by, self._down = 0, Qt.SortOrder.AscendingOrder

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        if role == Qt.ItemDataRole.DisplayRole:
            number = int(self.rows[index.row(), index.column()])
            no_parent = COLUMNS[index.column()] == 'parent' and not number
            return '' if no_parent else str(number)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT
        return None

    def show(self, rows: NDArray[np.int64]) -> None:
        """Show other rows, sorted by the same column as before."""
        self.beginResetModel()
        self.rows = rows
        self._arrange()
        self.endResetModel()

    def sort(
        self,
        column: int,
        order: Qt.SortOrder = Qt.SortOrder.AscendingOrder,
    ) -> None:
        """Sort the rows by a column."""
        self.beginResetModel()
        self._by, self._down = column, order
        self._arrange()
        self.endResetModel()

    def _arrange(self) -> None:
        order = np.argsort(self.rows[:, self._by], kind='stable')
        if self._down == Qt.SortOrder.DescendingOrder:
            order = order[::-1]
        self.rows = self.rows[order]


class TrackRows(QTableView):
    """List of tracks.

    Attributes
    ----------
    chosen : Signal(int)
        Number of the track of the row that the user chose.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._model = _TracksModel()
        selection = as_object_list(self, self._model, 0, LIST_ROWS)
        selection.currentRowChanged.connect(self._row_chosen)
        header: Any = self.horizontalHeader()
        header.setSectionResizeMode(header.ResizeMode.Stretch)
        self._quiet = False

    @property
    def tracks(self) -> list[int]:
        """Numbers of the tracks in the order of the rows."""
        return [int(number) for number in self._model.rows[:, 0]]

    def show_tracks(self, tracks: Tracks | None) -> None:
        """List tracks, or none."""
        rows = np.zeros((0, len(COLUMNS)), np.int64)
        self._quiet = True
        try:
            self._model.show(rows if tracks is None else summary_rows(tracks))
        finally:
            self._quiet = False

    def choose(self, track: int) -> None:
        """Mark the row of a track, without telling."""
        found = np.flatnonzero(self._model.rows[:, 0] == track)
        if len(found):
            self._quiet = True
            try:
                self.selectRow(int(found[0]))
            finally:
                self._quiet = False

    def _row_chosen(self, now: QModelIndex, before: QModelIndex) -> None:
        if now.isValid() and not self._quiet:
            self.chosen.emit(int(self._model.rows[now.row(), 0]))
