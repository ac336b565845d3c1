"""“Series” in a viewer: keys, saving on the way, resuming, review."""

from __future__ import annotations

import errno
import shutil
import threading
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import tifffile
from napari._vispy import canvas
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QFocusEvent, QPalette
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_mobilesam.series import series as series_module
from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_entry import UncertainObject
from napari_mobilesam.series.series_files import PATTERN, SeriesImage
from napari_mobilesam.series.series_segmentation import (
    STEPS,
    SeriesResult,
    segment_series,
)
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.session.series import tracks_saving
from napari_mobilesam.session.series.labels_saving import SaveRequest
from napari_mobilesam.session.series.last_series import LastSeries
from napari_mobilesam.session.series.rescued import rescue_folders
from napari_mobilesam.session.series.series_opening import OpenedSeries
from napari_mobilesam.session.series.tracks_saving import read_tracks
from napari_mobilesam.time_left import TimeLeft
from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets import open_form
from napari_mobilesam.widgets.parts.form_area import FormArea
from napari_mobilesam.widgets.parts.message_label import contrast
from napari_mobilesam.widgets.series import series_saving
from napari_mobilesam.widgets.series.series_leaving import TRACKING
from napari_mobilesam.widgets.series.series_widget import (
    HINT,
    SeriesWidget,
)
from napari_mobilesam.widgets.viewer.layers import SERIES_MARK

from .oracle import OracleSam

LEFT = Qt.MouseButton.LeftButton
SHIFT = Qt.KeyboardModifier.ShiftModifier
ALT = Qt.KeyboardModifier.AltModifier
QUICK = EverythingParameters(points_per_side=8, whole_image=True)


@pytest.fixture
def folder(tmp_path, blobs):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number, name in enumerate('abc'):
        tifffile.imwrite(folder / f'{name}.tif', np.roll(blobs, number, 1))
    return folder


@pytest.fixture
def series_desk(desk):
    """Make viewers with a docked “Series”, and the prompts if asked for."""

    def make(images=None, prompts=False):
        d = desk(widget='Series')
        d.widget.panel.form.value = QUICK
        if prompts:
            d.prompts = open_form(d.viewer, 'prompts')
            d.settle()
        if images is not None:
            d.widget.open([images])
            d.settle()
        return d

    return make


def names(d):
    return [layer.name for layer in d.viewer.layers]


def saved(folder, name):
    return tifffile.imread(folder / 'labels' / f'{name}_labels.tif')


def test_opening_a_folder(series_desk, folder):
    d = series_desk(folder)
    assert names(d) == ['a', 'labels']
    assert d.session.scene.image is d.viewer.layers['a']
    assert d.session.scene.labels is d.viewer.layers['labels']
    assert d.widget.status.text == 'Image 1 of 3, a.tif: to do.'
    assert '3 images: 0 done' in d.widget.panel.summary.text()
    # nothing was drawn, and nothing is written
    assert not (folder / 'labels').exists()


@pytest.mark.slow
@pytest.mark.window
def test_the_viewer_goes_on_while_a_series_opens(
    series_desk, folder, monkeypatch, qtbot
):
    d = series_desk(folder)
    panel, known = d.widget.panel, SeriesImage.known
    go = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(
            SeriesImage, 'known', lambda image: go.wait(20) and known(image)
        )
        d.widget.open([folder], folder / 'b.tif')
        qtbot.waitUntil(lambda: panel.status.text == 'Opening 3 images …')
        assert panel.status.busy
        # neither keys nor buttons act on the series that is about to go
        d.mouse.key(Qt.Key.Key_W, SHIFT)
        QTest.mouseClick(panel.run_button, LEFT)
        QTest.mouseClick(panel.buttons['next'], LEFT)
        assert not panel.table.isEnabled()
        assert panel.status.text == 'Opening 3 images …'
        # what is drawn meanwhile is saved
        labels = d.viewer.layers['labels']
        labels.data[10:20, 10:20] = 5
        labels.events.paint(value=[])
        go.set()
        d.settle()
    assert names(d) == ['b', 'labels']
    assert (saved(folder, 'a') == 5).sum() == 100
    assert [entry.status for entry in Series.open(folder)] == ['to do'] * 3
    assert all(each.isEnabled() for each in panel.buttons.values())
    assert panel.run_button.isEnabled()
    # closing the dock drops it
    go.clear()
    with monkeypatch.context() as patch:
        patch.setattr(
            SeriesImage, 'known', lambda image: go.wait(20) and known(image)
        )
        d.widget.open([folder])
        opening, window = d.session.series.opening, d.viewer.window
        # not so another dock, which opens nothing
        other = window.add_dock_widget(SeriesWidget(d.viewer))
        window.remove_dock_widget(other)
        assert opening.running
        # nor one whose series another dock has replaced
        others = [SeriesWidget(d.viewer) for _ in range(2)]
        docks = [window.add_dock_widget(each) for each in others]
        for each in others:
            each.open([folder])
        window.remove_dock_widget(docks[0])
        assert opening.running
        assert not panel.table.isEnabled()
        window.remove_dock_widget(docks[1])
        assert not opening.running
        assert panel.table.isEnabled()
        d.widget.open([folder])
        window.remove_dock_widget(d.dock)
        assert not opening.running
        go.set()
        d.session.series.opening.wait(20)
    QApplication.processEvents()
    assert names(d) == ['b', 'labels']


@pytest.mark.slow
def test_thresholds_of_the_model_are_shown(series_desk, folder):
    d = series_desk(folder)
    form = d.widget.panel.form
    record = d.widget.panel.model_box.record
    other = replace(record, predicted_iou=0.42, stability=0.31)
    for shown in (record, other):
        for name in ('predicted_iou', 'stability'):
            control = form.controls[name]
            assert control.check.value
            assert control.number.value == pytest.approx(getattr(shown, name))
        d.session.model_changed.emit(other)
    assert form.value.stability is None


@pytest.mark.slow
def test_autosave_is_left_to_the_series(series_desk, folder):
    d = series_desk(folder, prompts=True)
    box = d.prompts.panel.save_box
    assert 'The series saves' in box.toolTip()
    box.setChecked(not box.isChecked())
    box.setChecked(True)
    d.settle()
    assert 'The series saves' in d.prompts.panel.status.text
    assert not list(folder.glob('*.session'))


@pytest.mark.slow
@pytest.mark.window
def test_keys_and_the_brush(series_desk, folder):
    d = series_desk(folder)
    labels = d.viewer.layers['labels']
    d.viewer.layers.selection.active = labels
    labels.mode, labels.brush_size = 'paint', 5
    d.mouse.click(labels, (40, 40))
    d.settle()
    assert np.array_equal(saved(folder, 'a'), labels.data)
    assert saved(folder, 'a').any()
    # on, back, on and done, flagged
    d.mouse.key(Qt.Key.Key_Right, ALT)
    d.settle()
    assert names(d) == ['b', 'labels']
    # the brush is still in the hand
    assert d.viewer.layers.selection.active is d.viewer.layers['labels']
    assert d.viewer.layers['labels'].mode == 'paint'
    assert d.viewer.layers['labels'].brush_size == 5
    assert not d.viewer.layers['labels'].data.any()
    d.mouse.key(Qt.Key.Key_Left, ALT)
    d.settle()
    assert np.array_equal(d.viewer.layers['labels'].data, saved(folder, 'a'))
    d.mouse.key(Qt.Key.Key_W, SHIFT)
    d.settle()
    d.mouse.key(Qt.Key.Key_F, SHIFT)
    d.settle()
    assert [entry.status for entry in Series.open(folder)] == [
        *('done', 'flagged', 'to do'),
    ]
    d.mouse.key(Qt.Key.Key_F, SHIFT)
    d.settle()
    assert d.widget.panel.table.text(1, 2) == 'to do'
    assert d.widget.panel.table.text(0, 1) == '1'


@pytest.mark.slow
def test_nothing_drawn_is_nothing_saved(series_desk, folder):
    d = series_desk(folder, prompts=True)
    labels = d.viewer.layers['labels']
    labels.data = labels.data.copy()
    d.settle()
    assert not (folder / 'labels' / 'a_labels.tif').exists()
    # so that the image is still one without labels
    assert not Series.open(folder)[0].labelled
    d.session.click(28, 32)
    d.session.accept()
    d.settle()
    assert saved(folder, 'a').any()
    d.session.navigation.undo()
    d.settle()
    assert not saved(folder, 'a').any()
    # by napari itself, too
    labels.paint((4, 4), 9)
    d.settle()
    assert saved(folder, 'a').any()
    labels.undo()
    d.settle()
    assert not saved(folder, 'a').any()


@pytest.mark.slow
def test_a_click_in_the_table_opens_an_image(series_desk, folder):
    d = series_desk(folder)
    table = d.widget.panel.table
    cell = table.visualRect(table.model().index(2, 0)).center()
    QTest.mouseClick(table.viewport(), LEFT, pos=QPoint(cell))
    d.settle()
    assert names(d) == ['c', 'labels']


def test_a_step_draws_and_collects_garbage_once(
    series_desk, folder, monkeypatch
):
    d = series_desk(folder)
    collect = Mock()
    monkeypatch.setattr(canvas, 'gc', SimpleNamespace(collect=collect))
    d.widget.next()
    d.settle()
    assert names(d) == ['b', 'labels']
    # though two layers were removed
    collect.assert_called_once()


