"""Objects of “Segment everything” reviewed with keys, clicks and the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.writing import (
    shrunken_labels,
    write_object,
)
from napari_mobilesam.types import Mask, Prompts
from napari_mobilesam.widgets import open_form
from napari_mobilesam.widgets.everything.filter_panel import RangeSlider
from napari_mobilesam.widgets.everything.review_table import AREA
from napari_mobilesam.widgets.everything.review_view import NAME as REVIEW_NAME

EVERYTHING = 'Segment everything'
CENTRES = [(28, 32), (28, 92), (68, 32), (68, 92)]
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def reviewed(desk, blobs):
    """Four objects that were found, with the labels layer on top."""
    d = desk(blobs, widget=EVERYTHING)
    d.widget.panel.form.controls['points_per_side'].value = 10
    d.widget.panel.form.controls['whole_image'].value = True
    d.widget.panel.run_button.click()
    d.settle()
    d.labels = d.viewer.layers[-1]
    return d


def press(d, key):
    QTest.keyClick(d.mouse.canvas.native, key, SHIFT)
    d.settle()


def current(d):
    return d.widget.panel.review.current


@pytest.mark.slow
def test_undo_takes_back_what_was_kept_and_redo_brings_it_back(reviewed):
    d = reviewed
    press(d, Qt.Key.Key_N)
    number = current(d)
    press(d, Qt.Key.Key_Y)
    review = d.widget.panel.review
    review.undo_button.click()
    d.settle()
    assert not review.objects[number].reviewed
    assert '4 objects, 0 kept' in review.count.text()
    assert len(np.unique(d.labels.data)) == 5
    # undo goes back to the object
    assert current(d) == number
    d.session.redo()
    d.settle()
    assert review.objects[number].reviewed
    assert '4 objects, 1 kept' in review.count.text()


@pytest.mark.slow
def test_areas_follow_what_is_written_over(reviewed):
    """In the features, in the review, and through undo."""
    d = reviewed
    objects = d.widget.panel.review.objects
    table = d.widget.panel.review.table

    def areas():
        model = table.model()
        rows = {
            int(model.index(row, 0).data()): int(model.index(row, AREA).data())
            for row in range(model.rowCount())
        }
        features = d.labels.features.set_index('index')['area']
        pixels = {
            label: int((d.labels.data == label).sum())
            for label in np.unique(d.labels.data[d.labels.data > 0]).tolist()
        }
        assert rows == pixels
        assert {n: features[n] for n in pixels} == pixels
        return pixels

    before = areas()
    d.session.scene.labels = d.labels
    number = d.labels.data[CENTRES[0]]
    top, left = np.argwhere(d.labels.data == number).min(axis=0).tolist()
    prompts = Prompts(box=np.array([top, left, top + 6, left + 30], float))
    half = np.ones((6, 30), bool)
    mask = Mask(half, (top, left, top + 6, left + 30), 0.9, 0.9)
    plane = d.session.scene.plane()
    new = ObjectRecord(
        50,
        50,
        {plane.place: ObjectView(plane, prompts, ObjectCandidates((mask,)))},
    )
    write_object(objects, new, None, 'overwrite')
    d.settle()
    after = areas()
    assert after[50] == 180
    assert 0 < after[number] < before[number]
    assert shrunken_labels(objects) == []
    assert objects.undo() is not None
    d.settle()
    assert areas() == before
    # most of it
    high = Mask(np.ones((15, 30), bool), (top, left, top + 15, left + 30), 0.9)
    view = ObjectView(plane, prompts, ObjectCandidates((high,)))
    write_object(
        objects, replace(new, views={plane.place: view}), None, 'overwrite'
    )
    assert shrunken_labels(objects) == [number]


@pytest.mark.slow
def test_keeping_leaves_the_measurements(reviewed):
    d = reviewed
    press(d, Qt.Key.Key_N)
    number = current(d)
    table = d.labels.features.set_index('index')
    assert table.loc[number, 'area'] > 0
    press(d, Qt.Key.Key_Y)
    after = d.labels.features.set_index('index')
    assert set(after) >= set(table)
    measured = ['area', 'row', 'column', 'row0', 'column1', 'score']
    assert after.loc[number, measured].equals(table.loc[number, measured])
    d.session.undo()
    again = d.labels.features.set_index('index')
    assert again.loc[number, measured].equals(table.loc[number, measured])


@pytest.mark.slow
def test_locked_labels_are_not_decided_upon(reviewed):
    d = reviewed
    d.labels.editable = False
    review = d.widget.panel.review
    review.next()
    for decide in (review.keep, review.reject):
        decide()
        assert 'cannot be edited' in d.widget.status.text
    assert len(review.objects) == 4


@pytest.mark.slow
def test_labels_removed_during_a_search_are_let_go(reviewed):
    d = reviewed
    d.widget.panel.more.edges_button.click()
    d.viewer.layers.remove(d.labels)
    d.settle()
    assert d.widget.runs.results is None
    assert d.widget.panel.filter_group.isHidden()
    assert d.widget.status.text.startswith('Edges are in')


def test_kept_objects_are_counted_whatever_the_filter(reviewed):
    d = reviewed
    press(d, Qt.Key.Key_N)
    press(d, Qt.Key.Key_Y)
    d.widget.panel.filters.predicted_iou.setValue(1.0)
    d.settle()
    assert len(np.unique(d.labels.data)) == 2
    assert d.widget.status.text.startswith('1 object of')


@pytest.mark.slow
def test_a_second_run_says_that_all_is_labelled_already(reviewed):
    d = reviewed
    d.widget.panel.labels_combo.layer = d.labels
    d.widget.panel.leave_box.setChecked(True)
    d.widget.panel.run_button.click()
    d.settle()
    assert 'already labelled' in d.widget.status.text
    assert len(np.unique(d.labels.data)) == 5


@pytest.mark.slow
def test_the_highlight_goes_with_its_object(reviewed):
    d = reviewed
    press(d, Qt.Key.Key_N)
    assert d.widget.review_view.preview.visible
    d.session.undo()
    d.settle()
    assert not d.labels.data.any()
    assert not d.widget.review_view.preview.visible
    assert current(d) == 0


@pytest.mark.slow
def test_what_an_undo_brought_back_is_filtered_like_the_others(reviewed):
    d = reviewed
    before = d.labels.data.copy()
    press(d, Qt.Key.Key_N)
    press(d, Qt.Key.Key_R)
    assert len(np.unique(d.labels.data)) == 4
    d.widget.panel.review.undo_button.click()
    d.settle()
    filters = d.widget.panel.filters
    least = filters.predicted_iou.value()
    filters.predicted_iou.setValue(1.0)
    d.settle()
    assert not d.labels.data.any()
    filters.predicted_iou.setValue(least)
    d.settle()
    np.testing.assert_array_equal(d.labels.data, before)
    # one that is deleted stays so
    press(d, Qt.Key.Key_N)
    gone = current(d)
    press(d, Qt.Key.Key_R)
    filters.predicted_iou.setValue(1.0)
    d.settle()
    filters.predicted_iou.setValue(least)
    d.settle()
    assert len(np.unique(d.labels.data)) == 4
    assert not (d.labels.data == gone).any()


@pytest.mark.slow
def test_objects_that_were_painted_stay_whatever_the_sliders_say(reviewed):
    d = reviewed
    label = int(d.labels.data[CENTRES[0]])
    d.labels.brush_size = 4
    d.labels.paint(CENTRES[0], 0)
    d.labels.paint((48, 60), label)
    painted = d.labels.data == label
    assert painted[48, 60]
    assert not painted[CENTRES[0]]
    filters = d.widget.panel.filters
    least = filters.predicted_iou.value()
    for value in (1.0, least):
        filters.predicted_iou.setValue(value)
        d.settle()
        assert np.array_equal(d.labels.data == label, painted)
    assert len(np.unique(d.labels.data)) == 5


def test_an_object_that_is_closed_again_is_not_said_to_be_open(reviewed):
    d = reviewed
    press(d, Qt.Key.Key_N)
    number = current(d)
    press(d, Qt.Key.Key_E)
    said = f'Object {number} is open in Prompts.'
    assert d.widget.status.text == said
    assert d.session.editor.record.number == number
    d.session.editor.reject()
    d.settle()
    assert d.widget.status.text != said


def test_keys_walk_keep_and_reject(reviewed):
    d = reviewed
    press(d, Qt.Key.Key_N)
    first = current(d)
    assert first
    assert d.widget.status.text.startswith(f'Object {first}, score 0.')
    assert REVIEW_NAME in d.viewer.layers
    press(d, Qt.Key.Key_Y)
    second = current(d)
    assert second not in (0, first)
    objects = d.widget.panel.review.objects
    assert objects[first].reviewed
    press(d, Qt.Key.Key_R)
    assert objects.get(second) is None
    assert not (d.labels.data == second).any()
    assert current(d) not in (0, first, second)
    assert '3 objects, 1 kept' in d.widget.panel.review.count.text()
    assert 'Kept 3 of' in d.widget.panel.filters.count.text()
    d.widget.panel.review.undo_button.click()
    d.settle()
    assert (d.labels.data == second).any()
    assert current(d) == second
    press(d, Qt.Key.Key_R)
    press(d, Qt.Key.Key_R)
    press(d, Qt.Key.Key_R)
    press(d, Qt.Key.Key_N)
    assert 'Every object has been reviewed' in d.widget.status.text
    assert set(np.unique(d.labels.data)) == {0, first}
    objects.delete(first)
    press(d, Qt.Key.Key_N)
    assert d.widget.status.text == 'There are no objects.'


def test_clicking_a_label_goes_to_it(reviewed):
    d = reviewed
    d.viewer.layers.selection.active = d.labels
    for centre in CENTRES[2:]:
        d.mouse.click(d.labels, centre)
        d.settle()
        number = int(d.labels.data[centre])
        assert current(d) == number
        row = d.widget.panel.review.table.currentIndex()
        assert int(row.siblingAtColumn(0).data()) == number
    d.mouse.drag(d.labels, CENTRES[0], (40, 60))
    d.settle()
    assert current(d) == int(d.labels.data[CENTRES[3]])
    d.labels.mode = 'paint'
    d.mouse.click(d.labels, CENTRES[0])
    d.settle()
    assert current(d) == int(d.labels.data[CENTRES[3]])


@pytest.mark.slow
def test_clicking_a_row_brings_the_object_into_view(reviewed):
    d = reviewed
    camera = getattr(d.viewer, 'scene', d.viewer).camera
    table = d.widget.panel.review.table
    row = 2
    index = table.model().index(row, 0)
    where = table.visualRect(index).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=where)
    d.settle()
    number = int(index.data())
    assert current(d) == number
    rows, columns = np.nonzero(d.labels.data == number)
    np.testing.assert_allclose(
        camera.center[-2:], (rows.mean(), columns.mean()), atol=1
    )


@pytest.mark.slow
def test_table_can_be_sorted(reviewed):
    d = reviewed
    table = d.widget.panel.review.table
    table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    shown = [int(table.model().index(i, 0).data()) for i in range(4)]
    assert shown == [4, 3, 2, 1]


@pytest.mark.slow
def test_an_object_is_handed_over_with_its_prompt(reviewed):
    d = reviewed
    press(d, Qt.Key.Key_N)
    number = current(d)
    press(d, Qt.Key.Key_E)
    prompts = open_form(d.viewer, 'prompts')
    assert prompts.panel.labels_combo.layer is d.labels
    record = d.session.editor.record
    assert record.number == number
    points = d.viewer.layers['prompts']
    assert len(points.data) == 1
    assert d.labels.data[tuple(np.round(points.data[0]).astype(int))] == number
    assert f'Object {number} is open' in d.widget.status.text


def test_an_object_handed_over_can_be_clicked_at_once(reviewed):
    d = reviewed
    prompts = open_form(d.viewer, 'prompts')
    d.settle()
    open_form(d.viewer, 'everything')
    d.viewer.layers.selection.active = d.labels
    press(d, Qt.Key.Key_N)
    press(d, Qt.Key.Key_E)
    assert prompts.panel.buttons['use_points_tool'].isChecked()
    (row, column) = d.viewer.layers['prompts'].data[0]
    d.mouse.click(d.viewer.layers['image'], (row + 3, column))
    d.settle()
    assert len(d.viewer.layers['prompts'].data) == 2


@pytest.mark.slow
def test_reviewed_objects_stay_whatever_the_sliders_say(reviewed):
    d = reviewed
    press(d, Qt.Key.Key_N)
    first = current(d)
    press(d, Qt.Key.Key_Y)
    d.widget.panel.filters.predicted_iou.setValue(0.99)
    d.settle()
    assert set(np.unique(d.labels.data)) == {0, first}


@pytest.mark.slow
def test_rejected_object_is_said_to_be_deleted(reviewed):
    d = reviewed
    d.widget.panel.review.next_button.click()
    number = current(d)
    d.widget.panel.review.reject_button.click()
    undo = d.widget.panel.review.undo_button.text()
    assert d.widget.status.text.startswith(f'Object {number} deleted. {undo}')


def test_decisions_need_an_object(reviewed):
    d = reviewed
    for button in (
        d.widget.panel.review.keep_button,
        d.widget.panel.review.reject_button,
        d.widget.panel.review.edit_button,
    ):
        button.click()
        assert 'Choose an object first' in d.widget.status.text
    assert len(d.widget.panel.review.objects) == 4


@pytest.mark.slow
def test_objects_of_stacks_are_shown_on_their_plane(desk, blobs):
    d = desk(np.stack([blobs * 0, blobs, blobs * 0]), widget=EVERYTHING)
    d.widget.panel.form.controls['points_per_side'].value = 10
    d.widget.panel.form.controls['whole_image'].value = True
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    d.widget.panel.run_button.click()
    d.settle()
    d.viewer.dims.set_current_step(0, 2)
    d.widget.panel.review.next_button.click()
    d.settle()
    assert d.viewer.dims.current_step[0] == 1


@pytest.mark.slow
def test_the_script_repeats_run_filters_and_review(reviewed):
    d = reviewed
    filters = d.widget.panel.filters
    least = filters.predicted_iou.value()
    press(d, Qt.Key.Key_N)
    press(d, Qt.Key.Key_Y)
    filters.predicted_iou.setValue(1.0)
    d.settle()
    assert len(np.unique(d.labels.data)) == 2
    filters.predicted_iou.setValue(least)
    d.settle()
    press(d, Qt.Key.Key_N)
    press(d, Qt.Key.Key_R)
    d.settle()
    assert len(np.unique(d.labels.data)) == 4
    d.session.scene.labels = d.labels
    script = d.session.script()
    assert 'cannot be repeated' not in script
    names = {'viewer': d.viewer}
    exec(compile(script, 'script.py', 'exec'), names)  # noqa: S102
    again = d.session.scene.labels
    assert again is not d.labels
    assert np.array_equal(again.data, d.labels.data)
    made = d.session.scene.objects(False)
    assert [(r.number, r.reviewed) for r in made] == [
        (r.number, r.reviewed) for r in d.widget.panel.review.objects
    ]


def test_an_object_that_is_propagated_is_not_reviewed(reviewed):
    d = reviewed
    press(d, Qt.Key.Key_N)
    number = current(d)
    objects = d.widget.panel.review.objects
    step = objects.begin('a job', propagated=objects[number])
    for key in (Qt.Key.Key_Y, Qt.Key.Key_R):
        press(d, key)
        assert 'being propagated' in d.widget.status.text
        assert current(d) == number
    step.finish()
    assert not objects[number].reviewed


def test_an_area_that_is_shown_is_included(qtbot):
    slider = RangeSlider(logarithmic=True)
    qtbot.addWidget(slider)
    slider.set_extent((3, 12_345))
    for area in range(4, 200):
        slider.set_interval((area, area))
        assert slider.interval == (area, area)
