"""Objects: candidates, taking up again, walking, undo, classes, batches."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

import napari_mobilesam

FIRST, SECOND, THIRD, FOURTH = (28, 32), (28, 92), (68, 32), (68, 92)
ALL = (FIRST, SECOND, THIRD, FOURTH)


def point_at(d, position):
    """Leave the cursor over a position, as a mouse without a click does."""
    d.mouse.move(d.mouse.at(d.image, position))
    d.settle()


def click(d, position):
    d.mouse.click(d.image, position)
    d.settle()


def make(d, *positions):
    for position in positions:
        click(d, position)
        d.mouse.key(Qt.Key.Key_W)
        d.settle()
    return d.viewer.layers['objects']


def preview_area(d):
    return int((d.widget.preview.layer.data > 0).sum())


@pytest.mark.slow
@pytest.mark.window
def test_candidates_of_one_point_and_one_mask_of_several(desk, blobs):
    d = desk(blobs)
    view = d.widget.panel.candidates_view
    assert not any(button.isVisible() for button in view.buttons)
    click(d, FIRST)
    assert all(button.isVisible() for button in view.buttons)
    assert [button.text() for button in view.buttons] == [
        '0.97',
        '0.50',
        '0.50',
    ]
    assert [button.isChecked() for button in view.buttons] == [1, 0, 0]
    click(d, (34, 38))
    assert not any(button.isVisible() for button in view.buttons)


def test_key_and_thumbnail_choose_a_candidate(desk, blobs):
    d = desk(blobs)
    click(d, FIRST)
    d.mouse.key(Qt.Key.Key_K)
    assert d.widget.panel.candidates_view.buttons[1].isChecked()
    shown = preview_area(d)
    assert d.widget.status.text.startswith(f'{shown} pixels, score 0.50.')
    d.widget.panel.candidates_view.buttons[2].click()
    d.settle()
    d.widget.trigger('accept')
    features = d.viewer.layers['objects'].features
    assert features['score'].iloc[-1] == pytest.approx(0.5)


@pytest.mark.slow
@pytest.mark.window
def test_object_under_the_cursor_is_taken_up_again(desk, blobs):
    d = desk(blobs)
    labels = make(d, FIRST, SECOND)
    area = int((labels.data == 1).sum())
    point_at(d, (30, 34))
    d.mouse.key(Qt.Key.Key_G)
    d.settle()
    points = d.viewer.layers['prompts']
    assert points.data[0] == pytest.approx(FIRST, abs=0.5)
    assert d.widget.panel.candidates_view.buttons[0].isVisible()
    assert preview_area(d) == area
    d.mouse.right_click(d.image, (36, 40))
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    assert 0 < (labels.data == 1).sum() < area
    assert (labels.data == 2).any()
    assert len(np.unique(labels.data)) == 3
    assert len(points.data) == 0


def test_an_object_that_covers_another_one_says_so(desk, blobs):
    d = desk(blobs)
    labels = make(d, FIRST, SECOND)
    assert 'over all of' not in d.widget.status.text
    click(d, (30, 34))
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert not (labels.data == 1).any()
    assert 'over all of object 1. ' in d.widget.status.text
    objects = d.session.scene.objects(False)
    assert [record.number for record in objects] == [2, 3]
    assert set(labels.features['index']) == {0, 2, 3} or set(
        labels.features['index']
    ) == {2, 3}
    d.widget.trigger('undo')
    d.settle()
    assert (labels.data == 1).any()
    assert [record.number for record in objects] == [1, 2]


@pytest.mark.slow
def test_an_object_that_is_edited_takes_points_whatever_the_tool(desk, blobs):
    d = desk(blobs)
    make(d, FIRST)
    d.widget.trigger('use_scribble_tool')
    point_at(d, (30, 34))
    d.mouse.key(Qt.Key.Key_G)
    d.settle()
    points = d.viewer.layers['prompts']
    assert d.viewer.layers.selection.active is points
    d.mouse.right_click(d.image, (36, 40))
    d.settle()
    assert len(points.data) == 2


@pytest.mark.slow
def test_button_takes_up_the_object_that_is_clicked_next(desk, blobs):
    d = desk(blobs)
    make(d, FIRST)
    d.widget.panel.buttons['edit_object'].click()
    assert 'Click the object' in d.widget.status.text
    click(d, (30, 34))
    assert d.session.editor.record.label == 1
    assert not d.widget.panel.buttons['edit_object'].isChecked()
    # clicks add points again, but not the one that chose the object
    points = d.viewer.layers['prompts']
    assert d.viewer.layers.selection.active is points
    assert len(points.data) == 1
    click(d, SECOND)
    assert len(points.data) == 2


@pytest.mark.slow
def test_label_of_somebody_else_is_corrected(desk, blobs):
    d = desk(blobs)
    data = np.zeros(blobs.shape, np.uint16)
    data[16:40, 20:44] = 7
    own = d.viewer.add_labels(data.copy(), name='own')
    d.widget.panel.labels_combo.layer = own
    point_at(d, FIRST)
    d.widget.trigger('edit_object')
    d.settle()
    assert preview_area(d) == 24 * 24
    d.widget.trigger('use_points_tool')
    click(d, FIRST)
    d.mouse.right_click(d.image, (20, 24))
    d.settle()
    d.widget.trigger('accept')
    assert 0 < (own.data == 7).sum() < 24 * 24
    d.widget.trigger('undo')
    assert np.array_equal(own.data, data)


def test_nothing_under_the_cursor_says_so(desk, blobs):
    d = desk(blobs)
    make(d, FIRST)
    point_at(d, SECOND)
    d.widget.trigger('edit_object')
    assert 'No object' in d.widget.status.text
    d.widget.trigger('delete_object')
    assert 'No object' in d.widget.status.text


@pytest.mark.slow
def test_walking_brings_prompts_back(desk, blobs):
    d = desk(blobs)
    make(d, FIRST, SECOND, THIRD)
    points = d.viewer.layers['prompts']
    d.mouse.key(Qt.Key.Key_J)
    d.settle()
    assert points.data[0] == pytest.approx(THIRD, abs=0.5)
    d.mouse.key(Qt.Key.Key_J)
    d.settle()
    assert points.data[0] == pytest.approx(SECOND, abs=0.5)
    assert len(points.data) == 1
    d.mouse.key(Qt.Key.Key_J, Qt.KeyboardModifier.ShiftModifier)
    d.settle()
    assert points.data[0] == pytest.approx(THIRD, abs=0.5)
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    assert len(points.data) == 0
    assert d.viewer.layers['objects'].data[THIRD] == 3


@pytest.mark.slow
def test_rejecting_an_object_taken_up_again_changes_nothing(desk, blobs):
    d = desk(blobs)
    labels = make(d, FIRST)
    before = labels.data.copy()
    d.widget.trigger('previous_object')
    d.settle()
    d.mouse.right_click(d.image, (36, 40))
    d.settle()
    d.widget.trigger('reject')
    d.settle()
    assert np.array_equal(labels.data, before)


def test_delete_the_open_object_and_the_one_under_the_cursor(desk, blobs):
    d = desk(blobs)
    labels = make(d, FIRST, SECOND)
    d.widget.trigger('previous_object')
    d.settle()
    d.widget.trigger('delete_object')
    assert not (labels.data == 2).any()
    assert len(d.viewer.layers['prompts'].data) == 0
    point_at(d, FIRST)
    d.widget.trigger('delete_object')
    assert not labels.data.any()
    assert d.session.script().count('session.delete()') == 2
    d.widget.trigger('undo')
    d.widget.trigger('undo')
    assert {1, 2} <= set(np.unique(labels.data))


@pytest.mark.slow
@pytest.mark.parametrize('edited', [False, True])
def test_deleting_a_part_of_a_label_of_somebody_else(desk, blobs, edited):
    d = desk(np.stack([blobs, blobs]))
    data = np.zeros((2, *blobs.shape), np.uint16)
    data[:, 16:40, 20:44] = 5
    table = {'index': [5], 'area': [2 * 24 * 24]}
    own = d.viewer.add_labels(data, name='own', features=table)
    d.widget.panel.labels_combo.layer = own
    for plane, area in ((0, 24 * 24), (1, 0)):
        d.viewer.dims.set_current_step(0, plane)
        d.settle()
        d.viewer.cursor.position = (plane, *FIRST)
        if edited:
            d.widget.trigger('edit_object')
            d.settle()
        d.widget.trigger('delete_object')
        d.settle()
        assert np.count_nonzero(own.data) == area
        assert own.features['area'].tolist() == [area] * (area > 0)
        assert ('other pixels' in d.widget.status.text) is (area > 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    'button', [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_delete_drops_a_new_mask(desk, blobs, button):
    d = desk(blobs)
    labels = make(d, FIRST)
    click(d, SECOND)
    point_at(d, (48, 60))
    press = d.widget.panel.buttons['delete_object'].click
    (press if button else lambda: d.widget.trigger('delete_object'))()
    d.settle()
    assert 'dropped' in d.widget.status.text
    assert len(d.viewer.layers['prompts'].data) == 0
    assert np.unique(labels.data).tolist() == [0, 1]


def test_delete_button_does_not_speak_of_the_cursor(desk, blobs):
    d = desk(blobs)
    labels = make(d, FIRST)
    point_at(d, FIRST)
    d.widget.panel.buttons['delete_object'].click()
    assert 'No object is open' in d.widget.status.text
    assert labels.data.any()


@pytest.mark.slow
def test_undo_and_redo_across_planes(desk, blobs):
    d = desk(np.stack([blobs, blobs[:, ::-1]]))
    for plane in (0, 1):
        d.viewer.dims.set_current_step(0, plane)
        d.settle()
        click(d, (plane, *FIRST))
        d.widget.trigger('accept')
    labels = d.viewer.layers['objects'].data
    assert (labels[0][FIRST], labels[1][FIRST]) == (1, 2)
    d.viewer.dims.set_current_step(0, 0)
    d.settle()
    d.mouse.key(Qt.Key.Key_U)
    assert (labels[0][FIRST], labels[1][FIRST]) == (1, 0)
    d.mouse.key(Qt.Key.Key_U)
    assert not labels.any()
    d.mouse.key(Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    d.mouse.key(Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert (labels[0][FIRST], labels[1][FIRST]) == (1, 2)
    d.widget.trigger('redo')
    assert 'Nothing' in d.widget.status.text


@pytest.mark.slow
def test_keep_policy_leaves_what_is_there(desk, blobs):
    d = desk(blobs)
    data = np.zeros(blobs.shape, np.uint16)
    data[:28] = 9
    own = d.viewer.add_labels(data, name='own')
    d.widget.panel.labels_combo.layer = own
    combo = d.widget.panel.policy_combo
    combo.setCurrentIndex(combo.findData('keep'))
    combo.activated.emit(combo.currentIndex())
    d.widget.trigger('use_points_tool')
    click(d, (34, 32))
    d.widget.trigger('accept')
    assert (own.data[20, 32], own.data[34, 32]) == (9, 10)


@pytest.mark.slow
def test_classes_give_labels_and_are_remembered(desk, blobs):
    d = desk(blobs)
    combo = d.widget.panel.numbers_combo
    combo.setCurrentIndex(combo.findData('semantic'))
    combo.activated.emit(combo.currentIndex())
    for name, positions in (
        ('nucleus', (FIRST, SECOND)),
        ('debris', (THIRD,)),
    ):
        d.widget.panel.class_box.combo.setCurrentText(name)
        d.widget.panel.class_box.combo.lineEdit().editingFinished.emit()
        labels = make(d, *positions)
    found = [labels.data[p] for p in (FIRST, SECOND, THIRD)]
    assert found == [1, 1, 2]
    # without a class it is not written, and stays open
    d.widget.panel.class_box.combo.setCurrentIndex(0)
    d.widget.panel.class_box.combo.activated.emit(0)
    make(d, FOURTH)
    assert 'Choose a class' in d.widget.status.text
    assert not d.session.editor.record.empty
    d.widget.panel.class_box.combo.setCurrentText('debris')
    d.widget.panel.class_box.combo.lineEdit().editingFinished.emit()
    d.widget.trigger('accept')
    assert labels.data[FOURTH] == 2
    assert set(labels.features['class']) >= {'nucleus', 'debris'}
    from napari_mobilesam.settings import load_settings

    assert load_settings().classes == ['nucleus', 'debris']


@pytest.mark.slow
def test_batch_of_a_points_layer_of_somebody_else(desk, blobs):
    d = desk(blobs)
    d.viewer.add_points(np.array(ALL), name='found elsewhere')
    d.widget.trigger('run_batch')
    d.settle()
    labels = d.viewer.layers['objects']
    assert [labels.data[p] for p in ALL] == [1, 2, 3, 4]
    assert '4 of 4' in d.widget.status.text
    assert len(d.viewer.layers['found elsewhere'].data) == 4
    d.widget.trigger('undo')
    assert not labels.data.any()


@pytest.mark.slow
def test_batch_goes_through_the_planes_of_a_layer(desk, blobs):
    d = desk(np.stack([blobs, blobs[:, ::-1]]))
    d.viewer.add_points(np.array([(0, *FIRST), (1, *SECOND)]), name='found')
    d.widget.trigger('run_batch')
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert (labels[0][FIRST], labels[1][SECOND]) == (1, 2)
    assert labels[1][FIRST] == 0


def test_labels_removed_during_a_batch_come_back(desk, blobs, oracle):
    d = desk(blobs)
    labels = make(d, FIRST)
    d.session.clear_cache()
    d.settle()
    oracle.go.clear()
    d.viewer.add_points(np.array([SECOND, THIRD]), name='found')
    d.widget.trigger('run_batch')
    d.viewer.layers.remove(labels)
    oracle.go.set()
    d.settle()
    assert labels in d.viewer.layers
    assert d.session.scene.labels is labels
    assert [labels.data[p] for p in (FIRST, SECOND, THIRD)] == [1, 2, 3]
    assert '“objects” was removed meanwhile, and is restored' in (
        d.widget.status.text
    )
    d.widget.trigger('undo')
    assert [labels.data[p] for p in (FIRST, SECOND, THIRD)] == [1, 0, 0]


@pytest.mark.slow
def test_propagation_follows_and_is_one_undo(desk, blobs):
    stack = np.stack([np.roll(blobs, shift, 1) for shift in (0, 1, 2, 3, 4)])
    d = desk(stack)
    assert not d.widget.panel.planes_box.isHidden()
    d.viewer.dims.set_current_step(0, 2)
    d.settle()
    click(d, (2, 28, 34))
    d.widget.trigger('propagate_both')
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert [int(plane[28, 34]) for plane in labels] == [1] * 5
    assert 'propagated to 4 planes' in d.widget.status.text
    # it stays open, to be corrected
    assert d.widget.status.text.endswith('or Accept (W) it.')
    assert d.session.editor.record.label == 1
    d.widget.trigger('undo')
    assert [int(plane.any()) for plane in labels] == [0, 0, 1, 0, 0]


@pytest.mark.slow
def test_planes_section_only_for_stacks(desk, blobs):
    d = desk(blobs)
    assert not d.widget.panel.planes_box.isVisible()
    d.widget.trigger('propagate_both')
    assert 'No object is open' in d.widget.status.text


@pytest.mark.slow
def test_console_and_mouse_do_the_same(desk, blobs):
    d = desk(blobs)
    found = d.session.click(*FIRST)
    d.settle()
    assert preview_area(d) == found.mask.area
    points = d.viewer.layers['prompts']
    assert points.data[0] == pytest.approx(FIRST)
    d.mouse.right_click(d.image, (36, 40))
    d.settle()
    assert 0 < preview_area(d) < found.mask.area
    d.session.accept()
    d.settle()
    assert d.viewer.layers['objects'].data[FIRST] == 1
    assert len(points.data) == 0
    d.session.undo()
    assert not d.viewer.layers['objects'].data.any()


@pytest.mark.slow
def test_an_open_object_goes_into_a_new_layer_if_its_own_is_removed(
    desk, blobs
):
    d = desk(blobs)
    removed = make(d, FIRST, SECOND)
    before = removed.data.copy()
    d.widget.trigger('previous_object')
    d.settle()
    d.viewer.layers.remove(removed)
    d.settle()
    assert 'open object is written to a new layer' in d.widget.status.text
    assert d.widget.preview.visible
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    labels = d.viewer.layers['objects']
    assert labels is not removed
    assert np.array_equal(labels.data == 1, before == 2)
    assert np.array_equal(removed.data, before)
    d.widget.trigger('undo')
    assert not labels.data.any()


def test_copy_script(desk, blobs):
    d = desk(blobs)
    clipboard = QApplication.clipboard()
    clipboard.setText('before')
    d.widget.panel.script_button.click()
    assert 'nothing to copy yet' in d.widget.panel.status.text
    assert clipboard.text() == 'before'
    make(d, FIRST)
    d.widget.panel.script_button.click()
    assert 'a script of 1 step:' in d.widget.panel.status.text
    assert clipboard.text() == d.session.script()
    objects = d.session.scene.objects(False)
    with objects.step('37 objects') as step:
        step.describe({5}, objects.rows((5,)))
    d.widget.panel.script_button.click()
    assert 'Of these, 1 cannot be repeated' in d.widget.panel.status.text


def test_the_script_opens_an_image_that_was_renamed(
    desk, blobs, tmp_path, monkeypatch
):
    path = tmp_path / 'cells.npy'
    np.save(path, blobs)
    d = desk()
    (d.image,) = d.viewer.open(path, plugin='napari')
    d.image.name = 'DAPI'
    d.settle()
    code = '\n'.join(d.session.scene.setup_code())
    d.viewer.layers.clear()
    monkeypatch.setattr('napari.Viewer', lambda: d.viewer)
    exec(code, {'nm': napari_mobilesam})
    assert d.session.scene.image.name == 'DAPI'
    d.settle()


def test_an_object_that_is_accepted_unchanged_is_not_said_to_be_written(
    desk, blobs
):
    d = desk(blobs)
    labels = make(d, FIRST, SECOND)
    before = labels.data.copy()
    point_at(d, FIRST)
    d.mouse.key(Qt.Key.Key_G)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert d.widget.status.text.startswith('Object 1 is left as it is.')
    assert np.array_equal(labels.data, before)
    assert len(d.session.scene.objects(False).history) == 2
