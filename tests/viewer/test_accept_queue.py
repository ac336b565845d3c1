"""Accepting before the mask is there, and opening while another is open."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_mobilesam.widgets.prompts import prompt_widget

FIRST, SECOND, THIRD, FOURTH = (28, 32), (28, 92), (68, 32), (68, 92)
ALL = (FIRST, SECOND, THIRD, FOURTH)


def accept_all_while_embedding(d, oracle):
    """Click and accept four objects while the model is held."""
    d.session.clear_cache()
    d.settle()
    oracle.go.clear()
    for position in ALL:
        d.mouse.click(d.image, position)
        QApplication.processEvents()
        d.mouse.key(Qt.Key.Key_W)
        QApplication.processEvents()


@pytest.mark.slow
def test_objects_accepted_while_embedding_are_written_in_order(
    desk, blobs, oracle
):
    d = desk(blobs)
    accept_all_while_embedding(d, oracle)
    assert 'as soon as' in d.widget.status.text
    assert len(d.viewer.layers['prompts'].data) == 0
    assert not d.viewer.layers['objects'].data.any()
    oracle.go.set()
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert [labels[position] for position in ALL] == [1, 2, 3, 4]
    areas = {int((labels == number).sum()) for number in (1, 2, 3, 4)}
    assert len(areas) == 1


@pytest.mark.slow
def test_objects_accepted_before_the_dock_was_closed_are_written(
    desk, blobs, oracle, monkeypatch
):
    told = []
    monkeypatch.setattr(prompt_widget, 'show_info', told.append)
    d = desk(blobs)
    accept_all_while_embedding(d, oracle)
    d.viewer.window.remove_dock_widget(d.dock)
    assert '4 accepted objects to be written' in told[0]
    oracle.go.set()
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert [labels[position] for position in ALL] == [1, 2, 3, 4]


@pytest.mark.slow
def test_accepted_objects_go_into_a_new_layer_if_theirs_is_removed(
    desk, blobs, oracle
):
    d = desk(blobs)
    accept_all_while_embedding(d, oracle)
    d.viewer.layers.remove('objects')
    assert 'written to a new layer' in d.widget.status.text
    oracle.go.set()
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert [labels[position] for position in ALL] == [1, 2, 3, 4]


@pytest.mark.slow
def test_undo_opens_an_accepted_object_again_that_is_not_written(
    desk, blobs, oracle
):
    d = desk(blobs)
    accept_all_while_embedding(d, oracle)
    d.mouse.key(Qt.Key.Key_U)
    QApplication.processEvents()
    assert 'the object is open again' in d.widget.status.text
    points = d.viewer.layers['prompts']
    assert points.data == pytest.approx(np.array([FOURTH]), abs=0.5)
    d.mouse.key(Qt.Key.Key_U)
    QApplication.processEvents()
    assert points.data == pytest.approx(np.array([THIRD]), abs=0.5)
    oracle.go.set()
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert [labels[position] for position in ALL] == [1, 2, 0, 0]
    assert d.widget.preview.layer.data.any()
    for number in (3, 4):
        d.mouse.key(Qt.Key.Key_W)
        d.settle()
        assert labels.max() == number
    assert [labels[position] for position in ALL] == [1, 2, 3, 4]
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert labels[FOURTH] == 0


def test_an_accepted_object_without_a_mask_cannot_be_edited_yet(
    desk, blobs, oracle
):
    d = desk(blobs)
    d.session.clear_cache()
    d.settle()
    oracle.go.clear()
    d.mouse.click(d.image, FIRST)
    d.mouse.key(Qt.Key.Key_W)
    d.widget.panel.buttons['edit_object'].click()
    d.mouse.click(d.image, FIRST)
    assert '1 accepted object to be written' in d.widget.status.text
    assert not d.widget.status.failed
    oracle.go.set()
    d.settle()
    d.widget.panel.buttons['edit_object'].click()
    d.mouse.click(d.image, FIRST)
    d.settle()
    assert d.session.editor.record.label == 1


@pytest.mark.slow
def test_prompts_of_the_next_object_stay_when_one_is_written(
    desk, blobs, oracle
):
    d = desk(blobs)
    d.session.clear_cache()
    d.settle()
    oracle.go.clear()
    d.mouse.click(d.image, FIRST)
    d.mouse.key(Qt.Key.Key_W)
    d.mouse.click(d.image, SECOND)
    oracle.go.set()
    d.settle()
    assert d.viewer.layers['objects'].data[FIRST] == 1
    assert d.viewer.layers['objects'].data[SECOND] == 0
    assert len(d.viewer.layers['prompts'].data) == 1
    assert d.widget.preview.layer.data.any()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert d.viewer.layers['objects'].data[SECOND] == 2


def test_opening_another_object_keeps_the_open_one_aside(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, FIRST)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    d.mouse.click(d.image, SECOND)
    d.settle()
    written = d.viewer.layers['objects'].data.copy()
    d.mouse.move(d.mouse.at(d.image, FIRST))
    d.settle()
    d.mouse.key(Qt.Key.Key_G)
    d.settle()
    assert 'Editing object 1' in d.widget.status.text
    assert 'Kept aside until then' in d.widget.status.text
    points = d.viewer.layers['prompts']
    assert points.data == pytest.approx(np.array([FIRST]), abs=0.5)
    # not accepted unasked
    assert np.array_equal(d.viewer.layers['objects'].data, written)
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    assert points.data == pytest.approx(np.array([SECOND]), abs=0.5)
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert d.viewer.layers['objects'].data[SECOND] == 2
    assert len(points.data) == 0


@pytest.mark.slow
def test_an_object_that_was_not_written_outlasts_several_shapes(
    desk, blobs, oracle
):
    d = desk(blobs)
    d.session.clear_cache()
    d.settle()
    oracle.go.clear()
    d.mouse.click(d.image, (4, 64))
    d.mouse.key(Qt.Key.Key_W)
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.mouse.drag(d.image, (12, 16), (44, 48))
    QApplication.processEvents()
    oracle.go.set()
    d.settle()
    d.mouse.drag(d.image, (12, 76), (44, 108))
    d.settle()
    assert d.widget.object.several is not None
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert labels[FIRST] and labels[SECOND]
    points = d.viewer.layers['prompts']
    assert points.data == pytest.approx(np.array([(4, 64)]), abs=0.5)
    assert not d.session.editor.record.empty
