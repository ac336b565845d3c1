"""Table of the images of a series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtGui import QColor, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView

from napari_mobilesam.series.series import Series
from napari_mobilesam.widgets.parts.message_label import (
    ERROR,
    GOOD,
    WARNING,
    background_of,
    readable,
)
from napari_mobilesam.widgets.parts.object_list import (
    ObjectListModel,
    ObjectTable,
)

HEADERS = ('Image', 'Objects', 'State')
COLORS = {'done': GOOD, 'flagged': WARNING}
# Long texts of the columns after the first, and the space beside them.
LONG, PADDING = {1: '99,999', 2: 'flagged'}, 10
# Minimum number of visible rows.
LIST_ROWS = 5


class _SeriesModel(ObjectListModel):
    """Rows of a series, read from it when they are shown.

    Parameters
    ----------
    background : callable
        Returns their background colour.
    """

    def __init__(self, background: Callable[[], QColor]) -> None:
        super().__init__(HEADERS, words=(0, 2))
        self._background = background
        self.series: Series | None = None
        self.failed: dict[int, str] = {}

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        if self.series is None:
            return None
        entry = self.series[index.row()]
        problem = self.failed.get(index.row(), '')
        if role == Qt.ItemDataRole.ToolTipRole:
            return problem or f'{entry.files.image}\n{entry.labels}'
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 2:
            colors = ERROR if problem else COLORS.get(entry.status)
            if colors is None:
                return None
            return QColor(readable(colors, self._background()))
        return super().data(index, role)

    def text(self, row: int, column: int) -> str:
        """Text of a cell."""
        assert self.series is not None
        entry = self.series[row]
        count = '' if entry.objects is None else f'{entry.objects:,}'
        state = 'failed' if row in self.failed else entry.status
        return (entry.name, count, state)[column]

    def sort_key(self, column: int) -> Callable[[Any], Any]:
        """Return the key to sort rows by: images stay in their order."""
        return int

    def show_series(self, series: Series | None) -> None:
        """Show another series."""
        self.series, self.failed = series, {}
        self.show(range(0 if series is None else len(series)))

    def row_changed(self, number: int) -> None:
        """Update a row."""
        if 0 <= number < self.rowCount():
            last = len(HEADERS) - 1
            self.dataChanged.emit(
                self.index(number, 0), self.index(number, last)
            )


class SeriesTable(ObjectTable):
    """Table of images; a click opens one.

    `chosen` emits the number of the image whose row was clicked or selected
    with the keyboard.
    """

    def __init__(self) -> None:
        super().__init__()
        self._model = _SeriesModel(lambda: background_of(self))
        self.setModel(self._model)
        self.setSelectionBehavior(
            QAbstractItemView.SelectionBehavior.SelectRows
        )
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        # Qt's stubs do not know it as always there
        header: Any = self.horizontalHeader()
        # bold titles are wider
        header.setHighlightSections(False)
        # fixed: Qt would measure the texts of 1,000 rows after each change
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.keep_rows_in_view(LIST_ROWS, low=True)
        self.setAccessibleName('Images of the series')
        self.clicked.connect(self._row_clicked)
        self.activated.connect(self._row_clicked)

    def fit_columns(self, *args: object) -> None:
        """Give the columns the width of their titles and of long texts."""
        for column, text in LONG.items():
            width = self.fontMetrics().horizontalAdvance(text) + PADDING
            title = self.title_width(column, PADDING)
            self.setColumnWidth(column, max(width, title))

    def show_series(self, series: Series | None) -> None:
        """Show the images of a series."""
        self._model.show_series(series)

    @property
    def failed(self) -> int:
        """Number of images that cannot be used."""
        return len(self._model.failed)

    def has_failed(self, number: int) -> bool:
        """Return whether an image cannot be used."""
        return number in self._model.failed

    def show_row(self, number: int) -> None:
        """Update the state of an image."""
        self._model.row_changed(number)

    def show_failure(self, number: int, problem: str) -> None:
        """Show that an image cannot be used; an empty text clears it."""
        if problem:
            self._model.failed[number] = problem
        else:
            self._model.failed.pop(number, None)
        self._model.row_changed(number)

    def choose(self, number: int) -> None:
        """Choose the row of an image, without emitting `chosen`."""
        self.setCurrentIndex(self._model.index(number, 0))

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Keep the chosen row in view when a long message takes its place."""
        super().resizeEvent(event)
        chosen = self.currentIndex()
        row = self.visualRect(chosen)
        before = event.oldSize().height() if event is not None else 0
        if row.top() >= 0 and row.bottom() <= before:
            self.scrollTo(chosen)

    def text(self, number: int, column: int) -> str:
        """Return the text of a cell."""
        return str(self._model.data(self._model.index(number, column)))

    def _row_clicked(self, index: QModelIndex) -> None:
        self.chosen.emit(index.row())
