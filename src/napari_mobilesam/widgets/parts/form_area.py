"""The scrolling part of a form."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QWidget

from napari_mobilesam.widgets.parts.delayed_call import DelayedCall

# events after which a widget may have another font
FONT_CHANGES = (QEvent.Type.FontChange, QEvent.Type.StyleChange)


class FormArea(QScrollArea):
    """Scroll area as wide as its contents need in the current font.

    Parameters
    ----------
    contents : QWidget
        Part of a form.
    """

    def __init__(self, contents: QWidget) -> None:
        super().__init__()
        self._contents = contents
        # once the contents also have the new font
        self._follow_font = DelayedCall(self._fit, parent=self)
        self.setWidgetResizable(True)
        # its contents take the focus and are scrolled into view
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(
            Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        )
        self.setWidget(contents)
        self.setMinimumHeight(60)
        self._least_width = self._needed + self._bar_width
        self.setMinimumWidth(self._least_width)

    @property
    def _needed(self) -> int:
        return self._contents.minimumSizeHint().width()

    @property
    def _bar_width(self) -> int:
        bar = self.verticalScrollBar()
        assert bar is not None
        return bar.sizeHint().width()

    def _fit(self) -> None:
        """Widen if the contents need it in a larger font."""
        policy, width = Qt.ScrollBarPolicy.ScrollBarAlwaysOff, self._needed
        if width > self._least_width:
            # if the window has no room for that
            policy = Qt.ScrollBarPolicy.ScrollBarAsNeeded
            border = self.width() - self.maximumViewportSize().width()
            width += self._bar_width + border
        self.setHorizontalScrollBarPolicy(policy)
        self.setMinimumWidth(max(width, self._least_width))

    def sizeHint(self) -> QSize:  # noqa: N802
        """Request the minimum height; it gets what others do not need."""
        return QSize(super().sizeHint().width(), self.minimumHeight())

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: A002, N802
        """Move the focus, but keep the view if its button is disabled.

        Otherwise a form would scroll when a button starts a run.
        """
        window = self.window()
        focused = None if window is None else window.focusWidget()
        if focused is not None and not focused.isEnabled():
            return False
        return bool(super().focusNextPrevChild(next))

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802
        """Follow the font, which napari sets after the form is created."""
        super().changeEvent(event)
        if event is not None and event.type() in FONT_CHANGES:
            self._follow_font.restart()
