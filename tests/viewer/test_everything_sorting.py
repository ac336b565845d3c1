"""Masks as they come, sliders that sort them out, kinds of results."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.layers import Labels, Shapes
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_mobilesam.widgets.everything.everything_panel import (
    FOREGROUND,
    OUTLINES,
)
from napari_mobilesam.widgets.everything.live_view import NAME as LIVE

SMALL, LARGE = (28, 32), (68, 92)


@pytest.fixture
def image():
    """A bright square of 24 pixels a side, and one of 32."""
    picture = np.full((96, 128), 10, np.uint8)
    picture[16:40, 20:44] = 150
    picture[52:84, 76:108] = 220
    return picture


def run(d):
    d.widget.panel.run_button.click()
    d.settle()
    return d.viewer.layers[-1]


def there(data):
    return bool(data[SMALL]), bool(data[LARGE])


def hold_after_first_mask(oracle):
    """Let the model stop in the middle of a step once masks were found."""
    found, stuck = threading.Event(), threading.Event()
    decoder_of = oracle.image_decoder

    def decoder(features):
        made = decoder_of(features)
        attend = made.attend

        def hold(*args, **prompts):
            if found.is_set() and not stuck.is_set():
                oracle.go.clear()
                stuck.set()
            scores, logits = attend(*args, **prompts)
            if scores.max() > 0.9:
                found.set()
            return scores, logits

        made.attend = hold
        return made

    oracle.image_decoder = decoder
    return stuck


def test_masks_are_shown_and_kept_by_cancel(
    everything_desk, image, oracle, qtbot
):
    d = everything_desk(image)
    d.widget.panel.form.controls['batch_size'].value = 1
    stuck = hold_after_first_mask(oracle)
    d.widget.panel.run_button.click()
    assert not d.widget.panel.run_button.isEnabled()
    qtbot.waitUntil(lambda: LIVE in d.viewer.layers, timeout=20000)
    first = there(d.viewer.layers[LIVE].data)
    assert sum(first) == 1
    assert stuck.wait(20)
    QTest.mouseClick(d.widget.panel.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(d.widget.panel.run_button.isEnabled, timeout=20000)
    # the model is still held in the middle of a step
    assert not oracle.go.is_set()
    labels = d.viewer.layers[-1]
    assert isinstance(labels, Labels)
    assert there(labels.data) == first
    assert LIVE not in d.viewer.layers
    assert 'stopped' in d.widget.status.text
    assert not d.widget.panel.cancel_button.isEnabled()
    oracle.go.set()
    d.settle()
    assert there(labels.data) == first


@pytest.mark.slow
@pytest.mark.parametrize('window', [False, True])
def test_closing_keeps_what_was_found(
    everything_desk, image, oracle, qtbot, window
):
    d = everything_desk(image)
    d.widget.panel.form.controls['batch_size'].value = 1
    stuck = hold_after_first_mask(oracle)
    d.widget.panel.run_button.click()
    assert stuck.wait(20)
    tasks = d.viewer.window._task_status_manager
    assert tasks.get_status() == [
        'MobileSAM: Segment everything; only Autosave saves its objects'
    ]
    if window:
        # what napari does before it closes its window
        tasks.cancel_all()
    else:
        d.viewer.window.remove_dock_widget(d.dock)
        QApplication.processEvents()
    # the model is still held in the middle of a step
    assert not oracle.go.is_set()
    oracle.go.set()
    assert not tasks.is_busy()
    labels = d.viewer.layers[-1]
    assert isinstance(labels, Labels)
    assert any(there(labels.data))


@pytest.mark.slow
def test_sliders_sort_out_without_asking_the_model(
    everything_desk, image, oracle
):
    d = everything_desk(image)
    labels = run(d)
    before = labels.data.copy()
    assert there(labels.data) == (True, True)
    encoded = oracle.encoded
    area = d.widget.panel.filters.area
    low, high = area.value()
    area.setValue(((low + high) / 2, high))
    d.settle()
    assert there(labels.data) == (False, True)
    assert 'Kept 1 of' in d.widget.panel.filters.count.text()
    assert labels.data[LARGE] == before[LARGE]
    assert sorted(labels.features['index']) == [before[LARGE]]
    d.widget.panel.filters.reset_button.click()
    d.settle()
    np.testing.assert_array_equal(labels.data, before)
    assert oracle.encoded == encoded


@pytest.mark.slow
def test_intensity_is_that_of_the_image(everything_desk, image):
    d = everything_desk(image)
    labels = run(d)
    d.widget.panel.filters.intensity.setValue((10, 180))
    d.settle()
    assert there(labels.data) == (True, False)


@pytest.mark.slow
@pytest.mark.window
def test_a_slider_is_dragged_and_undone_in_one_step(everything_desk, image):
    d = everything_desk(image)
    labels = run(d)
    before = labels.data.copy()
    slider = d.widget.panel.filters.predicted_iou
    slider.setFocus()
    end = QPoint(slider.width() - 2, slider.height() // 2)
    QTest.mouseClick(slider, Qt.MouseButton.LeftButton, pos=end)
    slider.setValue(0.99)
    d.settle()
    assert not labels.data.any()
    d.widget.panel.review.undo_button.click()
    d.settle()
    np.testing.assert_array_equal(labels.data, before)
    assert len(d.widget.panel.review.objects) == 2


@pytest.mark.slow
def test_undo_puts_a_slider_back_to_where_it_began(everything_desk, image):
    """Through places that change nothing, before and after those that do."""
    d = everything_desk(image)
    labels = run(d)
    slider = d.widget.panel.filters.predicted_iou
    began = slider.value()
    for value in (began + 0.05, began + 0.1, 0.99, 0.995):
        slider.setValue(value)
        d.settle()
    assert not labels.data.any()
    assert d.session.undo() == 'change of the filters'
    d.settle()
    assert there(labels.data) == (True, True)
    assert slider.value() == pytest.approx(began)
    assert d.session.redo() == 'change of the filters'
    d.settle()
    assert slider.value() == pytest.approx(0.995)


def test_filters_of_a_run_that_was_undone_do_nothing(everything_desk, image):
    d = everything_desk(image)
    labels = run(d)
    d.widget.panel.review.undo_button.click()
    d.settle()
    assert not labels.data.any()
    d.widget.panel.filters.predicted_iou.setValue(0.5)
    d.settle()
    assert not labels.data.any()
    assert 'was undone' in d.widget.status.text
    assert d.session.redo() == '2 objects'
    d.settle()
    assert there(labels.data) == (True, True)


def test_filters_that_left_nothing_are_no_run(everything_desk, image):
    d = everything_desk(image)
    labels = run(d)
    filters = d.widget.panel.filters
    filters.predicted_iou.setValue(0.99)
    d.settle()
    assert not labels.data.any()
    filters.overlap.setValue(0.4)
    filters.predicted_iou.setValue(0.5)
    d.settle()
    assert there(labels.data) == (True, True)
    assert d.session.undo() == 'change of the filters'


@pytest.mark.slow
def test_one_label_for_all(everything_desk, image):
    d = everything_desk(image)
    d.widget.panel.kind_combo.setCurrentText(FOREGROUND)
    labels = run(d)
    assert set(np.unique(labels.data)) == {0, 1}
    d.widget.panel.filters.intensity.setValue((10, 180))
    d.settle()
    assert there(labels.data) == (True, False)


def test_outlines_in_a_shapes_layer(everything_desk, image):
    d = everything_desk(image, scale=(2, 3))
    d.widget.panel.kind_combo.setCurrentText(OUTLINES)
    assert d.widget.panel.labels_combo.isHidden()
    shapes = run(d)
    assert isinstance(shapes, Shapes)
    boxes = sorted(tuple(x.min(axis=0)) for x in shapes.data)
    assert boxes == [(15.5, 19.5), (51.5, 75.5)]
    np.testing.assert_allclose(shapes.scale, (2, 3))
    assert shapes.features['score'].tolist() == pytest.approx([0.97, 0.97])
    d.widget.panel.filters.intensity.setValue((10, 180))
    d.settle()
    assert len(shapes.data) == len(shapes.features) == 1
    assert d.widget.panel.review_group.isHidden()


def test_outlines_that_were_edited_stay(everything_desk, image):
    d = everything_desk(image)
    d.widget.panel.kind_combo.setCurrentText(OUTLINES)
    shapes = run(d)
    drawn = np.array([[1, 1], [1, 9], [9, 9]])
    shapes.add_polygons([drawn])
    d.widget.panel.filters.intensity.setValue((10, 180))
    d.settle()
    assert len(shapes.data) == 3
    assert np.array_equal(shapes.data[-1], drawn)
    assert 'edited' in d.widget.status.text


def test_outlines_are_undone_before_older_steps(everything_desk, image):
    d = everything_desk(image)
    labels = run(d)
    d.widget.panel.kind_combo.setCurrentText(OUTLINES)
    shapes = run(d)
    assert len(shapes.data) == 2
    assert d.session.undo().startswith('2 outlines')
    assert shapes not in d.viewer.layers
    assert there(labels.data) == (True, True)
    assert d.session.redo().startswith('2 outlines')
    assert shapes in d.viewer.layers
    assert len(shapes.data) == 2
    # removed by hand, it is not a step any more
    d.viewer.layers.remove(shapes)
    d.settle()
    assert d.session.undo() == '2 objects'
    assert not labels.data.any()


@pytest.mark.slow
def test_a_result_that_is_removed_is_let_go(everything_desk, image):
    d = everything_desk(image)
    labels = run(d)
    assert not d.widget.panel.filter_group.isHidden()
    d.viewer.layers.remove(labels)
    d.settle()
    assert d.widget.panel.filter_group.isHidden()
    assert d.widget.panel.review_group.isHidden()
    assert 'was removed' in d.widget.status.text
    d.widget.panel.filters.changed.emit()
    d.settle()
    assert len(d.viewer.layers) == 1


@pytest.mark.slow
def test_live_layer_can_be_removed(everything_desk, image, oracle, qtbot):
    d = everything_desk(image)
    d.widget.panel.form.controls['batch_size'].value = 1
    hold_after_first_mask(oracle)
    d.widget.panel.run_button.click()
    qtbot.waitUntil(lambda: LIVE in d.viewer.layers, timeout=20000)
    d.viewer.layers.remove(LIVE)
    oracle.go.set()
    d.settle()
    assert LIVE not in d.viewer.layers
    assert there(d.viewer.layers[-1].data) == (True, True)


@pytest.mark.slow
@pytest.mark.parametrize('removed', ['image', 'output'])
def test_what_was_found_is_kept_if_a_layer_is_removed(
    everything_desk, image, oracle, qtbot, removed
):
    d = everything_desk(image)
    gone = d.image
    if removed == 'output':
        gone = d.viewer.add_labels(np.zeros(image.shape, int), name='own')
        d.widget.panel.labels_combo.layer = gone
    d.widget.panel.form.controls['batch_size'].value = 1
    hold_after_first_mask(oracle)
    d.widget.panel.run_button.click()
    qtbot.waitUntil(lambda: LIVE in d.viewer.layers, timeout=20000)
    d.viewer.layers.remove(gone)
    oracle.go.set()
    d.settle()
    assert LIVE not in d.viewer.layers
    labels = d.viewer.layers[f'{d.image.name} objects']
    assert 1 in there(labels.data)
    assert f'“{gone.name}” was removed during the run. 1 object until' in (
        d.widget.status.text
    )
    assert d.widget.panel.run_button.isEnabled()
    d.session.undo()
    assert not labels.data.any()


def test_labels_removed_while_they_are_written(everything_desk, image):
    d = everything_desk(image)
    own = d.viewer.add_labels(np.zeros(image.shape, int), name='own')
    d.widget.panel.labels_combo.layer = own
    apart = d.session.runs.apart

    def removing(job, then):
        apart(job, then)
        if own in d.viewer.layers:
            d.viewer.layers.remove(own)

    d.session.runs.apart = removing
    d.widget.panel.run_button.click()
    d.settle()
    labels = d.viewer.layers[f'{d.image.name} objects']
    assert there(labels.data) == (True, True)
    assert not own.data.any()
    assert '“own” was removed during the run. 2 objects' in (
        d.widget.status.text
    )
    d.session.undo()
    assert not labels.data.any()


@pytest.mark.slow
def test_choices_are_remembered(everything_desk, image):
    d = everything_desk(image)
    d.widget.panel.kind_combo.setCurrentText(FOREGROUND)
    run(d)
    d.viewer.window.remove_dock_widget(d.dock)
    other = everything_desk(image)
    assert other.widget.panel.form.controls['points_per_side'].value == 10
    assert other.widget.panel.kind_combo.currentText() == FOREGROUND


@pytest.mark.slow
def test_sliders_follow_undo_and_redo(everything_desk, image):
    """From the panel and the console; nothing is sorted out for it."""
    d = everything_desk(image)
    labels = run(d)
    filters = d.widget.panel.filters
    sliders = (filters.predicted_iou, filters.overlap)
    first = [slider.value() for slider in sliders]
    asked = []
    d.session.runs.selected.connect(asked.append)
    filters.predicted_iou.setValue(0.99)
    filters.overlap.setValue(0.4)
    d.settle()
    assert len(asked) > 0
    assert not labels.data.any()
    asked.clear()
    d.widget.panel.review.undo_button.click()
    d.settle()
    assert there(labels.data) == (True, True)
    assert [slider.value() for slider in sliders] == pytest.approx(first)
    assert 'Kept 2 of' in filters.count.text()
    objects = d.widget.panel.review.objects
    assert objects.redo() == 'change of the filters'
    d.settle()
    assert not labels.data.any()
    assert [slider.value() for slider in sliders] == pytest.approx([0.99, 0.4])
    assert 'Kept 0 of' in filters.count.text()
    assert d.widget.status.text == 'Back to 0 objects.'
    # the console undoes what belongs to the labels of the clicks
    d.session.scene.labels = labels
    assert d.session.undo() is not None
    d.settle()
    assert [slider.value() for slider in sliders] == pytest.approx(first)
    assert asked == []
    # whoever moves on goes on from there
    filters.intensity.setValue((10, 180))
    d.settle()
    assert there(labels.data) == (True, False)


@pytest.mark.slow
def test_undo_comes_after_a_slider_that_still_waits(everything_desk, image):
    d = everything_desk(image)
    labels = run(d)
    low, high = d.widget.panel.filters.area.value()
    d.widget.panel.filters.area.setValue(((low + high) / 2, high))
    d.settle()
    assert there(labels.data) == (False, True)
    d.widget.panel.filters.predicted_iou.setValue(0.99)
    d.widget.panel.review.undo_button.click()
    d.settle()
    assert there(labels.data) == (True, True)
    assert d.widget.panel.filters.area.value() == pytest.approx((low, high))
    assert d.widget.panel.filters.predicted_iou.value() < 0.97


@pytest.mark.slow
def test_what_is_painted_while_a_slider_moves_stays(everything_desk, image):
    d = everything_desk(image)
    labels = run(d)
    d.widget.panel.filters.predicted_iou.setValue(0.99)
    while d.widget.pending:
        # painted whenever the other thread may be at work
        labels.data[16:20, 20:24] = 77
        QApplication.processEvents()
    d.settle()
    assert (labels.data[16:20, 20:24] == 77).all()
    assert not (labels.data[20:]).any()


@pytest.mark.slow
def test_each_slider_is_undone_by_itself(everything_desk, image):
    d = everything_desk(image)
    labels = run(d)
    filters = d.widget.panel.filters
    low, high = filters.area.value()
    for share in (0.3, 0.5):
        filters.area.setValue((low + share * (high - low), high))
        d.settle()
    filters.intensity.setValue((10, 180))
    d.settle()
    assert there(labels.data) == (False, False)
    d.widget.panel.review.undo_button.click()
    d.settle()
    assert there(labels.data) == (False, True)
    assert filters.intensity.interval is None
    assert filters.area.interval is not None
    d.widget.panel.review.undo_button.click()
    d.settle()
    assert there(labels.data) == (True, True)
    assert filters.area.interval is None
