"""Building blocks of the forms."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_mobilesam.settings import Settings
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.everything.filter_panel import FilterPanel
from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.controls import explain_rows, scrollable
from napari_mobilesam.widgets.parts.form_area import FormArea, FormTop
from napari_mobilesam.widgets.parts.status_line import SWING_MS, StatusLine
from napari_mobilesam.widgets.prompts.settings_box import SettingsBox

NAME = 'napari_mobilesam.widgets'


@pytest.mark.parametrize(
    'folder',
    [
        'everything',
        'parts',
        'prompts',
        'refine',
        'series',
        'table',
        'track',
        'training',
        'viewer',
    ],
)
def test_classes_inherit_at_most_one_of_ours(folder):
    """Forms are composed of parts, not built on top of each other."""
    package = importlib.import_module(f'{NAME}.{folder}')
    seen = 0
    for module in pkgutil.iter_modules(package.__path__, f'{NAME}.{folder}.'):
        for _, found in inspect.getmembers(
            importlib.import_module(module.name), inspect.isclass
        ):
            ours = [c for c in found.__mro__ if c.__module__.startswith(NAME)]
            assert len(ours) <= 2, ours
            seen += bool(ours)
    assert seen


def test_labels_of_rows_have_tool_tips(qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    form = QFormLayout(widget)
    form.addRow('Labels', QComboBox())
    form.addRow(QLabel('Image'), QComboBox())
    form.addRow(QComboBox())
    explain_rows(form, {'Labels': 'one', 'Image': 'two', 'Points': 'three'})
    tips = [label.toolTip() for label in widget.findChildren(QLabel)]
    assert sorted(tips) == ['one', 'two']


def test_sliders_of_filters_have_room_in_a_narrow_dock(qtbot):
    panel = FilterPanel()
    qtbot.addWidget(panel)
    panel.area.set_extent((10, 123_456))
    panel.resize(270, panel.sizeHint().height())
    panel.show()
    assert panel.area.width() > 200


def test_sections_in_sections_are_not_cut_off(qtbot):
    inner = QWidget()
    rows = QVBoxLayout(inner)
    for number in range(12):
        rows.addWidget(QLabel(str(number)))
    keys = CollapsibleSection('Keys', inner)
    outer = QWidget()
    QVBoxLayout(outer).addWidget(keys)
    section = CollapsibleSection('Settings', outer)
    qtbot.addWidget(section)
    section.resize(320, 800)
    section.show()
    assert not outer.isVisible()
    section.toggleButton().click()
    assert outer.isVisible()
    assert not inner.isVisible()
    keys.toggleButton().click()
    qtbot.waitUntil(lambda: inner.height() >= inner.sizeHint().height())
    section.toggleButton().click()
    assert not inner.isVisible()
    assert section.text().endswith('Settings')


def test_errors_go_to_the_status_line(qtbot):
    status = StatusLine()
    qtbot.addWidget(status)
    with status.errors():
        raise ImageError('no image')
    assert status.failed
    assert status.text == 'no image'
    with pytest.raises(ZeroDivisionError), status.errors():
        _ = 1 / 0


@pytest.mark.slow
def test_the_bar_is_drawn_seldom_while_the_end_is_unknown(qtbot):
    status = StatusLine()
    qtbot.addWidget(status)
    drawn = []

    class Counter(QObject):
        def eventFilter(self, watched, event):  # noqa: N802 - Qt's name
            if event.type() == QEvent.Type.Paint:
                drawn.append(watched)
            return False

    counter = Counter()
    status.say('Loading …', busy=True)
    with qtbot.waitExposed(status):
        status.show()
    status.bar.installEventFilter(counter)
    qtbot.wait(3 * SWING_MS)
    assert 2 <= len(drawn) <= 6
    # not at once: the canvas would be drawn with it
    qtbot.wait(20)
    drawn.clear()
    status.show_progress(3, 7)
    status.show_progress(6, 7)
    assert not drawn
    qtbot.waitUntil(lambda: bool(drawn))
    status.show_progress(3, 7)
    assert (status.bar.value(), status.bar.maximum()) == (3, 7)
    status.say('Ready')
    assert not status.busy


def test_a_long_message_leaves_buttons_their_height(qtbot):
    form, status, button = QWidget(), StatusLine(), QPushButton('Accept')
    top, contents = QVBoxLayout(), QVBoxLayout()
    top.addWidget(button)
    contents.addWidget(QLabel('more'))
    scrollable(form, contents, status, top)
    qtbot.addWidget(form)
    form.resize(240, form.minimumSizeHint().height())
    form.show()
    status.say('A message that goes on. ' * 20)
    area = status.findChild(QScrollArea)
    qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() > 0)
    assert button.height() >= button.minimumSizeHint().height()
    # all of it is in view where there is room
    form.resize(240, 900)
    qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() == 0)
    assert area.height() >= status.label.heightForWidth(area.width())
    status.say('Ready')
    qtbot.waitUntil(lambda: area.height() == area.minimumSizeHint().height())


def test_a_form_does_not_scroll_when_its_button_is_disabled(qtbot):
    contents = QWidget()
    layout = QVBoxLayout(contents)
    run, below = QPushButton('Run'), QLineEdit()
    layout.addWidget(run)
    layout.addSpacing(400)
    layout.addWidget(below)
    area = FormArea(contents)
    qtbot.addWidget(area)
    area.resize(200, 100)
    area.show()
    run.setFocus()
    run.setEnabled(False)
    assert not below.hasFocus()
    assert area.verticalScrollBar().value() == 0
    run.setEnabled(True)
    run.setFocus()
    # the Tab key
    area.focusNextPrevChild(True)
    assert area.window().focusWidget() is below
    assert area.verticalScrollBar().value() > 0


def test_the_top_of_a_form_scrolls_only_in_a_low_window(qtbot):
    form, top, rows = QWidget(), QVBoxLayout(), QVBoxLayout()
    qtbot.addWidget(form)
    label = QLabel('several words that wrap ' * 4)
    label.setWordWrap(True)
    top.addWidget(label)
    for number in range(10):
        top.addWidget(QPushButton(str(number)))
    rows.addWidget(QLabel('rows'))
    scrollable(form, rows, StatusLine(), top)
    form.setStyleSheet('QScrollArea { border: 1px solid black }')
    area = form.findChild(FormTop)
    form.resize(300, 800)
    form.show()
    qtbot.waitExposed(form)
    bar = area.verticalScrollBar()
    qtbot.waitUntil(lambda: area.height() == area.sizeHint().height())
    assert not bar.isVisible()
    assert form.minimumSizeHint().height() < 300
    form.resize(300, 300)
    qtbot.waitUntil(bar.isVisible)
    assert form.height() == 300
    form.resize(300, 800)
    qtbot.waitUntil(lambda: not bar.isVisible())


def test_devices_that_are_not_there_cannot_be_chosen(qtbot):
    box = SettingsBox(Settings(device='mps'))
    qtbot.addWidget(box)
    box.offer_devices(['cuda', 'cpu'])
    combo = box.device_combo
    enabled = {
        combo.itemData(row)
        for row in range(combo.count())
        if combo.model().item(row).isEnabled()
    }
    assert enabled == {'auto', 'cuda', 'cpu'}
    # what the user has chosen is still shown
    assert combo.currentData() == 'mps'
