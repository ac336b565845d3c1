"""The objects of labels as a table, the least certain first."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from qtpy.QtCore import (  # type: ignore[attr-defined]
    QAbstractTableModel,
    QModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

HEADERS = ('Object', 'Score', 'Stability', 'Area', 'State')
TIPS = (
    'Its number in the labels.',
    'IoU with the true object that the model predicts.',
    'How little the mask changes with its threshold.',
    'Pixels; of an object on several planes all of them.',
    'Kept objects stay whatever the sliders say.',
)
LIST_ROWS = 6
SORT_ROLE = int(Qt.ItemDataRole.UserRole)


class Row(NamedTuple):
    """One object."""

    number: int
    score: float
    stability: float
    area: int
    state: str


class _Model(QAbstractTableModel):
    """Rows for Qt."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return len(self.rows)

    def columnCount(  # noqa: N802
        self, parent: QModelIndex | None = None
    ) -> int:
        return len(HEADERS)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        value = self.rows[index.row()][index.column()]
        if role == SORT_ROLE:
            unknown = isinstance(value, float) and math.isnan(value)
            return math.inf if unknown else value
        if role == Qt.ItemDataRole.DisplayRole:
            return f'{value:.2f}' if isinstance(value, float) else str(value)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            )
        return None

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = 0
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return HEADERS[section]
        return TIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def show(self, rows: list[Row]) -> None:
        """Show other rows."""
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()


class ReviewTable(QTableView):
    """Rows that can be sorted and chosen.

    Attributes
    ----------
    chosen : Signal(int)
        Number of the object whose row was clicked or walked to.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._model = _Model()
        self._sorted = QSortFilterProxyModel()
        self._sorted.setSourceModel(self._model)
        self._sorted.setSortRole(SORT_ROLE)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        self.sortByColumn(1, Qt.SortOrder.AscendingOrder)
        self.setSelectionBehavior(
            QAbstractItemView.SelectionBehavior.SelectRows
        )
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        # Qt's stubs know neither as always there
        header: Any = self.horizontalHeader()
        rows: Any = self.verticalHeader()
        selection: Any = self.selectionModel()
        self._selection = selection
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(30)
        height = self.fontMetrics().lineSpacing() + 6
        rows.hide()
        rows.setDefaultSectionSize(height)
        self.setMinimumHeight(height * LIST_ROWS)
        selection.currentRowChanged.connect(self._tell)

    def show_rows(self, rows: list[Row], current: int) -> None:
        """Show other rows, with that of an object chosen."""
        self._selection.blockSignals(True)
        self._model.show(rows)
        self._selection.blockSignals(False)
        self.choose(current)

    def choose(self, number: int) -> None:
        """Choose the row of an object, without telling of it."""
        places = [
            place
            for place, row in enumerate(self._model.rows)
            if row.number == number
        ]
        self._selection.blockSignals(True)
        if places:
            index = self._model.index(places[0], 0)
            self.setCurrentIndex(self._sorted.mapFromSource(index))
        else:
            self.clearSelection()
        self._selection.blockSignals(False)
        viewport: Any = self.viewport()
        viewport.update()

    def _tell(self, current: QModelIndex, previous: QModelIndex) -> None:
        if current.isValid():
            place = self._sorted.mapToSource(current).row()
            self.chosen.emit(self._model.rows[place].number)
