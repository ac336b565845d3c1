"""Sortable table of measured objects, with marked rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import (  # type: ignore[attr-defined]
    QModelIndex,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QKeyEvent, QKeySequence
from qtpy.QtWidgets import QAbstractItemView

from napari_mobilesam.widgets.parts.object_list import (
    ENTER,
    RIGHT,
    ObjectListModel,
    ObjectTable,
)

if TYPE_CHECKING:
    import pandas as pd

LIST_ROWS = 8
MARKED = QColor(79, 195, 247, 90)
LABEL = 'index'
# beside the title of a column, for an arrow too
PADDING = 28


class _RowsModel(ObjectListModel):
    """Rows of a data frame in an order of their own."""

    def __init__(self) -> None:
        super().__init__(())
        self.columns: list[str] = []
        self.labels: NDArray[np.int64] = np.zeros(0, np.int64)
        self.marked: NDArray[np.bool_] = np.zeros(0, bool)
        self._values: list[NDArray[Any]] = []
        # displayed row → row of the data frame
        self.order: NDArray[np.intp] = np.zeros(0, np.intp)
        self.by, self.down = 0, Qt.SortOrder.AscendingOrder
        # even while the table has no such column
        self._sorted = LABEL

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return len(self.order)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        row = self.order[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return cell_text(self._values[index.column()][row])
        if role == Qt.ItemDataRole.BackgroundRole and self.marked[row]:
            return MARKED
        if role == Qt.ItemDataRole.TextAlignmentRole:
            if self._values[index.column()].dtype.kind == 'O':
                return None
            return RIGHT
        return None

    def show_table(self, table: pd.DataFrame) -> None:
        """Show another table, sorted by the same column as before."""
        self.beginResetModel()
        names = sorted(table.columns, key=_rank)
        # napari also accepts names that are not text, such as 0
        self.columns = [str(name) for name in names]
        self.headers = [
            'label' if name == LABEL else name for name in self.columns
        ]
        self._values = [_array(table[name]) for name in names]
        self.labels = (
            table[LABEL].to_numpy(np.int64)
            if LABEL in table
            else np.zeros(0, np.int64)
        )
        self.marked = np.zeros(len(self.labels), bool)
        known = self._sorted in self.columns
        self.by = self.columns.index(self._sorted) if known else 0
        self._arrange()
        self.endResetModel()

    def sort(
        self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder
    ) -> None:
        """Sort the rows by a column; missing values come last."""
        self.beginResetModel()
        self.by, self.down = column, order
        if self.columns:
            self._sorted = self.columns[column]
        self._arrange()
        self.endResetModel()

    def mark(self, marked: NDArray[np.bool_]) -> None:
        """Mark rows of the data frame."""
        self.marked = marked
        if len(self.order):
            self.dataChanged.emit(
                self.index(0, 0),
                self.index(len(self.order) - 1, len(self.columns) - 1),
                [int(Qt.ItemDataRole.BackgroundRole)],
            )

    def key_of(self, row: int) -> int:
        """Return the label of a displayed row."""
        return int(self.labels[self.order[row]])

    def place_of(self, label: int) -> int:
        """Return the displayed row of a label; -1 if there is none."""
        found = np.flatnonzero(self.labels[self.order] == label)
        return int(found[0]) if len(found) else -1

    def _arrange(self) -> None:
        if not self._values or not 0 <= self.by < len(self._values):
            self.order = np.arange(len(self.labels))
            return
        values = self._values[self.by]
        if values.dtype.kind == 'O':
            values = np.array(
                ['' if _missing(v) else str(v) for v in values], dtype=str
            )
            missing = values == ''
        else:
            missing = ~np.isfinite(values.astype(np.float64))
        order = np.argsort(values, kind='stable')
        if self.down == Qt.SortOrder.DescendingOrder:
            order = order[::-1]
        self.order = np.concatenate(
            [order[~missing[order]], order[missing[order]]]
        )


def _rank(name: Any) -> int:
    """Return the place of a column; the first are seen without scrolling."""
    in_units = str(name).startswith('area ')
    first = [name == LABEL, in_units, name == 'area', name == 'class', True]
    return first.index(True)


def _array(column: Any) -> NDArray[Any]:
    kind = getattr(column.dtype, 'kind', 'O')
    if kind in 'iufb':
        return np.asarray(column.to_numpy())
    return np.asarray(column.to_numpy(object))


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def cell_text(value: Any) -> str:
    """Return the displayed text of a value; empty if it is missing."""
    if value is None:
        return ''
    if isinstance(value, (bool, np.bool_)):
        return 'yes' if value else 'no'
    if isinstance(value, (float, np.floating)):
        if math.isnan(value):
            return ''
        number = float(value)
        return f'{number:.0f}' if number.is_integer() else f'{number:.4g}'
    return str(value)


class ObjectRows(ObjectTable):
    """Table of objects; one row is current, any number are marked.

    `chosen` emits the label.

    Attributes
    ----------
    edit_asked : Signal(int)
        Label of the row that was double-clicked, or current when Enter was
        pressed.
    delete_asked, copy_asked : Signal()
        Emitted when Delete or the copy shortcut is pressed.
    """

    edit_asked = Signal(int)
    delete_asked = Signal()
    copy_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._model = _RowsModel()
        self._current = 0
        self.list_objects(self._model, 0, LIST_ROWS)
        self.setHorizontalScrollMode(
            QAbstractItemView.ScrollMode.ScrollPerPixel
        )
        self.setAccessibleName('Objects and their measurements')
        self.doubleClicked.connect(self._ask_edit)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels in the order of the data frame."""
        return self._model.labels

    @property
    def marked(self) -> NDArray[np.int64]:
        """Labels of the marked rows."""
        return self._model.labels[self._model.marked]

    @property
    def current(self) -> int:
        """Label of the current row, 0 if there is none."""
        return self._current if self._current in self._model.labels else 0

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self._model.labels)

    @property
    def selected(self) -> NDArray[np.int64]:
        """Labels of the marked rows, or of the current row if none is marked.

        They are in display order.
        """
        shown = self._model.labels[self._model.order]
        chosen = self._model.marked[self._model.order]
        return shown[chosen if chosen.any() else shown == self.current]

    def show_table(self, table: pd.DataFrame) -> None:
        """Show another table; no row is marked."""
        self._model.show_table(table)
        header: Any = self.horizontalHeader()
        # the rows are already in this order
        before = header.blockSignals(True)
        header.setSortIndicator(self._model.by, self._model.down)
        header.blockSignals(before)
        self.fit_columns()

    def fit_columns(self, *args: object) -> None:
        """Give the columns the width of their titles."""
        metrics = self.fontMetrics()
        for column, title in enumerate(self._model.headers):
            width = metrics.horizontalAdvance(title) + PADDING
            self.setColumnWidth(column, width)

    def mark(self, marked: NDArray[np.bool_]) -> None:
        """Mark rows of the data frame, and show the first of them."""
        self._model.mark(marked)
        shown = np.flatnonzero(marked[self._model.order])
        if len(shown):
            self.scrollTo(self._model.index(int(shown[0]), 0))

    def text(self, row: int, column: str) -> str:
        """Return the text of a cell in a displayed row."""
        number = self._model.columns.index(column)
        return str(self._model.data(self._model.index(row, number)))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Edit with Enter, delete with Delete, copy with Ctrl+C."""
        if event is None:
            return
        if event.key() in ENTER and self.current:
            self.edit_asked.emit(self.current)
        elif event.key() == Qt.Key.Key_Delete:
            self.delete_asked.emit()
        elif event.matches(QKeySequence.StandardKey.Copy):
            self.copy_asked.emit()
        else:
            super().keyPressEvent(event)

    def _ask_edit(self, index: QModelIndex) -> None:
        self.edit_asked.emit(self._model.key_of(index.row()))
