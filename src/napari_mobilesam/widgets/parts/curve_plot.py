"""Two small curves over time: validation IoU and loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

IOU_COLOUR = '#4fc3f7'
LOSS_COLOUR = '#ffb74d'
# opacity of ticks and frames (0 to 255), and width of the dash of a title
FAINT, DASH = 190, 14


@dataclass
class Curve:
    """Points of one curve, and how to draw it.

    Attributes
    ----------
    title, colour : str
        Name and colour.
    span : float
        Minimum height of the axis, so that noise looks small.
    marks : bool
        Draw a dot at each point.
    highest : float
        Highest possible value, at which the axis ends.
    points : list of tuple of float
        Minutes and values.
    """

    title: str
    colour: str
    span: float
    marks: bool
    highest: float = math.inf
    points: list[tuple[float, float]] = field(default_factory=list)

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper end of the axis."""
        values = [value for _, value in self.points] or [0.0]
        low, high = min(values), max(values)
        spare = max(0.0, self.span - (high - low)) / 2 + 0.05 * (high - low)
        return max(0.0, low - spare), min(high + spare, self.highest)


class CurvePlot(QWidget):
    """Validation IoU (top) and loss (bottom) over the budgeted minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.iou = Curve('Validation IoU', IOU_COLOUR, 0.1, True, 1.0)
        self.loss = Curve('Loss', LOSS_COLOUR, 0.2, False)
        self._minutes = 0.0
        self.setMinimumHeight(200)
        self.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
        )
        self.setAccessibleName('Loss and validation IoU over time')

    def start(self, minutes: float) -> None:
        """Start empty curves over a budget."""
        self._minutes = minutes
        self.iou.points.clear()
        self.loss.points.clear()
        self.update()

    def add_iou(self, minutes: float, value: float) -> None:
        """Add a validation."""
        self._add(self.iou, minutes, value)

    def add_loss(self, minutes: float, value: float) -> None:
        """Add a loss."""
        self._add(self.loss, minutes, value)

    def _add(self, curve: Curve, minutes: float, value: float) -> None:
        # NaN and infinity cannot be placed on an axis
        if value - value == 0:
            curve.points.append((minutes, value))
            self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        """Draw both curves."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line = self.fontMetrics().lineSpacing()
        left = self.fontMetrics().horizontalAdvance('0.00') + 6
        half = (self.height() - line) / 2
        seen = [p[0] for c in (self.iou, self.loss) for p in c.points]
        end = max(self._minutes, *seen, 0.01) if seen else self._minutes
        for number, curve in enumerate((self.iou, self.loss)):
            area = QRectF(
                left,
                number * half + line + 2,
                self.width() - left - 6,
                half - line - 12,
            )
            self._draw(painter, curve, area, end)
        painter.setPen(self._faint())
        bottom = QRectF(left, 2 * half, self.width() - left - 6, line)
        painter.drawText(bottom, Qt.AlignmentFlag.AlignLeft, '0')
        painter.drawText(bottom, Qt.AlignmentFlag.AlignRight, f'{end:.3g} min')
        painter.end()

    def _faint(self) -> QColor:
        colour = QColor(self.palette().text().color())
        colour.setAlpha(FAINT)
        return colour

    def _draw(
        self, painter: QPainter, curve: Curve, area: QRectF, end: float
    ) -> None:
        low, high = curve.limits
        text = curve.title
        if curve.points:
            text += f'  {curve.points[-1][1]:.3f}'
        head = area.adjusted(0, -self.fontMetrics().lineSpacing() - 2, 0, 0)
        # a dash in the colour of the curve, and text in a readable one
        middle = head.top() + self.fontMetrics().height() / 2
        painter.setPen(QPen(QColor(curve.colour), 3))
        painter.drawLine(
            QPointF(head.left(), middle), QPointF(head.left() + DASH, middle)
        )
        painter.setPen(self.palette().text().color())
        painter.drawText(
            head.adjusted(DASH + 6, 0, 0, 0), Qt.AlignmentFlag.AlignLeft, text
        )
        painter.setPen(QPen(self._faint(), 1))
        painter.drawRect(area)
        if not curve.points:
            return
        ticks = QRectF(0, area.top(), area.left() - 4, area.height())
        right = Qt.AlignmentFlag.AlignRight
        painter.drawText(ticks, right | Qt.AlignmentFlag.AlignTop, _tick(high))
        painter.drawText(
            ticks, right | Qt.AlignmentFlag.AlignBottom, _tick(low)
        )
        places = [
            QPointF(
                area.left() + area.width() * minutes / end,
                area.bottom() - area.height() * (value - low) / (high - low),
            )
            for minutes, value in curve.points
        ]
        if curve.marks:
            # the initial value, to show the improvement
            start = places[0].y()
            painter.setPen(QPen(self._faint(), 1, Qt.PenStyle.DashLine))
            painter.drawLine(
                QPointF(area.left(), start), QPointF(area.right(), start)
            )
        painter.setPen(QPen(QColor(curve.colour), 1.5))
        painter.drawPolyline(QPolygonF(places))
        if curve.marks:
            painter.setBrush(QColor(curve.colour))
            for place in places:
                painter.drawEllipse(place, 2.5, 2.5)
            painter.setBrush(Qt.BrushStyle.NoBrush)


def _tick(value: float) -> str:
    return f'{value:.2f}' if value < 10 else f'{value:.0f}'
