"""Objects in the colours of their classes, and back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.utils.colormaps import CyclicLabelColormap
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QColorDialog, QInputDialog

from napari_mobilesam import get_session
from napari_mobilesam.palette import PALETTE, rgb
from napari_mobilesam.settings import load_settings
from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.viewer.class_colors import (
    NO_CLASS,
    coded_classes,
)

from .test_dock import activate
from .test_prompt_objects import FIRST, SECOND, THIRD, click, make, point_at


def choose(d, name):
    """Type a class, as a person does."""
    edit = d.widget.panel.class_box.combo.lineEdit()
    edit.selectAll()
    QTest.keyClicks(edit, name)
    QTest.keyClick(edit, Qt.Key.Key_Return)
    d.settle()


def press_box(d):
    d.widget.panel.class_box.shown_box.click()
    d.settle()


def color_of(layer, label):
    return tuple(round(c * 255) for c in layer.get_color(label)[:3])


def has_no_class(layer, label):
    return color_of(layer, label) in [rgb(color) for color in NO_CLASS]


@pytest.fixture
def classed(desk, blobs):
    """A nucleus, a piece of debris and an object without class."""
    d = desk(blobs)
    d.widget.trigger('use_points_tool')
    choose(d, 'nucleus')
    make(d, FIRST)
    choose(d, 'debris')
    make(d, SECOND)
    choose(d, 'no class')
    d.labels = make(d, THIRD)
    return d


@pytest.mark.slow
@pytest.mark.window
def test_return_ends_the_name_of_a_class(desk, blobs):
    d = desk(blobs)
    activate(d)
    click(d, FIRST)
    edit = d.widget.panel.class_box.combo.lineEdit()
    edit.setFocus()
    d.settle()
    choose(d, 'mother')
    assert not edit.hasFocus()
    window = d.viewer.window._qt_window
    QTest.keyClick(QApplication.focusWidget() or window, Qt.Key.Key_W)
    d.settle()
    assert d.widget.panel.class_box.name == 'mother'
    assert d.viewer.layers['objects'].features['class'].iloc[-1] == 'mother'


@pytest.mark.slow
def test_a_name_that_is_left_in_the_field_is_told(desk, blobs):
    d = desk(blobs)
    edit = d.widget.panel.class_box.combo.lineEdit()
    edit.setText('wq')
    edit.editingFinished.emit()
    assert d.session.classes.names == ['wq']
    assert d.widget.status.text.startswith('“wq” is a new class.')
    d.widget.status.say('')
    edit.editingFinished.emit()
    assert not d.widget.status.text


@pytest.mark.slow
@pytest.mark.window
def test_a_name_that_is_typed_replaces_the_one_that_was_clicked(desk, blobs):
    d = desk(blobs)
    activate(d)
    for section in d.widget.findChildren(CollapsibleSection):
        section.fold(section.title != 'Output')
    d.settle()
    edit = d.widget.panel.class_box.combo.lineEdit()
    QTest.mouseClick(edit, Qt.MouseButton.LeftButton)
    QApplication.processEvents()
    QTest.keyClicks(edit, 'rounds')
    # a further click sets the cursor
    QTest.mouseClick(edit, Qt.MouseButton.LeftButton, pos=edit.rect().center())
    QApplication.processEvents()
    QTest.keyClick(edit, Qt.Key.Key_End)
    QTest.keyClick(edit, Qt.Key.Key_Backspace)
    QTest.keyClick(edit, Qt.Key.Key_Return)
    assert d.session.classes.names == ['round']


@pytest.mark.slow
@pytest.mark.window
@pytest.mark.parametrize('end', ['Return', 'list', 'Escape'])
def test_keys_after_a_class_are_commands(desk, blobs, end):
    d = desk(blobs)
    choose(d, 'daughter')
    choose(d, 'mother')
    activate(d)
    for section in d.widget.findChildren(CollapsibleSection):
        section.fold(section.title != 'Output')
    click(d, FIRST)
    combo = d.widget.panel.class_box.combo
    combo.setFocus()
    d.settle()
    if end == 'list':
        combo.showPopup()
        combo.view().setCurrentIndex(combo.model().index(1, 0))
        QTest.keyClick(combo.view(), Qt.Key.Key_Return)
    else:
        combo.lineEdit().selectAll()
        QTest.keyClicks(combo, 'daughter' if end == 'Return' else 'wqn')
        QTest.keyClick(combo, getattr(Qt.Key, f'Key_{end}'))
    d.settle()
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_W)
    d.settle()
    expected = 'mother' if end == 'Escape' else 'daughter'
    assert d.widget.panel.class_box.name == expected
    assert d.viewer.layers['objects'].features['class'].iloc[-1] == expected
    assert d.session.classes.names == ['daughter', 'mother']


@pytest.mark.slow
def test_box_shows_class_colours_and_gives_the_former_back(classed):
    d, labels = classed, classed.labels
    former = labels.colormap
    colors = [color_of(labels, label) for label in (1, 2, 3)]
    press_box(d)
    assert d.widget.panel.class_box.shown_box.isChecked()
    assert color_of(labels, 1) == rgb(PALETTE[0])
    assert color_of(labels, 2) == rgb(PALETTE[1])
    assert has_no_class(labels, 3)
    press_box(d)
    assert labels.colormap is former
    assert [color_of(labels, label) for label in (1, 2, 3)] == colors


@pytest.mark.slow
@pytest.mark.window
def test_canvas_has_the_colour(classed):
    d = classed
    press_box(d)
    d.labels.opacity = 1
    d.image.visible = False
    d.settle()
    shown = d.viewer.screenshot(canvas_only=True, flash=False)
    place = d.mouse.at(d.image, FIRST)
    assert tuple(shown[place.y(), place.x(), :3]) == rgb(PALETTE[0])


@pytest.mark.slow
def test_colours_follow_commits_classes_deletion_and_undo(classed):
    d, labels = classed, classed.labels
    press_box(d)
    # an object is taken up: its class is shown, and can be another
    point_at(d, SECOND)
    d.mouse.key(Qt.Key.Key_G)
    d.settle()
    assert d.widget.panel.class_box.name == 'debris'
    choose(d, 'nucleus')
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert color_of(labels, 2) == rgb(PALETTE[0])
    d.mouse.key(Qt.Key.Key_U)
    assert color_of(labels, 2) == rgb(PALETTE[1])
    d.mouse.key(Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert color_of(labels, 2) == rgb(PALETTE[0])
    point_at(d, FIRST)
    d.widget.trigger('delete_object')
    assert has_no_class(labels, 1)
    d.mouse.key(Qt.Key.Key_U)
    assert color_of(labels, 1) == rgb(PALETTE[0])
    choose(d, 'dirt')
    click(d, (68, 92))
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert color_of(labels, 4) == rgb(PALETTE[2])


def test_menu_renames_and_removes_a_class(classed):
    d, box = classed, classed.widget.panel.class_box
    press_box(d)
    assert not box.menu_button.isEnabled()
    choose(d, 'nucleus')
    rename, remove = box.menu_button.menu().actions()

    def answer():
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, QInputDialog)
        dialog.setTextValue('nuclei')
        dialog.accept()

    QTimer.singleShot(200, answer)
    rename.trigger()
    d.settle()
    assert box.name == 'nuclei'
    said = d.widget.status.text
    assert said.startswith('The class “nucleus” is now “nuclei”. Undo (U)')
    assert d.session.classes.names == ['nuclei', 'debris']
    assert load_settings().classes == ['nuclei', 'debris']
    assert color_of(d.labels, 1) == rgb(PALETTE[0])
    remove.trigger()
    d.settle()
    assert box.name == ''
    assert has_no_class(d.labels, 1)
    assert load_settings().classes == ['debris']
    assert d.widget.status.text.startswith('The class “nuclei” was removed.')
    d.mouse.key(Qt.Key.Key_U)
    assert color_of(d.labels, 1) == rgb(PALETTE[0])


def test_key_and_button_assign_a_class_without_opening(classed):
    d, labels = classed, classed.labels
    press_box(d)
    both = Qt.KeyboardModifier.ControlModifier
    both |= Qt.KeyboardModifier.ShiftModifier
    point_at(d, THIRD)
    d.mouse.key(Qt.Key.Key_G, both)
    assert 'choose one under Output' in d.widget.status.text
    choose(d, 'nucleus')
    d.mouse.key(Qt.Key.Key_G, both)
    d.settle()
    assert 'Object 3 now has the class “nucleus”' in d.widget.status.text
    assert color_of(labels, 3) == color_of(labels, 1)
    assert d.session.editor.record.empty
    d.mouse.key(Qt.Key.Key_G, both)
    assert 'Object 3 already has the class' in d.widget.status.text
    button = d.widget.panel.buttons['assign_class']
    d.widget.panel.buttons['edit_object'].click()
    button.click()
    assert button.isChecked()
    assert not d.widget.panel.buttons['edit_object'].isChecked()
    assert 'Click the object to assign' in d.widget.status.text
    button.click()
    assert d.widget.status.text == d.widget.panel.hint()
    button.click()
    taken, others = [], d.viewer.mouse_drag_callbacks
    others.append(lambda _, event: taken.append(event.handled))
    click(d, SECOND)
    others.pop()
    # otherwise, a review takes the click, too, and moves the camera
    assert taken == [True]
    assert color_of(labels, 2) == color_of(labels, 1)
    assert d.session.editor.record.empty
    assert not button.isChecked()
    d.widget.trigger('undo')
    d.widget.trigger('undo')
    d.settle()
    assert color_of(labels, 2) == rgb(PALETTE[1])
    assert has_no_class(labels, 3)


def test_classes_whose_numbers_are_labels_keep_their_numbers(classed):
    d, box = classed, classed.widget.panel.class_box
    numbers = d.widget.panel.numbers_combo
    numbers.setCurrentIndex(numbers.findData('semantic'))
    numbers.activated.emit(numbers.currentIndex())
    _, remove = box.menu_button.menu().actions()
    choose(d, 'nucleus')
    remove.trigger()
    box.renamed.emit('nucleus', 'debris')
    assert d.session.classes.names == ['nucleus', 'debris']
    assert 'would be renumbered' in d.widget.status.text
    choose(d, 'debris')
    assert d.session.editor.options.label == 2
    remove.trigger()
    d.settle()
    assert d.session.classes.names == ['nucleus']
    assert d.session.editor.options.label is None
    choose(d, 'nucleus')
    assert d.session.editor.options.label == 1


@pytest.mark.slow
def test_dialog_changes_the_colour_and_it_is_kept(classed):
    d = classed
    press_box(d)
    choose(d, 'nucleus')

    def answer():
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, QColorDialog)
        dialog.setCurrentColor(Qt.GlobalColor.magenta)
        dialog.accept()

    QTimer.singleShot(200, answer)
    QTest.mouseClick(
        d.widget.panel.class_box.color_button, Qt.MouseButton.LeftButton
    )
    d.settle()
    assert color_of(d.labels, 1) == (255, 0, 255)
    icon = d.widget.panel.class_box.combo.itemIcon(1).pixmap(14, 14).toImage()
    assert icon.pixelColor(5, 5).getRgb()[:3] == (255, 0, 255)
    settings = load_settings()
    assert settings.class_colors['nucleus'] == '#ff00ff'
    assert settings.color_by_class


@pytest.mark.slow
def test_no_class_has_no_colour_to_change(classed):
    assert not classed.widget.panel.class_box.color_button.isEnabled()


@pytest.mark.slow
def test_all_labels_that_were_written_to_are_coloured(classed):
    d, labels = classed, classed.labels
    former = labels.colormap
    press_box(d)
    own = d.viewer.add_labels(np.zeros((96, 128), np.int32), name='own')
    own.features = pd.DataFrame({'index': [5, 7], 'class': ['debris', 'x']})
    theirs = own.colormap
    assert own.colormap is theirs
    d.widget.panel.labels_combo.layer = own
    assert color_of(labels, 1) == rgb(PALETTE[0])
    assert color_of(own, 5) == rgb(PALETTE[1])
    # a class that came with the labels is offered too
    assert 'x' in d.session.classes
    assert has_no_class(own, 6)
    press_box(d)
    assert labels.colormap is former
    assert own.colormap is theirs
    press_box(d)
    assert color_of(labels, 1) == rgb(PALETTE[0])
    assert color_of(own, 5) == rgb(PALETTE[1])
    d.viewer.layers.remove(labels)
    d.settle()
    assert d.widget.panel.class_box.shown_box.isChecked()


def test_classes_are_renamed_and_removed_in_all_labels(classed):
    d, labels = classed, classed.labels
    press_box(d)
    own = d.viewer.add_labels(np.zeros((96, 128), np.int32), name='own')
    own.features = pd.DataFrame(
        {'index': [5, 7], 'class': ['debris', 'nucleus']}
    )
    d.widget.panel.labels_combo.layer = own

    def classes_of(layer):
        table = layer.features
        return dict(zip(table['index'], table['class'], strict=True))

    d.session.rename_class('debris', 'dust')
    assert 'dust' in classes_of(labels).values()
    assert classes_of(own) == {5: 'dust', 7: 'nucleus'}
    assert d.session.classes.names == ['nucleus', 'dust']
    d.session.remove_class('nucleus')
    assert d.session.classes.names == ['dust']
    assert classes_of(own)[5] == 'dust'
    assert 'nucleus' not in classes_of(labels).values()
    # a step in each of the labels
    titles = [d.session.undo() for _ in range(4)]
    assert set(titles) == {
        'the class of 1 object in “objects”',
        'the class of 1 label in “own”',
    }
    assert classes_of(own) == {5: 'debris', 7: 'nucleus'}
    assert 'debris' in classes_of(labels).values()


def test_labels_that_cannot_be_coloured_say_so(classed):
    d = classed
    own = d.viewer.add_labels(np.zeros((96, 128), np.int32), name='own')
    own.features = pd.DataFrame({'index': [70_000], 'class': ['debris']})
    theirs, former = own.colormap, d.labels.colormap
    d.widget.panel.labels_combo.layer = own
    # a class that is found while the first layer is coloured
    d.labels.features = d.labels.features.assign(**{'class': 'new'})
    press_box(d)
    assert 'above 64999' in d.widget.status.text
    assert d.widget.status.failed
    assert not d.widget.panel.class_box.shown_box.isChecked()
    assert own.colormap is theirs
    assert d.labels.colormap is former


@pytest.mark.slow
def test_console_without_a_dock_and_tomorrow(make_napari_viewer, blobs):
    viewer = make_napari_viewer(show=False)
    viewer.add_image(blobs)
    session = get_session(viewer)
    session.set_class_color('nucleus', 'magenta')
    session.color_by_class()
    labels = session.scene.add_labels()
    labels.features = pd.DataFrame({'index': [1], 'class': ['nucleus']})
    assert color_of(labels, 1) == (255, 0, 255)
    session.color_by_class(False)
    assert color_of(labels, 1) != (255, 0, 255)


@pytest.mark.slow
def test_colours_of_many_labels_are_one_array(desk, blobs):
    """napari's colormap from a dictionary takes 0.1 s for 5,000 labels."""
    d = desk(blobs, show=False)
    layer = d.viewer.add_labels(np.zeros((96, 128), np.uint16), name='many')
    names = np.array(['nucleus', 'debris', ''], object)
    layer.features = pd.DataFrame(
        {'index': np.arange(1, 5001), 'class': names[np.arange(5000) % 3]}
    )
    d.widget.panel.labels_combo.layer = layer
    d.session.color_by_class()
    colormap = layer.colormap
    assert isinstance(colormap, CyclicLabelColormap)
    for label in range(1, 30):
        layer.features.loc[label, 'class'] = f'new {label % 5}'
        layer.events.features()
    assert color_of(layer, 30) == rgb(d.session.classes.colors['new 4'])
    assert layer.colormap is colormap


def test_labels_without_any_class_keep_their_colours(desk, blobs):
    d = desk(blobs)
    press_box(d)
    labels = make(d, FIRST)
    make(d, SECOND)
    former = labels.colormap
    assert not has_no_class(labels, 1)
    assert color_of(labels, 1) != color_of(labels, 2)
    choose(d, 'nucleus')
    make(d, THIRD)
    assert has_no_class(labels, 1)
    assert color_of(labels, 3) == rgb(PALETTE[0])
    d.widget.trigger('undo')
    d.settle()
    assert labels.colormap is former


def test_no_class_is_left():
    for features in (
        pd.DataFrame({'index': [1], 'class': [np.nan]}),
        pd.DataFrame({'index': [], 'class': []}),
        pd.DataFrame({'index': [1, 2], 'class': ['', '']}),
    ):
        labels, codes, names = coded_classes(features)
        assert len(labels) == len(codes) == len(features)
        assert codes.dtype.kind == 'i'
        assert (codes == -1).all()
        assert not names
