"""Table of the objects of all images of a series, least certain first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from qtpy.QtCore import (  # type: ignore[attr-defined]
    Qt,
    Signal,
)
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QHeaderView

from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_entry import UncertainObject
from napari_mobilesam.widgets.parts.object_list import (
    ENTER,
    ObjectListModel,
    ObjectTable,
)

HEADERS = ('Score', 'Stability', 'Object', 'Image')
TIPS = (
    'Predicted IoU with the true object.',
    'Stability score of the mask.',
    'Label of the object.',
    'Image that contains it.',
)
# place of each column in an `UncertainObject`
FIELDS = (0, 3, 2, 1)
LIST_ROWS = 5
IMAGE = HEADERS.index('Image')
# beside the text of a column
PADDING = 10


class _UncertainModel(ObjectListModel):
    """Rows of type `UncertainObject`."""

    def __init__(self) -> None:
        super().__init__(HEADERS, TIPS, words=(IMAGE,))
        self.series: Series | None = None

    def text(self, row: UncertainObject, column: int) -> str:
        """Text of a cell."""
        assert self.series is not None
        return (
            _number(row.score),
            _number(row.stability),
            str(row.label),
            self.series[row.image].name,
        )[column]

    def sort_key(self, column: int) -> Callable[[Any], Any]:
        """Return the key to sort rows by; images are in series order.

        Equal rows stay as they were: less certain ones first. A series may
        have 100,000 objects, for which keys of several values take long.
        """
        return itemgetter(FIELDS[column])

    def remove(self, place: int) -> None:
        """Remove a row."""
        self.beginResetModel()
        del self.rows[place]
        self.endResetModel()

    def key_of(self, row: int) -> UncertainObject:
        """Return the object of a row."""
        found: UncertainObject = self.rows[row]
        return found

    def place_of(self, key: UncertainObject | None) -> int:
        """Return the row of an object, whatever its score; -1 if none."""
        if key is None:
            return -1
        label, image = key.label, key.image
        for place, row in enumerate(self.rows):
            if row.label == label and row.image == image:
                return place
        return -1


class UncertainTable(ObjectTable):
    """Table of objects to review; `chosen` emits the `UncertainObject`.

    Attributes
    ----------
    accepted, dropped : Signal()
        Emitted when Enter or Delete is pressed.
    """

    accepted = Signal()
    dropped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._model = _UncertainModel()
        # objects as they were shown last; None since one was taken out
        self._listed: Sequence[UncertainObject] | None = None
        self.list_objects(self._model, 0, LIST_ROWS, low=True)
        self.fix_columns()
        header: Any = self.horizontalHeader()
        # bold titles are wider
        header.setHighlightSections(False)
        header.setSectionResizeMode(IMAGE, QHeaderView.ResizeMode.Stretch)
        self.setAccessibleName('Objects of all images, least certain first')

    def __len__(self) -> int:
        return len(self._model.rows)

    def fit_columns(self, *args: object) -> None:
        """Give the columns the width of their titles."""
        for column in range(IMAGE):
            self.setColumnWidth(column, self.title_width(column, PADDING))

    def show_objects(
        self, series: Series | None, found: Sequence[UncertainObject]
    ) -> None:
        """Show objects; the current one stays current if present."""
        if series is self._model.series and found is self._listed:
            # most saves change no score, and scrolling would start again
            return
        self._model.series, self._listed = series, found
        self._model.show(found)

    def take_out(self, gone: UncertainObject) -> UncertainObject | None:
        """Remove an object, and return the next one in the list.

        After the last one comes the first.
        """
        self._listed = None
        rows, place = self._model.rows, self._model.place_of(gone)
        if place >= 0:
            self._model.remove(place)
        if not rows:
            return None
        return rows[place % len(rows)] if place >= 0 else rows[0]

    def first(self) -> UncertainObject | None:
        """Return the first object in the list; None if it is empty."""
        return self._model.rows[0] if self._model.rows else None

    def text(self, row: int) -> tuple[str, ...]:
        """Return the texts of a row."""
        return tuple(
            str(self._model.data(self._model.index(row, column)))
            for column in range(len(HEADERS))
        )

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Accept with Enter, delete with Delete."""
        if event is not None and event.key() in ENTER:
            self.accepted.emit()
        elif event is not None and event.key() == Qt.Key.Key_Delete:
            self.dropped.emit()
        else:
            super().keyPressEvent(event)


def _number(value: float) -> str:
    return f'{value:.2f}' if math.isfinite(value) else ''
