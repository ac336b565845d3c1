"""Tracking in a session without a viewer: job, corrections, undo."""

from __future__ import annotations

import itertools
import queue
import threading

import numpy as np
import pytest
import tifffile

from napari_mobilesam import read_labels
from napari_mobilesam.extra import MissingExtraError
from napari_mobilesam.readers.stated_size import SizedFile
from napari_mobilesam.session import Session
from napari_mobilesam.session.track import track_jobs
from napari_mobilesam.session.track.track_jobs import TrackJobs
from napari_mobilesam.session.track.tracked_labels import (
    TrackedLabels,
    TrackResult,
    paint_tracks,
)
from napari_mobilesam.tracking.ctc import read_ctc
from napari_mobilesam.tracking.pixel_size import PixelSize
from napari_mobilesam.tracking.track_linking import track_labels
from napari_mobilesam.tracking.tracks import TrackError
from napari_mobilesam.types import ImageError, SegmentationError


@pytest.fixture
def tracked(dividing_cells):
    labels = dividing_cells.labels
    clock = itertools.count(1).__next__
    result = paint_tracks(track_labels(labels), labels)
    return TrackedLabels('cells', labels, result, clock)


def repainted(tracked):
    """Labels of tracks, painted anew."""
    return paint_tracks(tracked.tracks, tracked.labels).pixels


@pytest.fixture
def session():
    made = Session()
    yield made
    made.close()


def test_tracks_of_a_folder_are_opened(session, tracked, tmp_path):
    tracked.unlink(int(tracked.tracks.members(1)[3]))
    session.tracking.export(tracked, tmp_path / 'tracks')
    assert session.tracking.wait(30)
    opened = session.open_tracks(tmp_path / 'tracks')
    assert opened.tracks.parents == tracked.shown.parents
    assert np.array_equal(opened.pixels, tracked.pixels)
    with pytest.raises(SegmentationError, match=r'has no res_track\.txt'):
        session.open_tracks(tmp_path)
    with pytest.raises(SegmentationError, match='folder is 3'):
        session.open_tracks(3)


# the job


@pytest.mark.slow
def test_session_tracks_labels(session, dividing_cells):
    tracked = session.track(dividing_cells.labels)
    tracks = tracked.tracks
    found = {
        (
            int(tracks.frames[before]),
            int(tracks.labels[before]),
            int(tracks.frames[index]),
            int(tracks.labels[index]),
        )
        for index, before in enumerate(tracks.previous)
        if before >= 0
    }
    assert found == dividing_cells.links
    assert tracked.pixels.dtype == np.uint16
    assert np.array_equal(tracked.pixels > 0, dividing_cells.labels > 0)


def test_parameters_reach_the_linking(session, dividing_cells):
    tracked = session.track(dividing_cells.labels, divisions=False)
    assert not tracked.tracks.divisions


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.zeros((3, 9, 9), np.uint8), 'no object'),
        (np.zeros((1, 9, 9), np.uint8), '1 frame'),
        (np.zeros((9, 9), np.uint8), 'time series'),
        (np.zeros((3, 9, 9)), 'integers'),
    ],
)
def test_what_cannot_be_tracked_is_said(session, labels, message):
    with pytest.raises(SegmentationError, match=message):
        session.track(labels)
    assert not session.tracking.running


def test_missing_laptrack_is_one_sentence(session, monkeypatch):
    def missing(*args):
        raise MissingExtraError('laptrack is not installed.')

    monkeypatch.setattr(
        'napari_mobilesam.tracking.track_linking.need', missing
    )
    with pytest.raises(SegmentationError, match='^laptrack is not installed'):
        session.track(np.ones((3, 9, 9), np.uint8))


class Deliveries:
    """Functions for the thread of the viewer, run when the test says so."""

    def __init__(self):
        self.waiting = queue.Queue()

    def __call__(self, function):
        self.waiting.put(function)

    def run(self):
        while not self.waiting.empty():
            self.waiting.get()()


class SlowLabels:
    """Labels that cancel the job when a frame is read."""

    dtype = np.dtype(np.uint8)
    shape = (5, 9, 9)

    def __init__(self, act):
        self.act = act
        self.read = []

    def __getitem__(self, frame):
        self.read.append(frame)
        if frame == 1:
            self.act()
        return np.ones((9, 9), np.uint8)


def test_cancelled_job_stops_at_the_next_frame():
    deliver = Deliveries()
    jobs = TrackJobs(deliver)
    events = []
    jobs.stopped.connect(lambda: events.append('stopped'))
    jobs.finished.connect(lambda tracked: events.append('finished'))
    labels = SlowLabels(jobs.cancel)
    jobs.start(labels)
    assert jobs.wait(60)
    deliver.run()
    assert events == ['stopped']
    assert labels.read == [0, 1]
    assert not jobs.running
    jobs.close()


