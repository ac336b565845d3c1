"""The dock in a real window: tabs, what is in view, text, colours."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from napari._app_model import get_app_model
from napari.layers import Labels
from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtGui import QColor, QPalette
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QApplication,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QStyle,
    QStyleOptionComboBox,
    QTabBar,
    QWidget,
)

from napari_mobilesam.settings import (
    Settings,
    load_settings,
    save_settings,
)
from napari_mobilesam.widgets import MobileSamDock, get_session, open_form
from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.controls import FOCUS_COLOR
from napari_mobilesam.widgets.parts.form_area import FormTop
from napari_mobilesam.widgets.parts.image_header import NO_DEVICE
from napari_mobilesam.widgets.parts.message_label import (
    background_of,
    contrast,
)
from napari_mobilesam.widgets.parts.model_box import ModelBox

from .conftest import Mouse

pytestmark = pytest.mark.window

INSIDE = (28, 32)
SMALL_SCREEN = (1366, 768)
NARROW = 320
THEMES = ['dark', pytest.param('light', marks=pytest.mark.slow)]
FORMS = ['prompts', 'everything', 'training']
MENU = {
    'segment_by_prompts': 'Prompts',
    'segment_everything': 'Everything',
    'fine_tune': 'Fine-tune',
}


def dock_in(viewer):
    (dock,) = (
        widget
        for widget in viewer.window.dock_widgets.values()
        if isinstance(widget, MobileSamDock)
    )
    return dock


def resize(d, width, height):
    d.viewer.window._qt_window.setGeometry(0, 0, width, height)
    QApplication.processEvents()


def place(widget, dock):
    """Rectangle of a widget in its dock."""
    return QRect(widget.mapTo(dock, QPoint(0, 0)), widget.size())


def scrolled(widget, dock):
    """True if a widget is in a part that scrolls here."""
    while widget is not dock:
        if isinstance(widget, FormTop):
            return widget.verticalScrollBar().maximum() > 0
        if isinstance(widget, QScrollArea):
            return True
        widget = widget.parentWidget()
    return False


def test_menu_entries_open_one_dock_at_their_tab(make_napari_viewer, oracle):
    viewer = make_napari_viewer()
    commands = get_app_model().commands
    docks = []
    for name, title in MENU.items():
        commands.execute_command(f'napari-mobilesam.{name}').result()
        docks.append(dock_in(viewer))
        assert docks[-1].tabs.tabText(docks[-1].tabs.currentIndex()) == title
    assert docks[0] is docks[1] is docks[2]


@pytest.fixture
def slow_imports(monkeypatch):
    """Modules of the dock are imported when this event is set."""
    go = threading.Event()
    module = 'napari_mobilesam.widgets.dock'
    monkeypatch.setattr(f'{module}.sys', SimpleNamespace(modules={}))
    monkeypatch.setattr(f'{module}.import_gently', lambda names: go.wait(60))
    yield go
    go.set()


def choose(entry):
    commands = get_app_model().commands
    name = f'napari-mobilesam.{entry}'
    if entry == 'dock' and name not in commands:
        # before napari 0.9
        name = 'napari-mobilesam:Segmentation'
    commands.execute_command(name).result()


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        QApplication.processEvents()
        assert time.monotonic() < end
        time.sleep(0.005)


def starting(viewer, pixels):
    """Viewer with an image, the image, and a dock that is still empty."""
    image = viewer.add_image(pixels)
    choose('segment_by_prompts')
    dock = dock_in(viewer)
    QApplication.processEvents()
    return viewer, image, dock


@pytest.mark.slow
def test_clicks_while_modules_are_imported_are_answered(
    make_napari_viewer, oracle, settle, blobs, slow_imports
):
    viewer, image, dock = starting(make_napari_viewer(), blobs)
    assert dock.pending
    Mouse(viewer).click(image, INSIDE)
    assert '1 click' in dock.findChild(QLabel).text()
    slow_imports.set()
    wait_for(lambda: not dock.pending)
    settle(get_session(viewer), dock)
    points = viewer.layers['prompts']
    assert points.data == pytest.approx(np.array([INSIDE]), abs=0.5)
    Mouse(viewer).key(Qt.Key.Key_W)
    settle(get_session(viewer), dock)
    assert viewer.layers['objects'].data[INSIDE] == 1


@pytest.mark.slow
def test_a_changed_key_accepts_while_modules_are_imported(
    make_napari_viewer, oracle, blobs, slow_imports
):
    save_settings(Settings(keys={'accept': 'F'}))
    viewer, image, dock = starting(make_napari_viewer(), blobs)
    mouse = Mouse(viewer)
    mouse.click(image, INSIDE)
    mouse.key(Qt.Key.Key_W)
    assert 'accepted' not in dock.findChild(QLabel).text()
    mouse.key(Qt.Key.Key_F)
    assert '1 object accepted' in dock.findChild(QLabel).text()


@pytest.mark.slow
def test_clicks_accepted_while_modules_are_imported_are_of_two_objects(
    make_napari_viewer, oracle, settle, blobs, slow_imports
):
    viewer, image, dock = starting(make_napari_viewer(), blobs)
    mouse, other = Mouse(viewer), (66, 90)
    mouse.key(Qt.Key.Key_W)
    for place in INSIDE, other:
        mouse.click(image, place)
        mouse.key(Qt.Key.Key_W)
    text = dock.findChild(QLabel).text()
    assert '2 clicks' in text
    assert '2 objects accepted' in text
    slow_imports.set()
    wait_for(lambda: not dock.pending)
    settle(get_session(viewer), dock)
    labels = viewer.layers['objects'].data
    assert (labels[INSIDE], labels[other]) == (1, 2)
    assert len(viewer.layers['prompts'].data) == 0
    # the key is that of the form now
    mouse.click(image, (66, 30))
    settle(get_session(viewer), dock)
    mouse.key(Qt.Key.Key_W)
    settle(get_session(viewer), dock)
    assert labels[66, 30] == 3


def test_early_clicks_are_accepted_on_their_planes(
    make_napari_viewer, oracle, settle, blobs, slow_imports
):
    stack = np.stack([blobs, blobs])
    viewer, image, dock = starting(make_napari_viewer(), stack)
    mouse = Mouse(viewer)
    for plane in (0, 1):
        viewer.dims.set_current_step(0, plane)
        mouse.click(image, (plane, *INSIDE))
        mouse.key(Qt.Key.Key_W)
    slow_imports.set()
    wait_for(lambda: not dock.pending)
    settle(get_session(viewer), dock)
    labels = viewer.layers['objects'].data
    assert [int(plane[INSIDE]) for plane in labels] == [1, 2]
    assert viewer.dims.current_step[0] == 1


def test_undo_takes_back_what_waits_for_the_form(
    make_napari_viewer, oracle, settle, blobs, slow_imports
):
    viewer, image, dock = starting(make_napari_viewer(), blobs)
    mouse = Mouse(viewer)
    mouse.click(image, INSIDE)
    mouse.key(Qt.Key.Key_W)
    slow_imports.set()
    wait_for(lambda: dock.show_form('prompts').attached)
    early = dock.show_form('prompts')._early_clicks
    assert early.undo()
    assert '1 click' in early._text
    assert 'accepted' not in early._text
    wait_for(lambda: not dock.pending)
    settle(get_session(viewer), dock)
    assert len(viewer.layers['prompts'].data) == 1
    assert 'objects' not in viewer.layers
    assert not early.undo()


def test_dock_closed_while_modules_are_imported_stays_empty(
    make_napari_viewer, oracle, blobs, slow_imports
):
    viewer = make_napari_viewer()
    viewer.add_image(blobs)
    before = list(viewer.mouse_drag_callbacks)
    choose('segment_by_prompts')
    dock = dock_in(viewer)
    assert len(viewer.mouse_drag_callbacks) > len(before)
    viewer.window.remove_dock_widget(dock)
    assert viewer.mouse_drag_callbacks == before
    slow_imports.set()
    for _ in range(20):
        QApplication.processEvents()
        time.sleep(0.005)
    assert dock.pending
    assert list(viewer.layers) == [viewer.layers[0]]


@pytest.mark.slow
def test_dock_of_a_script_is_the_dock_of_the_menu(desk, blobs):
    d = desk(blobs)
    d.viewer.window.remove_dock_widget(d.dock)
    _, dock = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Segmentation'
    )
    form = d.widget = dock.show_form('prompts')
    d.settle()
    d.mouse.click(d.image, INSIDE)
    d.settle()
    # under another name, which napari does not find
    choose('dock')
    wait_for(lambda: len(d.viewer.window.dock_widgets) == 1)
    assert open_form(d.viewer, 'prompts') is form
    assert form.isVisible()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert d.viewer.layers['objects'].data[INSIDE] == 1
    choose('segment_everything')
    wait_for(lambda: not dock_in(d.viewer).pending)
    assert dock_in(d.viewer).form_name == 'everything'


@pytest.mark.slow
def test_menu_entries_bring_a_hidden_dock_back(desk, blobs):
    d = desk(blobs)
    d.dock.hide()
    assert open_form(d.viewer, 'everything').isVisible()
    assert open_form(d.viewer, 'prompts') is d.widget


@pytest.mark.slow
def test_image_is_chosen_once_for_all_tabs(desk, blobs):
    d = desk(blobs, np.pad(blobs, 8))
    first = d.viewer.layers[0]
    everything = open_form(d.viewer, 'everything')
    dock_in(d.viewer).header.image_combo.layer = first
    d.settle()
    assert d.widget.image.layer is first
    assert everything.header.plane.layer is first
    everything.panel.form.controls['points_per_side'].value = 4
    everything.panel.run_button.click()
    d.settle()
    (labels,) = (
        layer
        for layer in d.viewer.layers
        if isinstance(layer, Labels) and layer is not d.widget.preview.layer
    )
    assert labels.data.shape == blobs.shape


@pytest.mark.slow
def test_tab_opened_later_uses_channels_chosen_before(desk, blobs):
    d = desk(np.stack([blobs] * 3), widget='Segment everything')
    channels = d.widget.header.channel_combo
    channels.setCurrentIndex(1)
    channels.activated.emit(1)
    open_form(d.viewer, 'prompts')
    d.settle()
    assert d.session.scene.channel_axis == channels.axis == 0


@pytest.mark.slow
@pytest.mark.parametrize('form', ['Segment by prompts', 'Segment everything'])
def test_channels_set_by_a_script_are_chosen(desk, blobs, form):
    d = desk(np.stack([blobs] * 3), np.stack([blobs // 2] * 3), widget=form)
    scene, header = d.session.scene, d.widget.header
    first, second = d.viewer.layers[:2]
    scene.image = first
    d.settle()
    scene.channel_axis = 0
    assert header.plane.channel_axis == header.channel_combo.axis == 0
    scene.channel_axis, scene.composed = None, (second,)
    assert header.plane.composed == header.channel_combo.composed == (second,)
    assert header.plane.channel_axis is None
    # those that are not offered stay the script's
    scene.composed = 'none'
    assert header.channel_combo.composed == (second,)


@pytest.mark.slow
def test_click_needs_no_scrolling_on_a_small_screen(desk, blobs):
    d = desk(blobs)
    resize(d, *SMALL_SCREEN)
    assert d.viewer.window._qt_window.height() <= SMALL_SCREEN[1]
    dock, panel = dock_in(d.viewer), d.widget.panel
    d.mouse.click(d.image, INSIDE)
    d.settle()
    needed = [
        panel.buttons[name]
        for name in (
            'use_points_tool',
            'use_boxes_tool',
            'accept',
            'reject',
            'undo',
        )
    ]
    for widget in (*needed, panel.candidates_view, d.widget.status):
        assert widget.isVisible()
        assert not scrolled(widget, dock)
        assert dock.rect().contains(place(widget, dock))
    message = d.widget.status.findChild(QScrollArea)
    assert message.verticalScrollBar().maximum() == 0


@pytest.mark.slow
def test_nothing_moves_when_candidates_appear(desk, blobs):
    d = desk(blobs)
    dock, buttons = dock_in(d.viewer), d.widget.panel.buttons
    before = {name: place(b, dock) for name, b in buttons.items()}
    assert not buttons['next_candidate'].isEnabled()
    d.mouse.click(d.image, INSIDE)
    d.settle()
    candidates = d.widget.panel.candidates_view
    assert sum(b.isVisible() for b in candidates.buttons) == 3
    assert buttons['next_candidate'].isEnabled()
    QApplication.processEvents()
    assert {name: place(b, dock) for name, b in buttons.items()} == before


@pytest.mark.slow
def test_nothing_moves_when_the_model_is_loaded(desk, blobs):
    d = desk(blobs)
    dock, button = dock_in(d.viewer), d.widget.panel.buttons['accept']
    label = d.dock.widget().header.device_label
    tops = []
    reason = 'CPU, 2 threads: this build of torch has no GPU support'
    for text in (NO_DEVICE, reason):
        label.setText(text)
        for _ in range(3):
            QApplication.processEvents()
        tops.append(place(button, dock).top())
    assert tops[0] == tops[1]


def section(form, title):
    (found,) = (
        s for s in form.findChildren(CollapsibleSection) if s.title == title
    )
    return found


@pytest.mark.slow
def test_what_was_folded_is_remembered(desk, blobs):
    d = desk(blobs)
    output = section(d.widget, 'Output')
    assert not d.widget.panel.labels_combo.isVisible()
    output.toggleButton().click()
    assert d.widget.panel.labels_combo.isVisible()
    everything = open_form(d.viewer, 'everything')
    section(everything, 'Filter results').toggleButton().click()
    d.viewer.window.remove_dock_widget(d.dock)
    prompts = open_form(d.viewer, 'prompts')
    assert section(prompts, 'Output').isExpanded()
    assert not section(prompts, 'Settings').isExpanded()
    everything = open_form(d.viewer, 'everything')
    assert not section(everything, 'Filter results').isExpanded()
    assert not section(everything, 'Output').isExpanded()
    assert load_settings().sections == {
        'prompts: Output': True,
        'everything: Filter results': False,
    }


@pytest.mark.slow
def test_everything_shows_first_what_a_run_needs(everything_desk, blobs):
    d = everything_desk(blobs)
    resize(d, *SMALL_SCREEN)
    dock, panel = dock_in(d.viewer), d.widget.panel
    for widget in (
        panel.where.region_combo,
        panel.form.controls['diameter'].native,
        panel.estimate_label,
        panel.run_button,
    ):
        assert widget.isVisible()
        assert not scrolled(widget, dock)
    assert not panel.form.controls['points_per_side'].native.isVisible()
    assert not panel.review.isVisible()
    panel.run_button.click()
    d.settle()
    keep = panel.review.keep_button
    # the form scrolls to the review in a turn of the event loop of its own
    wait_for(lambda: not keep.visibleRegion().isEmpty())
    assert not panel.review.table.visibleRegion().isEmpty()


@pytest.mark.slow
def test_edit_in_the_review_brings_the_prompts_to_the_front(
    everything_desk, blobs
):
    d = everything_desk(blobs)
    d.widget.panel.run_button.click()
    d.settle()
    d.widget.panel.review.next()
    number = d.widget.panel.review.current
    d.widget.panel.review.edit_button.click()
    d.settle()
    prompts = open_form(d.viewer, 'prompts')
    assert dock_in(d.viewer).form_name == 'prompts'
    assert prompts.isVisible()
    assert not d.widget.isVisible()
    assert d.session.editor.record.number == number


@pytest.mark.slow
@pytest.mark.window
def test_keys_after_edit_are_commands(everything_desk, blobs):
    d = everything_desk(blobs)
    d.widget.panel.run_button.click()
    d.settle()
    prompts = open_form(d.viewer, 'prompts')
    edit = prompts.panel.class_box.combo.lineEdit()
    for section in prompts.findChildren(CollapsibleSection):
        section.fold(section.title != 'Output')
    activate(d)
    edit.setFocus()
    assert edit.hasFocus()
    open_form(d.viewer, 'everything')
    d.settle()
    d.widget.panel.review.next()
    # Qt gives the keyboard back to the field that had it in this tab
    d.widget.panel.review.table.setFocus()
    QTest.keyClick(
        d.widget.panel.review.table,
        Qt.Key.Key_E,
        Qt.KeyboardModifier.ShiftModifier,
    )
    d.settle()
    assert not d.session.editor.record.empty
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_W)
    d.settle()
    assert d.session.editor.record.empty
    assert not d.session.classes.names


@pytest.mark.slow
@pytest.mark.parametrize(
    ('form', 'heading'),
    [
        ('prompts', 'Segment by prompts'),
        ('everything', 'Segment everything'),
        ('training', 'Fine-tune on labels'),
    ],
)
def test_help_opens_the_guide_at_the_tab(desk, blobs, form, heading):
    d = desk(blobs)
    open_form(d.viewer, form)
    dock = dock_in(d.viewer)
    QTest.mouseClick(dock.help_button, Qt.MouseButton.LeftButton)
    guide = dock.forms._guide
    assert guide.isVisible()
    assert guide.browser.textCursor().block().text() == heading
    top = guide.browser.cursorForPosition(QPoint(5, 25)).block().text()
    assert heading in top or form == 'training'
    d.viewer.window.remove_dock_widget(d.dock)
    assert not guide.isVisible()


# keys


def activate(d):
    """Let the window have the focus, as that of a user has."""
    window = d.viewer.window._qt_window
    for _ in range(100):
        window.activateWindow()
        QApplication.processEvents()
        if QApplication.activeWindow() is window:
            return
        QTest.qWait(10)
    pytest.skip('this display gives no window the focus')


def press(key, modifier=Qt.KeyboardModifier.NoModifier):
    QTest.keyClick(QApplication.focusWidget(), key, modifier)
    QApplication.processEvents()


@pytest.mark.slow
@pytest.mark.parametrize('name', FORMS)
def test_tab_key_walks_from_top_to_bottom(desk, blobs, name):
    d = desk(blobs)
    activate(d)
    form = open_form(d.viewer, name)
    d.settle()
    dock = dock_in(d.viewer)
    dock.header.image_combo.setFocus(Qt.FocusReason.TabFocusReason)
    walked = []
    while dock.isAncestorOf(QApplication.focusWidget()):
        widget = QApplication.focusWidget()
        assert widget not in walked
        focused = widget.grab().toImage()
        press(Qt.Key.Key_Tab)
        # the focus is seen
        assert widget.grab().toImage() != focused
        walked.append(widget)
    middles = [place(w, dock).center() for w in walked]
    rows = [middle.y() // 10 for middle in middles]
    assert rows == sorted(rows)
    assert dock.help_button in walked
    reached = [w for w in walked if form.isAncestorOf(w)]
    buttons = [
        button
        for button in form.findChildren(QPushButton)
        if button.isVisible() and button.isEnabled()
    ]
    assert buttons
    assert set(buttons) <= set(reached)
    for background in ('#262930', '#efebe9'):
        assert contrast(QColor(FOCUS_COLOR), QColor(background)) >= 3


@pytest.mark.slow
@pytest.mark.parametrize('theme', THEMES)
def test_focus_is_seen_on_the_tabs(desk, blobs, theme):
    d = desk(blobs)
    d.viewer.theme = theme
    activate(d)
    bar = dock_in(d.viewer).tabs.tabBar()
    pictures = []
    for widget in (bar, dock_in(d.viewer).help_button):
        widget.setFocus(Qt.FocusReason.TabFocusReason)
        QApplication.processEvents()
        shown = bar.grab(bar.tabRect(0)).toImage()
        width, height = shown.width(), shown.height()
        pictures.append(
            [shown.pixel(x, y) for y in range(height) for x in range(width)]
        )
    changed = sum(a != b for a, b in zip(*pictures, strict=True))
    # a line below the text, at least
    assert changed >= bar.fontMetrics().horizontalAdvance('Prompts') // 2


@pytest.mark.slow
def test_object_with_tab_and_space(desk, blobs):
    d = desk(blobs)
    activate(d)
    dock = dock_in(d.viewer)
    shift = Qt.KeyboardModifier.ShiftModifier
    both = Qt.KeyboardModifier.ControlModifier | shift

    def push(action):
        """Go to a button, and push it."""
        for _ in range(60):
            if QApplication.focusWidget() is d.widget.panel.buttons[action]:
                break
            press(Qt.Key.Key_Tab)
        assert QApplication.focusWidget() is d.widget.panel.buttons[action]
        press(Qt.Key.Key_Space)
        d.settle()

    dock.header.image_combo.setFocus(Qt.FocusReason.TabFocusReason)
    push('use_points_tool')
    target = np.array(INSIDE)
    for _ in range(100):
        position = d.widget.key_cursor.position
        away = target - d.session.scene.layer_plane().at(position)
        if np.abs(away).max() < 8:
            break
        if abs(away[0]) > abs(away[1]):
            press(Qt.Key.Key_Down if away[0] > 0 else Qt.Key.Key_Up, both)
        else:
            press(Qt.Key.Key_Right if away[1] > 0 else Qt.Key.Key_Left, both)
    press(Qt.Key.Key_Y, both)
    d.settle()
    assert d.widget.preview.visible
    push('accept')
    assert d.viewer.layers['objects'].data[INSIDE] == 1


# text


def cut(widget):
    """True if text of a widget has too little room."""
    if isinstance(widget, QLabel):
        if widget.wordWrap():
            return widget.heightForWidth(widget.width()) > widget.height()
        return widget.sizeHint().width() > widget.width()
    if isinstance(widget, QAbstractButton):
        return bool(widget.text()) and (
            widget.sizeHint().width() > widget.width()
        )
    metrics = widget.fontMetrics()
    if isinstance(widget, QComboBox):
        option = QStyleOptionComboBox()
        widget.initStyleOption(option)
        room = widget.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            widget,
        )
        text = widget.currentText()
        return metrics.horizontalAdvance(text) > room.width()
    if isinstance(widget, QLineEdit):
        text = widget.displayText() or widget.placeholderText()
        return metrics.horizontalAdvance(text) > widget.width() - 4
    if isinstance(widget, QHeaderView):
        titles = [
            str(widget.model().headerData(i, Qt.Orientation.Horizontal))
            for i in range(widget.count())
        ]
        inside = widget.length() <= widget.width()
        return not inside or any(
            metrics.horizontalAdvance(title) + 4 > widget.sectionSize(i)
            for i, title in enumerate(titles)
        )
    if isinstance(widget, QTabBar):
        last = widget.tabRect(widget.count() - 1)
        return last.right() > widget.width()
    return False


def outside(widget, dock):
    """True if a widget is wider than the part that it scrolls in."""
    parent = widget.parentWidget()
    while parent is not dock.parentWidget():
        area = parent.parentWidget()
        clips = parent is dock or (
            isinstance(area, QAbstractScrollArea) and parent is area.viewport()
        )
        if clips:
            left = widget.mapTo(parent, QPoint(0, 0)).x()
            if left < 0 or left + widget.width() > parent.width():
                return True
        parent = area
    return False


def flaws(dock):
    found = []
    for widget in dock.findChildren(QWidget):
        if widget.isVisible() and (
            cut(widget) or (hasattr(widget, 'text') and outside(widget, dock))
        ):
            for name in ('text', 'currentText', 'objectName'):
                if hasattr(widget, name):
                    text = getattr(widget, name)()
                    break
            found.append(f'{type(widget).__name__} {text}')
    return found


def narrow(d):
    """Make the dock as narrow as it is meant to be used."""
    resize(d, *SMALL_SCREEN)
    window = d.viewer.window._qt_window
    window.resizeDocks([d.dock], [NARROW], Qt.Orientation.Horizontal)
    for _ in range(5):
        QApplication.processEvents()
    assert d.dock.width() <= NARROW + 2


def open_all(form):
    for each in form.findChildren(CollapsibleSection):
        if not each.isExpanded():
            each.toggleButton().click()
    for _ in range(5):
        QApplication.processEvents()


def no_flaws(widget, seconds=2.0):
    """Raise if text is cut; layouts are done some turns of the loop later."""
    end = time.monotonic() + seconds
    found = flaws(widget)
    while found and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)
        found = flaws(widget)
    assert found == []


def test_an_opened_section_is_scrolled_into_view(desk, blobs):
    d = desk(blobs)
    narrow(d)
    everything = open_form(d.viewer, 'everything')
    sections = everything.findChildren(CollapsibleSection)
    (more,) = [s for s in sections if s.title.startswith('Edges')]
    more.toggleButton().click()
    for _ in range(5):
        QApplication.processEvents()
    shown = more.visibleRegion().boundingRect()
    assert shown == more.rect()


@pytest.mark.slow
@pytest.mark.parametrize('theme', THEMES)
def test_no_text_is_cut(desk, blobs, theme):
    d = desk(np.stack([blobs, blobs]))
    d.viewer.theme = theme
    dock = dock_in(d.viewer)
    narrow(d)
    no_flaws(dock)
    no_flaws(d.dock.titleBarWidget())
    d.widget.status.fail(
        'A message that is long: it says what was wrong, which layer it was, '
        'which value it had, and what can be done about it. '
        + 'And a little more. '
        * 4
    )
    no_flaws(dock)
    d.mouse.click(d.image, (0, *INSIDE))
    d.settle()
    no_flaws(dock)
    open_all(d.widget)
    no_flaws(dock)
    everything = open_form(d.viewer, 'everything')
    everything.panel.form.controls['points_per_side'].value = 10
    everything.panel.form.controls['whole_image'].value = True
    d.settle()
    no_flaws(dock)
    everything.panel.run_button.click()
    d.settle()
    no_flaws(dock)
    open_all(everything)
    no_flaws(dock)
    everything.panel.large.output = Path('/data/of a group/a slide objects')
    everything.panel.show_large(True)
    no_flaws(dock)
    training = open_form(d.viewer, 'training')
    d.settle()
    open_all(training)
    no_flaws(dock)


@pytest.mark.slow
def test_an_open_dock_becomes_as_wide_as_a_larger_font_needs(desk, blobs):
    d = desk(blobs)
    dock = dock_in(d.viewer)
    narrow(d)
    dock.setStyleSheet('QPushButton { font-size: 16pt; }')
    no_flaws(dock)
    assert dock.width() > NARROW


# colours


def colours(widget):
    role = QPalette.ColorRole
    text = widget.palette().color(role.WindowText)
    if isinstance(widget, QAbstractButton):
        # napari draws checked and pressed buttons on other colours
        text = widget.palette().color(role.ButtonText)
        return text, widget.palette().color(role.Button)
    return text, background_of(widget)


@pytest.mark.slow
@pytest.mark.parametrize('theme', THEMES)
def test_text_can_be_read(desk, blobs, theme):
    d = desk(blobs)
    d.viewer.theme = theme
    for name in FORMS:
        form = open_form(d.viewer, name)
        d.settle()
        form.status.fail('Something went wrong.')
        QApplication.processEvents()
        for label in dock_in(d.viewer).findChildren(QLabel):
            if label.isVisible() and label.text() and label.isEnabled():
                text, ground = colours(label)
                assert contrast(text, ground) >= 4.5, label.text()
    assert contrast(QColor('#fff'), QColor('#000')) == pytest.approx(21)
    assert contrast(QColor('#777'), QColor('#fff')) == pytest.approx(
        4.48, 0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize('theme', THEMES)
def test_text_of_the_other_docks(desk, blobs, theme):
    d = desk(blobs)
    d.viewer.theme = theme
    for name in ('Refine labels', 'Series', 'Table'):
        d.dock, form = d.viewer.window.add_plugin_dock_widget(
            'napari-mobilesam', name
        )
        d.settle()
        d.dock.show()
        d.dock.raise_()
        narrow(d)
        assert form.isVisible()
        form.status.fail('Something went wrong.')
        open_all(form)
        assert flaws(form) == []
        assert all(box.combo.count() for box in form.findChildren(ModelBox))
        for label in form.findChildren(QLabel):
            if label.isVisible() and label.text() and label.isEnabled():
                text, ground = colours(label)
                assert contrast(text, ground) >= 4.5, label.text()


@pytest.mark.slow
def test_errors_follow_the_theme(desk, blobs):
    d = desk(blobs)
    d.viewer.theme = 'dark'
    d.widget.status.fail('Something went wrong.')
    label = d.widget.status.label
    dark = label.palette().color(QPalette.ColorRole.WindowText)
    d.viewer.theme = 'light'
    QApplication.processEvents()
    light = label.palette().color(QPalette.ColorRole.WindowText)
    assert light != dark
    assert contrast(light, background_of(label)) >= 4.5
    d.widget.status.say('Ready.')
    plain = label.palette().color(QPalette.ColorRole.WindowText)
    assert plain not in (light, dark)


@pytest.mark.slow
def test_removing_a_layer_is_no_error(desk, blobs):
    d = desk(blobs, show=False)
    d.viewer.layers['prompts'].add(INSIDE)
    d.settle()
    d.widget.trigger('accept')
    d.settle()
    for name in ('objects', 'prompts'):
        d.viewer.layers.remove(name)
        d.settle()
        assert f'“{name}” was removed' in d.widget.status.text
        assert not d.widget.status.failed


@pytest.mark.slow
def test_removed_labels_are_followed_by_what_the_status_says(desk, blobs):
    d = desk(blobs, show=False)
    for name in ('first', 'second'):
        d.session.scene.add_labels(name)
    for removed, target in (('second', '“first”'), ('first', 'a new layer')):
        d.settle()
        d.viewer.layers.remove(removed)
        d.settle()
        assert d.widget.status.text.endswith(
            f'The next object is written to {target}.'
        )
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.widget.trigger('accept')
    d.settle()
    assert d.viewer.layers['objects'].data[INSIDE] == 1


@pytest.mark.slow
@pytest.mark.parametrize(('height', 'tabs'), [(768, True), (1300, False)])
def test_two_docks_in_a_window(make_napari_viewer, oracle, height, tabs):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1366, height)
    window = viewer.window._qt_window
    docks = [
        viewer.window.add_plugin_dock_widget('napari-mobilesam', name)[0]
        for name in ('Series', 'Segmentation')
    ]
    for _ in range(5):
        QApplication.processEvents()
    assert bool(window.tabifiedDockWidgets(docks[0])) is tabs
    # the layer list of napari stays where it is
    assert len(window.tabifiedDockWidgets(docks[1])) == int(tabs)
    # tabs of three docks have no room for the name of the plugin
    assert [dock.windowTitle() for dock in docks] == ['Series', 'Segmentation']
    if tabs:
        # moved apart by hand, they stay apart
        window.removeDockWidget(docks[1])
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, docks[1])
        docks[1].show()
        (dock,) = docks[1].findChildren(MobileSamDock)
        dock.show_form('everything')
        QApplication.processEvents()
        assert not window.tabifiedDockWidgets(docks[0])