@pytest.mark.slow
def test_prompts_go_from_image_to_image(series_desk, folder):
    d = series_desk(folder, prompts=True)
    d.session.click(28, 32)
    d.session.accept()
    d.session.click(68, 92)
    d.prompts.tools.use_boxes_tool()
    # the open object is accepted on the way, and the tool stays
    d.widget.next()
    d.settle()
    assert names(d)[:2] == ['b', 'labels']
    assert d.prompts.panel.tool == 'use_boxes_tool'
    assert set(np.unique(saved(folder, 'a'))) == {0, 1, 2}
    assert d.prompts.image.layer is d.viewer.layers['b']
    d.session.click(28, 33)
    d.session.accept()
    d.settle()
    assert set(np.unique(saved(folder, 'b'))) == {0, 1}
    # as after many images: from the files alone
    d.widget.layers.forget()
    d.widget.previous()
    d.settle()
    assert d.session.scene.labels.features['score'].tolist() == pytest.approx(
        [0.97, 0.97]
    )
    # with its prompts, and nothing to undo
    assert [record.prompts for record in d.session.scene.objects(False)] == [
        *(1, 1),
    ]
    assert d.session.open(2).view(d.session.scene.plane()) is not None
    d.session.reject()
    # undo is of this image, and is saved too
    assert d.session.undo() is None
    d.session.click(28, 92)
    d.session.accept()
    d.session.undo()
    d.settle()
    assert set(np.unique(saved(folder, 'a'))) == {0, 1, 2}


@pytest.mark.slow
def test_the_next_images_are_embedded_ahead(
    series_desk, folder, oracle, settle, qtbot
):
    d = series_desk(folder, prompts=True)
    settle(d.session, d.prompts)
    # nothing can be embedded from now on
    oracle.go.clear()
    for number in (1, 2):
        d.widget.next()
        qtbot.waitUntil(lambda n=number: d.session.series.current == n)
        plane = d.session.scene.plane()
        assert d.session._engine.prepared(plane, oracle)
    oracle.go.set()
    settle(d.session, d.prompts)


@pytest.mark.slow
def test_another_model_while_a_series_is_open(
    series_desk, folder, oracle, settle, qtbot, monkeypatch
):
    other = OracleSam()
    monkeypatch.setattr(
        'napari_mobilesam.session.session.load_by_name',
        lambda name: other if name == 'other' else oracle,
    )
    d = series_desk(folder, prompts=True)
    settle(d.session, d.prompts)
    d.session.use_model('other')
    settle(d.session, d.prompts)
    # the next images are embedded for it, too
    other.go.clear()
    d.widget.next()
    qtbot.waitUntil(lambda: d.session.series.current == 1)
    assert d.session._engine.prepared(d.session.scene.plane(), other)
    other.go.set()
    d.session.click(28, 33)
    d.session.accept()
    d.settle()
    assert set(np.unique(saved(folder, 'b'))) == {0, 1}
    # and in the middle of a run, which keeps the model that it began with
    d.widget.run.start()
    d.session.use_model('other')
    settle(d.session, d.prompts)
    d.settle()
    assert d.widget.status.text.startswith('8 objects in 2 images.')
    assert saved(folder, 'c').max() == 4


@pytest.mark.slow
def test_a_series_of_stacks(series_desk, tmp_path, blobs):
    folder = tmp_path / 'stacks'
    folder.mkdir()
    empty = np.full_like(blobs, 10)
    for name in 'ab':
        tifffile.imwrite(
            folder / f'{name}.tif', np.stack([empty, blobs, blobs]),
            imagej=True, metadata={'axes': 'ZYX'},
        )  # fmt: skip
    d = series_desk(folder, prompts=True)
    assert d.viewer.dims.ndim == 3
    d.viewer.dims.set_point(0, 1)
    d.settle()
    d.session.click(28, 32)
    d.session.accept()
    d.settle()
    kept = saved(folder, 'a')
    assert kept.shape == (3, *blobs.shape)
    assert kept[1].any()
    assert not kept[0].any()
    assert not kept[2].any()
    d.widget.run.start()
    d.settle()
    found = saved(folder, 'b')
    assert [len(np.unique(plane)) - 1 for plane in found] == [0, 4, 4]
    assert found.max() == 8
    d.viewer.dims.set_point(0, 0)
    last = UncertainObject(0.97, 1, 8)
    d.widget.review.show(last)
    d.settle()
    # its image is opened, and its plane is shown
    assert d.session.series.current == 1
    assert d.viewer.dims.current_step[0] == 2
    assert d.session.editor.record.label == 8
    d.widget.review.delete()
    d.settle()
    assert not (saved(folder, 'b') == 8).any()
    d.widget.go_to(1)
    d.settle()
    assert d.session.undo() == 'deleting 1 object'
    d.settle()
    assert (saved(folder, 'b') == 8).any()


@pytest.mark.slow
def test_resuming_in_another_viewer(series_desk, folder):
    d = series_desk(folder)
    d.viewer.layers['labels'].data[10:20, 10:20] = 5
    d.viewer.layers['labels'].events.paint(value=[])
    d.widget.done()
    d.settle()
    d.viewer.window.remove_dock_widget(d.dock)
    again = series_desk()
    assert not again.widget.panel.resume_button.isHidden()
    again.widget.resume()
    again.settle()
    assert names(again) == ['b', 'labels']
    assert again.widget.panel.table.text(0, 2) == 'done'
    again.widget.go_to(0)
    again.settle()
    assert (again.viewer.layers['labels'].data == 5).sum() == 100


def test_resuming_without_a_file_that_was_moved(series_desk, folder):
    d = series_desk()
    d.widget.open([folder / f'{name}.tif' for name in 'abc'])
    d.settle()
    d.widget.done()
    d.settle()
    d.viewer.window.remove_dock_widget(d.dock)
    (folder / 'b.tif').rename(folder / 'moved.tif')
    again = series_desk()
    again.widget.resume()
    again.settle()
    assert names(again) == ['c', 'labels']
    summary = again.widget.panel.summary.text()
    assert summary.startswith('2 images: 1 done, 1 to do, 0 flagged.')
    assert summary.endswith(
        f'1 file of the last session not found: {folder / "b.tif"} is missing.'
    )
    # of another series that is not said
    again.widget.open([folder])
    again.settle()
    assert again.widget.panel.summary.text().endswith('labels')


@pytest.mark.slow
def test_segment_everything_on_all_images(series_desk, folder):
    d = series_desk(folder)
    QTest.mouseClick(d.widget.panel.run_button, LEFT)
    assert d.widget.panel.cancel_button.isEnabled()
    d.settle()
    assert d.widget.status.text == '12 objects in 3 images.'
    for name in 'abc':
        assert len(np.unique(saved(folder, name))) == 5
    # the open image shows what was found, as one step
    labels = d.viewer.layers['labels']
    assert len(np.unique(labels.data)) == 5
    assert len(labels.features) == 4
    assert d.session.undo() == 'segmenting everything'
    assert not labels.data.any()
    d.session.redo()
    d.widget.next()
    d.settle()
    assert len(np.unique(d.viewer.layers['labels'].data)) == 5


@pytest.mark.slow
def test_what_is_drawn_during_a_run_stays(series_desk, folder, oracle):
    d = series_desk(folder)
    oracle.go.clear()
    d.widget.run.start()
    labels = d.viewer.layers['labels']
    labels.paint((15, 15), 5)
    oracle.go.set()
    d.settle()
    assert d.widget.status.text == (
        '8 objects in 2 images. 1 image skipped: labelled, done or flagged.'
    )
    assert set(np.unique(labels.data)) == {0, 5}


@pytest.mark.slow
def test_labels_that_a_run_did_not_take_are_not_those_of_the_next(
    series_desk, folder
):
    d = series_desk(folder)
    run, labels = d.widget.run, d.viewer.layers['labels']
    found = SaveRequest(0, labels.data.copy(), None, None)
    labels.data[0, 0] = 5
    run.take_labels(found)
    run.finish(SeriesResult(complete=False))
    assert d.widget.panel.run_button.isEnabled()
    run.take_labels(found)
    # such as by another series
    d.session.series.abandon()
    labels.data[0, 0] = 0
    run.start()
    d.settle()
    assert d.widget.status.text == '12 objects in 3 images.'


@pytest.mark.slow
def test_labels_that_are_saved_while_the_image_is_opened(
    series_desk, folder, monkeypatch, blobs
):
    """By a run of all images, in the moment after they were looked for."""
    d = series_desk(folder)
    read, found = Series.read_labels, (blobs > blobs.mean()).astype(np.uint16)

    def read_and_save(self, number, shape):
        before = read(self, number, shape)
        if number == 1 and before is None:
            Series.open([folder]).save_labels(1, found)
        return before

    monkeypatch.setattr(Series, 'read_labels', read_and_save)
    d.widget.next()
    d.settle()
    assert np.array_equal(d.viewer.layers['labels'].data, found)


@pytest.mark.slow
def test_labels_are_not_segmented_over(series_desk, folder):
    d = series_desk(folder)
    labels = d.viewer.layers['labels']
    labels.data[10:20, 10:20] = 5
    labels.events.paint(value=[])
    d.settle()
    d.widget.run.start()
    d.settle()
    assert d.widget.status.text.endswith(
        '1 image skipped: labelled, done or flagged.'
    )
    assert set(np.unique(saved(folder, 'a'))) == {0, 5}
    assert set(np.unique(labels.data)) == {0, 5}


def test_cancelling_keeps_finished_images(series_desk, folder):
    d = series_desk(folder)
    series = d.session.series.series
    read, waiting = series.read_image, threading.Event()

    def read_when_cancelled(number):
        if number == 1:
            waiting.set()
            d.session.series._runs.current.cancelled.wait(20)
        return read(number)

    series.read_image = read_when_cancelled
    d.widget.run.start()
    assert waiting.wait(20)
    QTest.mouseClick(d.widget.panel.cancel_button, LEFT)
    d.settle()
    assert d.widget.status.text.startswith('Stopped. 4 objects in 1 image.')
    assert d.widget.panel.run_button.isEnabled()
    assert saved(folder, 'a').any()
    assert not (folder / 'labels' / 'b_labels.tif').exists()