def test_newer_request_wins():
    deliver = Deliveries()
    jobs = TrackJobs(deliver)
    found = []
    jobs.finished.connect(found.append)
    jobs.start(np.ones((3, 9, 9), np.uint8))
    jobs.start(np.ones((4, 9, 9), np.uint8))
    assert jobs.wait(60)
    deliver.run()
    assert [tracked.pixels.shape[0] for tracked in found] == [4]
    jobs.close()


def test_labels_are_read_by_the_job_alone(dividing_cells, monkeypatch):
    """A copy of a long series would hold up the viewer."""
    go = threading.Event()
    monkeypatch.setattr(track_jobs, 'import_gently', lambda _: go.wait(60))
    labels = dividing_cells.labels.copy()
    deliver, found = Deliveries(), []
    jobs = TrackJobs(deliver)
    jobs.finished.connect(found.append)
    jobs.prepare()
    jobs.start(labels)
    labels[0] = 0
    go.set()
    assert jobs.wait(60)
    deliver.run()
    assert np.array_equal(found[0].pixels > 0, labels > 0)
    jobs.close()


# corrections


@pytest.mark.slow
def test_corrections_write_what_painting_anew_would(tracked):
    tracks = tracked.tracks
    steps = [
        lambda: tracked.unlink(tracked.index(4, 1)),
        lambda: tracked.link(tracked.index(3, 1), tracked.index(4, 2)),
        lambda: tracked.divide(
            tracked.index(5, 3), [tracked.index(6, 3), tracked.index(6, 5)]
        ),
    ]
    states = [tracked.pixels.copy()]
    for step in steps:
        step()
        assert np.array_equal(tracked.pixels, repainted(tracked))
        states.append(tracked.pixels.copy())
    for state in reversed(states[:-1]):
        assert tracked.undo()
        assert np.array_equal(tracked.pixels, state)
    assert tracked.undo() is None
    assert np.array_equal(tracked.tracks.ids, tracks.ids)
    for state in states[1:]:
        assert tracked.redo()
        assert np.array_equal(tracked.pixels, state)
    assert tracked.redo() is None


def test_two_tracks_swap_their_numbers(tracked):
    before = tracked.pixels.copy()
    first, second = tracked.index(3, 1), tracked.index(3, 2)
    other = tracked.index(4, 1)
    tracked.link(second, other)
    tracked.link(first, tracked.tracks.index(4, tracked_label(tracked, 2)))
    assert np.array_equal(tracked.pixels, repainted(tracked))
    assert np.array_equal(tracked.pixels[:4], before[:4])


def tracked_label(tracked, track):
    """Label in frame 4 of the object that followed a track before."""
    tracks = tracked.tracks
    lost = np.flatnonzero((tracks.frames == 4) & (tracks.previous < 0))
    return int(tracks.labels[lost[0]])


def test_only_frames_that_change_are_told(tracked):
    told = []
    tracked.changed.connect(told.append)
    tracked.unlink(tracked.index(5, 1))
    assert told == [(5, 6, 7)]
    tracked.undo()
    assert told == [(5, 6, 7), (5, 6, 7)]


def test_wrong_correction_changes_nothing(tracked):
    before = tracked.pixels.copy()
    # with the numbers that are seen, not those of the labels
    words = 'Track 2 in frame 2 cannot follow Track 1 in frame 4: its frame'
    with pytest.raises(TrackError, match=words):
        tracked.link(tracked.index(4, 1), tracked.index(2, 2))
    with pytest.raises(TrackError, match='Track 1 starts in frame 0: there'):
        tracked.unlink(tracked.index(0, 1))
    with pytest.raises(TrackError, match='already'):
        tracked.link(tracked.index(0, 1), tracked.index(1, 1))
    with pytest.raises(TrackError, match='no object in frame 99'):
        tracked.index(99, 1)
    for wrong in (
        lambda: tracked.unlink(9999),
        lambda: tracked.link(0, 9999),
        lambda: tracked.divide(9999, [1]),
    ):
        with pytest.raises(TrackError, match='no object 9999'):
            wrong()
    assert tracked.undo() is None
    assert np.array_equal(tracked.pixels, before)


