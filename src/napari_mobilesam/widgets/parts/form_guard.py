"""Wheel and keys in the controls of a form, which change no value unasked."""

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
    """Lets the wheel change only the number that was clicked or tabbed to.

    Over any other control, it scrolls the form; it never makes a choice in a
    combo box. In a number with decimals, comma and point both are the decimal
    point: Qt takes the one that the locale does not use for a separator of
    thousands, and 12,5 for 125. Controls that are added later are guarded as
    well.

    Parameters
    ----------
    form : QWidget
        Widget with the controls.
    """

    def __init__(self, form: QWidget) -> None:
        super().__init__(form)
        self._form = form
        form.installEventFilter(self)
        self._guard()

    def _guard(self) -> None:
        for kind in CONTROLS:
            for control in self._form.findChildren(kind):
                if isinstance(control, QScrollBar):
                    continue
                if control.property('guarded'):
                    continue
                control.setProperty('guarded', True)
                if isinstance(control, QComboBox) and not control.isEditable():
                    # a click leaves the keyboard to the canvas: a key of the
                    # plugin would choose an entry that begins so
                    control.setFocusPolicy(Qt.FocusPolicy.TabFocus)
                elif control.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                    control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                control.installEventFilter(self)

    def eventFilter(  # noqa: N802 - name of Qt
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Pass on the wheel, and a comma as a decimal point."""
        assert event is not None
        kind = event.type()
        if watched is self._form:
            if kind in (QEvent.Type.LayoutRequest, QEvent.Type.Show):
                self._guard()
            return False
        if kind == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            return _typed_as_point(watched, event)
        if kind != QEvent.Type.Wheel:
            return False
        assert isinstance(watched, QWidget)
        if watched.hasFocus() and not isinstance(watched, QComboBox):
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
