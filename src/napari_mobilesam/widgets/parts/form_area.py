"""The parts of a form that scroll: always, or in a low window only."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QFrame,
    QLayout,
    QScrollArea,
    QSizePolicy,
    QWidget,
)

from napari_mobilesam.widgets.parts.delayed_call import DelayedCall

# events after which a widget may have another font
FONT_CHANGES = (QEvent.Type.FontChange, QEvent.Type.StyleChange)

# height that is left to the top of a form in a low window, in pixels
LEAST_TOP = 120


class FormTop(QScrollArea):
    """Top of a form, which is cut and scrolls only in a low window.

    Parameters
    ----------
    contents : QLayout
        Layout of the controls.
    """

    def __init__(self, contents: QLayout) -> None:
        super().__init__()
        self._contents = QWidget()
        self._contents.setLayout(contents)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(
            Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        )
        policy = QSizePolicy.Policy
        self.setSizePolicy(policy.Preferred, policy.Maximum)
        self.setWidget(self._contents)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Request the height of the contents at the present width."""
        hint = self._contents.sizeHint()
        inside = self.maximumViewportSize()
        if self._contents.hasHeightForWidth():
            hint.setHeight(self._contents.heightForWidth(inside.width()))
        # the style of napari adds a border
        return hint + (self.size() - inside)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Allow less height than the contents need."""
        width = self._contents.minimumSizeHint().width()
        return QSize(width, min(LEAST_TOP, self.sizeHint().height()))

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Request another height, since texts wrap otherwise."""
        super().resizeEvent(event)
        if event is not None and event.oldSize().width() != self.width():
            self.updateGeometry()

    def eventFilter(  # noqa: N802
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Request another height when the contents change."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


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