@pytest.fixture
def reviewed(series_desk, folder, blobs):
    """Images a and c have objects 1 and 2."""
    series = Series.open(folder)
    labels = np.zeros(blobs.shape, np.uint16)
    labels[16:40, 20:44], labels[56:80, 80:104] = 1, 2
    for number, scores in ((0, [0.9, 0.4]), (2, [0.2, 0.8])):
        table = pd.DataFrame({'label': [1, 2], 'score': scores})
        if number == 0:
            table['stability'] = [0.6, 0.7]
        series.save_labels(number, labels, table)
    d = series_desk(folder)
    return d


def shown(d):
    """Image and label of the object under review."""
    layer = d.viewer.layers['labels']
    return d.session.series.current, int(layer.selected_label)


def rows(d):
    table = d.widget.panel.uncertain
    return [table.text(row) for row in range(len(table))]


@pytest.mark.slow
def test_review_across_images(reviewed, folder):
    d = reviewed
    assert rows(d) == [
        ('0.20', '', '1', 'c.tif'),
        ('0.40', '0.70', '2', 'a.tif'),
        ('0.80', '', '2', 'c.tif'),
        ('0.90', '0.60', '1', 'a.tif'),
    ]
    seen = []
    for _ in range(4):
        QTest.mouseClick(d.widget.panel.buttons['accept'], LEFT)
        d.settle()
        seen.append(shown(d))
    assert seen == [(2, 1), (0, 2), (2, 2), (0, 1)]
    assert d.session.editor.record.label == 1
    assert d.widget.status.text == (
        'Object 1 of a.tif, score 0.90. 1 object to review.'
    )
    # looking at an object changes nothing, and outlines it
    assert d.widget.review.outline.visible
    assert d.session.undo() is None
    QTest.mouseClick(d.widget.panel.buttons['accept'], LEFT)
    d.settle()
    assert d.widget.status.text.startswith('No object is left to review')
    assert not d.widget.review.outline.visible
    # remembered
    assert Series.open(folder).uncertain() == []


def test_the_image_after_a_review_is_shown_whole(reviewed):
    d = reviewed
    camera = d.viewer.camera
    whole = camera.zoom
    for zoomed, expected in ((None, whole), (7, 7)):
        camera.zoom = 9
        d.widget.review.accept()
        d.settle()
        assert camera.zoom == 9
        if zoomed:
            camera.zoom = zoomed
        d.widget.next() if shown(d)[0] == 0 else d.widget.previous()
        d.settle()
        assert camera.zoom == pytest.approx(expected)


def test_the_list_is_worked_through_with_mouse_and_keys(reviewed, folder):
    d = reviewed
    table = d.widget.panel.uncertain
    cell = table.visualRect(table.model().index(1, 3)).center()
    QTest.mouseClick(table.viewport(), LEFT, pos=cell)
    d.settle()
    assert shown(d) == (0, 2)
    QTest.keyClick(table, Qt.Key.Key_Down)
    d.settle()
    assert shown(d) == (2, 2)
    # looking is no review
    assert len(table) == 4
    QTest.keyClick(table, Qt.Key.Key_Return)
    d.settle()
    assert shown(d) == (0, 1)
    assert Series.open(folder)[2].reviewed == {2}
    QTest.keyClick(table, Qt.Key.Key_Delete)
    d.settle()
    # after the last of the list comes the first
    assert shown(d) == (2, 1)
    assert not (saved(folder, 'a') == 1).any()
    assert (saved(folder, 'a') == 2).any()
    d.mouse.key(Qt.Key.Key_Z, SHIFT)
    d.settle()
    assert not (saved(folder, 'c') == 1).any()
    assert [row[2:] for row in rows(d)] == [('2', 'a.tif')]


def test_an_object_accepted_while_the_list_is_made_is_not_listed(reviewed):
    d = reviewed
    review, series = d.widget.review, d.session.series.series
    review.accept()
    d.settle()
    before = series.uncertain()
    review.accept()
    d.settle()
    review.take(before)
    assert len(before) == 4
    assert ('1', 'c.tif') not in [row[2:] for row in rows(d)]


def test_a_run_takes_nobody_to_the_list(reviewed):
    d = reviewed
    d.widget.go_to(2)
    d.settle()
    uncertain = d.widget.panel.uncertain
    uncertain.choose(None)
    # the keyboard goes on from a button that is disabled
    came = QFocusEvent(QEvent.Type.FocusIn, Qt.FocusReason.TabFocusReason)
    QApplication.sendEvent(uncertain, came)
    d.settle()
    assert not uncertain.currentIndex().isValid()
    assert names(d)[0] == 'c'
    QTest.keyClick(uncertain, Qt.Key.Key_Down)
    d.settle()
    assert shown(d) is not None


def test_undo_of_a_deleted_object(reviewed, folder, qtbot):
    d = reviewed
    d.widget.review.accept()
    d.settle()
    d.widget.review.delete()
    d.settle()
    d.widget.go_to(2)
    d.settle()
    QTest.mouseClick(d.widget.panel.buttons['undo'], LEFT)
    assert d.widget.status.text == 'Undone: deleting 1 object.'
    d.settle()
    assert (saved(folder, 'c') == 1).any()
    qtbot.waitUntil(lambda: len(rows(d)) == 4)
    QTest.mouseClick(d.widget.panel.buttons['undo'], LEFT)
    assert d.widget.status.text == 'There is nothing to undo in this image.'


@pytest.mark.slow
def test_tables_follow_the_font(reviewed):
    panel = reviewed.widget.panel
    for table in (panel.table, panel.uncertain):
        font = table.font()
        font.setPointSize(2 * font.pointSize())
        table.setFont(font)
        metrics, header = table.fontMetrics(), table.horizontalHeader()
        assert table.rowHeight(0) > metrics.lineSpacing()
        assert table.minimumHeight() > 4 * metrics.lineSpacing()
        for column in range(header.count()):
            title = table.model().headerData(column, Qt.Orientation.Horizontal)
            width = header.sectionSize(column)
            assert width > metrics.horizontalAdvance(title)


@pytest.mark.slow
def test_the_form_is_as_wide_as_a_large_font_needs(series_desk):
    panel = series_desk().widget.panel
    area = panel.findChild(FormArea)
    widths = []
    for size in (9, 30, 9):
        panel.setStyleSheet(f'* {{ font-size: {size}pt; }}')
        QApplication.processEvents()
        widths.append(area.minimumWidth())
        assert widths[-1] >= area.widget().minimumSizeHint().width()
    assert widths[1] > widths[0] == widths[2]


@pytest.mark.slow
def test_ready_is_said_of_the_image_that_is_shown(series_desk, folder):
    d = series_desk(folder, prompts=True)
    before = d.session.scene.plane()
    d.widget.next()
    d.settle()
    text = d.prompts.status.text
    assert text.startswith('Ready: b.')
    # that of the image before arrives late
    d.session.ready.emit(before)
    assert d.prompts.status.text == text


@pytest.mark.slow
@pytest.mark.window
@pytest.mark.parametrize(('theme', 'dark'), [('dark', True), ('light', False)])
def test_states_of_images_can_be_read(series_desk, folder, theme, dark):
    series = Series.open(folder)
    series.mark(0, 'done')
    series.mark(1, 'flagged')
    d = series_desk()
    d.viewer.theme = theme
    d.widget.open([folder])
    d.settle()
    table = d.widget.panel.table
    table.show_failure(2, 'It cannot be read.')
    ground = table.viewport().palette().color(QPalette.ColorRole.Window)
    assert (ground.lightness() < 128) == dark
    for row in range(3):
        index = table.model().index(row, 2)
        color = table.model().data(index, Qt.ItemDataRole.ForegroundRole)
        assert contrast(color, ground) >= 4.5


@pytest.mark.slow
def test_undo_says_in_which_image_the_last_object_was_deleted(reviewed):
    d = reviewed
    d.widget.review.accept()
    d.settle()
    assert shown(d) == (2, 1)
    d.widget.review.delete()
    d.settle()
    # the next one is of another image
    assert shown(d) == (0, 2)
    d.widget.review.undo()
    assert d.widget.status.text == (
        'There is nothing to undo in this image; the last deletion was in '
        'c.tif.'
    )
    d.widget.go_to(2)
    d.settle()
    d.widget.review.undo()
    assert d.widget.status.text == 'Undone: deleting 1 object.'


def test_objects_of_a_class_that_share_a_label_go_one_by_one(
    series_desk, folder, blobs
):
    series = Series.open(folder)
    labels = np.zeros(blobs.shape, np.uint16)
    labels[16:40, 20:44] = labels[56:80, 80:104] = 7
    series.save_labels(0, labels, pd.DataFrame({'label': [7]}))
    d = series_desk(folder)
    d.session.editor.options = WriteOptions(
        label=7, class_name='cell', by_class=True
    )
    d.widget.review.accept()
    d.settle()
    for left in (576, 0):
        assert shown(d) == (0, 7)
        d.widget.review.delete()
        d.settle()
        assert np.count_nonzero(d.viewer.layers['labels'].data) == left
    d.widget.go_to(1)
    d.settle()
    assert not saved(folder, 'a').any()
    assert not rows(d)


