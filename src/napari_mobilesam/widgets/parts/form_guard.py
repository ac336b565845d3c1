"""Protection of a form's controls from accidental wheel and key input."""

from __future__ import annotations

from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QScrollBar,
    QWidget,
)

CONTROLS = QAbstractSpinBox, QComboBox, QAbstractSlider


class FormGuard(QObject):
    """Let the wheel change only a number that was clicked or tabbed to.

    Over any other control, the wheel scrolls the form; it never changes a
    combo box, nor a slider, which keeps the focus after it was dragged. In a
    decimal number, both comma and point serve as the decimal point: Qt would
    take the other one for a thousands separator, and 12,5 for 125. Controls
    added later are guarded, too.

    Parameters
    ----------
    form : QWidget
        Widget with the controls.
    """

    def __init__(self, form: QWidget) -> None:
        super().__init__(form)
        form.installEventFilter(self)
        self._guard(form)

    def _guard(self, form: QObject) -> None:
        for kind in CONTROLS:
            for control in form.findChildren(kind):
                if isinstance(control, QScrollBar):
                    continue
                if control.property('guarded'):
                    continue
                control.setProperty('guarded', True)
                if isinstance(control, QComboBox) and not control.isEditable():
                    # a click leaves the focus on the canvas: a shortcut of the
                    # plugin would otherwise select an entry starting with that
                    # letter
                    control.setFocusPolicy(Qt.FocusPolicy.TabFocus)
                elif control.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                    control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                control.installEventFilter(self)

    def eventFilter(  # noqa: N802 - name of Qt
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Redirect the wheel, and accept a comma as decimal point."""
        assert event is not None
        kind = event.type()
        # no attribute of its own: PySide6 still sends events while Python
        # deletes this object
        if watched is not None and watched is self.parent():
            if kind in (QEvent.Type.LayoutRequest, QEvent.Type.Show):
                self._guard(watched)
            return False
        if kind == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            return _typed_as_point(watched, event)
        if kind != QEvent.Type.Wheel:
            return False
        assert isinstance(watched, QWidget)
        if watched.hasFocus() and isinstance(watched, QAbstractSpinBox):
            return False
        event.ignore()
        return True


def _typed_as_point(watched: QObject | None, event: QKeyEvent) -> bool:
    """Type the decimal point of the locale instead of the other one."""
    if not isinstance(watched, QDoubleSpinBox):
        return False
    point = watched.locale().decimalPoint()
    if event.text() not in (',', '.') or event.text() == point:
        return False
    typed = QKeyEvent(event.type(), event.key(), event.modifiers(), point)
    QCoreApplication.sendEvent(watched, typed)
    return True
