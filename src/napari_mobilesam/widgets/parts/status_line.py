"""A one-sentence status, and a progress bar."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from qtpy.QtCore import QEvent, QSize, Qt, QTimer
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QFrame,
    QLabel,
    QProgressBar,
    QScrollArea,
    QScrollBar,
    QSizePolicy,
    QWidget,
)

from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.layouts import stack
from napari_mobilesam.widgets.parts.message_label import MessageLabel

# Time per half swing of the progress bar while the end of the work is unknown.
SWING_MS = 600
# Pixels above and below the text of a label in napari's themes, with some
# margin.
PADDING = 16


class _TextArea(QScrollArea):
    """Area as tall as its wrapped text if there is room; otherwise it scrolls.

    A plain label would take height away from the buttons of a low form.
    """

    def __init__(self, label: QLabel) -> None:
        super().__init__()
        self._label = label
        self.setWidget(label)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum
        )
        self.setHorizontalScrollBarPolicy(
            Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        )

    def show_start(self) -> None:
        """Scroll to the start of a new text."""
        self.updateGeometry()
        self._bar.setValue(0)

    @property
    def _bar(self) -> QScrollBar:
        bar = self.verticalScrollBar()
        assert bar is not None
        return bar

    @property
    def _frame(self) -> int:
        """Height of the frame in the theme."""
        return self.height() - self.maximumViewportSize().height()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Request the height of the text."""
        # next to the scroll bar, which would otherwise stay
        width = self.width() - self._bar.sizeHint().width()
        needed = self._label.heightForWidth(width) + self._frame
        least = self.minimumSizeHint()
        return QSize(least.width(), max(needed, least.height()))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Always request three lines, so that buttons do not move."""
        lines = 3 * self._label.fontMetrics().lineSpacing()
        height = lines + PADDING + self._frame
        return QSize(super().minimumSizeHint().width(), height)

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802
        """Follow the font, which napari sets after the form is created."""
        super().changeEvent(event)
        self.updateGeometry()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Wrap the text to another width."""
        super().resizeEvent(event)
        self.updateGeometry()


class StatusLine(QWidget):
    """A one-sentence status, and a progress bar."""

    def __init__(self) -> None:
        super().__init__()
        self._keep = False
        self._from_right = False
        self.label = MessageLabel()
        self.label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.label.setAlignment(
            Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        )
        self._area = _TextArea(self.label)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        keep = self.bar.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(keep)
        self.bar.hide()
        self._swing = QTimer(self)
        self._swing.setInterval(SWING_MS)
        self._swing.timeout.connect(self._swing_bar)
        stack(self, self.bar, self._area, spacing=4)

    @property
    def text(self) -> str:
        """The sentence shown."""
        return str(self.label.text())

    @property
    def busy(self) -> bool:
        """True while work is in progress."""
        return not self.bar.isHidden()

    @property
    def kept(self) -> bool:
        """True if background messages must not replace the sentence."""
        return self._keep or self.failed

    @property
    def failed(self) -> bool:
        """True if an error is shown."""
        return self.label.failed

    def say(self, text: str, busy: bool = False, keep: bool = False) -> None:
        """Show a sentence.

        Parameters
        ----------
        text : str
            The sentence.
        busy : bool
            Also show the progress bar.
        keep : bool
            Whether only a response to the user's next action may replace it;
            see `kept`.
        """
        self._keep = keep
        self.label.show_message(text)
        self._area.show_start()
        if busy and self.bar.isHidden():
            self.show_progress(0, 0)
        elif not busy:
            self.hide_progress()

    def fail(self, text: str) -> None:
        """Show an error."""
        self.say(text)
        self.label.show_message(text, failed=True)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Show a `SegmentationError` raised in this context, and continue."""
        try:
            yield
        except SegmentationError as error:
            self.fail(str(error))

    def show_progress(self, done: int, total: int) -> None:
        """Show progress; a total of 0 means unknown.

        In that case the left and right halves of the bar are filled in turn,
        because Qt's own animation redraws the whole dock thirty times a
        second, which occupies a processor on machines without a graphics card.
        """
        if total:
            self._swing.stop()
            self._fill_from_right(False)
        elif not self._swing.isActive():
            self._swing.start()
        # Qt would paint the bar at once, and with it napari's canvas, which is
        # not ready for that while layers come and go
        self.bar.setUpdatesEnabled(False)
        self.bar.setRange(0, total or 2)
        self.bar.setValue(done if total else 1)
        self.bar.setUpdatesEnabled(True)
        self.bar.show()

    def hide_progress(self) -> None:
        """Show that no work is in progress."""
        self._swing.stop()
        self.bar.hide()

    def _swing_bar(self) -> None:
        self._fill_from_right(not self._from_right)

    def _fill_from_right(self, right: bool) -> None:
        self._from_right = right
        self.bar.setInvertedAppearance(right)