def test_numbers_that_do_not_fit_are_refused(dividing_cells):
    labels = dividing_cells.labels
    tracks = track_labels(labels)
    ids = tracks.ids.copy()
    ids[ids == 1] = 255
    wide = paint_tracks(
        type(tracks).of(
            tracks.frames,
            tracks.labels,
            tracks.positions,
            tracks.previous,
            ids,
        ),
        labels,
    )
    tracked = TrackedLabels(
        'cells',
        labels,
        TrackResult(wide.tracks, wide.pixels.astype(np.uint8), wide.boxes),
    )
    before = tracked.pixels.copy()
    with pytest.raises(TrackError, match='up to 255'):
        tracked.unlink(tracked.index(4, 2))
    assert np.array_equal(tracked.pixels, before)
    assert tracked.undo() is None


def test_commands_of_the_console(session, dividing_cells):
    with pytest.raises(TrackError, match='no tracks yet'):
        session.link((0, 1), (1, 1))
    tracked = session.track(dividing_cells.labels)
    before = tracked.pixels.copy()
    count = tracked.tracks.count
    session.unlink((4, 1))
    assert tracked.tracks.count == count + 1
    with pytest.raises(TrackError, match='give the numbers of its frame'):
        session.unlink(3)
    new = count + 1
    session.link((3, 1), (4, new))
    assert tracked.tracks.count == count
    session.divide((3, 1), [(4, 1), (4, 2)])
    assert len(tracked.tracks.divisions) == 3
    for _ in range(3):
        assert session.undo()
    assert np.array_equal(tracked.pixels, before)
    assert session.redo().startswith('unlink of track 1')


# export


def test_export_writes_the_tracks_as_they_are(
    session, dividing_cells, tmp_path
):
    tracked = session.track(dividing_cells.labels)
    session.unlink((4, 1))
    said = []
    session.tracking.saved.connect(said.append)
    session.tracking.export(tracked, tmp_path / 'ctc')
    session.finish()
    assert said == [f'Saved: {tmp_path / "ctc"}']
    masks, tracks = read_ctc(tmp_path / 'ctc')
    assert np.array_equal(masks, tracked.pixels)
    assert tracks.parents == tracked.tracks.parents


def test_tracks_have_the_pixel_size_that_a_file_states(
    session, dividing_cells, tmp_path
):
    labels = dividing_cells.labels
    path = tmp_path / 'cells.ome.tif'
    known = {'axes': 'TYX', 'PhysicalSizeX': 0.5, 'PhysicalSizeY': 0.5}
    tifffile.imwrite(path, labels, metadata=known)
    tracked = session.track(labels)
    files = [SizedFile(path, labels.shape, (0, 1, 2))]

    def exported(name, size):
        session.tracking.export(tracked, tmp_path / name, size, True, files)
        session.finish()
        return read_labels(tmp_path / name)

    found = exported('a.tif', PixelSize(interval=3.0))
    assert found.scale == pytest.approx((3, 0.5, 0.5))
    assert found.units == ('second', 'micrometer', 'micrometer')
    given = exported('b.tif', PixelSize((2.0, 2.0), 'micrometer'))
    assert given.scale[1:] == pytest.approx((2, 2))
    # an array of another shape was not read from this file
    files = [SizedFile(path, labels.shape[1:], (0, 1))]
    assert not any((exported('c.tif', PixelSize()).units or ())[1:])


def test_export_that_fails_is_said(session, dividing_cells, tmp_path):
    tracked = session.track(dividing_cells.labels)
    said = []
    session.tracking.not_saved.connect(said.append)
    (tmp_path / 'here').mkdir()
    for path in ('here', 'missing/here', 'tracks.doc'):
        session.tracking.export(tracked, tmp_path / path)
        session.finish()
    assert 'remove it' in said[0]
    assert 'no folder' in said[1]
    assert '.xml (TrackMate)' in said[2]
    # and corrections go on
    session.unlink((4, 1))


def tracked_by_hand(labels):
    """Jobs whose answers come when the test says so, and tracked labels."""
    deliver = Deliveries()
    jobs = TrackJobs(deliver)
    found = []
    jobs.finished.connect(found.append)
    jobs.start(labels)
    jobs.wait(60)
    deliver.run()
    return deliver, jobs, found[0]


def test_no_correction_while_the_pixels_are_saved(dividing_cells, tmp_path):
    deliver, jobs, tracked = tracked_by_hand(dividing_cells.labels)
    jobs.export(tracked, tmp_path / 'tracked.tif')
    with pytest.raises(TrackError, match='being saved'):
        tracked.unlink(tracked.index(4, 1))
    jobs.wait(60)
    deliver.run()
    tracked.unlink(tracked.index(4, 1))
    jobs.close()


def test_layers_without_a_viewer_are_arrays(session):
    with pytest.raises(ImageError, match='it has to be an array'):
        session.track('cells')


# edited pixels


