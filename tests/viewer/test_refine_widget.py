"""“Refine labels” in a viewer, with the mouse."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

LEFT = Qt.MouseButton.LeftButton


def rough(blobs):
    """Labels 1 … 4 around the squares, three pixels too large."""
    labels = np.zeros(blobs.shape, np.uint16)
    places = [(r, c) for r in (16, 56) for c in (20, 80)]
    for number, (row, column) in enumerate(places, start=1):
        labels[row - 3 : row + 27, column - 3 : column + 27] = number
    return labels


@pytest.fixture
def refine_desk(desk):
    def make(*images, labels=None, **kwargs):
        d = desk(*images, widget='Refine labels', **kwargs)
        d.labels = None
        if labels is not None:
            d.labels = d.viewer.add_labels(labels, name='cellpose')
        d.settle()
        return d

    return make


def refine_form(d):
    """Open “Refine labels” beside another form."""
    _, form = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Refine labels'
    )
    d.settle()
    return form


def press(button):
    # a check box listens at its left end only
    place = QPoint(8, button.height() // 2)
    QTest.mouseClick(button, LEFT, pos=place)


def areas(labels):
    return [int((labels == n).sum()) for n in range(1, 5)]


@pytest.mark.window
def test_refine_all_show_changes_and_undo(refine_desk, blobs):
    d = refine_desk(blobs, labels=rough(blobs))
    before = d.labels.data.copy()
    assert d.widget.labels_combo.layer is d.labels
    d.widget.run_button.setFocus()
    press(d.widget.run_button)
    assert not d.widget.run_button.isEnabled()
    # the focus is not on a control that an arrow key would change
    assert not d.dock.isAncestorOf(d.dock.window().focusWidget())
    d.settle()
    assert d.widget.status.text == 'Refined 4 of 4 objects.'
    assert all(500 < area < 700 for area in areas(d.labels.data))
    assert d.labels.features['refined'].tolist() == [True] * 4
    # what changed: only removed pixels, in their own colour
    changes = d.widget.changes.layer
    assert changes.visible
    assert not d.widget.legend.isHidden()
    for word in ('added', 'removed', 'given to another object'):
        assert word in d.widget.legend.text()
    assert set(np.unique(changes.data)) == {0, 2}
    assert np.array_equal(
        changes.data == 2, (before > 0) & (d.labels.data == 0)
    )
    press(d.widget.changes_box)
    assert not changes.visible
    assert d.widget.legend.isHidden()
    press(d.widget.changes_box)
    press(d.widget.undo_button)
    assert d.widget.status.text == 'Undone: refining 4 objects.'
    assert np.array_equal(d.labels.data, before)
    assert not changes.visible
    d.session.redo()
    assert changes.visible
    d.viewer.layers.remove(changes)
    assert d.widget.legend.isHidden()


@pytest.mark.slow
def test_changes_belong_to_the_labels_that_were_refined(
    refine_desk, blobs, oracle
):
    d = refine_desk(blobs, labels=rough(blobs))
    oracle.go.clear()
    d.widget.run()
    d.session.scene.labels = d.viewer.add_labels(rough(blobs), name='other')
    oracle.go.set()
    d.settle()
    changes = d.widget.changes.layer
    # hidden in the list of layers, they stay so
    changes.visible = False
    d.session.scene.objects_of(d.labels).changed.emit()
    assert not changes.visible
    changes.visible = True
    d.widget.undo()
    assert not changes.visible


def test_changes_are_no_labels_to_write_to(refine_desk, blobs):
    d = refine_desk(blobs, labels=rough(blobs))
    d.widget.run()
    d.settle()
    assert d.widget.changes.layer in d.viewer.layers
    assert d.widget.labels_combo.layers == [d.labels]
    d.widget.run()
    d.settle()
    assert d.widget.status.text.startswith('Refined 0 of 4 objects. 4 stay')
    assert d.widget.changes.layer is None
    assert d.viewer.layers == [d.image, d.labels]


@pytest.mark.slow
def test_cancelling_keeps_what_is_done(refine_desk, blobs, oracle):
    d = refine_desk(blobs, labels=rough(blobs))
    oracle.go.clear()
    d.widget.run()
    press(d.widget.cancel_button)
    assert d.widget.status.text == 'Stopping …'
    oracle.go.set()
    d.settle()
    assert d.widget.status.text.startswith('Stopped. Refined 1 of 4')
    assert d.session.undo() == 'refining 1 of 4 objects'
    d.session.redo()
    assert sorted(areas(d.labels.data))[1:] == [900] * 3


@pytest.mark.slow
def test_all_planes_of_a_stack(refine_desk, blobs):
    stack = np.stack([blobs, blobs])
    labels = np.stack([rough(blobs)] * 2)
    d = refine_desk(stack, labels=labels)
    assert not d.widget.planes_box.isHidden()
    d.widget.run()
    d.settle()
    plane = d.viewer.dims.current_step[0]
    assert areas(d.labels.data[1 - plane]) == [900] * 4
    d.session.undo()
    d.widget.planes_box.setChecked(True)
    d.widget.run()
    d.settle()
    assert d.widget.status.text == 'Refined 8 of 8 objects on 2 planes.'
    assert max(areas(d.labels.data[0]) + areas(d.labels.data[1])) < 700
    d.session.undo()
    assert np.array_equal(d.labels.data, labels)


def test_all_planes_of_several_axes(refine_desk, blobs):
    labels = np.zeros((2, 2, 1, *blobs.shape), np.uint8)
    labels[..., 13:43, 17:47] = 1
    d = refine_desk(np.broadcast_to(blobs, labels.shape), labels=labels)
    d.widget.planes_box.setChecked(True)
    d.widget.run()
    d.settle()
    assert d.widget.status.text == 'Refined 4 of 4 objects on 4 planes.'
    d.viewer.layers.clear()
    assert d.widget.planes_box.isHidden()


@pytest.mark.slow
def test_a_single_plane_is_no_stack(refine_desk, blobs):
    d = refine_desk(blobs[None], labels=rough(blobs)[None])
    assert d.widget.planes_box.isHidden()


@pytest.mark.slow
def test_threshold_layer(refine_desk, blobs):
    # napari turns bool into integers
    d = refine_desk(blobs, labels=rough(blobs) > 0)
    d.widget.run()
    d.settle()
    assert d.widget.status.text == 'Refined 4 of 4 objects.'
    assert set(np.unique(d.labels.data)) == {0, 1, 2, 3, 4}


@pytest.mark.slow
def test_scaled_labels_of_another_grid(refine_desk, blobs):
    d = refine_desk(blobs)
    d.labels = d.viewer.add_labels(rough(blobs)[::2, ::2], scale=(2, 2))
    d.settle()
    d.widget.run()
    d.settle()
    assert d.widget.status.text == 'Refined 4 of 4 objects.'
    assert all(100 < area < 190 for area in areas(d.labels.data))


@pytest.mark.slow
def test_an_object_stays_open_while_another_image_is_chosen(desk, blobs):
    d = desk(blobs, blobs[::-1].copy())
    d.widget.header.image_combo.layer = d.image
    d.settle()
    d.mouse.click(d.image, (28, 32))
    d.settle()
    form = refine_form(d)
    form.image_combo.layer = d.viewer.layers[1]
    d.settle()
    assert len(d.widget.tools.points.data) == 1
    assert d.session.scene.image is d.image


@pytest.mark.slow
def test_closing_another_dock_leaves_the_run(desk, blobs, oracle):
    d = desk(blobs)
    d.viewer.add_labels(rough(blobs))
    form = refine_form(d)
    oracle.go.clear()
    form.run()
    d.viewer.window.remove_dock_widget(d.dock)
    oracle.go.set()
    d.widget = form
    d.settle()
    assert form.status.text == 'Refined 4 of 4 objects.'


def test_what_is_missing_is_said(refine_desk, blobs):
    d = refine_desk()
    assert d.widget.status.text.startswith('There is no image')
    d.widget.run()
    assert d.widget.status.failed
    d.viewer.add_image(blobs)
    d.settle()
    d.widget.run()
    assert d.widget.status.text.startswith('There is no labels layer')
    d.viewer.add_labels(np.zeros(blobs.shape, int))
    d.settle()
    d.widget.run()
    assert 'nothing to refine' in d.widget.status.text
    assert d.widget.run_button.isEnabled()


@pytest.mark.slow
def test_labels_removed_in_a_run(refine_desk, blobs, oracle):
    d = refine_desk(blobs, labels=rough(blobs))
    oracle.go.clear()
    d.widget.run()
    d.viewer.layers.remove(d.labels)
    d.labels = None
    oracle.go.set()
    d.settle()
    assert d.widget.run_button.isEnabled()
    assert 'nothing was refined' in d.widget.status.text
    assert d.viewer.layers == [d.image]


@pytest.mark.slow
def test_a_closed_dock_stops_and_takes_its_layer_along(refine_desk, blobs):
    d = refine_desk(blobs, labels=rough(blobs))
    d.widget.run()
    d.settle()
    d.viewer.window.remove_dock_widget(d.dock)
    assert d.viewer.layers == [d.image, d.labels]
