"""Propagation of objects along their tracks, without a viewer."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import blobs, oracle_session

from napari_mobilesam.session.track.tracked_labels import (
    TrackedLabels,
    paint_tracks,
)
from napari_mobilesam.tracking.tracks import TrackError, Tracks
from napari_mobilesam.types import SegmentationError

ROWS, COLUMNS = slice(16, 40), slice(20, 44)
OTHERS = slice(56, 80), slice(72, 104)


class FakeTracks:
    """Tracks of the labels of a scene, as in a viewer."""

    def __init__(self, session, labels, parents=()):
        self.scene = session.scene
        frames, ids = np.array(
            [
                (frame, label)
                for frame, pixels in enumerate(labels)
                for label in np.unique(pixels[pixels > 0])
            ]
        ).T
        tracks = Tracks.from_ids(
            frames, ids, np.zeros((len(ids), 2)), ids, dict(parents)
        )
        self.newest = TrackedLabels(
            'cells', labels, paint_tracks(tracks, labels)
        )
        self.scene.objects(True)
        self.scene.target.data = self.newest.pixels
        session.tracking.scene = self
        self.scene.objects(False).changed.connect(
            lambda: self.newest.follow(range(len(labels)))
        )

    def open_object(self, tracked, index):
        self.scene.shown = tracked.place(index)[0]
        return 0

    def tracked(self, target):
        return self.newest if target is self.scene.target else None

    def all_tracks(self):
        return [self.newest]


@pytest.fixture
def series():
    """A session on eight equal frames with two objects, and their labels."""
    session = oracle_session(np.repeat(blobs()[None], 8, axis=0))
    labels = np.zeros((8, 96, 128), np.uint16)
    labels[:, ROWS, COLUMNS] = 1
    labels[:, OTHERS[0], OTHERS[1]] = 2
    yield session, labels
    session.close()


def frames_of(tracked, track):
    tracks = tracked.tracks
    return tracks.frames[tracks.members(track)].tolist()


@pytest.mark.slow
def test_missing_frames_are_filled_until_the_track_goes_on(series):
    session, labels = series
    labels[3:5, ROWS, COLUMNS] = 0
    tracked = FakeTracks(session, labels).newest
    assert frames_of(tracked, 1) == [0, 1, 2, 5, 6, 7]
    before = tracked.pixels.copy()
    result = session.propagate_track((2, 1), 'forward')
    assert result.reached == (3, 4)
    assert result.describe('Track 1', 'frame') == (
        'Track 1 was propagated to 2 frames, 3 to 4. Propagation ended at '
        'frame 5 (it agrees with the track there).'
    )
    assert frames_of(tracked, 1) == list(range(8))
    assert (tracked.pixels[3:5, ROWS, COLUMNS] == 1).mean() > 0.9
    assert np.array_equal(tracked.pixels[5:], before[5:])
    # one step
    assert session.undo() == 'propagating object 1 in “labels”'
    assert np.array_equal(tracked.pixels, before)
    assert frames_of(tracked, 1) == [0, 1, 2, 5, 6, 7]
    session.redo()
    assert frames_of(tracked, 1) == list(range(8))


@pytest.mark.slow
def test_backwards(series):
    session, labels = series
    labels[:3, ROWS, COLUMNS] = 0
    tracked = FakeTracks(session, labels).newest
    result = session.propagate_track((3, 1), 'backward')
    assert result.reached == (0, 1, 2)
    assert frames_of(tracked, 1) == list(range(8))


def test_wrong_masks_of_the_track_are_replaced(series):
    session, labels = series
    wrong = np.zeros((96, 128), np.uint16)
    wrong[0:10, 100:120] = 1
    for frame in (3, 4):
        labels[frame, ROWS, COLUMNS] = 0
        labels[frame] += wrong
    tracked = FakeTracks(session, labels).newest
    result = session.propagate_track((2, 1), 'forward')
    assert result.reached == (3, 4)
    assert not tracked.pixels[3:5, 0:10, 100:120].any()
    assert (tracked.pixels[3:5, ROWS, COLUMNS] == 1).mean() > 0.9


def test_other_tracks_are_left_alone(series):
    session, labels = series
    labels[4:, ROWS, COLUMNS] = 3
    # a corner of the missing object belongs to another track
    labels[3, ROWS, COLUMNS] = 0
    labels[3, 16:20, 20:44] = 2
    tracked = FakeTracks(session, labels).newest
    before = tracked.pixels.copy()
    result = session.propagate_track((2, 1), 'forward')
    assert result.reached == (3,)
    assert result.ended[0].number == 4
    assert result.ended[0].reason == 'track 3 is there'
    taken = before > 0
    assert np.array_equal(tracked.pixels[taken], before[taken])


def test_it_ends_at_divisions(series):
    session, labels = series
    labels[:, ROWS, COLUMNS] = 0
    labels[:2, ROWS, COLUMNS] = 3
    labels[3, ROWS, COLUMNS] = 1
    labels[5:, 16:40, 20:32] = 4
    labels[5:, 16:40, 32:44] = 5
    parents = {1: 3, 4: 1, 5: 1}
    tracked = FakeTracks(session, labels, parents).newest
    result = session.propagate_track((3, 1))
    assert result.reached == (2, 4)
    assert {end.number: end.reason for end in result.ended} == {
        5: 'it divides',
        1: 'track 3 divides into it',
    }
    assert tracked.tracks.parents == parents


@pytest.mark.slow
def test_corrected_object_is_propagated_from_the_editor(series):
    session, labels = series
    # half of the object in all frames from 3 on
    labels[3:, ROWS, 32:44] = 0
    tracked = FakeTracks(session, labels).newest
    session.scene.shown = 3
    session.open(at=(28, 24))
    session.box(15, 19, 40, 44)
    result = session.propagate(direction='forward')
    assert result.reached == (4, 5, 6, 7)
    assert (tracked.pixels[3:, ROWS, COLUMNS] == 1).mean() > 0.9
    assert frames_of(tracked, 1) == list(range(8))
    # corrected again from another frame: what was reached before stays
    session.reject()
    assert session.propagate_track((5, 1), 'forward').reached == ()
    assert frames_of(tracked, 1) == list(range(8))


def test_what_cannot_be_propagated_says_why(series):
    session, labels = series
    with pytest.raises(TrackError, match='no tracks yet'):
        session.propagate_track((0, 1))
    tracks = FakeTracks(session, labels)
    with pytest.raises(TrackError, match='no object in frame 2'):
        session.propagate_track((2, 9))
    tracks.scene.target.offset = (0, 1000)
    with pytest.raises(SegmentationError, match='is not on z 2'):
        session.propagate_track((2, 1))
