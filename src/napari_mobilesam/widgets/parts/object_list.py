"""Tables of objects, one per row, of which one is chosen."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractTableModel, Qt
from qtpy.QtWidgets import QAbstractItemView, QTableView


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