@pytest.mark.slow
def test_a_doubtful_object_is_not_accepted_by_going_on(
    series_desk, folder, oracle
):
    d = series_desk(folder, prompts=True)
    oracle.score = 0.15
    d.session.clear_cache()
    d.prompts.tools.points.add((28, 32))
    d.settle()
    d.widget.next()
    d.settle()
    assert 'not confident' in d.widget.status.text
    assert names(d)[0] == 'a'
    d.session.reject()
    assert (
        d.widget.status.text == 'No object is open any more: you can continue.'
    )
    # nor when the window is closed
    d.prompts.tools.points.add((28, 32))
    d.settle()
    d.widget.detach()
    assert not (folder / 'labels').exists()


@pytest.mark.slow
def test_an_object_of_a_file_that_is_accepted_unchanged(reviewed, folder):
    d = reviewed
    prompts = open_form(d.viewer, 'prompts')
    d.settle()
    d.session.open(at=(28, 32))
    d.settle()
    prompts.trigger('accept')
    d.settle()
    assert prompts.status.text == 'Object 1 is left as it is.'
    assert d.session.undo() is None
    assert Series.open(folder).uncertain()[-1].score == 0.9


@pytest.mark.slow
def test_an_edited_object_is_accepted_with_its_edit(reviewed, folder):
    d = reviewed
    d.prompts = open_form(d.viewer, 'prompts')
    d.settle()
    d.widget.review.accept()
    d.settle()
    before = saved(folder, 'c') == 1
    d.prompts.tools.points.add((28, 32))
    d.settle()
    d.widget.review.accept()
    d.settle()
    assert shown(d) == (0, 2)
    assert Series.open(folder)[2].reviewed == {1}
    after = saved(folder, 'c') == 1
    assert after.any()
    assert (after != before).any()


@pytest.mark.slow
def test_the_outline_follows_a_correction(reviewed, folder):
    d = reviewed
    d.prompts = open_form(d.viewer, 'prompts')
    d.settle()
    d.widget.review.accept()
    d.settle()
    outline = d.widget.review.outline

    def outlined():
        world = outline.layer.data_to_world
        pixels = np.argwhere(outline.layer.data)
        return {tuple(np.round(world(place)).astype(int)) for place in pixels}

    def labelled():
        return set(
            map(tuple, np.argwhere(d.viewer.layers['labels'].data == 1))
        )

    before = labelled()
    assert outlined() == before
    d.prompts.tools.points.add((28, 32))
    d.settle()
    # the mask that is open, not the one in the labels
    assert labelled() == before
    corrected = outlined()
    assert corrected != before
    d.session.reject()
    d.settle()
    assert outlined() == before
    d.session.navigation.open_at(d.session.scene.plane(), 28.0, 32.0)
    d.prompts.tools.points.add((28, 32))
    d.settle()
    d.session.accept()
    d.settle()
    assert outlined() == labelled() == corrected
    d.session.undo()
    d.settle()
    assert outlined() == labelled() == before


def test_a_listed_object_that_is_gone(reviewed):
    d = reviewed
    labels = d.viewer.layers['labels']
    labels.data[labels.data == 2] = 0
    cell = next(
        n for n, row in enumerate(rows(d)) if row[2:] == ('2', 'a.tif')
    )
    d.widget.panel.uncertain.selectRow(cell)
    assert d.widget.status.text == 'Object 2 no longer exists.'
    assert len(rows(d)) == 3


def test_the_object_of_a_removed_image_is_not_written_to_the_next(reviewed):
    d = reviewed
    d.widget.review.accept()
    d.settle()
    assert shown(d) == (2, 1)
    assert not d.session.editor.record.empty
    d.viewer.layers.select_all()
    d.viewer.layers.remove_selected()
    d.widget.previous()
    d.settle()
    assert names(d)[:2] == ['b', 'labels']
    assert d.session.editor.record.empty
    d.widget.previous()
    d.settle()
    assert not d.session.series.required[1].labelled
    assert names(d)[:2] == ['a', 'labels']


@pytest.mark.slow
def test_sorting_the_list(reviewed):
    d = reviewed
    d.widget.panel.uncertain.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert [row[1] for row in rows(d)] == ['0.60', '0.70', '', '']


# bad input


def test_a_run_over_all_images_shows_the_time_left(series_desk, folder):
    d = series_desk(folder)
    now = [0.0]
    d.widget.run.time_left = TimeLeft(lambda: now[0])
    d.widget.panel.cancel_button.setEnabled(True)
    said = []
    for image in range(3):
        now[0] = 60 * image
        steps = STEPS * image, STEPS * 5
        d.session.series.progress.emit(*steps, f'Image {image + 1} of 5')
        said.append(d.widget.status.text)
    assert said == [
        'Image 1 of 5 …',
        'Image 2 of 5, about 4 min left',
        'Image 3 of 5, about 3 min left',
    ]


def test_going_on_while_all_images_are_segmented(series_desk, folder, qtbot):
    (folder / 'c.tif').write_bytes(b'broken')
    d = series_desk(folder)
    jobs, status = d.session.series, d.widget.status
    read = jobs.series.read_image
    reached, go_on = threading.Event(), threading.Event()

    def read_when_told(number):
        if jobs.running and number == 1:
            reached.set()
            go_on.wait(20)
        return read(number)

    jobs.series.read_image = read_when_told
    d.widget.run.start()
    # no report of the run is still to come
    qtbot.waitUntil(
        lambda: reached.is_set() and status.text.startswith('Image 2 of 3')
    )
    d.widget.go_to(2)
    qtbot.waitUntil(lambda: status.failed)
    # the run goes on, and does not replace the error
    jobs.progress.emit(1, 3, 'Image 2 of 3')
    assert 'c.tif' in status.text
    assert status.busy
    d.widget.go_to(0)
    qtbot.waitUntil(lambda: status.text.startswith('Image 1 of 3, a.tif'))
    assert status.busy
    go_on.set()
    d.settle()
    assert not status.busy
    assert status.text.startswith('8 objects in 2 images. 1 image failed')


@pytest.mark.slow
def test_closing_the_dock_in_a_run_says_that_it_stopped(
    series_desk, folder, oracle
):
    from napari.utils.notifications import notification_manager

    d = series_desk(folder)
    oracle.go.clear()
    d.widget.run.start()
    d.viewer.window.remove_dock_widget(d.dock)
    oracle.go.set()
    d.settle()
    assert not d.session.series.running
    told = notification_manager.records.pop().message
    assert 'the run over all images stopped' in told


@pytest.mark.slow
def test_an_unreadable_image_among_good_ones(series_desk, folder):
    (folder / 'b.tif').write_bytes(b'broken')
    d = series_desk(folder)
    d.widget.next()
    d.settle()
    assert 'b.tif' in d.widget.status.text
    assert d.widget.status.failed
    # the open image stays
    assert names(d) == ['a', 'labels']
    assert d.widget.panel.table.text(1, 2) == 'failed'
    # the keys go past it, in both directions
    d.widget.next()
    d.settle()
    assert names(d) == ['c', 'labels']
    d.widget.previous()
    d.settle()
    assert 'b.tif' in d.widget.status.text
    d.widget.previous()
    d.settle()
    assert names(d) == ['a', 'labels']


def test_done_goes_past_unreadable_images(series_desk, folder):
    (folder / 'b.tif').write_bytes(b'')
    (folder / 'd.tif').write_bytes((folder / 'a.tif').read_bytes()[:100])
    d = series_desk(folder)
    d.mouse.key(Qt.Key.Key_W, SHIFT)
    d.settle()
    assert names(d) == ['c', 'labels']
    assert d.widget.status.text == 'Image 3 of 4, c.tif: to do.'
    assert d.widget.panel.table.text(1, 2) == 'failed'
    d.mouse.key(Qt.Key.Key_W, SHIFT)
    d.settle()
    assert d.widget.status.text == (
        'No image is left to do except 2 images that cannot be read. '
        '4 images: 2 done, 2 to do, 0 flagged.'
    )
    assert names(d) == ['c', 'labels']
    assert d.widget.panel.table.currentIndex().row() == 2


@pytest.mark.slow
def test_the_first_image_that_can_be_read_is_opened(series_desk, folder):
    (folder / 'a.tif').write_bytes(b'broken')
    d = series_desk(folder)
    assert names(d) == ['b', 'labels']
    assert d.widget.panel.table.text(0, 2) == 'failed'
    assert '0 flagged; 1 of them failed.' in d.widget.panel.summary.text()
    for name in 'bc':
        (folder / f'{name}.tif').write_bytes(b'broken')
    other = series_desk(folder)
    assert 'c.tif' in other.widget.status.text
    assert other.widget.status.failed
    assert not other.viewer.layers


def test_labels_of_another_shape(series_desk, folder):
    (folder / 'labels').mkdir()
    theirs = folder / 'labels' / 'a_labels.tif'
    tifffile.imwrite(theirs, np.ones((4, 4), np.uint8))
    content = theirs.read_bytes()
    d = series_desk(folder)
    assert 'has the shape (4, 4)' in d.widget.status.text
    labels = d.viewer.layers['labels']
    labels.data[10:20, 10:20] = 5
    labels.events.paint(value=[])
    d.settle()
    assert theirs.read_bytes() == content
    kept = tifffile.imread(folder / 'labels' / 'a_labels.2.tif')
    assert (kept == 5).sum() == 100
    assert d.widget.status.text == (
        'a_labels.tif is from another window or program, was changed, or is '
        'read-only; it is kept, and labels are saved to a_labels.2.tif.'
    )
    d.widget.next()
    d.settle()
    d.widget.previous()
    d.settle()
    assert d.widget.status.text == (
        'Image 1 of 3, a.tif: to do. a_labels.tif is from another window or '
        'program, was changed, or is read-only; it is kept, and labels are '
        'saved to a_labels.2.tif.'
    )


