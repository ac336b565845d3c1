"""Tables of objects, one per row, with a current row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any

from qtpy.QtCore import (  # type: ignore[attr-defined]
    QAbstractTableModel,
    QEvent,
    QModelIndex,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_mobilesam.widgets.parts.form_area import FONT_CHANGES

ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
# beside the title of the column by which rows are sorted
ARROW = 16
RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


class ObjectListModel(QAbstractTableModel):
    """Sorted rows under fixed headers.

    Thousands of rows are sorted in a millisecond; a proxy model would request
    each value many times.

    Parameters
    ----------
    headers : sequence of str
        Names of the columns.
    tips : sequence of str
        Tooltips of the headers; may be empty.
    words : collection of int
        Columns of words, which begin at the left.

    Attributes
    ----------
    headers : sequence of str
        Names of the columns.
    rows : list
        The rows, in display order.
    """

    def __init__(
        self,
        headers: Sequence[str],
        tips: Sequence[str] = (),
        words: Collection[int] = (),
    ) -> None:
        super().__init__()
        self._words = words
        self.headers, self._tips = headers, tips
        self._column, self._order = 0, Qt.SortOrder.AscendingOrder
        self.rows: list[Any] = []

    def show(self, rows: Iterable[Any]) -> None:
        """Replace the rows and sort them by the same column as before."""
        self.beginResetModel()
        self.rows = sorted(
            rows,
            key=self.sort_key(self._column),
            reverse=self._order == Qt.SortOrder.DescendingOrder,
        )
        self.endResetModel()

    def sort(
        self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder
    ) -> None:
        """Sort the rows by a column."""
        self._column, self._order = column, order
        self.show(self.rows)

    def sort_key(self, column: int) -> Callable[[Any], Any]:
        """Return the key to sort rows by: a column, then the first one."""
        return itemgetter(column, 0)

    def key_of(self, row: int) -> Any:
        """Return the key of the object in a row: its first value."""
        return self.rows[row][0]

    def place_of(self, key: Any) -> int:
        """Return the row of an object; -1 if there is none."""
        keys = [self.key_of(row) for row in range(len(self.rows))]
        return keys.index(key) if key in keys else -1

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return len(self.rows)

    def columnCount(  # noqa: N802
        self, parent: QModelIndex | None = None
    ) -> int:
        return len(self.headers)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(self.rows[index.row()], index.column())
        words = index.column() in self._words
        if role == Qt.ItemDataRole.TextAlignmentRole and not words:
            return RIGHT
        return None

    def text(self, row: Any, column: int) -> str:
        """Text of a cell: the value of a row in a column."""
        value = row[column]
        return f'{value:.2f}' if isinstance(value, float) else str(value)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = 0
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return super().headerData(section, orientation, role)
        if role == Qt.ItemDataRole.DisplayRole:
            return self.headers[section]
        if role == Qt.ItemDataRole.ToolTipRole and self._tips:
            return self._tips[section]
        return None


class ObjectTable(QTableView):
    """Table in which the user chooses rows by mouse or keyboard.

    Attributes
    ----------
    chosen : Signal(object)
        Emitted with the key of the object in the chosen row.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._current: Any = None
        self._least_rows = 0
        self._low = False

    def keep_rows_in_view(self, rows: int, low: bool = False) -> None:
        """Have compact rows, at least so many of which are in view.

        They and the columns follow the font, which napari sets after the
        table is made, and whenever the user chooses another one.

        Parameters
        ----------
        rows : int
            Least number of rows in view.
        low : bool
            Ask for no more: low windows need the rest of the height.
        """
        self._least_rows, self._low = rows, low
        self._fit()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Ask for the least height in forms that need the rest."""
        hint = super().sizeHint()
        return QSize(hint.width(), self.minimumHeight()) if self._low else hint

    def fix_columns(self) -> None:
        """Leave the width of the columns to `fit_columns`."""
        # Qt's stubs do not know it as always there
        header: Any = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setMinimumSectionSize(30)
        header.sortIndicatorChanged.connect(self.fit_columns)

    def fit_columns(self, *args: object) -> None:
        """Give the columns the width that their texts need in the font."""

    def title_width(self, column: int, padding: int) -> int:
        """Return the width of the title of a column, and of what is beside it.

        With an arrow if the rows are sorted by it; Qt would leave room for one
        in each column.
        """
        model: Any = self.model()
        header: Any = self.horizontalHeader()
        title = model.headerData(column, Qt.Orientation.Horizontal)
        arrow = ARROW if header.sortIndicatorSection() == column else 0
        return self.fontMetrics().horizontalAdvance(title) + padding + arrow

    def _fit(self) -> None:
        height = self.fontMetrics().lineSpacing() + 6
        # Qt's stubs do not know it as always there
        header: Any = self.verticalHeader()
        header.setDefaultSectionSize(height)
        self.setMinimumHeight(height * self._least_rows)
        self.fit_columns()

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802
        """Follow the font."""
        super().changeEvent(event)
        if (
            event is not None
            and event.type() in FONT_CHANGES
            and self._least_rows
        ):
            self._fit()

    def list_objects(
        self, model: Any, column: int, rows: int, low: bool = False
    ) -> None:
        """Show objects in compact rows that are chosen as a whole.

        The chosen object stays chosen when rows are replaced or sorted.

        Parameters
        ----------
        model : QAbstractTableModel
            Sortable model of objects. ``key_of`` gives the object in a row,
            and ``place_of`` its row, as in `ObjectListModel`.
        column : int
            Column by which the objects are sorted at first.
        rows, low : int, bool
            See `keep_rows_in_view`.
        """
        self.setModel(model)
        self.setSortingEnabled(True)
        self.sortByColumn(column, Qt.SortOrder.AscendingOrder)
        self.setSelectionBehavior(
            QAbstractItemView.SelectionBehavior.SelectRows
        )
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        # Qt's stubs know neither as always there
        header: Any = self.verticalHeader()
        selection: Any = self.selectionModel()
        header.hide()
        self.keep_rows_in_view(rows, low)
        selection.currentRowChanged.connect(self._tell)
        model.modelReset.connect(self._choose_again)

    def choose(self, key: Any) -> None:
        """Choose the row of an object, or none, without emitting `chosen`."""
        self._current = key
        self._choose_again()

    def _choose_again(self) -> None:
        model: Any = self.model()
        selection: Any = self.selectionModel()
        row = model.place_of(self._current)
        before = selection.blockSignals(True)
        if row >= 0:
            index = model.index(row, 0)
            self.setCurrentIndex(index)
            # rows that came are not yet in the range of the scroll bar
            self.executeDelayedItemsLayout()
            self.scrollTo(index)
        else:
            selection.clear()
        selection.blockSignals(before)
        # the display follows the blocked signals
        viewport: Any = self.viewport()
        viewport.update()

    def _tell(self, current: QModelIndex, previous: QModelIndex) -> None:
        if current.isValid():
            model: Any = self.model()
            self._current = model.key_of(current.row())
            self.chosen.emit(self._current)

    def focusInEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802
        """Choose no row, as Qt makes the first one current.

        The focus also moves here when a focused button is disabled.
        """
        selection: Any = self.selectionModel()
        chosen = selection is None or selection.currentIndex().isValid()
        before = chosen or selection.blockSignals(True)
        super().focusInEvent(event)
        if not chosen:
            selection.clearCurrentIndex()
            selection.blockSignals(before)
