"""Jobs on the images of a series, without a window."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from viewer.oracle import OracleSam

from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_files import SeriesError
from napari_mobilesam.session import Session
from napari_mobilesam.session.series.labels_saving import SaveRequest
from napari_mobilesam.session.series.rescued import rescue_folders
from napari_mobilesam.session.track.tracked_labels import (
    TrackedLabels,
    paint_tracks,
)
from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.types import EverythingParameters


def full(self, *given):
    raise SeriesError('There is no space left.')


@pytest.fixture
def session(tmp_path):
    pixels = np.zeros((60, 80), np.uint8)
    pixels[10:30, 10:30] = 200
    for name in 'ab':
        tifffile.imwrite(tmp_path / f'{name}.tif', pixels)
    session = Session(load_model=lambda name: OracleSam(), model_name='one')
    session.series.open(Series.open(tmp_path))
    yield session
    session.close()


def test_a_run_leaves_labels_that_wait_to_be_saved(
    session, tmp_path, monkeypatch
):
    jobs = session.series
    image = jobs.required.read_image(0)
    mine = np.zeros(image.label_shape, np.uint16)
    mine[40:50, 40:50] = 7
    with monkeypatch.context() as patch:
        patch.setattr(Series, 'save_labels', full)
        jobs.save(SaveRequest(0, mine, None, image))
        session.finish()
        assert jobs.saving.unsaved.keys() == {0}
        jobs.segment_all(
            EverythingParameters(points_per_side=8, whole_image=True)
        )
        session.finish()
        assert jobs.saving.unsaved[0].labels.max() == 7
    session.close()
    assert tifffile.imread(tmp_path / 'labels' / 'a_labels.tif').max() == 7


def test_labels_that_were_found_do_not_replace_others(session, tmp_path):
    jobs, changed = session.series, []
    jobs.changed.connect(changed.append)
    image = jobs.required.read_image(0)
    mine = np.full(image.label_shape, 7, np.uint16)
    for number in range(2):
        jobs.save_found(SaveRequest(number, mine, None, image))
        session.finish()
    assert changed == [0, 1]
    (tmp_path / 'labels' / 'a_labels.tif').unlink()
    jobs.open(Series.open(tmp_path))
    session.finish()
    with jobs.saving.lock:
        jobs.save_found(SaveRequest(0, mine + 1, None, image))
        # time to look for labels before there are some
        jobs.wait(0.2)
        jobs.required.save_labels(0, mine, None, image)
    session.finish()
    assert tifffile.imread(tmp_path / 'labels' / 'a_labels.tif').max() == 7


def test_prompts_that_could_not_be_saved_wait_with_their_labels(
    session, monkeypatch
):
    jobs, read, written = session.series, [], []
    jobs.read.connect(read.append)
    image = jobs.required.read_image(0)
    mine = np.ones(image.label_shape, np.uint16)
    with monkeypatch.context() as patch:
        patch.setattr(Series, 'save_labels', full)
        jobs.save(SaveRequest(0, mine, None, image, written.append))
        jobs.ask(0)
        session.finish()
        # the labels are back, without their prompts
        (found,) = read
        assert found.labels.labels is mine
        assert not found.complete
    jobs.save(SaveRequest(0, 2 * mine, None, image))
    session.finish()
    assert not jobs.saving.unsaved
    assert written == [jobs.required[0].session]


@pytest.fixture(params=[False, True])
def rescued(tmp_path, monkeypatch, request):
    """Folder of an image whose labels, all 7, could not be saved."""
    monkeypatch.setenv('NAPARI_MOBILESAM_SESSIONS', str(tmp_path / 'user'))
    pixels = np.zeros((60, 80), np.uint8)
    folder = tmp_path / 'images'
    folder.mkdir()
    tifffile.imwrite(folder / 'a.tif', pixels)
    Series.open(folder).save_labels(0, np.full(pixels.shape, 1, np.uint16))
    with monkeypatch.context() as patch:
        patch.setattr(Series, 'save_labels', full)
        session = open_session(folder)
        series = session.series.required
        series.read_labels(0, pixels.shape)
        mine = SaveRequest(
            0,
            np.full(pixels.shape, 7, np.uint16),
            None,
            series.read_image(0),
            lambda path: path.write_bytes(b'prompts'),
        )
        session.series.save(mine)
        session.close()
        # the folder is full still
        session = open_session(folder)
        if request.param:
            session.series.save(replace(mine, write_session=None))
        session.close()
    return folder


def open_session(folder):
    session = Session(load_model=lambda name: OracleSam(), model_name='one')
    session.series.open(Series.open(folder))
    session.finish()
    return session


def saved(folder):
    """Labels of the files in the folder, and prompts, by name."""
    labels = folder / 'labels'
    found = {f.name: tifffile.imread(f).max() for f in labels.glob('*.tif')}
    prompts = labels.glob('.napari-mobilesam/*.session')
    return found, [path.read_bytes() for path in prompts]


def test_labels_that_could_not_be_saved_come_back_with_prompts(rescued):
    open_session(rescued).close()
    assert saved(rescued) == ({'a_labels.tif': 7}, [b'prompts'])
    assert not list(rescue_folders()[0].iterdir())


def test_labels_that_come_back_do_not_replace_newer_ones(rescued):
    other = Series.open(rescued)
    other.save_labels(0, np.full((60, 80), 9, np.uint16))
    open_session(rescued).close()
    assert saved(rescued)[0] == {'a_labels.tif': 9, 'a_labels.2.tif': 7}


@pytest.fixture
def tracked():
    """Tracks of three frames: one with a gap, and one that divides."""
    labels = np.zeros((3, 12, 16), np.uint16)
    labels[0, 1:3, 1:3] = labels[2, 2:4, 1:3] = 7
    labels[0, 6:9, 6:9] = 4
    labels[1, 6:9, 4:6] = labels[2, 6:9, 3:5] = 5
    labels[1, 6:9, 9:11] = 9
    frames, numbers = [0, 0, 1, 1, 2, 2], [4, 7, 5, 9, 5, 7]
    positions = np.zeros((6, 2))
    tracks = Tracks.of(frames, numbers, positions, [-1, -1, 0, 0, 2, 1])
    return TrackedLabels('labels', labels, paint_tracks(tracks, labels))


def saved_tracks(session, tracked, edited=False):
    """Save the tracks of the first image, and read them again."""
    jobs, found = session.series, []
    jobs.tracks.found.connect(lambda *each: found.append(each))
    jobs.tracks.save(jobs.required, 0, tracked.result(edited))
    jobs.tracks.ask(jobs.required, 0, tracked.pixels.shape)
    session.finish()
    ((series, number, read),) = found
    assert (series, number) == (jobs.required, 0)
    return read


def test_tracks_are_saved_with_gaps_divisions_and_corrections(
    session, tracked
):
    # drawn after tracking, and so without a label
    tracked.pixels[1, 0:2, 12:15] = 40
    tracked.follow([1])
    assert_same(saved_tracks(session, tracked), tracked)
    tracked.unlink(tracked.index(2, 2))
    tracked.link(tracked.index(0, 2), tracked.index(1, 40))
    read = saved_tracks(session, tracked, edited=True)
    assert_same(read, tracked)
    assert read.edited


def assert_same(read, tracked):
    assert np.array_equal(read.pixels, tracked.pixels)
    assert read.pixels.dtype == tracked.pixels.dtype
    again = TrackedLabels('again', tracked.labels, read)
    assert len(again.tracks) == len(tracked.tracks) == 7
    assert again.tracks.parents == tracked.tracks.parents
    assert len(again.tracks.parents) == 2
    for index in range(7):
        other = tracked.index(*again.place(index))
        assert again.box(index) == tracked.box(other)
        assert again.tracks.labels[index] == tracked.tracks.labels[other]


def test_tracks_that_cannot_be_saved_beside_their_labels(
    session, tracked, tmp_path, monkeypatch
):
    monkeypatch.setenv('NAPARI_MOBILESAM_SESSIONS', str(tmp_path / 'user'))
    failures, labels = [], tmp_path / 'labels'
    session.series.failed.connect(failures.append)
    labels.write_text('a file', 'utf-8')
    read = saved_tracks(session, tracked)
    assert np.array_equal(read.pixels, tracked.pixels)
    (text,) = failures
    assert 'The tracks of a.tif are saved to' in text
    assert list(rescue_folders()[0].iterdir())
    # the next save brings them to their place
    labels.unlink()
    tracked.pixels[0, 0, 15] = 40
    read = saved_tracks(session, tracked)
    assert read.pixels[0, 0, 15] == 40
    assert session.series.required[0].tracks.exists()
    assert not list(rescue_folders()[0].iterdir())


def test_tracks_of_labels_of_another_shape_are_told(session, tracked):
    saved_tracks(session, tracked)
    failures, jobs = [], session.series
    jobs.failed.connect(failures.append)
    jobs.tracks.ask(jobs.required, 0, (60, 80))
    session.finish()
    assert 'has the shape (3, 12, 16), but the labels have (60, 80)' in str(
        failures
    )
    assert jobs.required[0].tracks.exists()


def test_tracks_that_are_set_aside_do_not_return(session, tracked):
    saved_tracks(session, tracked)
    jobs, found = session.series, []
    jobs.tracks.found.connect(lambda *each: found.append(each))
    file = jobs.required[0].tracks
    jobs.tracks.set_aside(jobs.required, 0)
    jobs.tracks.ask(jobs.required, 0, tracked.pixels.shape)
    session.finish()
    assert not found
    assert (file.parent / f'removed-{file.name}').exists()
    # others replace them
    saved_tracks(session, tracked)
    jobs.tracks.set_aside(jobs.required, 0)
    session.finish()
    assert not file.exists()
    # none is lost
    kept = {path.name for path in file.parent.glob(f'removed-*{file.name}')}
    assert kept == {f'removed-{file.name}', f'removed-1-{file.name}'}


def opened_again(session, tmp_path, found, failures):
    """Open the first image in another series, and ask for its tracks."""
    jobs = session.series
    found.clear()
    failures.clear()
    jobs.open(Series.open(tmp_path))
    jobs.ask(0)
    session.finish()
    jobs.tracks.ask(jobs.required, 0, (3, 12, 16))
    session.finish()


@pytest.mark.parametrize('copied', [False, True])
def test_tracks_belong_to_the_labels_that_were_tracked(
    session, tracked, tmp_path, copied
):
    jobs, found, failures = session.series, [], []
    jobs.tracks.found.connect(lambda *each: found.append(each))
    jobs.failed.connect(failures.append)
    image = jobs.required.read_image(0)
    mine = np.ones(image.label_shape, np.uint16)
    # tracks are saved before their labels, which then change
    saved_tracks(session, tracked)
    for value in 1, 2:
        jobs.save(SaveRequest(0, value * mine, None, image))
        session.finish()
    folder = tmp_path
    if copied:
        # with other times
        folder = tmp_path / 'copy'
        shutil.copytree(
            tmp_path,
            folder,
            ignore=shutil.ignore_patterns('copy', '.lock'),
            copy_function=shutil.copyfile,
        )
    for _ in range(2):
        opened_again(session, folder, found, failures)
        assert len(found) == 1
        assert not failures
        jobs.mark(0, 'done')
    file = jobs.required[0].tracks
    # another program replaces the labels
    tifffile.imwrite(folder / 'labels' / 'a_labels.tif', mine)
    opened_again(session, folder, found, failures)
    assert not found
    assert 'The labels of a.tif are not those that were tracked' in failures[0]
    assert (file.parent / f'removed-{file.name}').exists()
    # they are tracked anew
    saved_tracks(session, tracked)
    opened_again(session, folder, found, failures)
    assert len(found) == 1


def test_tracks_of_labels_that_segment_replaced(session, tracked, tmp_path):
    jobs, found, failures = session.series, [], []
    jobs.tracks.found.connect(lambda *each: found.append(each))
    image = jobs.required.read_image(0)
    mine = np.ones(image.label_shape, np.uint16)
    jobs.save(SaveRequest(0, mine, None, image))
    saved_tracks(session, tracked)
    files = jobs.required[0].files
    files.begin(overwrite=True)
    tifffile.imwrite(files.labels, mine)
    files.finish(1, 1.0)
    opened_again(session, tmp_path, found, failures)
    assert not found
    # deleted labels are not those that are saved next
    saved_tracks(session, tracked)
    files.labels.unlink()
    jobs.save(SaveRequest(0, mine, None, image))
    session.finish()
    opened_again(session, tmp_path, found, failures)
    assert not found


def test_tracks_wait_for_labels_that_cannot_be_read(
    session, tracked, tmp_path, monkeypatch
):
    jobs, found, failures = session.series, [], []
    jobs.tracks.found.connect(lambda *each: found.append(each))
    image = jobs.required.read_image(0)
    mine = np.ones(image.label_shape, np.uint16)
    jobs.save(SaveRequest(0, mine, None, image))
    session.finish()
    saved_tracks(session, tracked)
    with monkeypatch.context() as patch:
        patch.setattr('napari_mobilesam.series.series.read_labels', None)
        opened_again(session, tmp_path, found, failures)
    assert not found
    opened_again(session, tmp_path, found, failures)
    assert len(found) == 1


def test_tracks_edited_while_they_are_saved_are_saved_later(session, tracked):
    saved_tracks(session, tracked)
    jobs = session.series
    file = jobs.required[0].tracks
    before = file.read_bytes()
    edited = threading.Event()
    edited.set()
    tracked.pixels[0, 0, 15] = 40
    jobs.tracks.save(jobs.required, 0, tracked.result(), edited)
    session.finish()
    assert file.read_bytes() == before
    assert len(list(file.parent.glob('*tracks*'))) == 2
    jobs.tracks.save(jobs.required, 0, tracked.result(), threading.Event())
    session.finish()
    assert tifffile.imread(file)[0, 0, 15] == 40


def list_until(end, started):
    """Stand-in for `Series.uncertain` with very many tables."""

    def uncertain(check, between):
        started.set()
        for _ in range(5000):
            between()
            if end.wait(0.001):
                break
        return []

    return uncertain


def test_an_image_is_read_before_a_long_list_of_objects(session, monkeypatch):
    jobs, order = session.series, []
    series, image = jobs.required, jobs.required.read_image(1)
    started, end = threading.Event(), threading.Event()

    def read_image(number):
        order.append(number)
        end.set()
        return image

    monkeypatch.setattr(series, 'uncertain', list_until(end, started))
    monkeypatch.setattr(series, 'read_image', read_image)
    jobs.uncertain.connect(lambda found: order.append('listed'))
    jobs.ask_uncertain()
    assert started.wait(10)
    jobs.ask(1)
    session.finish()
    assert order == [1, 'listed']


def test_a_long_list_of_objects_does_not_delay_another_series(
    session, tmp_path, monkeypatch
):
    jobs, started, end = session.series, threading.Event(), threading.Event()
    listed = []
    jobs.uncertain.connect(listed.append)
    monkeypatch.setattr(jobs.required, 'uncertain', list_until(end, started))
    jobs.ask_uncertain()
    assert started.wait(10)
    # waits for the files
    jobs.open(Series.open(tmp_path))
    end.set()
    session.finish()
    assert listed == []


def test_an_unchanged_list_of_objects_is_the_same_list(session):
    jobs, listed = session.series, []
    jobs.uncertain.connect(listed.append)
    image = jobs.required.read_image(0)
    mine = np.full(image.label_shape, 7, np.uint16)
    scores = pd.DataFrame({'label': [7], 'score': [0.5]})
    jobs.save(SaveRequest(0, mine, scores, image))
    for _ in range(2):
        jobs.ask_uncertain()
        session.finish()
    jobs.review(0, 7)
    jobs.ask_uncertain()
    session.finish()
    first, second, third = listed
    assert first is second
    assert [each.label for each in first] == [7]
    assert third == []
