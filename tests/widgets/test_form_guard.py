"""Wheel and keys in the controls of a form."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QLocale, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_mobilesam.widgets.parts.controls import scrollable
from napari_mobilesam.widgets.parts.status_line import StatusLine


def turn_wheel(widget):
    """Turn the wheel over a widget; return whether the widget took it."""
    middle = QPointF(widget.rect().center())
    event = QWheelEvent(
        middle,
        QPointF(widget.mapToGlobal(middle.toPoint())),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)
    # Qt passes on to the form what is not accepted, if the system sent it
    return event.isAccepted()


@pytest.fixture
def form(qtbot):
    """Form of some controls, taller than its window."""
    rows = QVBoxLayout()
    form = QWidget()
    qtbot.addWidget(form)
    form.spin, form.combo, form.slider = QSpinBox(), QComboBox(), QSlider()
    form.combo.addItems(['one', 'two', 'three'])
    for control in (form.spin, form.combo, form.slider):
        rows.addWidget(control)
    for number in range(40):
        rows.addWidget(QLabel(str(number)))
    form.rows = rows
    top, form.fixed = QVBoxLayout(), QSpinBox()
    top.addWidget(form.fixed)
    scrollable(form, rows, StatusLine(), top)
    form.resize(320, 300)
    form.show()
    qtbot.waitExposed(form)
    form.spin.setValue(50)
    form.fixed.setValue(50)
    form.slider.setValue(50)
    form.combo.setCurrentIndex(1)
    return form


def values(form):
    return form.spin.value(), form.combo.currentIndex(), form.slider.value()


@pytest.mark.parametrize('name', ['spin', 'combo', 'slider'])
def test_the_wheel_scrolls_a_form_and_changes_no_value(form, name):
    assert not turn_wheel(getattr(form, name))
    assert values(form) == (50, 1, 50)


def test_controls_that_do_not_scroll_are_guarded(form):
    assert not turn_wheel(form.fixed)
    assert form.fixed.value() == 50


def test_the_wheel_changes_the_number_that_has_the_focus(form, qtbot):
    form.activateWindow()
    form.spin.setFocus()
    qtbot.waitUntil(form.spin.hasFocus)
    assert turn_wheel(form.spin)
    assert form.spin.value() < 50


@pytest.mark.parametrize('name', ['combo', 'slider'])
def test_the_wheel_changes_no_other_control(form, qtbot, name):
    control = getattr(form, name)
    form.activateWindow()
    control.setFocus()
    qtbot.waitUntil(control.hasFocus)
    assert not turn_wheel(control)
    assert values(form) == (50, 1, 50)


def test_controls_that_are_added_later_are_guarded(form, qtbot):
    late = QSpinBox()
    late.setValue(50)
    form.rows.insertWidget(0, late)
    qtbot.waitUntil(lambda: bool(late.property('guarded')))
    turn_wheel(late)
    assert late.value() == 50


@pytest.mark.parametrize('typed', ['12,5', '12.5'])
@pytest.mark.parametrize('language', ['English', 'German'])
def test_comma_and_point_are_decimal_points(form, qtbot, language, typed):
    number = QDoubleSpinBox()
    number.setMaximum(10_000)
    number.setLocale(QLocale(getattr(QLocale.Language, language)))
    form.rows.insertWidget(0, number)
    qtbot.waitUntil(lambda: bool(number.property('guarded')))
    number.selectAll()
    qtbot.keyClicks(number, typed)
    assert number.value() == 12.5
