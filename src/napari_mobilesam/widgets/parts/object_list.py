"""Tables of objects, one per row, of which one is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QAbstractItemView, QTableView

RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


class ObjectListModel(QAbstractTableModel):
    """Sorted rows under headers that stay the same.

    Thousands of rows are sorted here in a millisecond; a proxy model would
    request each value many times.

    Parameters
    ----------
    headers : sequence of str
        Names of the columns.
    tips : sequence of str
        Tooltips of the headers; may be empty.

    Attributes
    ----------
    rows : list
        The rows in the order in which they are shown.
    """

    def __init__(
        self, headers: Sequence[str], tips: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self._headers, self._tips = headers, tips
        self._column, self._order = 0, Qt.SortOrder.AscendingOrder
        self.rows: list[Any] = []

    def show(self, rows: Iterable[Any]) -> None:
        """Replace the rows and sort them by the same column as before."""
        self.beginResetModel()
        self.rows = sorted(
            rows,
            key=lambda row: self.sort_key(row, self._column),
            reverse=self._order == Qt.SortOrder.DescendingOrder,
        )
        self.endResetModel()

    def sort(
        self,
        column: int,
        order: Qt.SortOrder = Qt.SortOrder.AscendingOrder,
    ) -> None:
        """Sort the rows by a column."""
        self._column, self._order = column, order
        self.show(self.rows)

    def sort_key(self, row: Any, column: int) -> Any:
        """Key to sort a row by: its value in a column, then in the first."""
        return row[column], row[0]

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return len(self.rows)

    def columnCount(  # noqa: N802
        self, parent: QModelIndex | None = None
    ) -> int:
        return len(self._headers)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = 0
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._headers[section]
        if role == Qt.ItemDataRole.ToolTipRole and self._tips:
            return self._tips[section]
        return None


class ObjectTable(QTableView):
    """Table of which the user chooses rows, by mouse or keys."""

    def focusInEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802
        """Choose no row: Qt makes the first one current.

        The keyboard also comes here when a button that had it is disabled.
        """
        selection: Any = self.selectionModel()
        chosen = selection is None or selection.currentIndex().isValid()
        before = chosen or selection.blockSignals(True)
        super().focusInEvent(event)
        if not chosen:
            selection.clearCurrentIndex()
            selection.blockSignals(before)


def choose_row(table: QTableView, row: int) -> None:
    """Make a row current and scroll to it, without telling anyone.

    Parameters
    ----------
    table : QTableView
        Table with a model.
    row : int
        Row; no row is current if it is negative.
    """
    model: Any = table.model()
    selection: Any = table.selectionModel()
    before = selection.blockSignals(True)
    if row >= 0:
        index = model.index(row, 0)
        table.setCurrentIndex(index)
        table.scrollTo(index)
    else:
        selection.clear()
    selection.blockSignals(before)
    # what is drawn follows the signals that were held back
    viewport: Any = table.viewport()
    viewport.update()


def as_object_list(
    table: QTableView, model: QAbstractTableModel, column: int, rows: int
) -> Any:
    """Show objects in a table, in compact rows that are chosen as a whole.

    Parameters
    ----------
    table : QTableView
        Table without a model.
    model : QAbstractTableModel
        Objects; sortable.
    column : int
        Column by which the objects are sorted at first.
    rows : int
        Least number of rows in view.

    Returns
    -------
    QItemSelectionModel
        Tells which row is chosen. Qt's stubs do not know it as always there.
    """
    table.setModel(model)
    table.setSortingEnabled(True)
    table.sortByColumn(column, Qt.SortOrder.AscendingOrder)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    height = table.fontMetrics().lineSpacing() + 6
    header: Any = table.verticalHeader()
    header.hide()
    header.setDefaultSectionSize(height)
    table.setMinimumHeight(height * rows)
    return table.selectionModel()