@pytest.mark.slow
def test_what_another_program_has_labelled_is_shown(series_desk, folder):
    d = series_desk(folder)
    table = d.widget.panel.table
    assert table.text(2, 1) == ''
    segment_series(Series.open(folder), OracleSam(), QUICK)
    QTest.mouseClick(d.widget.panel.run_button, LEFT)
    d.settle()
    assert '3 images skipped' in d.widget.status.text
    assert [table.text(number, 1) for number in range(3)] == ['4'] * 3
    assert not list((folder / 'labels').glob('*.2.tif'))


def test_a_folder_that_cannot_be_written_is_told_at_once(series_desk, folder):
    d = series_desk(folder)
    place = folder / 'labels'
    shutil.rmtree(place, ignore_errors=True)
    place.write_text('a file', 'utf-8')
    QTest.mouseClick(d.widget.panel.run_button, LEFT)
    d.settle()
    assert d.widget.status.failed
    assert d.widget.status.text.startswith(f'cannot write to {place}')
    place.unlink()
    QTest.mouseClick(d.widget.panel.run_button, LEFT)
    d.settle()
    assert not d.widget.status.failed
    assert len(np.unique(saved(folder, 'c'))) == 5


def test_segmenting_all_images_stops_where_none_can_be_saved(
    series_desk, folder, monkeypatch
):
    d = series_desk(folder)
    # left out: the others are saved by the run
    d.mouse.key(Qt.Key.Key_F, SHIFT)
    d.settle()

    def full(*arguments):
        raise OSError(errno.ENOSPC, 'No space left on device')

    write = series_module.write_tiff
    monkeypatch.setattr(series_module, 'write_tiff', full)
    QTest.mouseClick(d.widget.panel.run_button, LEFT)
    d.settle()
    assert d.widget.status.failed
    assert d.widget.status.text.startswith('Stopped. 0 objects in 0 images.')
    assert 'b_labels.tif' in d.widget.status.text
    assert 'No space left' in d.widget.status.text
    # the next image is not segmented for nothing
    assert 'c_labels.tif' not in d.widget.status.text
    told = 'The labels of 1 image could not be saved yet.'
    assert told in d.widget.panel.summary.text()
    d.mouse.key(Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    d.settle()
    assert names(d) == ['b', 'labels']
    # what was found for it is there, and the loss of space is still told
    assert len(np.unique(d.viewer.layers['labels'].data)) == 5
    assert told in d.widget.panel.summary.text()
    monkeypatch.setattr(series_module, 'write_tiff', write)
    QTest.mouseClick(d.widget.panel.run_button, LEFT)
    d.settle()
    for name in 'bc':
        assert len(np.unique(saved(folder, name))) == 5
    assert 'could not be saved' not in d.widget.panel.summary.text()


@pytest.mark.slow
def test_labels_do_not_go_to_the_next_series(series_desk, folder, tmp_path):
    d = series_desk(folder)
    d.widget.go_to(2)
    d.settle()
    labels = d.viewer.layers['labels']
    labels.data[10:20, 10:20] = 5
    labels.events.paint(value=[])
    d.settle()
    other = tmp_path / 'other'
    shutil.copytree(folder, other, ignore=lambda *args: ['labels'])
    source = LastSeries((str(other),), '', PATTERN)
    d.widget._take_series(OpenedSeries(Series.open(other), source))
    # another touch, before the first image is shown
    labels.data[30:40, 10:20] = 6
    labels.events.paint(value=[])
    d.settle()
    assert names(d) == ['a', 'labels']
    assert not list(other.rglob('c_labels*'))
    assert set(np.unique(saved(folder, 'c'))) == {0, 5}


@pytest.mark.slow
def test_images_that_failed_can_be_segmented_later(series_desk, folder):
    d = series_desk(folder)
    content = (folder / 'b.tif').read_bytes()
    (folder / 'b.tif').write_bytes(b'broken')
    QTest.mouseClick(d.widget.panel.run_button, LEFT)
    d.settle()
    assert d.widget.status.failed
    assert '8 objects in 2 images. 1 image failed' in d.widget.status.text
    assert d.widget.panel.table.text(1, 2) == 'failed'
    (folder / 'b.tif').write_bytes(content)
    QTest.mouseClick(d.widget.panel.run_button, LEFT)
    d.settle()
    assert not d.widget.status.failed
    assert d.widget.panel.table.text(1, 2) == 'to do'
    assert 'of them failed' not in d.widget.panel.summary.text()


@pytest.mark.slow
@pytest.mark.parametrize('wrong', ['{name}{bad}', 'x/{name}', ''])
def test_names_that_are_no_names_of_files_are_said(series_desk, folder, wrong):
    d = series_desk()
    d.widget.panel.names_edit.setText(wrong)
    d.widget.open([folder])
    d.settle()
    assert d.widget.status.failed
    assert d.widget.status.text.startswith(f'The names {wrong!r} ')


@pytest.mark.slow
def test_an_image_that_cannot_be_marked_as_done(series_desk, folder):
    d = series_desk(folder)
    (folder / 'labels').write_text('a file', 'utf-8')
    d.widget.done()
    d.settle()
    assert d.widget.status.failed
    assert 'cannot be written' in d.widget.status.text
    assert names(d) == ['a', 'labels']


@pytest.mark.slow
def test_a_place_that_cannot_be_written(series_desk, folder):
    d = series_desk(folder)
    (folder / 'labels').write_text('a file', 'utf-8')
    labels = d.viewer.layers['labels']
    labels.data[10:20, 10:20] = 5
    labels.events.paint(value=[])
    d.settle()
    assert 'cannot be written' in d.widget.status.text
    d.widget.next()
    d.settle()
    # kept, shown again, and saved when there is a place
    d.widget.previous()
    d.settle()
    labels = d.viewer.layers['labels']
    assert (labels.data == 5).sum() == 100
    (folder / 'labels').unlink()
    labels.data[30:40, 10:20] = 6
    labels.events.paint(value=[])
    d.settle()
    assert set(np.unique(saved(folder, 'a'))) == {0, 5, 6}


def test_what_cannot_be_opened_is_said(series_desk, folder, tmp_path):
    d = series_desk()
    for command in d.widget.commands.values():
        command()
        assert d.widget.status.text.startswith('No series is open')
    empty = tmp_path / 'empty'
    empty.mkdir()
    d.widget.open([empty])
    d.settle()
    assert 'is a folder without images' in d.widget.status.text
    assert d.session.series.series is None
    d.widget.panel.names_edit.setText('{nmae}')
    d.widget.open([folder])
    d.settle()
    assert 'are not a valid pattern' in d.widget.status.text


@pytest.mark.slow
def test_a_mask_that_is_not_there_yet(
    series_desk, folder, oracle, settle, qtbot
):
    d = series_desk(folder, prompts=True)
    settle(d.session, d.prompts)
    oracle.go.clear()
    d.prompts.tools.points.add((28, 32))
    qtbot.waitUntil(lambda: d.session.editor.pending)
    QTest.mouseClick(d.widget.panel.buttons['next'], LEFT)
    assert d.widget.status.text.startswith('Waiting for the mask')
    assert d.widget.status.busy
    assert not d.widget.status.failed
    assert names(d)[0] == 'a'
    oracle.go.set()
    settle(d.session, d.prompts)
    d.settle()
    assert names(d)[0] == 'b'
    assert saved(folder, 'a').any()


@pytest.mark.slow
def test_a_step_does_not_replace_a_series_that_waits_for_a_mask(
    series_desk, folder, oracle, settle, qtbot, tmp_path
):
    d = series_desk(folder, prompts=True)
    settle(d.session, d.prompts)
    oracle.go.clear()
    d.prompts.tools.points.add((28, 32))
    qtbot.waitUntil(lambda: d.session.editor.pending)
    (folder / 'c.tif').rename(tmp_path / 'other.tif')
    source = LastSeries((str(tmp_path / 'other.tif'),), '', PATTERN, '')
    # as if it had been chosen before the click
    d.widget.opener.start(source)
    qtbot.waitUntil(lambda: d.widget.leaving.waiting)
    QTest.mouseClick(d.widget.panel.buttons['next'], LEFT)
    assert d.widget.status.text.startswith('Waiting for the mask')
    oracle.go.set()
    settle(d.session, d.prompts)
    d.settle()
    assert names(d)[0] == 'other'
    assert saved(folder, 'a').any()


def test_a_model_that_cannot_be_loaded_ends_the_waiting(
    series_desk, folder, oracle, settle, qtbot
):
    d = series_desk(folder, prompts=True)
    settle(d.session, d.prompts)
    oracle.go.clear()
    d.prompts.tools.points.add((28, 32))
    qtbot.waitUntil(lambda: d.session.editor.pending)
    d.widget.next()
    d.session.failed.emit('The model cannot be loaded.', 'model')
    assert d.widget.status.text == 'The model cannot be loaded.'
    oracle.go.set()
    settle(d.session, d.prompts)
    d.settle()
    assert names(d)[0] == 'a'


@pytest.mark.slow
def test_layers_removed_by_hand(series_desk, folder):
    d = series_desk(folder)
    labels = d.viewer.layers['labels']
    labels.data[10:20, 10:20] = 5
    labels.events.paint(value=[])
    d.viewer.layers.clear()
    d.settle()
    assert saved(folder, 'a').any()
    d.widget.next()
    d.settle()
    assert names(d) == ['b', 'labels']


def test_objects_that_go_where_the_series_does_not_save(series_desk, folder):
    d = series_desk(folder, prompts=True)
    labels = d.viewer.layers['labels']
    d.prompts.panel.labels_combo.setCurrentIndex(0)
    assert d.prompts.output.layer is None
    d.settle()
    assert d.widget.status.failed
    assert 'go to a new layer, which the series does not' in (
        d.widget.status.text
    )
    assert d.prompts.panel.status.text == d.widget.status.text
    combo = d.prompts.panel.labels_combo
    combo.layer = labels
    combo.activated.emit(combo.currentIndex())
    d.settle()
    assert d.widget.status.text == 'New objects are saved again.'
    assert d.prompts.panel.status.text == (
        'New objects are written to “labels”.'
    )
    d.session.click(28, 32)
    d.session.accept()
    d.settle()
    assert saved(folder, 'a').any()
    # another image and its labels are chosen, without a message
    d.widget.next()
    d.settle()
    assert not d.widget.status.failed


@pytest.mark.slow
@pytest.mark.own_viewer
@pytest.mark.parametrize('damaged', [True, False])
def test_prompts_that_cannot_be_read_are_kept(series_desk, folder, damaged):
    d = series_desk(folder, prompts=True)
    d.session.click(28, 32)
    d.session.accept()
    d.settle()
    (file,) = (folder / 'labels').rglob('*.session')
    d.viewer.close()
    if damaged:
        file.write_bytes(b'of another version')
    else:
        pixels = tifffile.imread(folder / 'a.tif')
        tifffile.imwrite(folder / 'a.tif', 255 - pixels)
    content = file.read_bytes()
    d = series_desk(folder, prompts=True)
    assert 'The file of the prompts is kept' in d.widget.status.text
    assert d.widget.status.failed
    if damaged:
        d.session.click(68, 92)
        d.session.accept()
    # also when the image is shown again
    for step in (d.widget.next, d.widget.previous):
        step()
        d.settle()
    labels = d.viewer.layers['labels']
    labels.data[0, 0] = 5
    labels.events.paint(value=[])
    d.settle()
    assert saved(folder, 'a')[0, 0] == 5
    assert file.read_bytes() == content


@pytest.mark.slow
def test_a_run_goes_to_the_labels_of_the_series(series_desk, channels, settle):
    d = series_desk(channels)
    everything = open_form(d.viewer, 'everything')
    everything.panel.form.value = QUICK
    d.settle()
    header = everything.header
    d.widget.panel.channel_box.setValue(1)
    d.settle()
    assert header.image_combo.layer is d.viewer.layers['a channel 1']
    assert everything.panel.labels_combo.layer is d.viewer.layers['labels']
    for name in 'ab':
        everything.run()
        d.settle()
        settle(d.session, everything)
        assert saved(channels, name).max() == 4
        assert 'does not save' not in everything.status.text
        d.widget.next()
        d.settle()
    # a layer of its own, by choice
    everything.panel.labels_combo.layer = None
    everything.run()
    settle(d.session, everything)
    assert 'The series does not save that layer' in everything.status.text


def test_a_run_on_the_open_image_is_awaited(
    series_desk, folder, oracle, settle
):
    d = series_desk(folder)
    everything = open_form(d.viewer, 'everything')
    everything.panel.form.value = QUICK
    d.settle()
    oracle.go.clear()
    everything.run()
    d.mouse.key(Qt.Key.Key_Right, ALT)
    assert d.widget.status.text.startswith('Waiting for the objects')
    oracle.go.set()
    d.settle()
    settle(d.session, everything)
    assert saved(folder, 'a').max() == 4
    assert names(d)[:2] == ['b', 'labels']
    assert not d.viewer.layers['labels'].data.any()


def test_prompts_of_an_image_that_is_opened_in_3d(series_desk, folder):
    d = series_desk(folder, prompts=True)
    d.session.click(28, 32)
    d.session.accept()
    d.settle()
    d.widget.next()
    d.settle()
    d.viewer.dims.ndisplay = 3
    # as after many images: from the files alone
    d.widget.layers.forget()
    d.widget.previous()
    d.settle()
    assert not d.widget.status.failed
    d.viewer.dims.ndisplay = 2
    d.settle()
    (record,) = d.session.scene.objects(False)
    assert record.views
    # and new ones are saved
    d.session.click(68, 92)
    d.session.accept()
    d.settle()
    d.widget.layers.forget()
    d.widget.go_to(0)
    d.settle()
    assert len(d.session.scene.objects(False)) == 2


def test_objects_after_the_labels_were_removed(series_desk, folder):
    d = series_desk(folder, prompts=True)
    d.viewer.layers.remove(d.viewer.layers['labels'])
    d.settle()
    assert 'labels of this image were removed' in d.widget.status.text
    assert 'labels of this image were removed' in d.prompts.panel.status.text
    # an open object is accepted on the way all the same
    d.session.click(28, 32)
    d.widget.next()
    d.settle()
    assert d.viewer.layers['objects'].data.any()
    assert not d.widget.status.failed
    d.widget.previous()
    d.settle()
    d.session.click(28, 32)
    d.session.accept()
    d.settle()
    assert saved(folder, 'a').any()


def test_colours_channels_and_pixel_sizes(series_desk, tmp_path, blobs):
    from PIL import Image

    folder = tmp_path / 'kinds'
    folder.mkdir()
    Image.fromarray(np.stack([blobs] * 3, -1)).save(folder / 'a.png')
    tifffile.imwrite(
        folder / 'b.tif',
        np.stack([blobs, blobs]),
        imagej=True,
        resolution=(2, 2),
        metadata={'axes': 'CYX', 'unit': 'um'},
    )
    d = series_desk(folder)
    assert d.viewer.layers['a'].rgb
    d.widget.next()
    d.settle()
    assert names(d) == ['b channel 0', 'b channel 1', 'labels']
    labels = d.viewer.layers['labels']
    assert labels.data.shape == blobs.shape
    assert labels.scale.tolist() == [0.5, 0.5]
    labels.data[10:20, 10:20] = 5
    labels.events.paint(value=[])
    d.settle()
    assert saved(folder, 'b').any()


@pytest.mark.slow
def test_images_with_and_without_pixel_sizes(series_desk, tmp_path, blobs):
    from napari.utils.notifications import notification_manager
    from PIL import Image

    folder = tmp_path / 'kinds'
    folder.mkdir()
    for name in 'ac':
        tifffile.imwrite(
            folder / f'{name}.tif',
            blobs,
            imagej=True,
            resolution=(2, 2),
            metadata={'unit': 'um'},
        )
    Image.fromarray(blobs).save(folder / 'b.png')
    d = series_desk(folder, prompts=True)
    told = len(notification_manager.records)
    d.session.click(28, 32)
    d.settle()
    assert 'preview' in names(d)
    d.session.accept()
    for units, size in (('pixel', 1), ('micrometer', 0.5), ('pixel', 1)):
        if units == 'pixel' and names(d)[0] == 'c':
            d.widget.previous()
        else:
            d.widget.next()
        d.settle()
        assert {str(u) for layer in d.viewer.layers for u in layer.units} == {
            units
        }
        # the whole image is in view, and nothing else
        extent = d.viewer.layers.extent.world
        assert extent[1] == pytest.approx(
            (np.array(blobs.shape) - 0.5) * size, abs=size
        )
        # clicks hit it
        d.mouse.click(d.session.scene.image, (28, 32))
        d.settle()
        d.session.accept()
        d.settle()
        assert d.viewer.layers['labels'].data[28, 32]
        assert not d.viewer.layers['labels'].data[50, 64]
    assert d.widget.previous() is None
    d.settle()
    assert d.viewer.layers['a'].units == d.viewer.layers['labels'].units
    assert str(d.viewer.layers['a'].units[0]) == 'micrometer'
    assert len(notification_manager.records) == told


@pytest.fixture
def channels(tmp_path, blobs):
    """Folder of two images whose second and third channels have objects."""
    folder = tmp_path / 'channels'
    folder.mkdir()
    pixels = np.stack([np.zeros_like(blobs), blobs, blobs])
    for name in 'ab':
        tifffile.imwrite(
            folder / f'{name}.tif', pixels, imagej=True,
            metadata={'axes': 'CYX'},
        )  # fmt: skip
    return folder


@pytest.mark.slow
def test_another_channel(series_desk, channels):
    folder = channels
    d = series_desk(folder)
    assert d.session.scene.image.name == 'a channel 0'
    d.widget.panel.channel_box.setValue(1)
    assert d.session.scene.image.name == 'a channel 1'
    d.widget.run.start()
    d.settle()
    assert d.widget.status.text == (
        '8 objects in 2 images. Channel 1 was segmented in 2 images with '
        'several channels.'
    )
    assert saved(folder, 'b').max() == 4
    d.widget.next()
    d.settle()
    assert d.session.scene.image.name == 'b channel 1'


@pytest.mark.slow
def test_a_channel_that_is_chosen_in_the_prompts(series_desk, channels):
    d = series_desk(channels, prompts=True)
    d.prompts.header.image_combo.layer = d.viewer.layers['a channel 2']
    d.settle()
    assert d.widget.panel.channel_box.value() == 2
    combo = d.prompts.header.channel_combo
    index = combo.findText('with a channel 1')
    combo.setCurrentIndex(index)
    combo.activated.emit(index)
    d.settle()
    # the labels are those that are saved
    assert d.session.scene.labels is d.viewer.layers['labels']
    assert d.prompts.output.layer is d.viewer.layers['labels']
    d.session.click(28, 32)
    d.widget.next()
    d.settle()
    assert saved(channels, 'a').max() == 1
    # the channels stay chosen
    plane = d.session.scene.layer_plane()
    assert plane.layer is d.viewer.layers['b channel 2']
    assert plane.composed == (d.viewer.layers['b channel 1'],)
    assert combo.currentText() == 'with b channel 1'
    d.session.click(28, 32)
    d.widget.previous()
    d.settle()
    assert saved(channels, 'b').max() == 1
    plane = d.session.scene.layer_plane()
    assert plane.composed == (d.viewer.layers['a channel 1'],)
    # removed layers are no choice
    for name in ('a channel 2', 'a channel 0', 'a channel 1', 'labels'):
        d.viewer.layers.remove(name)
        d.settle()
    assert d.widget.panel.channel_box.value() == 2
    # as in a new viewer
    d.widget.panel.channel_box.setValue(1)
    d.widget._jobs.open(None)
    d.widget.panel.channel_box.setValue(0)
    d.widget.resume()
    d.settle()
    assert d.session.scene.image is d.viewer.layers['a channel 1']


@pytest.mark.slow
def test_steps_of_an_image_can_be_undone_after_another_one(
    series_desk, folder
):
    d = series_desk(folder, prompts=True)
    d.prompts.tools.points.add((28, 32))
    d.settle()
    d.session.accept()
    d.settle()
    assert saved(folder, 'a').any()
    d.widget.next()
    d.settle()
    assert d.session.undo() is None
    d.widget.review.undo()
    assert d.widget.status.text == 'There is nothing to undo in this image.'
    d.widget.previous()
    d.settle()
    # prompts, too
    (record,) = d.session.scene.objects(False)
    assert record.views
    d.widget.review.undo()
    assert d.widget.status.text.startswith('Undone: ')
    d.settle()
    assert not d.viewer.layers['labels'].data.any()
    assert not saved(folder, 'a').any()
    d.session.redo()
    d.settle()
    assert saved(folder, 'a').any()
    # the same image again: its steps stay
    d.widget.go_to(0)
    d.settle()
    assert d.session.undo() is not None


@pytest.mark.slow
def test_tracks_leave_and_return_with_their_image(
    series_desk, tmp_path, dividing_cells, monkeypatch, qtbot
):
    cells = dividing_cells.labels
    for name in 'ab':
        tifffile.imwrite(
            tmp_path / f'{name}.tif',
            (100 * (cells > 0)).astype(np.uint8),
            metadata={'axes': 'TYX'},
        )
    d = series_desk(tmp_path)
    labels = d.viewer.layers['labels']
    labels.data = cells.astype(np.uint16)
    tracked = d.session.track(labels)
    d.session.unlink((3, 1))
    corrected = tracked.pixels.copy()
    all_names = ['a', 'labels', 'tracked labels', 'tracks of labels']
    assert names(d) == all_names
    d.widget.next()
    d.settle()
    assert names(d) == ['b', 'labels']
    assert not d.session.tracking.all_tracks()
    assert d.viewer.layers.selection.active is d.viewer.layers['b']
    d.widget.previous()
    d.settle()
    assert names(d) == all_names
    # the step can be undone
    d.session.navigation.undo()
    assert tracked.tracks.count == 13
    d.session.navigation.redo()
    d.widget.next()
    d.settle()
    # the next image waits for tracks on their way
    labels = d.viewer.layers['labels']
    labels.data = cells.astype(np.uint16)
    d.session.tracking.start(labels)
    d.widget.previous()
    assert d.widget.status.text == TRACKING
    d.settle()
    assert names(d) == all_names
    assert d.session.series.required[1].tracks.exists()
    # in another viewer, from the files
    again = series_desk()
    _, dock = again.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Track'
    )
    again.widget.open([tmp_path])
    again.settle()
    assert names(again) == all_names
    assert dock.summary.text().startswith('14 tracks')
    (found,) = again.session.tracking.all_tracks()
    assert np.array_equal(found.pixels, corrected)
    assert found.tracks.parents == tracked.tracks.parents
    assert not again.widget.layers.unsaved_output
    again.session.scene.labels = again.viewer.layers['tracked labels']
    assert not again.widget.layers.unsaved_output
    # what is drawn in the tracks is saved at the latest on leaving
    again.viewer.layers['tracked labels'].paint((0, 0, 0), 40)
    again.widget.saving.leave()
    again.session.series.wait(20)
    file = again.session.series.required[0].tracks
    assert tifffile.imread(file)[0, 0, 0] == 40
    # labels that are edited while tracks are read stay visible
    held = threading.Event()
    monkeypatch.setattr(
        tracks_saving,
        'read_tracks',
        lambda *given: held.wait(20) and read_tracks(*given),
    )
    again.widget.next()
    qtbot.waitUntil(lambda: names(again) == ['b', 'labels'])
    again.viewer.layers['labels'].paint((0, 0, 0), 90)
    held.set()
    again.settle()
    assert names(again)[2:] == all_names[2:]
    assert again.viewer.layers['labels'].visible
    again.widget.previous()
    again.settle()
    # what is removed does not return
    again.viewer.layers.remove('tracked labels')
    again.viewer.layers.remove('tracks of labels')
    again.settle()
    assert not file.exists()
    again.widget.next()
    again.settle()
    again.widget.previous()
    again.settle()
    assert names(again) == ['a', 'labels']


