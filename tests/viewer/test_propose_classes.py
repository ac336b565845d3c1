"""Classes proposed in a real window: list, corrections, one step."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_mobilesam.segmentation import label_masks
from napari_mobilesam.types import CheckpointError
from napari_mobilesam.widgets.everything.review_view import NAME as REVIEW_NAME
from napari_mobilesam.widgets.viewer.layer_plane import camera_of

pytest.importorskip('sklearn')
CENTRES = [(28, 32), (28, 92), (68, 32), (68, 92)]


@pytest.fixture
def d(everything_desk, blobs):
    image = blobs.copy()
    image[:, 64:] = np.where(image[:, 64:] > 100, 130, 10)
    made = everything_desk(image)
    labels = np.zeros(image.shape, np.uint16)
    for number, (row, column) in enumerate(CENTRES, start=1):
        labels[row - 12 : row + 12, column - 12 : column + 12] = number
    made.labels = made.viewer.add_labels(labels, name='cells')
    made.session.scene.labels = made.labels
    made.panel = made.widget.panel
    made.settle()
    return made


def give(d, number, name):
    row, column = CENTRES[number - 1]
    session = d.session
    session.navigation.open_at(session.scene.plane(), row, column)
    session.assign_class(name)
    session.accept()
    d.settle()


@pytest.mark.slow
def test_classes_are_proposed_corrected_and_accepted(d):
    give(d, 1, 'bright')
    give(d, 2, 'dim')
    classes = d.panel.classes
    assert classes.table.isHidden()
    classes.button.click()
    d.settle()
    assert classes.classes == {3: 'bright', 4: 'dim'}
    assert 'Proposed classes for 2 objects' in d.widget.status.text
    row = list(classes.classes).index(4)
    classes.table.selectRow(row)
    assert d.labels.selected_label == 4
    (outline,) = [x for x in d.viewer.layers if x.name == REVIEW_NAME]
    pixels = np.argwhere(outline.data)
    middle = outline.data_to_world((pixels[0] + pixels[-1]) / 2)
    assert np.allclose(middle, CENTRES[3], atol=1)
    classes.class_combo.setCurrentText('bright')
    classes.class_combo.activated.emit(classes.class_combo.currentIndex())
    assert classes.classes == {3: 'bright', 4: 'bright'}
    before = d.labels.data.copy()
    classes.accept_button.click()
    d.settle()
    assert not outline.data.any()
    objects = d.session.scene.objects_of(d.labels)
    names = {record.label: record.class_name for record in objects}
    assert names == {1: 'bright', 2: 'dim', 3: 'bright', 4: 'bright'}
    assert np.array_equal(d.labels.data, before)
    assert classes.table.isHidden()
    d.session.undo()
    d.settle()
    names = {record.label: record.class_name for record in objects}
    assert names == {1: 'bright', 2: 'dim'}


@pytest.mark.slow
def test_nothing_is_said_or_estimated_while_objects_are_compared(
    d, monkeypatch
):
    give(d, 1, 'bright')
    give(d, 2, 'dim')
    go, find = threading.Event(), label_masks.masks_of_labels

    def wait_and_find(*args):
        assert go.wait(20)
        return find(*args)

    monkeypatch.setattr(label_masks, 'masks_of_labels', wait_and_find)
    d.panel.classes.button.click()
    other = d.viewer.add_image(np.ones((50, 60), np.uint8))
    QApplication.processEvents()
    d.widget.header.image_combo.layer = other
    QApplication.processEvents()
    assert d.widget.busy
    assert d.widget.status.busy
    go.set()
    d.settle()
    assert not d.widget.busy
    assert 'Proposed classes for 2 objects' in d.widget.status.text
    assert d.panel.estimate_label.text() != ''


@pytest.mark.slow
def test_rows_show_their_plane_whatever_is_shown(d):
    give(d, 1, 'bright')
    give(d, 2, 'dim')
    classes = d.panel.classes
    classes.button.click()
    d.settle()
    stack = d.viewer.add_image(np.zeros((3, 96, 128), np.uint8))
    d.settle()
    d.widget.header.image_combo.layer = stack
    for number, ndisplay in ((3, 2), (4, 3)):
        d.viewer.dims.ndisplay = ndisplay
        d.settle()
        classes.table.selectRow(list(classes.classes).index(number))
        shown = camera_of(d.viewer).center[-2:]
        assert shown == pytest.approx(CENTRES[number - 1], abs=1)


@pytest.mark.slow
def test_rows_of_a_stack_show_their_plane(everything_desk, blobs):
    d = everything_desk(np.stack([blobs] * 4))
    labels = np.zeros((4, *blobs.shape), np.uint16)
    for number, (row, column) in enumerate(CENTRES, start=1):
        labels[1, row - 12 : row + 12, column - 12 : column + 12] = number
    layer = d.viewer.add_labels(labels, name='cells')
    d.session.scene.labels = layer
    d.viewer.dims.set_point(0, 1)
    d.settle()
    give(d, 1, 'one')
    give(d, 2, 'other')
    classes = d.widget.panel.classes
    classes.labels_combo.layer = layer
    classes.button.click()
    d.settle()
    d.viewer.dims.set_point(0, 3)
    d.settle()
    classes.table.selectRow(0)
    assert d.viewer.dims.current_step[0] == 1


def test_proposals_follow_renamed_and_removed_classes(d):
    give(d, 1, 'bright')
    give(d, 2, 'dim')
    classes = d.panel.classes
    classes.button.click()
    d.settle()
    classes.table.selectRow(list(classes.classes).index(3))
    d.session.rename_class('bright', 'mitotic')
    assert classes.classes == {3: 'mitotic', 4: 'dim'}
    assert classes.class_combo.currentText() == 'mitotic'
    d.session.remove_class('dim')
    assert classes.classes == {3: 'mitotic', 4: ''}
    assert classes.class_combo.findText('dim') < 0
    d.session.rename_class('mitotic', 'flat')
    classes.accept_button.click()
    d.settle()
    objects = d.session.scene.objects_of(d.labels)
    names = {record.label: record.class_name for record in objects}
    assert names == {1: 'flat', 2: '', 3: 'flat'}
    assert d.session.classes.names == ['flat']
    classes.button.click()
    d.settle()
    assert 'at least two classes' in d.widget.status.text


def test_labels_removed_before_classes_are_accepted(d):
    give(d, 1, 'bright')
    give(d, 2, 'dim')
    classes = d.panel.classes
    classes.button.click()
    d.settle()
    d.viewer.layers.remove(d.labels)
    classes.accept_button.click()
    d.settle()
    assert 'was removed' in d.widget.status.text
    assert d.widget.status.failed
    assert classes.table.isHidden()


@pytest.mark.slow
def test_bad_input_is_said(d):
    classes = d.panel.classes
    give(d, 1, 'bright')
    classes.button.click()
    d.settle()
    assert 'only “bright”' in d.widget.status.text
    assert classes.button.isEnabled()
    d.viewer.layers.remove(d.labels)
    d.settle()
    classes.button.click()
    d.settle()
    assert 'There are no labels' in d.widget.status.text


def test_reason_why_the_model_does_not_load_is_shown(d, monkeypatch):
    give(d, 1, 'bright')
    give(d, 2, 'dim')

    def load(name):
        raise CheckpointError(f'{name} is damaged')

    monkeypatch.setattr(d.session._engine, '_load_model', load)
    d.session.use_model('/somewhere/mine.pt')
    d.settle()
    d.panel.classes.button.click()
    d.settle()
    assert 'is damaged' in d.widget.status.text
    assert d.panel.run_button.isEnabled()
