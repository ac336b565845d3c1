"""Edges, object proposals and boxes in a real window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Shapes
from qtpy.QtWidgets import QFileDialog

from napari_mobilesam.widgets import open_form
from napari_mobilesam.widgets.viewer.layers import is_ours

EVERYTHING = 'Segment everything'
CENTRES = [(28, 32), (28, 92), (68, 32), (68, 92)]


@pytest.fixture
def d(desk, blobs):
    made = desk(blobs, widget=EVERYTHING, scale=(2, 3), rotate=10, units='um')
    made.widget.panel.form.controls['points_per_side'].value = 10
    made.widget.panel.form.controls['whole_image'].value = True
    made.settle()
    return made


def press(d, button):
    button.click()
    d.settle()


def test_edges_are_an_image(d):
    press(d, d.widget.panel.more.edges_button)
    edges = d.viewer.layers['image edges']
    assert isinstance(edges, Image)
    assert edges.data.shape == (96, 128)
    np.testing.assert_allclose(
        edges.data_to_world((5, 7)), d.image.data_to_world((5, 7))
    )
    assert edges.data[28, 17:23].max() > 0.1
    assert edges.data[CENTRES[0]] == 0
    assert d.widget.header.image_combo.layer is d.image
    assert 'Edges are in' in d.widget.status.text
    # others would take the units off the scale bar
    assert edges.units == d.image.units
    assert d.widget.panel.run_button.isEnabled()


def test_proposals_are_boxes_that_become_objects(d):
    press(d, d.widget.panel.more.proposals_button)
    shapes = d.viewer.layers['image proposals']
    assert isinstance(shapes, Shapes)
    assert len(shapes.data) == 4
    assert 'score' in shapes.features
    assert not is_ours(shapes)
    # the only layer of shapes need not be chosen
    press(d, d.widget.panel.more.boxes_button)
    assert d.widget.panel.more.shapes_combo.layer is shapes
    labels = d.viewer.layers['image objects']
    assert sorted(labels.data[at] for at in CENTRES) == [1, 2, 3, 4]
    assert sorted(labels.features['index']) == [1, 2, 3, 4]
    assert '4 objects' in d.widget.status.text
    objects = d.session.scene.objects_of(labels)
    objects.undo()
    assert not labels.data.any()


def test_boxes_of_a_table(d, tmp_path, monkeypatch):
    path = tmp_path / 'boxes.csv'
    pd.DataFrame(
        {
            'row0': [14, 500],
            'column0': [18, 1],
            'row1': [42, 600],
            'column1': [46, 9],
        }
    ).to_csv(path, index=False)
    monkeypatch.setattr(
        QFileDialog, 'getOpenFileName', lambda *args: (str(path), '')
    )
    press(d, d.widget.panel.more.table_button)
    labels = d.viewer.layers['image objects']
    assert [bool(labels.data[at]) for at in CENTRES] == [True] + 3 * [False]


@pytest.fixture
def labelled(desk, blobs):
    """Viewer with an object in the way of one of two boxes."""
    made = desk(blobs, widget=EVERYTHING)
    present = np.zeros(blobs.shape, np.uint16)
    present[20:60, 24:40] = 7
    labels = made.viewer.add_labels(present, name='mine')
    boxes = [[[14, c], [42, c + 28]] for c in (18, 78)]
    shapes = made.viewer.add_shapes(boxes, shape_type='rectangle')
    made.settle()
    made.widget.panel.labels_combo.layer = labels
    made.widget.panel.more.shapes_combo.layer = shapes
    return made


@pytest.mark.slow
def test_boxes_leave_labelled_pixels(labelled):
    d, labels = labelled, labelled.viewer.layers['mine'].data
    present = labels == 7
    press(d, d.widget.panel.more.boxes_button)
    assert (labels[present] == 7).all()
    assert labels[CENTRES[1]] > 7
    before = labels.copy()
    press(d, d.widget.panel.more.boxes_button)
    assert 'Everything is already labelled' in d.widget.status.text
    assert np.array_equal(labels, before)


def test_labels_without_room_for_all_boxes(labelled):
    d = labelled
    labels = np.zeros((96, 128), np.uint8)
    labels[0, 0] = 254
    layer = d.viewer.add_labels(labels, name='small')
    d.widget.panel.labels_combo.layer = layer
    press(d, d.widget.panel.more.boxes_button)
    # two objects, and one label
    assert set(np.unique(d.viewer.layers['image objects'].data)) == {0, 1, 2}
    labels[0, 0] = 255
    layer.events.paint(value=[])
    d.widget.panel.more.boxes_button.click()
    # before the model is asked
    assert 'is full' in d.widget.status.text


@pytest.mark.slow
def test_boxes_survive_the_removal_of_the_labels(labelled):
    d = labelled
    d.widget.panel.more.boxes_button.click()
    d.viewer.layers.remove('mine')
    d.settle()
    labels = d.viewer.layers['image objects']
    assert all(labels.data[at] for at in CENTRES[:2])


def test_tables_and_layers_without_boxes(d, tmp_path, monkeypatch):
    press(d, d.widget.panel.more.boxes_button)
    assert 'No boxes' in d.widget.status.text
    d.viewer.add_shapes(np.array([[0, 0], [9, 9]]), shape_type='line')
    d.widget.panel.more.shapes_combo.layer = d.viewer.layers[-1]
    press(d, d.widget.panel.more.boxes_button)
    assert 'has no box on' in d.widget.status.text
    path = tmp_path / 'wrong.csv'
    monkeypatch.setattr(
        QFileDialog, 'getOpenFileName', lambda *args: (str(path), '')
    )
    for text in ('a,b\n1,2\n', ''):
        path.write_text(text)
        press(d, d.widget.panel.more.table_button)
        assert d.widget.status.label.styleSheet()
        assert d.widget.panel.run_button.isEnabled()


def test_image_removed_while_edges_are_looked_for(d, oracle):
    oracle.go.clear()
    d.widget.panel.more.edges_button.click()
    assert not d.widget.panel.run_button.isEnabled()
    d.viewer.layers.remove(d.image)
    oracle.go.set()
    d.settle()
    assert len(d.viewer.layers) == 0
    assert 'was removed' in d.widget.status.text


@pytest.mark.slow
def test_clicks_after_a_run_add_to_its_objects(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, CENTRES[0])
    d.settle()
    d.widget.trigger('accept')
    d.settle()
    combo = d.widget.panel.labels_combo
    first = d.viewer.layers['objects']
    everything = open_form(d.viewer, 'everything')
    controls = everything.panel.form.controls
    controls['points_per_side'].value = 10
    controls['whole_image'].value = True
    press(d, everything.panel.run_button)
    found = everything.runs.results.layer
    assert found is not first
    assert combo.layer is d.session.scene.labels is found
    # an object that is open stays where it is
    combo.layer = first
    d.session.click(68, 92)
    press(d, everything.panel.run_button)
    assert everything.runs.results.layer not in (first, found)
    assert combo.layer is d.session.scene.labels is first