def test_steps_are_closed_when_another_program_changed_the_labels(
    series_desk, folder
):
    d = series_desk(folder)
    labels = d.viewer.layers['labels']
    with d.session.scene.objects_of(labels).step('drawing') as step:
        step.put_pixels(np.full(labels.data.shape, 3, np.uint16))
    d.settle()
    d.widget.next()
    d.settle()
    path = folder / 'labels' / 'a_labels.tif'
    tifffile.imwrite(path, np.full(labels.data.shape, 9, np.uint16))
    d.widget.previous()
    d.settle()
    assert (d.viewer.layers['labels'].data == 9).all()
    assert d.session.undo() is None
    # no more images than a few are kept
    d.widget.layers.forget()
    assert not d.widget.layers._behind


def test_labels_that_cannot_be_saved_are_not_left_behind(
    series_desk, folder, tmp_path
):
    d = series_desk(folder)
    (folder / 'labels').write_text('a file', 'utf-8')
    labels = d.viewer.layers['labels']
    labels.data[10:20, 10:20] = 5
    labels.events.paint(value=[])
    d.settle()
    d.widget.next()
    d.settle()
    other = tmp_path / 'other'
    other.mkdir()
    tifffile.imwrite(other / 'z.tif', np.zeros((32, 32), np.uint8))
    d.widget.open([other])
    d.settle()
    assert 'The labels of a.tif could not be saved' in d.widget.status.text
    assert names(d) == ['b', 'labels']
    # with a place for them, they are saved first
    (folder / 'labels').unlink()
    d.widget.open([other])
    d.settle()
    assert names(d) == ['z', 'labels']
    assert (saved(folder, 'a') == 5).sum() == 100


