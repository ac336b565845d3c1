"""Text that may be an error, readable on any background."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent
from qtpy.QtGui import QColor, QPalette, QShowEvent
from qtpy.QtWidgets import QLabel, QWidget

CHANGES = (QEvent.Type.StyleChange, QEvent.Type.PaletteChange)
# for dark and light backgrounds, with a contrast of at least 4.5 : 1 in
# napari's themes
ERROR = '#ff8a80', '#a31515'
GOOD = '#66bb6a', '#1b5e20'
WARNING = '#ffb74d', '#7a4100'


class MessageLabel(QLabel):
    """Wrapped text, in the error colour if it is an error.

    Attributes
    ----------
    failed : bool
        Whether the text is an error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failed = False
        self.setWordWrap(True)

    def show_message(self, text: str, failed: bool = False) -> None:
        """Show a text.

        Parameters
        ----------
        text : str
            The text.
        failed : bool
            Whether it is an error.
        """
        self.failed = failed
        self.setText(text)
        self._show_color()

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() in CHANGES:
            self._show_color()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Apply the theme, which a widget has once it is shown."""
        super().showEvent(event)
        self._show_color()

    def _show_color(self) -> None:
        style = ''
        if self.failed:
            style = f'color: {readable(ERROR, background_of(self))};'
        # setting a style emits a style change
        if style != self.styleSheet():
            self.setStyleSheet(style)


def background_of(widget: QWidget) -> QColor:
    """Return the background colour of a widget in its theme."""
    # its own palette may hold the colour of an error
    parent = widget.parentWidget() or widget
    return parent.palette().color(QPalette.ColorRole.Window)


def readable(colors: Sequence[str], background: QColor) -> str:
    """Return which of some colours is most readable on a background."""
    return max(colors, key=lambda color: contrast(QColor(color), background))


def contrast(one: QColor, other: QColor) -> float:
    """Return the contrast ratio of two colours, from 1 to 21 (WCAG 2)."""
    low, high = sorted(_luminance(color) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: QColor) -> float:
    red, green, blue = (
        channel / 12.92
        if channel <= 0.04045
        else ((channel + 0.055) / 1.055) ** 2.4
        for channel in (color.redF(), color.greenF(), color.blueF())
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