def state(tracked):
    """Links as (frame, track) of each object and of the one before it."""
    tracks = tracked.tracks
    places = list(
        zip(tracks.frames.tolist(), tracks.ids.tolist(), strict=True)
    )
    return {
        place: places[before] if before >= 0 else None
        for place, before in zip(places, tracks.previous, strict=True)
    }


def test_erased_object_leaves_its_track(tracked):
    before, pixels = state(tracked), tracked.pixels.copy()
    told = []
    tracked.objects_changed.connect(told.append)
    gone = tracked.index(4, 1)
    tracked.pixels[4][pixels[4] == 1] = 0
    tracked.follow([4])
    after = state(tracked)
    assert (4, 1) not in after
    assert after[5, 1] == (3, 1)
    assert told[0][gone] == -1
    assert told[0][gone + 1] == gone
    assert len(tracked.tracks) == len(before) - 1
    tracked.pixels[4] = pixels[4]
    tracked.follow([4])
    assert state(tracked) == before


def test_painted_object_joins_the_track_of_its_number(tracked):
    before = state(tracked)
    parent = tracked.tracks.divisions[0]
    last, track = tracked.place(parent)
    children = [tracked.place(i) for i in tracked.tracks.following[parent]]
    # beyond its division the track loses its children …
    tracked.pixels[last + 1, 90:96, 2:8] = track
    tracked.follow(range(8))
    after = state(tracked)
    assert after[last + 1, track] == (last, track)
    assert all(after[child] is None for child in children)
    index = tracked.index(last + 1, track)
    assert tracked.tracks.positions[index].tolist() == [92.5, 4.5]
    assert tracked.box(index) == (slice(90, 96), slice(2, 8))
    # … and has them back without
    tracked.pixels[last + 1, 90:96, 2:8] = 0
    tracked.follow([last + 1])
    assert state(tracked) == before


def test_new_number_starts_a_track_that_can_be_linked(tracked):
    pixels = tracked.pixels.copy()
    tracked.pixels[4][pixels[4] == 1] = 0
    tracked.pixels[4, 2:8, 2:8] = 30
    tracked.follow([4])
    assert state(tracked)[4, 30] is None
    edited = tracked.pixels.copy()
    first, new = tracked.index(3, 1), tracked.index(4, 30)
    last = tracked.index(5, 1)
    tracked.link(first, new)
    tracked.link(new, last)
    assert tracked.tracks.previous[[new, last]].tolist() == [first, new]
    (track,) = np.unique(tracked.tracks.ids[[first, new, last]])
    assert (tracked.pixels[4, 2:8, 2:8] == track).all()
    for _ in range(2):
        tracked.undo()
    assert np.array_equal(tracked.pixels, edited)
    # no object of the labels that were tracked
    assert tracked.tracks.labels[tracked.index(4, 30)] == 0


def test_undo_of_a_correction_keeps_what_was_painted_since(tracked):
    before = state(tracked)
    tracked.unlink(tracked.index(4, 1))
    new = tracked.tracks.count
    # where the number of the undone part is needed again
    tracked.pixels[6, 2:8, 2:8] = 1
    tracked.follow([6])
    assert state(tracked)[6, 1] == (3, 1)
    tracked.undo()
    after = state(tracked)
    assert {place: after[place] for place in before} == before
    (added,) = set(after) - set(before)
    assert added[0] == 6
    assert added[1] > new
    assert (tracked.pixels[6, 2:8, 2:8] == added[1]).all()


def test_erased_track_gives_its_number_away(tracked):
    tracks = tracked.tracks
    child, parent = max(tracks.parents.items())
    tracked.pixels[tracked.pixels == child] = 0
    tracked.follow(range(8))
    assert child not in tracked.tracks.parents
    tracked.pixels[7, 2:8, 2:8] = child
    tracked.follow([7])
    # in a frame in which the erased track had an object, too: it is back
    assert tracked.tracks.parents.get(child) == parent
    tracked.pixels[7, 2:8, 2:8] = 0
    tracked.pixels[0, 2:8, 2:8] = child
    tracked.follow([0, 7])
    assert child not in tracked.tracks.parents


def test_pixels_that_stay_change_nothing(tracked):
    told = []
    tracked.changed.connect(told.append)
    tracked.follow(range(8))
    assert told == []


def test_every_export_is_written(dividing_cells, tmp_path):
    deliver, jobs, tracked = tracked_by_hand(dividing_cells.labels)
    names = ['a.csv', 'b.csv', 'c.csv']
    for name in names:
        jobs.export(tracked, tmp_path / name)
    # as when the window is closed
    jobs.close()
    jobs.wait(60)
    deliver.run()
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    tracked.unlink(tracked.index(4, 1))
