"""Find similar in a real window: examples, filters, review, undo."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.widgets.everything.similar_panel import SELECTED

SMALL = [(10, 10), (10, 60), (40, 100), (70, 20)]
MIDDLES = [(row + 5, column + 5) for row, column in SMALL]


@pytest.fixture
def d(everything_desk):
    image = np.full((96, 128), 10, np.uint8)
    for row, column in SMALL:
        image[row : row + 12, column : column + 12] = 200
    image[44:88, 44:88] = 200
    made = everything_desk(image)
    labels = np.zeros(image.shape, np.uint16)
    labels[10:22, 10:22] = 3
    labels[44:88, 44:88] = 4
    made.labels = made.viewer.add_labels(labels, name='cells')
    made.settle()
    return made


def find(d, which=SELECTED):
    panel = d.widget.panel.similar
    panel.which_combo.setCurrentText(which)
    panel.button.click()
    d.settle()


def test_like_the_selected_label(d):
    before = d.labels.data.copy()
    d.labels.selected_label = 3
    find(d)
    found = {int(d.labels.data[at]) for at in MIDDLES}
    assert len(found) == 4
    assert 0 not in found
    assert np.array_equal(d.labels.data[before > 0], before[before > 0])
    assert '3 objects' in d.widget.status.text
    assert 'similarity' in d.labels.features
    filters = d.widget.panel.filters
    assert not filters.similarity.isHidden()
    assert filters.similarity.value() == pytest.approx(0.1)
    filters.similarity.setValue(1.0)
    d.settle()
    assert np.array_equal(d.labels.data, before)
    d.widget.panel.review.undo_button.click()
    d.settle()
    assert filters.similarity.value() == pytest.approx(0.1)
    assert len(np.unique(d.labels.data)) == 6
    d.widget.panel.review.undo_button.click()
    d.settle()
    assert np.array_equal(d.labels.data, before)


@pytest.mark.slow
def test_other_runs_have_no_similarity(d):
    d.labels.selected_label = 3
    find(d)
    d.widget.panel.run_button.click()
    d.settle()
    assert d.widget.panel.filters.similarity.isHidden()


def test_without_examples_it_says_what_to_do(d):
    d.labels.selected_label = 9
    before = d.labels.data.copy()
    find(d)
    assert 'no such object' in d.widget.status.text
    assert d.widget.panel.run_button.isEnabled()
    d.viewer.layers.remove(d.labels)
    find(d)
    assert 'There are no examples' in d.widget.status.text
    assert np.array_equal(d.labels.data, before)


def test_cancelling_keeps_the_labels(d, oracle):
    before = d.labels.data.copy()
    d.labels.selected_label = 3
    oracle.go.clear()
    panel = d.widget.panel
    panel.similar.which_combo.setCurrentText(SELECTED)
    panel.similar.button.click()
    assert not panel.similar.button.isEnabled()
    panel.cancel_button.click()
    oracle.go.set()
    d.settle()
    assert panel.similar.button.isEnabled()
    assert np.array_equal(d.labels.data[before > 0], before[before > 0])


@pytest.mark.slow
def test_labels_of_the_chosen_image_are_chosen(d):
    other = d.viewer.add_image(np.zeros((50, 60), np.uint8), name='other')
    own = d.viewer.add_labels(np.zeros((50, 60), np.uint16), name='own')
    similar = d.widget.panel.similar.labels_combo
    d.widget.header.image_combo.layer = d.image
    assert similar.layer is d.labels
    d.widget.header.image_combo.layer = other
    assert similar.layer is own
    assert d.widget.panel.classes.labels_combo.layer is own
    d.widget.header.image_combo.layer = d.image
    assert similar.layer is d.labels
    # labels that come later
    d.viewer.layers.remove(own)
    d.widget.header.image_combo.layer = other
    assert similar.layer is d.labels
    own = d.viewer.add_labels(np.zeros((50, 60), np.uint16), name='own')
    d.settle()
    assert similar.layer is own


def test_labels_made_for_another_image_are_refused(d):
    d.widget.panel.run_button.click()
    d.settle()
    made = d.viewer.layers['image objects']
    other = d.viewer.add_image(np.zeros((50, 60), np.uint8), name='other')
    d.widget.header.image_combo.layer = other
    d.settle()
    assert 'results of “image”' in d.widget.status.text
    d.widget.panel.similar.labels_combo.layer = made
    d.widget.panel.similar.button.click()
    d.settle()
    assert 'belongs to another image than “other”' in d.widget.status.text


@pytest.mark.slow
def test_the_chosen_image_stays_when_a_layer_is_added(d):
    other = d.viewer.add_image(np.zeros((50, 60), np.uint8), name='other')
    d.settle()
    combo = d.widget.header.image_combo
    assert combo.layer is other
    combo.layer = d.image
    d.widget.panel.run_button.click()
    d.settle()
    assert d.viewer.layers.selection.active is other
    assert combo.layer is d.image
    # chosen during a run
    d.widget.panel.run_button.click()
    combo.layer = other
    d.settle()
    assert 'results of “image”' in d.widget.status.text
    d.viewer.layers.selection.active = d.image
    d.settle()
    assert combo.layer is d.image
