"""Tracks and corrections to them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.tracking.tracks import TrackError, Tracks


@pytest.fixture
def tracks() -> Tracks:
    """Two objects through three frames, and one that appears in the last."""
    return Tracks.of(
        frames=[0, 0, 1, 1, 2, 2, 2],
        labels=[1, 2, 1, 2, 1, 2, 3],
        positions=np.arange(14.0).reshape(7, 2),
        previous=[-1, -1, 0, 1, 2, 3, -1],
    )


def test_tracks_are_numbered_by_their_first_objects(tracks):
    assert tracks.ids.tolist() == [1, 2, 1, 2, 1, 2, 3]
    assert tracks.members(2).tolist() == [1, 3, 5]
    assert tracks.parents == {}


def test_division_ends_a_track_and_starts_two(tracks):
    divided = tracks.divide(2, [6])
    assert divided.parents == {
        int(divided.ids[4]): 1,
        int(divided.ids[6]): 1,
    }
    assert divided.divisions == [2]
    assert divided.ids[[0, 2]].tolist() == [1, 1]
    assert len({*divided.ids[[0, 4, 6]].tolist()}) == 3
    # the other track keeps its number, and the former tracks are unchanged
    assert divided.ids[[1, 3, 5]].tolist() == [2, 2, 2]
    assert tracks.parents == {}


def test_two_children_take_the_place_of_what_followed(tracks):
    divided = tracks.divide(2, [5, 6])
    assert divided.previous.tolist() == [-1, -1, 0, 1, -1, 2, 2]


def test_the_first_object_of_all_may_divide():
    tracks = Tracks.from_ids(
        *np.array([[0, 1, 1], [1, 1, 2]]),
        np.zeros((3, 2)),
        np.array([4, 5, 6]),
        {5: 4, 6: 4},
    )
    assert tracks.previous.tolist() == [-1, 0, 0]
    assert tracks.unlink(1).previous.tolist() == [-1, -1, 0]


def test_tracks_from_numbers_are_linked_in_the_order_of_frames():
    frames, ids = np.array([[2, 0, 1, 0, 1, 3], [4, 4, 4, 7, 7, 9]])
    parents = {9: 4, 7: 4}  # 7 begins before 4 ends
    tracks = Tracks.from_ids(frames, ids, np.zeros((6, 2)), ids, parents)
    assert tracks.previous.tolist() == [2, -1, 1, -1, 3, 0]
    assert tracks.parents == {9: 4}
    none = np.zeros(0, np.int64)
    assert not len(Tracks.from_ids(none, none, np.zeros((0, 2)), none, {}))


def test_link_takes_the_place_of_former_links(tracks):
    linked = tracks.link(2, 6)
    assert linked.previous.tolist() == [-1, -1, 0, 1, -1, 3, 2]
    assert linked.ids[[0, 2, 6]].tolist() == [1, 1, 1]


def test_unlink_starts_a_track(tracks):
    cut = tracks.unlink(4)
    assert cut.ids[[0, 2]].tolist() == [1, 1]
    assert cut.ids[4] not in (1, 2, 3)
    assert cut.link(2, 4).ids[[0, 2, 4]].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ('edit', 'words'),
    [
        (lambda t: t.link(4, 5), 'Track 2 in frame 2 cannot follow Track 1'),
        (lambda t: t.link(4, 0), 'its frame is not later'),
        (lambda t: t.unlink(0), 'Track 1 starts in frame 0'),
        (lambda t: t.divide(4, [5]), 'its frame is not later'),
        (lambda t: t.unlink(4).divide(2, [6]), 'needs two'),
        (lambda t: t.index(1, 9), 'Frame 1 has no object with label 9'),
        (lambda t: t.unlink(7), 'no object 7: objects are numbered from 0 to'),
        (lambda t: t.unlink(-1), 'no object -1'),
        (lambda t: t.link(2, 'a'), "no object 'a'"),
        (lambda t: t.divide(2, [6, 99]), 'no object 99'),
    ],
)
def test_impossible_corrections_are_refused(tracks, edit, words):
    with pytest.raises(TrackError, match=words):
        edit(tracks)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'labels': [1, 1]}, 'Label 1 is twice in frame 0'),
        ({'previous': [-1, 5]}, 'previous object'),
        ({'previous': [1, -1]}, 'Object 1 in frame 0 cannot follow Object 2'),
        ({'positions': np.zeros((3, 2))}, 'links do not match'),
    ],
)
def test_links_that_cannot_be_are_refused(changes, words):
    given = {
        'frames': [0, 0],
        'labels': [1, 2],
        'positions': np.zeros((2, 2)),
        'previous': [-1, -1],
    }
    with pytest.raises(TrackError, match=words):
        Tracks.of(**{**given, **changes})


def test_labels_become_numbers_of_tracks(tracks):
    frame = np.array([[0, 3, 3], [1, 9, 2]], np.uint8)
    expected = [[0, 3, 3], [1, 0, 2]]
    np.testing.assert_array_equal(tracks.relabelled(2, frame), expected)
    assert tracks.relabelled(2, frame).dtype == np.uint8


def test_numbers_that_do_not_fit_widen_the_labels():
    tracks = Tracks.of([0], [1], [[0.0, 0.0]], [-1], [300])
    labels = tracks.relabelled(0, np.ones((2, 2), np.uint8))
    assert labels.dtype == np.uint32
    assert (labels == 300).all()


def test_table_has_a_row_per_object(tracks):
    table = tracks.divide(2, [6]).table()
    assert list(table.columns) == [
        'track',
        'frame',
        'label',
        'row',
        'column',
        'parent',
    ]
    assert len(table) == 7
    assert sorted(table['parent']) == [0, 0, 0, 0, 0, 1, 1]
