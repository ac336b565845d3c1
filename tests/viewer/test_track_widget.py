"""“Track” in a viewer, with mouse and keys."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from napari.layers._source import layer_source
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_mobilesam.extra import MissingExtraError
from napari_mobilesam.session.objects.history import Entry
from napari_mobilesam.tracking.ctc import read_ctc
from napari_mobilesam.types import Prompts
from napari_mobilesam.widgets import open_form

from .conftest import dock_of

LEFT = Qt.MouseButton.LeftButton
SHIFT = Qt.KeyboardModifier.ShiftModifier
NO_MODIFIER = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def track_desk(desk, dividing_cells):
    def make(labels=None, tracked=True, **kwargs):
        d = desk(widget='Track')
        # tests paint in them
        data = dividing_cells.labels.copy() if labels is None else labels
        d.labels = d.viewer.add_labels(data, name='cells', **kwargs)
        d.settle()
        if tracked:
            QTest.mouseClick(d.widget.track_button, LEFT)
            d.settle()
        d.viewer.reset_view()

        def choose(frame, track):
            """Click an object of a track in a frame."""
            layer = d.widget.shown.labels
            d.viewer.dims.set_current_step(0, frame)
            place = np.argwhere(layer.data[frame] == track)
            middle = place[np.argmin(abs(place - place.mean(0)).sum(1))]
            d.mouse.click(layer, (frame, *middle))

        d.choose = choose
        d.members = lambda track: d.widget.shown.tracked.tracks.members(track)
        return d

    return make


def lines(d):
    """The Tracks layer."""
    return d.widget.shown.tracks


@pytest.mark.slow
def test_track_makes_two_layers(track_desk, dividing_cells):
    d = track_desk(
        scale=(1, 0.5, 0.5), translate=(0, 3, 4), units=('s', 'um', 'um')
    )
    distance = d.widget.form.controls['max_distance']
    assert distance.number.native.text() == '…'
    tracks, labels = d.viewer.layers['tracks of cells'], d.widget.shown.labels
    assert labels is d.viewer.layers['tracked cells']
    assert d.widget.time_label.text() == 'axis 0, 8 frames'
    assert d.widget.status.text.startswith(
        '13 tracks of 80 objects, 2 divisions.'
    )
    assert d.widget.summary.text() == '13 tracks of 80 objects, 2 divisions.'
    assert len(d.widget.rows.tracks) == 13
    # one number per track; the labels of each frame were shuffled
    for layer in (tracks, labels):
        assert layer.scale.tolist() == [1, 0.5, 0.5]
        assert layer.translate.tolist() == [0, 3, 4]
        assert [str(u) for u in layer.units][1:] == ['micrometer'] * 2
    assert np.array_equal(labels.data > 0, dividing_cells.labels > 0)
    assert sorted(len(p) for p in tracks.graph.values()) == [1] * 4
    for track, frame, row, column in tracks.data:
        # centroids of discs lie in them
        place = (int(frame), round(row), round(column))
        assert labels.data[place] == track
    # tracks have the colours of their labels
    color = labels.get_color(int(tracks.data[0, 0]))
    assert tracks.track_colors[0].tolist() == pytest.approx(list(color))
    # shown instead of the labels they are of
    assert not d.labels.visible
    assert d.viewer.layers.selection.active is labels
    assert d.widget.labels_combo.layers == [d.labels]


@pytest.mark.slow
def test_tracks_lie_on_labels_that_are_rotated(track_desk, dividing_cells):
    """Also on those with an axis of one position before time."""
    turn = np.eye(4)
    turn[2:, 2:] = [[0.8, -0.6], [0.6, 0.8]]
    d = track_desk(
        dividing_cells.labels[None], rotate=turn, scale=[1, 1, 2, 2]
    )
    wanted = d.labels.data_to_world((0, 3, 10, 20))
    for layer in (d.widget.shown.labels, lines(d)):
        place = (3, 10, 20)
        assert np.allclose(layer.data_to_world(place), wanted[1:])


@pytest.mark.slow
def test_unlink_by_mouse_and_key_and_undo(track_desk):
    d = track_desk()
    before = d.widget.shown.labels.data.copy()
    d.choose(4, 1)
    assert d.widget.status.text == 'Object of track 1, frame 4.'
    assert d.widget.first_label.text() == 'track 1, frame 4'
    d.mouse.key(Qt.Key.Key_I, SHIFT)
    assert d.widget.status.text == 'Unlinked: track 14, frame 4.'
    labels = d.widget.shown.labels.data
    assert d.widget.summary.text().startswith('14 tracks')
    assert 14 in d.widget.rows.tracks
    assert set(np.unique(labels[:4][before[:4] == 1])) == {1}
    assert set(np.unique(labels[4:][before[4:] == 1])) == {14}
    assert np.array_equal(labels[before != 1], before[before != 1])
    assert set(lines(d).data[:, 0]) == set(range(1, 15))
    # sliders, camera and selection stay
    assert d.viewer.dims.current_step[0] == 4
    d.mouse.key(Qt.Key.Key_U)
    assert d.widget.status.text == 'Undone: unlink of track 1 in frame 4.'
    assert np.array_equal(d.widget.shown.labels.data, before)
    assert set(lines(d).data[:, 0]) == set(range(1, 14))
    d.mouse.key(Qt.Key.Key_U, SHIFT)
    assert d.widget.summary.text().startswith('14 tracks')
    d.mouse.key(Qt.Key.Key_U)
    d.mouse.key(Qt.Key.Key_U)
    assert d.widget.status.text == 'Nothing to undo.'


@pytest.mark.slow
def test_view_stays_at_a_correction(track_desk):
    d = track_desk()
    d.choose(4, 1)
    d.viewer.camera.center, d.viewer.camera.zoom = (0, 30, 50), 3
    d.widget.corrections.unlink()
    assert d.viewer.camera.center == (0, 30, 50)
    assert d.viewer.camera.zoom == 3
    assert d.viewer.dims.current_step[0] == 4
    assert d.viewer.layers.selection.active is d.widget.shown.labels


def test_link_by_mouse_and_key(track_desk):
    d = track_desk()
    d.choose(4, 1)
    d.widget.corrections.unlink()
    d.choose(3, 1)
    d.choose(4, 14)
    # by frame, whichever was clicked first
    d.choose(3, 1)
    assert d.widget.first_label.text() == 'track 1, frame 3'
    assert d.widget.second_label.text() == 'track 14, frame 4'
    d.mouse.key(Qt.Key.Key_T, SHIFT)
    assert d.widget.status.text == 'Linked: track 1, frame 4.'
    assert d.widget.summary.text().startswith('13 tracks')
    # the next click goes on from here
    assert d.widget.first_label.text() == 'track 1, frame 4'
    d.choose(5, 1)
    d.mouse.key(Qt.Key.Key_T, SHIFT)
    assert 'already' in d.widget.status.text


def test_division_by_mouse_and_key(track_desk):
    d = track_desk()
    graph = dict(lines(d).graph)
    d.choose(2, 1)
    d.choose(3, 2)
    d.mouse.key(Qt.Key.Key_Y)
    # the longest part of a track keeps its number
    assert d.widget.status.text == (
        'Divided: track 14, frame 2, into tracks 1 and 2.'
    )
    assert len(d.widget.shown.tracked.tracks.divisions) == 3
    children = [c for c, p in lines(d).graph.items() if p == [14]]
    assert sorted(children) == [1, 2]
    for child in children:
        assert (d.widget.shown.labels.data[3:] == child).any()
    QTest.mouseClick(d.widget.buttons['undo'], LEFT)
    assert lines(d).graph == graph
    QTest.mouseClick(d.widget.buttons['redo'], LEFT)
    assert len(d.widget.shown.tracked.tracks.divisions) == 3


@pytest.mark.slow
def test_chosen_objects_have_rings(track_desk):
    d = track_desk()
    d.choose(2, 1)
    d.choose(4, 2)
    rings = d.viewer.layers['chosen objects']
    assert rings.data[:, 0].tolist() == [2, 4]
    # another click in the same frame replaces the object there
    d.choose(4, 3)
    assert d.widget.second_label.text() == 'track 3, frame 4'
    d.choose(5, 3)
    assert d.widget.first_label.text() == 'track 3, frame 4'
    d.mouse.click(d.widget.shown.labels, (5, 1, 1))
    assert d.widget.status.text == 'There is no tracked object.'
    assert d.widget.second_label.text() == 'track 3, frame 5'


def test_too_few_objects_are_said(track_desk):
    d = track_desk(tracked=False)
    for key, modifier in (
        (Qt.Key.Key_T, SHIFT),
        (Qt.Key.Key_Y, NO_MODIFIER),
        (Qt.Key.Key_I, SHIFT),
    ):
        d.mouse.key(key, modifier)
        assert d.widget.status.text.startswith('There are no tracks yet')
    d.widget.track()
    d.settle()
    d.mouse.key(Qt.Key.Key_I, SHIFT)
    assert d.widget.status.text == 'Click an object first.'
    d.choose(0, 1)
    d.mouse.key(Qt.Key.Key_T, SHIFT)
    assert d.widget.status.text.startswith('Click two objects')
    d.mouse.key(Qt.Key.Key_I, SHIFT)
    assert d.widget.status.text.startswith('Track 1 starts in frame 0')
    d.choose(1, 2)
    d.widget.corrections.undo()
    assert d.widget.status.text == 'Nothing to undo.'


@pytest.mark.slow
def test_a_click_may_tremble(track_desk):
    """As in the other docks, where a drag begins after four pixels."""
    d = track_desk()
    d.choose(4, 1)
    d.widget.chosen.choose()
    labels = d.widget.shown.labels
    row, column = np.argwhere(labels.data[4] == 1).mean(0)
    places = [(4, row, column), (4, row, column + 2 / d.viewer.camera.zoom)]
    d.mouse.stroke(labels, places, steps=2)
    assert len(d.widget.chosen.indices) == 1


@pytest.mark.slow
def test_painting_and_dragging_choose_nothing(track_desk):
    d = track_desk()
    labels = d.widget.shown.labels
    labels.mode = 'paint'
    d.choose(2, 1)
    labels.mode = 'pan_zoom'
    d.viewer.dims.set_current_step(0, 0)
    d.mouse.drag(labels, (0, 40, 40), (0, 90, 90))
    assert d.widget.chosen.indices == ()


def test_row_brings_its_track_into_view(track_desk):
    d = track_desk()
    rows = d.widget.rows
    child = max(rows.tracks)
    place = rows.visualRect(rows.model().index(rows.tracks.index(child), 0))
    QTest.mouseClick(rows.viewport(), LEFT, pos=place.center())
    first = d.widget.shown.tracked.tracks
    frame = int(first.frames[first.members(child)[0]])
    assert d.viewer.dims.current_step[0] == frame
    rows.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert rows.currentIndex().row() == rows.tracks.index(child) == 0


@pytest.mark.slow
def test_undo_takes_the_newest_step_of_the_viewer(track_desk):
    d = track_desk()
    objects = d.session.scene.objects_of(d.labels)
    d.choose(4, 1)
    d.widget.corrections.unlink()
    with objects.step('drawing') as step:
        del step
    d.widget.shown.labels.name = 'mine'
    assert d.session.undo() == 'unlink of track 1 in frame 4 in “mine”'


@pytest.mark.slow
def test_undo_leaves_what_is_not_of_the_tracks(track_desk):
    d = track_desk()
    d.choose(3, 1)
    d.choose(4, 1)
    d.widget.corrections.unlink()
    tracked = d.widget.shown.tracked
    others = d.session.scene.objects_of(d.labels).history
    others.push(Entry('12 objects'))
    d.widget.corrections.undo()
    assert d.widget.status.text == (
        'The step to undo is 12 objects, in “cells”: undo it in Segment by '
        'prompts.'
    )
    assert others.undoable
    assert tracked.history.undoable
    # of these labels, edited as objects
    others.clear()
    of_tracks = d.session.scene.objects_of(d.widget.shown.labels)
    of_tracks.history.push(Entry('object 3'))
    d.widget.corrections.undo()
    assert d.widget.status.text.startswith('Undone: object 3')
    d.widget.corrections.undo()
    assert d.widget.status.text.startswith('Undone: unlink')
    # as before the correction
    assert len(d.widget.chosen.indices) == 2
    assert d.widget.buttons['divide'].isEnabled()
    others.push(Entry('12 objects'))
    d.session.undo()
    d.widget.corrections.redo()
    assert 'to redo is 12 objects' in d.widget.status.text


def test_undo_leaves_an_accept_that_waits_for_its_mask(track_desk):
    d = track_desk()
    scene, editor = d.session.scene, d.session.editor
    scene.image = d.viewer.add_image(d.labels.data.astype(np.uint8))
    scene.labels = d.labels
    editor.ask(scene.plane(), Prompts(np.full((1, 2), 20.0), np.ones(1, int)))
    editor.accept()
    scene.labels = d.widget.shown.labels
    d.widget.corrections.undo()
    assert d.widget.status.text == (
        'The step to undo is an accept, in “cells”: undo it in Segment by '
        'prompts.'
    )
    assert len(editor.queue) == 1


@pytest.mark.slow
def test_a_dialog_drops_an_earlier_error(track_desk, monkeypatch):
    d = track_desk()
    monkeypatch.setattr(QFileDialog, 'getExistingDirectory', lambda *args: '')
    d.widget.status.fail('gone')
    QTest.mouseClick(d.widget.open_button, LEFT)
    assert not d.widget.status.failed
    assert d.widget.status.text.startswith('To correct')


def test_division_needs_two_children(track_desk, dividing_cells):
    d = track_desk()
    alone = next(t for t in range(1, 14) if len(d.members(t)) == 8)
    d.choose(3, alone)
    d.choose(4, alone)
    d.mouse.key(Qt.Key.Key_Y)
    assert d.widget.status.text == (
        f'Track {alone} in frame 3 cannot divide: only track {alone} in '
        'frame 4 follows it. Choose another object that it becomes, too.'
    )
    d.choose(3, alone)
    d.choose(4, alone)
    d.mouse.key(Qt.Key.Key_I, SHIFT)
    d.choose(3, alone)
    d.mouse.key(Qt.Key.Key_Y)
    assert d.widget.status.text == (
        f'Track {alone} in frame 3 cannot divide: no object follows it yet. '
        'Link one of its two children first.'
    )


# export


@pytest.mark.parametrize(
    ('kind', 'name'),
    [
        ('Cell Tracking Challenge, a folder (*)', 'out'),
        ('TrackMate in Fiji (*.xml)', 'out.xml'),
        pytest.param('Table (*.csv)', 'out.csv', marks=pytest.mark.slow),
        pytest.param(
            'Labels, one per track (*.tif)',
            'out.tif',
            marks=pytest.mark.slow,
        ),
    ],
)
def test_export_through_the_dialog(
    track_desk, dividing_cells, tmp_path, monkeypatch, kind, name
):
    file = tmp_path / 'cells.ome.tif'
    size = {'axes': 'TYX', 'PhysicalSizeX': 0.5, 'PhysicalSizeY': 0.5}
    tifffile.imwrite(file, dividing_cells.labels, metadata=size)
    # napari's own reader leaves out the size
    with layer_source(path=str(file)):
        d = track_desk()
    d.choose(4, 1)
    d.widget.corrections.unlink()
    typed = ['out']
    monkeypatch.setattr(
        QFileDialog,
        'getSaveFileName',
        lambda *args: (str(tmp_path / typed[-1]), kind),
    )
    QTest.mouseClick(d.widget.export_button, LEFT)
    d.settle()
    path = tmp_path / name
    assert d.widget.status.text == f'Saved: {path}'
    data = d.widget.shown.labels.data
    if name == 'out':
        assert np.array_equal(read_ctc(path)[0], data)
    elif name == 'out.tif':
        assert np.array_equal(tifffile.imread(path), data)
    elif name == 'out.csv':
        assert len(path.read_text().splitlines()) == 81
    else:
        assert path.read_text().count('<Spot ') == 80
        assert 'pixelwidth="0.5"' in path.read_text()
    # a folder is not replaced, a file is where that is agreed to
    QTest.mouseClick(d.widget.export_button, LEFT)
    d.settle()
    if name == 'out':
        assert d.widget.status.failed
        return
    (question,) = d.widget.findChildren(QMessageBox)
    assert f'{name} exists' in question.text()
    path.write_text('precious')
    question.button(QMessageBox.StandardButton.Cancel).click()
    d.settle()
    assert path.read_text() == 'precious'
    typed.append('2026.11.tracks')
    QTest.mouseClick(d.widget.export_button, LEFT)
    d.settle()
    assert (tmp_path / f'2026.11.tracks{path.suffix}').exists()


# what goes wrong


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.zeros((3, 32, 32), np.uint8), 'no object'),
        (np.ones((2, 2, 2, 32, 32), np.uint8), 'has the shape'),
        # `test_what_cannot_be_tracked_is_said` shows such without a window
        *(
            pytest.param(labels, message, marks=pytest.mark.slow)
            for labels, message in (
                (np.ones((1, 32, 32), np.uint8), 'has one frame'),
                (np.ones((32, 32), np.uint8), 'has one frame'),
                (np.full((2, 32, 32), -1, np.int16), 'Label -1 is negative'),
            )
        ),
    ],
)
def test_labels_that_cannot_be_tracked(track_desk, labels, message):
    d = track_desk(labels)
    assert d.widget.status.failed
    assert message in d.widget.status.text
    assert ('frame' in d.widget.time_label.text()) == (labels.ndim < 5)
    assert d.widget.track_button.isEnabled()
    assert d.viewer.layers == [d.labels]


def test_the_labels_in_use_are_offered_first(track_desk):
    d = track_desk(tracked=False)
    used = d.viewer.add_labels(np.zeros((3, 32, 32), np.uint8), name='used')
    d.viewer.add_image(np.zeros((3, 32, 32), np.uint8))
    d.session.scene.labels = used
    d.widget.labels_combo.layer = d.labels
    d.widget.detach()
    d.widget.attach()
    assert d.widget.labels_combo.layer is used


def test_no_labels(desk):
    d = desk(widget='Track')
    QTest.mouseClick(d.widget.track_button, LEFT)
    assert d.widget.status.text.startswith('There is no labels layer')


@pytest.mark.slow
def test_missing_laptrack(track_desk, monkeypatch):
    import napari_mobilesam.tracking.track_linking as linking

    def missing(*args):
        raise MissingExtraError('laptrack is not installed.')

    monkeypatch.setattr(linking, 'need', missing)
    d = track_desk()
    assert d.widget.status.failed
    assert d.widget.status.text.startswith('laptrack is not installed')


@pytest.fixture
def held(monkeypatch):
    """Hold the linking of labels that were read until the event is set."""
    import napari_mobilesam.tracking.track_linking as linking

    go, objects_in_time = threading.Event(), linking.objects_in_time
    go.has_read = threading.Event()

    def wait(labels, progress, drift):
        found = objects_in_time(labels, progress, drift)
        go.has_read.set()
        assert go.wait(60)
        return found

    monkeypatch.setattr(linking, 'objects_in_time', wait)
    yield go
    go.set()


@pytest.mark.window
def test_cancel(track_desk, held, monkeypatch):
    d = track_desk(tracked=False)
    window = d.widget.main_window
    d.widget.track_button.setFocus()
    d.widget.track()
    assert not d.widget.track_button.isEnabled()
    # the focus is not on a button that Space would press
    assert not d.widget.isAncestorOf(window.focusWidget())
    # napari asks before it closes
    monkeypatch.setattr(
        type(window), 'closeEvent', lambda window, event: event.ignore()
    )
    window.close()
    tasks = d.viewer.window._task_status_manager
    assert tasks.get_status() == ['MobileSAM: Track; the tracks are lost']
    QTest.mouseClick(d.widget.cancel_button, LEFT)
    assert d.widget.status.text == 'Stopping …'
    held.set()
    d.settle()
    assert d.widget.status.text == 'Stopped; the tracks are unchanged.'
    assert d.viewer.layers == [d.labels]
    assert d.widget.track_button.isEnabled()
    window.close()
    assert not tasks.get_status()


@pytest.mark.slow
def test_labels_removed_in_a_run(track_desk, held):
    d = track_desk(tracked=False)
    d.widget.track()
    d.viewer.layers.remove(d.labels)
    held.set()
    d.settle()
    # which are chosen without the labels
    assert d.widget.status.text.startswith('13 tracks')
    assert d.widget.labels_combo.currentText() == 'tracked cells'
    assert d.widget.track_button.isEnabled()


@pytest.mark.slow
def test_labels_edited_in_a_run_are_tracked_as_they_were(track_desk, held):
    d = track_desk(tracked=False)
    before = d.labels.data.copy()
    d.widget.track()
    assert held.has_read.wait(60)
    d.labels.fill((0, *np.argwhere(before[0])[0]), 0)
    held.set()
    d.settle()
    tracked = d.viewer.layers['tracked cells'].data
    assert np.array_equal(tracked > 0, before > 0)
    assert d.widget.note.text().startswith('“cells” was edited since')


def test_edited_labels_are_noted(track_desk):
    d = track_desk()
    for frame in range(8):
        d.viewer.dims.set_current_step(0, frame)
    d.labels.visible = True
    d.choose(4, 1)
    d.widget.corrections.unlink()
    assert d.widget.note.isHidden()
    d.labels.paint((0, 20, 20), 5)
    assert not d.widget.note.isHidden()
    assert d.widget.note.text().startswith('“cells” was edited since')
    # corrected tracks stay beside new ones
    d.widget.track()
    d.settle()
    assert d.widget.note.isHidden()
    names = [layer.name for layer in d.viewer.layers]
    assert 'tracked cells' in names
    assert 'tracked cells [1]' in names
    # of a stroke from before
    d.labels.undo()
    assert not d.widget.note.isHidden()


@pytest.mark.slow
def test_tracking_again_replaces_tracks_without_corrections(track_desk):
    d = track_desk()
    d.widget.form.controls['divisions'].value = False
    d.widget.track()
    d.settle()
    assert [layer.name for layer in d.viewer.layers] == [
        'cells',
        'tracked cells',
        'tracks of cells',
    ]
    assert d.widget.summary.text().endswith('0 divisions.')


@pytest.mark.slow
@pytest.mark.parametrize('corrected', [False, True])
def test_lines_go_when_labels_whose_tracks_were_removed_are_tracked_again(
    track_desk, corrected
):
    d = track_desk()
    if corrected:
        d.choose(2, 1)
        d.widget.corrections.unlink()
    d.viewer.layers.remove(d.widget.shown.labels)
    d.widget.track()
    d.settle()
    assert [layer.name for layer in d.viewer.layers] == [
        'cells',
        'tracked cells',
        'tracks of cells',
    ]


@pytest.mark.slow
def test_corrected_tracks_are_kept_when_labels_are_tracked_again(track_desk):
    d = track_desk()
    corrected, combo = d.widget.shown, d.widget.labels_combo
    d.choose(2, 1)
    d.widget.corrections.unlink()
    d.widget.track()
    d.settle()
    newest = d.widget.shown
    assert newest is not corrected
    assert 'with your corrections: “tracked cells”' in d.widget.status.text
    assert not corrected.labels.visible
    assert not corrected.tracks.visible
    # an old layer is chosen in the list of layers, or in the dock
    d.viewer.layers.selection.active = corrected.labels
    assert d.widget.shown is corrected
    d.viewer.layers.selection.active = newest.labels
    assert d.widget.shown is newest
    d.widget.corrections.undo()
    assert 'in “tracked cells”: undo it after' in d.widget.status.text
    combo.layer = corrected.labels
    assert d.widget.shown is corrected
    d.widget.corrections.undo()
    assert d.widget.status.text.startswith('Undone: ')
    assert d.widget.export_button.isEnabled()


def test_exported_tracks_are_opened_and_corrected(
    track_desk, dividing_cells, tmp_path, monkeypatch
):
    d = track_desk()
    d.choose(4, 1)
    d.widget.corrections.unlink()
    before = d.widget.shown.tracked.shown
    d.widget.export(tmp_path / 'monday')
    d.settle()
    d.viewer.layers.clear()
    image = d.viewer.add_image(
        dividing_cells.labels.astype(float), scale=(1, 0.5, 0.5), units='um'
    )
    folders = iter(('', str(tmp_path), str(tmp_path / 'monday')))
    monkeypatch.setattr(
        QFileDialog, 'getExistingDirectory', lambda *args: next(folders)
    )
    QTest.mouseClick(d.widget.open_button, LEFT)
    assert d.widget.shown is None
    QTest.mouseClick(d.widget.open_button, LEFT)
    d.settle()
    assert 'has no res_track.txt' in d.widget.status.text
    assert d.widget.status.failed
    assert [layer.name for layer in d.viewer.layers] == [image.name]
    QTest.mouseClick(d.widget.open_button, LEFT)
    d.settle()
    shown = d.widget.shown
    assert d.widget.labels_combo.layer is shown.source
    assert shown.source.name == 'monday'
    for layer in (shown.source, shown.labels, shown.tracks):
        assert layer.scale.tolist() == [1, 0.5, 0.5]
        assert layer.units == image.units
    assert shown.tracked.tracks.parents == before.parents
    assert np.array_equal(
        np.sort(shown.tracked.tracks.ids), np.sort(before.ids)
    )
    count = shown.tracked.tracks.count
    d.choose(6, 2)
    d.widget.corrections.unlink()
    assert shown.tracked.tracks.count == count + 1
    d.widget.corrections.undo()
    assert shown.tracked.tracks.count == count


@pytest.mark.slow
def test_layers_of_tracks_can_be_removed(track_desk):
    d = track_desk()
    d.choose(2, 1)
    d.viewer.layers.remove(lines(d))
    d.widget.corrections.unlink()
    assert d.widget.status.text.startswith('Unlinked')
    d.viewer.layers.remove(d.widget.shown.labels)
    assert d.widget.shown is None
    assert d.widget.rows.tracks == []
    d.widget.corrections.link()
    assert d.widget.status.text.startswith('There are no tracks yet')


@pytest.mark.slow
def test_tracks_stay_when_their_labels_are_removed(track_desk):
    d = track_desk()
    d.viewer.add_labels(np.zeros_like(d.labels.data), name='others')
    d.widget.labels_combo.layer = d.labels
    shown = d.widget.shown
    d.viewer.layers.remove(d.labels)
    d.settle()
    assert d.widget.shown is shown
    assert d.widget.labels_combo.currentText() == 'tracked cells'
    d.viewer.layers.selection.active = shown.labels
    d.choose(2, 1)
    d.widget.corrections.unlink()
    assert d.widget.status.text.startswith('Unlinked')
    d.viewer.layers.remove(shown.labels)
    d.settle()
    assert d.widget.shown is None
    assert d.widget.labels_combo.currentText() == 'others'


@pytest.mark.slow
def test_closed_dock_takes_its_keys_and_rings_along(track_desk):
    d = track_desk()
    d.choose(2, 1)
    d.viewer.window.remove_dock_widget(d.dock)
    assert 'chosen objects' not in d.viewer.layers
    assert 'Y' not in {str(key) for key in d.viewer.keymap}
    # the tracks stay, and a new dock finds them
    assert 'tracked cells' in d.viewer.layers
    _, d.widget = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Track'
    )
    d.settle()
    assert d.widget.summary.text().startswith('13 tracks')


@pytest.mark.slow
def test_stack_over_time_with_a_leading_axis(track_desk, dividing_cells):
    volume = np.repeat(dividing_cells.labels[:, None], 2, axis=1)
    d = track_desk(volume[None])
    assert d.widget.summary.text() == '13 tracks of 80 objects, 2 divisions.'
    assert d.widget.shown.labels.ndim == 4
    assert lines(d).data.shape == (80, 5)


# propagation along a track


@pytest.fixture
def gap_desk(desk, blobs):
    """Make viewers with tracks of two objects, one missing in two frames."""

    def make(image=True, **kwargs):
        frames = np.repeat(blobs[None], 6, axis=0)
        labels = np.zeros(frames.shape, np.uint8)
        labels[:, 16:40, 20:44] = 1
        labels[:, 56:80, 72:104] = 2
        labels[3:5, 16:40, 20:44] = 0
        d = desk(*([frames] if image else []), widget='Track', **kwargs)
        d.labels = d.viewer.add_labels(labels, name='cells')
        d.widget.form.controls['gap'].value = 2
        QTest.mouseClick(d.widget.track_button, LEFT)
        d.settle()
        d.viewer.reset_view()
        assert d.widget.summary.text().startswith('2 tracks of 10 objects')

        def choose(frame, track):
            layer = d.widget.shown.labels
            d.viewer.dims.set_current_step(0, frame)
            middle = np.argwhere(layer.data[frame] == track).mean(0)
            d.mouse.click(layer, (frame, *middle))

        d.choose = choose
        return d

    return make


@pytest.mark.slow
def test_propagate_by_mouse_and_key_and_undo(gap_desk):
    d = gap_desk()
    before = d.widget.shown.labels.data.copy()
    assert not d.widget.buttons['propagate_forward'].isEnabled()
    d.choose(2, 1)
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    assert not d.widget.track_button.isEnabled()
    d.settle()
    assert d.widget.status.text == (
        'Track 1 was propagated to 2 frames, 3 to 4. Propagation ended at '
        'frame 5 (it agrees with the track there). Undo takes it back.'
    )
    assert d.widget.summary.text().startswith('2 tracks of 12 objects')
    labels = d.widget.shown.labels.data
    assert (labels[3:5, 16:40, 20:44] == 1).mean() > 0.9
    assert np.array_equal(labels[[0, 1, 2, 5]], before[[0, 1, 2, 5]])
    assert lines(d).data[:, 1][lines(d).data[:, 0] == 1].tolist() == [
        *range(6)
    ]
    # the object stays chosen, and the view as it was
    assert d.widget.first_label.text() == 'track 1, frame 2'
    assert d.viewer.dims.current_step[0] == 2
    assert d.widget.track_button.isEnabled()
    d.mouse.key(Qt.Key.Key_U)
    assert d.widget.status.text.startswith('Undone: propagating object 1')
    assert np.array_equal(d.widget.shown.labels.data, before)
    assert d.widget.summary.text().startswith('2 tracks of 10 objects')
    d.choose(5, 1)
    QTest.mouseClick(d.widget.buttons['propagate_back'], LEFT)
    d.settle()
    assert d.widget.status.text.startswith(
        'Track 1 was propagated to 2 frames, 3 to 4'
    )
    assert d.widget.summary.text().startswith('2 tracks of 12 objects')


@pytest.mark.slow
@pytest.mark.window
def test_keys_of_two_docks_are_of_the_one_in_front(gap_desk):
    d = gap_desk()
    prompts = open_form(d.viewer, 'prompts')
    window = d.viewer.window._qt_window
    window.tabifyDockWidget(dock_of(d.widget), dock_of(prompts))
    for front, said in (
        (d.widget, 'Track 1 was propagated to 2'),
        (prompts, 'Object 1 was propagated to no'),
    ):
        dock_of(front).raise_()
        d.settle()
        d.viewer.layers.selection.active = d.widget.shown.labels
        d.choose(2, 1)
        d.widget.status.say('')
        d.mouse.key(Qt.Key.Key_K, SHIFT)
        d.settle()
        assert front.status.text.startswith(said)
        assert bool(d.widget.status.text) is (front is d.widget)
    d.viewer.window.remove_dock_widget(dock_of(prompts))
    d.settle()
    d.mouse.key(Qt.Key.Key_H, SHIFT)
    d.settle()
    assert d.widget.status.text


@pytest.mark.slow
def test_keys_are_inherited_and_given_up(desk, blobs):
    d = desk(blobs)
    _, track = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Track'
    )
    d.viewer.window.remove_dock_widget(d.dock)
    d.settle()
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    assert track.status.text.startswith('There are no tracks')
    d.viewer.window.remove_dock_widget(dock_of(track))
    assert not {'U', 'Shift+K'} & {str(key) for key in d.viewer.keymap}


@pytest.mark.slow
def test_a_propagation_is_one_step(gap_desk):
    d = gap_desk()
    before = d.widget.shown.labels.data.copy()
    d.choose(2, 1)
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    d.settle()
    after = d.widget.shown.labels.data.copy()
    for key, modifier, text in (
        (Qt.Key.Key_U, NO_MODIFIER, 'Undone: propagating object 1'),
        (Qt.Key.Key_U, NO_MODIFIER, 'Nothing to undo.'),
        (Qt.Key.Key_U, SHIFT, 'Redone: propagating object 1'),
        (Qt.Key.Key_U, SHIFT, 'Nothing to redo.'),
        (Qt.Key.Key_U, NO_MODIFIER, 'Undone: propagating object 1'),
    ):
        d.mouse.key(key, modifier)
        assert d.widget.status.text.startswith(text)
    assert np.array_equal(d.widget.shown.labels.data, before)
    # again, from the same pixels
    d.choose(2, 1)
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    d.settle()
    assert np.array_equal(d.widget.shown.labels.data, after)
    # nothing was reached, so there is no step
    d.choose(1, 2)
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    d.settle()
    assert d.widget.status.text.startswith('Track 2 was propagated to no')
    d.mouse.key(Qt.Key.Key_U)
    assert d.widget.status.text.startswith('Undone: propagating object 1')


@pytest.mark.slow
def test_propagations_in_two_labels(gap_desk):
    # the object that is open after the first is of the other labels
    d = gap_desk()
    d.choose(2, 1)
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    d.settle()
    d.mouse.key(Qt.Key.Key_U)
    first = d.widget.shown.labels
    before = first.data.copy()
    second = np.where(d.labels.data == 1, 0, d.labels.data)
    second[4:] = 0
    d.viewer.add_labels(second, name='others')
    QTest.mouseClick(d.widget.track_button, LEFT)
    d.settle()
    assert d.widget.shown.labels.name == 'tracked others'
    d.choose(3, 1)
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    d.settle()
    assert d.widget.status.text.startswith(
        'Track 1 was propagated to 2 frames, 4 to 5'
    )
    here = d.widget.shown.labels.data
    assert np.array_equal(here[:4], second[:4] > 0)
    assert not here[:, 16:40, 20:44].any()
    assert np.array_equal(first.data, before)


@pytest.mark.slow
def test_added_objects_can_be_corrected_and_exported(gap_desk, tmp_path):
    d = gap_desk()
    d.choose(2, 1)
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    d.settle()
    d.choose(4, 1)
    assert d.widget.status.text == 'Object of track 1, frame 4.'
    d.mouse.key(Qt.Key.Key_I, SHIFT)
    # the longer part keeps the number
    assert d.widget.status.text == 'Unlinked: track 3, frame 4.'
    d.widget.export(tmp_path / 'ctc')
    d.settle()
    masks, tracks = read_ctc(tmp_path / 'ctc')
    assert np.array_equal(masks, d.widget.shown.labels.data)
    assert len(tracks) == 12
    d.widget.export(tmp_path / 'tracks.xml')
    d.settle()
    assert (tmp_path / 'tracks.xml').read_text().count('<Spot ') == 12
    for _ in range(2):
        d.mouse.key(Qt.Key.Key_U)
    assert d.widget.summary.text().startswith('2 tracks of 10 objects')


def test_cancelled_propagation_keeps_its_frames(gap_desk, oracle):
    d = gap_desk()
    d.choose(2, 1)
    oracle.go.clear()
    QTest.mouseClick(d.widget.buttons['propagate_forward'], LEFT)
    QTest.mouseClick(d.widget.cancel_button, LEFT)
    assert d.widget.status.text == 'Stopping …'
    oracle.go.set()
    d.settle()
    assert d.widget.status.text.startswith('Stopped. Track 1 was propagated')
    assert d.widget.summary.text().startswith('2 tracks of 11 objects')
    d.mouse.key(Qt.Key.Key_U)
    assert d.widget.summary.text().startswith('2 tracks of 10 objects')


@pytest.mark.slow
def test_propagation_needs_an_image(gap_desk):
    d = gap_desk(image=False)
    d.choose(2, 1)
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    assert d.widget.status.failed
    assert d.widget.status.text.startswith('Open or choose an image')
    still = d.viewer.add_image(np.zeros((96, 128), np.uint8))
    d.viewer.layers.selection.active = d.widget.shown.labels
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    assert d.widget.status.failed
    assert 'is a single plane' in d.widget.status.text
    assert still in d.viewer.layers
    assert d.widget.track_button.isEnabled()


def test_model_that_fails_is_said(gap_desk, oracle, monkeypatch):
    d = gap_desk()
    before = d.widget.shown.labels.data.copy()

    def fail(*args):
        raise RuntimeError('broken weights')

    monkeypatch.setattr(type(oracle), 'image_decoder', fail)
    d.choose(2, 1)
    d.mouse.key(Qt.Key.Key_K, SHIFT)
    d.settle()
    assert d.widget.status.failed
    assert 'broken weights' in d.widget.status.text
    assert d.widget.track_button.isEnabled()
    assert np.array_equal(d.widget.shown.labels.data, before)


@pytest.mark.slow
def test_tracks_follow_brush_and_eraser(gap_desk):
    d = gap_desk()
    labels = d.widget.shown.labels
    d.viewer.dims.set_current_step(0, 3)
    labels.mode, labels.selected_label, labels.brush_size = 'paint', 1, 9
    d.mouse.click(labels, (3, 30, 30))
    assert (labels.data[3, 16:40, 20:44] == 1).any()
    assert d.widget.summary.text().startswith('2 tracks of 11 objects')
    # napari's own undo, and the eraser
    d.viewer.layers.selection.active = labels
    labels.undo()
    assert d.widget.summary.text().startswith('2 tracks of 10 objects')
    labels.fill((3, 68, 88), 0)
    assert d.widget.summary.text().startswith('2 tracks of 9 objects')
    labels.undo()
    assert d.widget.summary.text().startswith('2 tracks of 10 objects')
    labels.mode = 'pan_zoom'
    d.choose(2, 2)
    d.choose(3, 2)
    labels.fill((3, 68, 88), 0)
    # a chosen object that is gone is none any more
    assert d.widget.first_label.text() == 'track 2, frame 2'
    assert d.widget.second_label.text() == '–'
    # edited tracks are kept beside new ones
    d.widget.track()
    d.settle()
    assert 'tracked cells [1]' in d.viewer.layers


def test_tracks_follow_labels_of_another_type(gap_desk):
    d = gap_desk()
    labels = d.widget.shown.labels
    labels.data = labels.data.astype(np.int32)
    labels.fill((2, 28, 32), 0)
    assert d.widget.summary.text().startswith('2 tracks of 9 objects')
    d.choose(3, 2)
    d.widget.corrections.unlink()
    assert (labels.data[3:, 56:80, 72:104] == 3).all()


@pytest.mark.slow
def test_propagation_in_a_volume_over_time(desk, blobs):
    frames = np.repeat(np.repeat(blobs[None, None], 3, 1), 4, 0)
    labels = (frames > 100).astype(np.uint8)
    labels[:, :, 50:] = 0
    labels[..., 60:] = 0
    labels[2, 1] = 0
    d = desk(frames, widget='Track', scale=(1, 2, 1, 1))
    d.viewer.add_labels(labels, name='cells', scale=(1, 2, 1, 1))
    d.widget.track()
    d.settle()
    tracked = d.session.tracking.all_tracks()[-1]
    result = d.session.propagate_track((1, 1), 'forward')
    # through time, on the plane in the middle
    assert result.reached == (2,)
    assert (tracked.pixels[2, 1, 16:40, 20:44] == 1).mean() > 0.9
    assert len(tracked.tracks) == 4


# trackastra


def test_trackastra_gets_the_image_of_the_labels(gap_desk, monkeypatch):
    import sys

    import networkx as nx

    given = []

    class Tracker:
        @classmethod
        def from_pretrained(cls, name, device=None):
            return cls()

        def track(self, images, labels, mode, progbar_class):
            given.append((images, labels, mode))
            return nx.DiGraph(), labels

    fake = SimpleNamespace(Trackastra=Tracker)
    monkeypatch.setitem(sys.modules, 'trackastra.model', fake)
    monkeypatch.setitem(sys.modules, 'trackastra', SimpleNamespace())
    d = gap_desk()
    d.viewer.add_image(np.zeros((96, 128)), name='another')
    d.viewer.layers.selection.active = d.labels
    d.widget.form.controls['linker'].value = 'trackastra'
    QTest.mouseClick(d.widget.track_button, LEFT)
    d.settle()
    ((images, labels, mode),) = given
    assert np.array_equal(images, d.image.data)
    assert np.array_equal(labels, d.labels.data)
    assert mode == 'greedy'
    # it linked nothing
    assert d.widget.summary.text().startswith('10 tracks of 10 objects')
    d.image.visible = False
    QTest.mouseClick(d.widget.track_button, LEFT)
    d.settle()
    assert d.widget.status.failed
    assert 'show the image of the labels' in d.widget.status.text


@pytest.mark.slow
def test_missing_trackastra_is_said(gap_desk):
    d = gap_desk()
    d.widget.form.controls['linker'].value = 'trackastra'
    QTest.mouseClick(d.widget.track_button, LEFT)
    d.settle()
    assert d.widget.status.failed
    assert 'pip install trackastra' in d.widget.status.text
    assert d.widget.summary.text().startswith('2 tracks')
