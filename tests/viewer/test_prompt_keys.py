"""Keys: wherever the focus is, changed, kept, and never napari's."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit

from napari_mobilesam.settings import (
    Settings,
    load_settings,
    save_settings,
    settings_path,
)
from napari_mobilesam.widgets import open_form
from napari_mobilesam.widgets.everything.review_panel import REVIEW_KEYS
from napari_mobilesam.widgets.parts.keys import command_of_napari
from napari_mobilesam.widgets.prompts.actions import ACTIONS, keys_of
from napari_mobilesam.widgets.series.series_panel import (
    ACTIONS as SERIES_ACTIONS,
)

INSIDE = (28, 32)


def activate(d):
    """Let the window have the focus, as that of a user has."""
    window = d.viewer.window._qt_window
    window.activateWindow()
    window.raise_()
    for _ in range(100):
        QApplication.processEvents()
        if QApplication.activeWindow() is window:
            return
        QTest.qWait(10)
    pytest.skip('this display gives no window the focus')


def clicked(desk, blobs):
    """Return a desk that has the focus, with a mask to accept."""
    d = desk(blobs)
    activate(d)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    return d


def change_key(d, action, key):
    edit = d.widget.panel.settings_box.keys_box.edits[action]
    edit.setKeySequence(QKeySequence(key))
    edit.editingFinished.emit()


def test_no_key_is_napari_s_and_none_is_given_twice():
    taken = {str(k) for keys in default_shortcuts.values() for k in keys}
    keys = [action.key for action in ACTIONS.values()]
    # docks that are open at once
    keys += REVIEW_KEYS
    keys += [action.key for action in SERIES_ACTIONS.values() if action.key]
    assert not taken & set(keys)
    assert len(set(keys)) == len(keys)


@pytest.mark.slow
def test_every_button_says_its_key(desk, blobs):
    d = desk(blobs)
    for action, button in d.widget.panel.buttons.items():
        key = ACTIONS[action].key
        assert f'({key})' in button.text()
        assert f'Key: {key}' in button.toolTip()


@pytest.mark.slow
@pytest.mark.window
@pytest.mark.parametrize(
    'where',
    [
        'combo',
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ('button', 'layers', 'canvas')
        ),
    ],
)
def test_keys_work_wherever_the_focus_is(desk, blobs, where):
    d = clicked(desk, blobs)
    target = {
        'button': d.widget.panel.buttons['undo'],
        'combo': d.widget.header.image_combo,
        'layers': d.viewer.window._qt_viewer.layers,
        'canvas': d.mouse.canvas.native,
    }[where]
    target.setFocus()
    QTest.keyClick(target, Qt.Key.Key_W)
    d.settle()
    labels = d.viewer.layers['objects']
    assert labels.data[INSIDE] == 1
    # once, not by the shortcut and the keymap both
    assert len(d.session.editor.objects) == 1
    QTest.keyClick(target, Qt.Key.Key_U)
    assert not labels.data.any()
    QTest.keyClick(target, Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert labels.data[INSIDE] == 1


@pytest.mark.window
def test_common_undo_keys_work_unless_napari_paints(desk, blobs):
    d = clicked(desk, blobs)
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    labels = d.viewer.layers['objects']
    control = Qt.KeyboardModifier.ControlModifier
    again = control | Qt.KeyboardModifier.ShiftModifier
    d.viewer.layers.selection.active = d.image
    canvas = d.mouse.canvas.native
    QTest.keyClick(canvas, Qt.Key.Key_Z, control)
    assert not labels.data.any()
    QTest.keyClick(canvas, Qt.Key.Key_Z, again)
    assert labels.data[INSIDE] == 1
    # on the labels layer, these are the keys of painting
    d.viewer.layers.selection.active = labels
    QTest.keyClick(canvas, Qt.Key.Key_Z, control)
    assert labels.data[INSIDE] == 1


@pytest.mark.slow
@pytest.mark.window
def test_number_fields_take_numbers_and_leave_letters(desk, blobs):
    d = clicked(desk, blobs)
    panel = d.widget.panel
    panel.settings_box.fold.fold(False)
    field = panel.settings_box.area_spin
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, '7')
    QTest.keyClick(field, Qt.Key.Key_Return)
    QTest.keyClick(field, Qt.Key.Key_W)
    d.settle()
    assert field.value() == 7
    assert d.viewer.layers['objects'].data[INSIDE] == 1


@pytest.mark.slow
@pytest.mark.window
def test_text_fields_keep_what_is_typed(desk, blobs):
    d = clicked(desk, blobs)
    edit = d.widget.panel.class_box.combo.lineEdit()
    assert isinstance(edit, QLineEdit)
    edit.setFocus()
    edit.clear()
    QTest.keyClicks(edit, 'wqn')
    assert edit.text() == 'wqn'
    assert 'objects' not in d.viewer.layers


@pytest.mark.slow
def test_changed_keys_work_at_once_and_are_kept(desk, blobs):
    d = desk(blobs)
    change_key(d, 'accept', 'Y')
    assert '(Y)' in d.widget.panel.buttons['accept'].text()
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert 'objects' not in d.viewer.layers
    d.mouse.key(Qt.Key.Key_Y)
    d.settle()
    assert d.viewer.layers['objects'].data[INSIDE] == 1
    assert load_settings().keys == {'accept': 'Y'}
    d.viewer.window.remove_dock_widget(d.dock)
    widget = open_form(d.viewer, 'prompts')
    assert '(Y)' in widget.panel.buttons['accept'].text()
    widget.panel.settings_box.keys_box.reset_button.click()
    assert '(W)' in widget.panel.buttons['accept'].text()
    assert load_settings().keys == {}


def test_a_key_of_napari_or_given_twice_is_told(desk, blobs):
    d = desk(blobs)
    note = d.widget.panel.settings_box.keys_box.note
    change_key(d, 'accept', 'V')
    assert 'napari uses V' in note.text()
    change_key(d, 'accept', 'Q')
    assert '“Accept”' in note.text()


@pytest.mark.slow
def test_an_action_without_key_has_none(desk, blobs):
    d = desk(blobs)
    change_key(d, 'accept', '')
    assert d.widget.panel.buttons['accept'].text() == 'Accept'
    assert '' not in keys_of(load_settings().keys)


@pytest.mark.slow
def test_closing_the_dock_returns_all_keys(desk, blobs):
    d = desk(blobs)
    before = set(map(str, d.viewer.keymap))
    assert {'W', 'Shift+D'} <= before
    d.viewer.window.remove_dock_widget(d.dock)
    QApplication.processEvents()
    after = set(map(str, d.viewer.keymap))
    assert before - after >= {action.key for action in ACTIONS.values()}


def test_what_napari_does_with_a_key():
    assert 'rectangle' in command_of_napari('R')
    assert command_of_napari('W') == ''


@pytest.mark.parametrize(
    'text', ['', 'no json', '[1, 2]', '{"threads": "many", "keys": [1]}']
)
def test_unusable_settings_are_the_defaults(own_settings, text):
    path = settings_path()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert load_settings() == Settings()


def test_settings_come_back(own_settings):
    settings = Settings(
        hover=True,
        min_area=7,
        classes=['a', 'b'],
        keys={'accept': 'Y'},
    )
    save_settings(settings)
    assert load_settings() == settings
    assert '"threads"' not in settings_path().read_text()


def test_settings_that_cannot_be_kept_are_told(desk, blobs, monkeypatch):
    d = desk(blobs)
    path = settings_path().parent
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        settings_path().unlink(missing_ok=True)
        path.rmdir()
    path.write_text('a file where the folder should be')
    d.widget.trigger('toggle_hover')
    assert 'could not be saved' in d.widget.status.text


@pytest.mark.slow
def test_clean_up_is_applied_to_the_open_object(desk, blobs):
    image = blobs.copy()
    image[24:32, 28:36] = 10
    d = desk(image)
    d.mouse.click(d.image, (20, 24))
    d.settle()
    with_hole = int((d.widget.preview.layer.data > 0).sum())
    d.widget.panel.settings_box.area_spin.setValue(200)
    d.settle()
    assert int((d.widget.preview.layer.data > 0).sum()) > with_hole
    assert load_settings().min_area == 200


def test_object_with_keys_alone(desk, blobs):
    d = desk(blobs)
    shift = Qt.KeyboardModifier.ShiftModifier
    both = Qt.KeyboardModifier.ControlModifier | shift

    def key(name, modifier=Qt.KeyboardModifier.NoModifier):
        d.mouse.key(name, modifier)
        d.settle()

    target = np.array((28, 32))
    for _ in range(100):
        position = d.widget.key_cursor.position
        away = target - d.session.scene.layer_plane().at(position)
        if np.abs(away).max() < 8:
            break
        if abs(away[0]) > abs(away[1]):
            key(Qt.Key.Key_Down if away[0] > 0 else Qt.Key.Key_Up, both)
        else:
            key(Qt.Key.Key_Right if away[1] > 0 else Qt.Key.Key_Left, both)
    assert 'Middle of the view: row' in d.widget.status.text
    key(Qt.Key.Key_Y, both)
    assert d.widget.preview.visible
    # the next one is negative
    key(Qt.Key.Key_N)
    key(Qt.Key.Key_Right, both)
    key(Qt.Key.Key_Y, both)
    points = d.viewer.layers['prompts']
    assert list(points.features['polarity']) == ['positive', 'negative']
    key(Qt.Key.Key_W)
    labels = d.viewer.layers['objects'].data
    assert np.unique(labels).tolist() == [0, 1]
