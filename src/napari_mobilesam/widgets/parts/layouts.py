"""Controls beside each other, below each other, and in two columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from qtpy.QtWidgets import (
    QBoxLayout,
    QGridLayout,
    QHBoxLayout,
    QLayout,
    QVBoxLayout,
    QWidget,
)

Part = QWidget | QLayout
# in which every text of a dock fits in a window of 1366 pixels
DOCK_WIDTH = 316
Box = TypeVar('Box', bound=QBoxLayout)


def row(*parts: Part, spacing: int | None = None) -> QHBoxLayout:
    """Return parts beside each other."""
    return _filled(QHBoxLayout(), parts, spacing)


def column(*parts: Part, spacing: int | None = None) -> QVBoxLayout:
    """Return parts below each other."""
    return _filled(QVBoxLayout(), parts, spacing)


def stack(
    widget: QWidget, *parts: Part, spacing: int | None = None
) -> QVBoxLayout:
    """Fill a widget, up to its edges, with parts below each other."""
    layout = _filled(QVBoxLayout(widget), parts, spacing)
    layout.setContentsMargins(0, 0, 0, 0)
    return layout


def two_columns(
    *rows: Sequence[QWidget], spacing: int | None = 4
) -> QGridLayout:
    """Return rows of two widgets, or of one as wide as both."""
    grid = QGridLayout()
    if spacing is not None:
        grid.setSpacing(spacing)
    for number, widgets in enumerate(rows):
        for place, widget in enumerate(widgets):
            grid.addWidget(widget, number, place, 1, 3 - len(widgets))
    return grid


def _filled(layout: Box, parts: Sequence[Part], spacing: int | None) -> Box:
    if spacing is not None:
        layout.setSpacing(spacing)
    for part in parts:
        if isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)
    return layout