@pytest.mark.slow
@pytest.mark.parametrize('closed', ['window', 'dock'])
def test_the_open_object_is_accepted_when_it_is_closed(
    series_desk, folder, closed, monkeypatch
):
    d = series_desk(folder, prompts=True)
    d.session.click(28, 32)
    d.settle()
    assert not (folder / 'labels').exists()
    if closed == 'window':
        window = d.widget.main_window
        # asked for, and given up
        monkeypatch.setattr(
            type(window), 'closeEvent', lambda window, event: event.ignore()
        )
        window.close()
        assert d.session.editor.record.empty
    else:
        d.viewer.window.remove_dock_widget(d.dock)
    d.session.close()
    assert saved(folder, 'a').any()


@pytest.mark.slow
def test_work_goes_on_while_the_next_image_is_read(
    series_desk, folder, monkeypatch
):
    d = series_desk(folder, prompts=True)
    labels, read = d.viewer.layers['labels'], Series.read_image
    go = threading.Event()

    def read_slowly(series, number):
        # a click from the console waits for all that is under way
        go.wait(1)
        return read(series, number)

    d.widget.layers.forget()
    d.session.series._images.clear()
    monkeypatch.setattr(Series, 'read_image', read_slowly)
    monkeypatch.setattr(series_saving, 'AT_ONCE', 0)
    for number in (0, 1):
        # the same image again, and another one
        go.clear()
        d.widget.go_to(number)
        assert d.widget.status.text.startswith('Opening')
        labels.paint((4, 4 + 30 * number), 7)
        d.session.click(28, 32 + 60 * number)
        go.set()
        d.settle()
        labels = d.viewer.layers['labels']
    assert names(d)[:2] == ['b', 'labels']
    assert not labels.data.any()
    assert saved(folder, 'a')[4, [4, 34]].tolist() == [7, 7]
    assert set(np.unique(saved(folder, 'a'))) == {0, 7, 8, 9}


def test_labels_are_saved_without_their_image(
    series_desk, folder, monkeypatch
):
    monkeypatch.setattr(series_saving, 'AT_ONCE', 0)
    monkeypatch.setattr(series_saving, 'PAUSE_MS', 100_000)
    d = series_desk(folder)
    image, labels = d.viewer.layers
    d.viewer.layers.remove(image)
    labels.paint((4, 4), 9)
    d.widget.next()
    d.settle()
    assert names(d) == ['b', 'labels']
    assert saved(folder, 'a').any()


@pytest.mark.slow
def test_a_closed_dock_is_opened_again(series_desk, folder):
    d = series_desk(folder, prompts=True)
    d.viewer.window.remove_dock_widget(d.dock)
    labels = d.viewer.layers['labels']
    d.widget = d.prompts
    d.settle()
    # what is accepted or drawn meanwhile is saved, too
    d.mouse.click(d.viewer.layers['a'], (28, 32))
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    labels.paint((4, 4), 9)
    d.settle()
    assert set(np.unique(saved(folder, 'a'))) == {0, 1, 9}
    _, d.widget = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Series'
    )
    d.settle()
    assert d.widget.status.text == 'Image 1 of 3, a.tif: to do.'
    assert d.widget.panel.table.currentIndex().row() == 0
    assert d.session.scene.labels is labels
    # the steps of the image are still there
    d.widget.review.undo()
    d.settle()
    assert not (saved(folder, 'a') == 1).any()
    d.widget.open([folder])
    d.settle()
    assert names(d)[:2] == ['a', 'labels']
    assert set(np.unique(d.viewer.layers['labels'].data)) == {0, 9}


