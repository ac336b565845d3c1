"""Table of the objects of labels, least certain first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from qtpy.QtGui import QResizeEvent

from napari_mobilesam.widgets.parts.object_list import (
    ObjectListModel,
    ObjectTable,
)

HEADERS = ('Object', 'Score', 'Stability', 'Area', 'State')
TIPS = (
    'Label of the object.',
    'Predicted IoU with the true object.',
    'Stability score of the mask.',
    'Area in pixels, over all planes.',
    'Kept objects stay, whatever the filters.',
)
LIST_ROWS = 6
# column of the area, and an area value for its width
AREA, LARGE_AREA = HEADERS.index('Area'), '88888'
# beside the text of a column
PADDING = 8


class ReviewRow(NamedTuple):
    """Row of one object."""

    number: int
    score: float
    stability: float
    area: int
    state: str


class _ReviewModel(ObjectListModel):
    """Rows of type `ReviewRow`."""

    def __init__(self) -> None:
        super().__init__(HEADERS, TIPS)

    def sort_key(self, column: int) -> Callable[[ReviewRow], Any]:
        """Return the key to sort rows by; unknown scores come last."""
        return lambda row: (_known(row[column]), row.number)


def _known(value: Any) -> Any:
    """Sort NaN after all numbers."""
    unknown = isinstance(value, float) and math.isnan(value)
    return math.inf if unknown else value


class ReviewTable(ObjectTable):
    """Table of objects that can be sorted and chosen by number."""

    def __init__(self) -> None:
        super().__init__()
        self._model = _ReviewModel()
        self.list_objects(self._model, 1, LIST_ROWS)
        self.fix_columns()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Give the columns the width of the table."""
        super().resizeEvent(event)
        self.fit_columns()

    def fit_columns(self, *args: object) -> None:
        """Share the width of the table among the columns."""
        widths = [self.title_width(n, PADDING) for n in range(len(HEADERS))]
        area = self.fontMetrics().horizontalAdvance(LARGE_AREA) + PADDING
        widths[AREA] = max(widths[AREA], area)
        viewport: Any = self.viewport()
        spare = max(0, viewport.width() - sum(widths)) // len(widths)
        for column, width in enumerate(widths):
            self.setColumnWidth(column, width + spare)

    def show_rows(self, rows: list[ReviewRow], current: int) -> None:
        """Replace the rows, and choose the row of an object."""
        self._current = current
        self._model.show(rows)
