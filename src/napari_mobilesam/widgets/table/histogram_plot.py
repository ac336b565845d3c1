"""Histogram of a column, with a brush that selects a range."""

from __future__ import annotations

from qtpy.QtCore import QRectF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_mobilesam.measure.table_columns import Histogram

BAR, CHOSEN, BRUSH = '#78909c', '#4fc3f7', QColor(79, 195, 247, 50)
MARGIN = 6
# Mouse movement in pixels that turns a click into a brush.
LEAST_DRAG = 3


class HistogramPlot(QWidget):
    """Bars of a histogram; dragging selects a range, a click clears it.

    Attributes
    ----------
    brushed : Signal(object)
        Selected ``(low, high)``, or None.
    """

    brushed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.histogram: Histogram | None = None
        self.span: tuple[float, float] | None = None
        self._start: float | None = None
        self.setFixedHeight(110)
        self.setMinimumWidth(120)
        self.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
        )
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setToolTip('Drag to select objects; click to clear.')
        self.setAccessibleName('Histogram of a column')

    def show_histogram(self, histogram: Histogram | None) -> None:
        """Show another histogram with nothing selected."""
        self.histogram, self.span = histogram, None
        self.update()

    def select(self, span: tuple[float, float] | None) -> None:
        """Show a range as selected, without emitting `brushed`."""
        self.span = span
        self.update()

    def place_of(self, value: float) -> float:
        """Return the horizontal pixel of a value."""
        assert self.histogram is not None
        low, high = self.histogram.span
        width = self.width() - 2 * MARGIN
        return MARGIN + width * (value - low) / (high - low)

    def value_at(self, x: float) -> float:
        """Return the value at a horizontal pixel, within the histogram."""
        assert self.histogram is not None
        low, high = self.histogram.span
        width = self.width() - 2 * MARGIN
        part = min(1.0, max(0.0, (x - MARGIN) / width))
        return low + part * (high - low)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Start a brush."""
        if (
            event is not None
            and self.histogram is not None
            and event.button() == Qt.MouseButton.LeftButton
        ):
            self._start = event.position().x()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Extend the brush."""
        if event is None or self._start is None or self.histogram is None:
            return
        here = event.position().x()
        if abs(here - self._start) < LEAST_DRAG and self.span is None:
            return
        ends = sorted((self.value_at(self._start), self.value_at(here)))
        self._tell((ends[0], ends[1]))

    def mouseReleaseEvent(  # noqa: N802
        self, event: QMouseEvent | None
    ) -> None:
        """End the brush; a click clears it."""
        if event is None or self._start is None:
            return
        moved = abs(event.position().x() - self._start)
        self._start = None
        if moved < LEAST_DRAG:
            self._tell(None)

    def _tell(self, span: tuple[float, float] | None) -> None:
        if span != self.span:
            self.span = span
            self.update()
            self.brushed.emit(span)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        """Draw bars, brush and axis labels."""
        found = self.histogram
        if found is None:
            return
        painter = QPainter(self)
        line = self.fontMetrics().lineSpacing()
        height = self.height() - line - 4
        most = max(1, int(found.counts.max()))
        for number, count in enumerate(found.counts.tolist()):
            left = self.place_of(float(found.edges[number]))
            right = self.place_of(float(found.edges[number + 1]))
            # a few objects among thousands must be visible, too
            tall = 0 if count == 0 else max(2, height * count / most)
            middle = (found.edges[number] + found.edges[number + 1]) / 2
            inside = self.span is not None and (
                self.span[0] <= middle <= self.span[1]
            )
            painter.fillRect(
                QRectF(left, height - tall, max(1, right - left - 1), tall),
                QColor(CHOSEN if inside else BAR),
            )
        if self.span is not None:
            # a range set by a script may end far beyond the objects
            left, right = (
                min(max(self.place_of(value), -1), self.width() + 1)
                for value in self.span
            )
            painter.fillRect(QRectF(left, 0, right - left, height), BRUSH)
            painter.setPen(QPen(QColor(CHOSEN), 1))
            for x in (left, right):
                painter.drawLine(round(x), 0, round(x), round(height))
        color = QColor(self.palette().text().color())
        color.setAlpha(170)
        painter.setPen(color)
        below = QRectF(MARGIN, height + 2, self.width() - 2 * MARGIN, line)
        self._draw_texts(painter, below, axis_texts(found))
        painter.end()

    def _draw_texts(
        self, painter: QPainter, below: QRectF, texts: tuple[str, str, str]
    ) -> None:
        """Draw the texts below the axis, the one in the middle if it fits."""
        low, highest, high = texts
        width = self.fontMetrics().horizontalAdvance
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, low)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, high)
        between = below.adjusted(width(f'{low}  '), 0, -width(f'  {high}'), 0)
        # without “objects” in a narrow dock
        for text in (highest, highest.rpartition(' ')[0]):
            if width(text) <= between.width():
                painter.drawText(between, Qt.AlignmentFlag.AlignHCenter, text)
                break


def axis_texts(found: Histogram) -> tuple[str, str, str]:
    """Return minimum, height of the highest bar, and maximum, as text."""
    low, high = (_number(value) for value in found.extremes)
    most = int(found.counts.max())
    objects = 'object' if most == 1 else 'objects'
    return low, f'highest bar: {most:,} {objects}', high


def _number(value: float) -> str:
    if value.is_integer() or abs(value) >= 10_000:
        return f'{value:,.0f}'
    return f'{value:.4g}'