@pytest.mark.slow
def test_one_of_two_docks_is_closed(series_desk, folder, oracle):
    from napari.utils.notifications import notification_manager

    d = series_desk(folder)
    other = SeriesWidget(d.viewer)
    dock = d.viewer.window.add_dock_widget(other)
    told = len(notification_manager.records)
    oracle.go.clear()
    d.widget.run.start()
    d.viewer.window.remove_dock_widget(dock)
    # the run goes on, and errors are in the status of the other dock
    assert d.session.series.running
    d.session.series.failed.emit('The disk is full.')
    assert d.widget.status.text == 'The disk is full.'
    assert len(notification_manager.records) == told
    oracle.go.set()
    d.settle()
    assert saved(folder, 'c').any()


@pytest.mark.slow
def test_labels_that_go_to_another_file_while_the_dock_is_closed(
    series_desk, folder
):
    from napari.utils.notifications import notification_manager

    d = series_desk(folder)
    labels = d.viewer.layers['labels']
    labels.paint((4, 4), 9)
    d.settle()
    d.viewer.window.remove_dock_widget(d.dock)
    (folder / 'labels' / 'a_labels.tif').chmod(0o444)
    labels.paint((40, 40), 9)
    d.settle()
    assert (folder / 'labels' / 'a_labels.2.tif').exists()
    told = notification_manager.records.pop().message
    assert 'labels are saved to a_labels.2.tif' in told


def test_a_dock_closed_while_an_image_is_read(series_desk, folder):
    d = series_desk(folder)
    d.widget.next()
    d.viewer.window.remove_dock_widget(d.dock)
    d.session.series.wait(20)
    d.viewer.window.add_dock_widget(d.widget)
    d.settle()
    assert names(d) == ['a', 'labels']
    d.widget.next()
    d.settle()
    assert names(d) == ['b', 'labels']


def test_a_series_without_dock_ends_with_its_labels(
    series_desk, folder, monkeypatch
):
    from napari.utils.notifications import notification_manager

    monkeypatch.setattr(series_saving, 'AT_ONCE', 0)
    d = series_desk(folder)
    image, labels = d.viewer.layers
    d.viewer.window.remove_dock_widget(d.dock)
    d.session.series.failed.emit('The disk is full.')
    assert notification_manager.records.pop().message == 'The disk is full.'
    labels.paint((4, 4), 9)
    d.viewer.layers.remove(labels)
    d.settle()
    assert saved(folder, 'a').any()
    assert d.session.series.series is None
    assert SERIES_MARK not in image.metadata
    d.widget = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Series'
    )[1]
    assert d.widget.status.text == HINT


@pytest.mark.own_viewer
def test_labels_that_cannot_be_saved_come_back(series_desk, folder, caplog):
    d = series_desk(folder)
    (folder / 'labels').write_text('a file', 'utf-8')
    labels = d.viewer.layers['labels']
    labels.data[10:20, 10:20] = 5
    labels.events.paint(value=[])
    d.settle()
    d.viewer.close()
    d.session.close()
    assert 'could not be saved to' in caplog.text
    assert 'come back when the series is opened again' in caplog.text
    (folder / 'labels').unlink()
    d = series_desk(folder)
    assert (d.viewer.layers['labels'].data == 5).sum() == 100
    assert (saved(folder, 'a') == 5).sum() == 100
    # once
    caplog.clear()
    d.widget.open([folder])
    d.settle()
    assert not list(rescue_folders()[0].iterdir())


@pytest.mark.slow
def test_an_image_that_is_replaced_is_read_again(series_desk, folder):
    d = series_desk(folder)
    shape = d.viewer.layers['a'].data.shape
    d.viewer.layers['labels'].paint((4, 4), 9)
    d.widget.next()
    d.settle()
    tifffile.imwrite(folder / 'a.tif', np.full(shape, 77, np.uint8))
    d.widget.previous()
    d.settle()
    assert (d.viewer.layers['a'].data == 77).all()
    assert 'check that they still fit' in d.widget.status.text
    d.widget.flag()
    d.widget.next()
    d.settle()
    d.widget.previous()
    d.settle()
    assert d.widget.status.text == 'Image 1 of 3, a.tif: flagged.'


@pytest.mark.slow
@pytest.mark.parametrize('moved', [False, True])
def test_an_image_that_is_deleted_or_moved(series_desk, folder, moved):
    d = series_desk(folder)
    if moved:
        (folder / 'a.tif').rename(folder / 'z.tif')
    else:
        (folder / 'a.tif').unlink()
    labels = d.viewer.layers['labels']
    labels.data[10:20, 10:20] = 5
    labels.events.paint(value=[])
    d.settle()
    # what was drawn is saved all the same
    assert (saved(folder, 'a') == 5).sum() == 100
    d.widget.next()
    d.settle()
    assert names(d) == ['b', 'labels']
    d.widget.previous()
    d.settle()
    assert 'a.tif' in d.widget.status.text
    assert d.widget.status.failed
    assert '\n' not in d.widget.status.text
    assert names(d) == ['b', 'labels']
    d.widget.run.start()
    d.settle()
    # the one with labels is left out, and nothing else fails
    assert d.widget.status.text.startswith('8 objects in 2 images.')
    assert (saved(folder, 'a') == 5).sum() == 100


@pytest.mark.slow
def test_a_hidden_labels_layer(series_desk, folder):
    d = series_desk(folder)
    d.viewer.layers['labels'].visible = False
    d.widget.run.start()
    d.settle()
    assert len(np.unique(saved(folder, 'a'))) == 5
    d.widget.next()
    d.settle()
    # nobody would know why nothing is seen
    assert d.viewer.layers['labels'].visible


@pytest.fixture
def boxed(series_desk, folder):
    """Series whose first image has boxes of two objects."""
    d = series_desk(folder, prompts=True)
    d.prompts.tools.use_boxes_tool()
    for column in (18, 78):
        d.prompts.tools.shapes.add(
            [[14, column], [42, column + 28]], shape_type='rectangle'
        )
    d.settle()
    return d


def test_boxes_that_are_no_objects_yet_stay_with_their_image(boxed, folder):
    d = boxed
    d.widget.next()
    d.settle()
    assert 'drawn boxes are not accepted yet' in d.widget.status.text
    assert names(d)[0] == 'a'
    # as the open image
    assert d.widget.panel.table.currentIndex().row() == 0
    # a script may go on; they are no prompts on another image
    other = d.viewer.add_image(d.viewer.layers['a'].data)
    d.session.scene.image = other
    d.settle()
    assert not len(d.prompts.tools.shapes.data)
    d.widget.next()
    d.settle()
    assert 'b' in names(d)


@pytest.mark.slow
def test_objects_of_a_job_are_written_before_the_next_image(boxed, folder):
    d = boxed
    d.prompts.trigger('accept')
    d.widget.next()
    assert d.widget.status.text.startswith('Waiting for the objects')
    assert names(d)[0] == 'a'
    d.settle()
    assert set(np.unique(saved(folder, 'a'))) == {0, 1, 2}
    assert names(d)[:2] == ['b', 'labels']
    assert not d.viewer.layers['labels'].data.any()


def test_objects_of_a_job_are_saved_when_the_dock_is_closed(boxed, folder):
    d = boxed
    d.prompts.trigger('accept')
    d.widget.detach()
    assert saved(folder, 'a').any()


@pytest.mark.slow
def test_a_job_goes_on_until_the_window_closes(boxed, folder, monkeypatch):
    d = boxed
    window = d.widget.main_window
    monkeypatch.setattr(series_saving, 'AT_ONCE', 0)
    monkeypatch.setattr(
        type(window), 'closeEvent', lambda window, event: event.ignore()
    )
    d.prompts.trigger('accept')
    window.close()
    # napari asks
    assert d.session.background.running
    d.viewer.window._task_status_manager.cancel_all()
    assert d.session.series.wait(20)
    assert saved(folder, 'a').any()


@pytest.mark.slow
def test_closing_leaves_a_job_on_an_image_of_no_series(series_desk, blobs):
    d = series_desk(prompts=True)
    d.viewer.add_image(blobs)
    d.prompts.tools.use_boxes_tool()
    for column in (18, 78):
        d.prompts.tools.shapes.add([[14, column], [42, column + 28]])
    d.settle()
    d.prompts.trigger('accept')
    d.widget.detach()
    assert d.session.background.running
    d.settle()
    assert d.prompts.status.text.startswith('2 of 2 prompts')


@pytest.mark.slow
def test_a_run_says_which_labels_are_locked(series_desk, folder):
    d = series_desk(folder)
    labels = d.viewer.layers['labels']
    labels.editable = False
    d.widget.run.start()
    d.settle()
    assert d.widget.status.failed
    assert '1 image failed: “labels” cannot be edited' in d.widget.status.text
    assert d.widget.panel.table.text(0, 2) == 'failed'
    assert not labels.data.any()
    assert saved(folder, 'b').any()
    # a change of the layer saves no labels without objects
    labels.editable = True
    labels.features = pd.DataFrame({'index': [0]})
    d.settle()
    assert not (folder / 'labels' / 'a_labels.tif').exists()
    d.widget.run.start()
    d.settle()
    assert np.array_equal(saved(folder, 'a'), labels.data)
    assert labels.data.any()
