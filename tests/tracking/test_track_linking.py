"""Linking of objects through time."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import napari_mobilesam as nm
from napari_mobilesam.tracking import track_linking
from napari_mobilesam.tracking.objects_in_time import (
    ObjectsInTime,
    objects_in_time,
)
from napari_mobilesam.tracking.stage_drift import StageDrift
from napari_mobilesam.tracking.track_linking import (
    LinkingParameters,
    track_labels,
)
from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.types import ImageError, SegmentationError


def links_of(tracks: Tracks) -> set[tuple[int, int, int, int]]:
    second = np.flatnonzero(tracks.previous >= 0)
    first = tracks.previous[second]
    columns = (
        tracks.frames[first],
        tracks.labels[first],
        tracks.frames[second],
        tracks.labels[second],
    )
    return set(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.slow
def test_cells_are_followed_through_divisions(dividing_cells):
    tracks = track_labels(dividing_cells.labels)
    assert links_of(tracks) == dividing_cells.links
    divided = {
        (int(tracks.frames[i]), int(tracks.labels[i]))
        for i in tracks.divisions
    }
    assert divided == dividing_cells.divisions
    assert tracks.count == 9 + 4
    assert len(tracks.parents) == 4


def test_without_divisions_no_object_has_two_followers(dividing_cells):
    parameters = LinkingParameters(divisions=False)
    tracks = track_labels(dividing_cells.labels, parameters)
    assert tracks.divisions == []
    assert links_of(tracks) < dividing_cells.links


def test_an_object_may_be_missing_for_a_frame(dividing_cells):
    labels = dividing_cells.labels[:3].copy()
    hidden = labels[1, 40, 40]
    labels[1][labels[1] == hidden] = 0
    tracks = track_labels(labels, LinkingParameters(gap=1))
    start = tracks.index(0, labels[0, 40, 40])
    end = tracks.index(2, labels[2, 40, 40])
    assert tracks.previous[end] == start
    strict = track_labels(labels, LinkingParameters(gap=0))
    assert strict.previous[end] == -1


def test_objects_farther_than_the_longest_way_are_not_linked():
    labels = np.zeros((2, 60, 60), np.uint8)
    labels[0, 5:15, 5:15] = 1
    labels[1, 5:15, 25:35] = 1
    near = track_labels(labels, LinkingParameters(max_distance=19.0))
    far = track_labels(labels, LinkingParameters(max_distance=21.0))
    assert (near.count, far.count) == (2, 1)


def test_volumes_are_followed():
    labels = np.zeros((3, 6, 40, 40), np.uint16)
    for frame in range(3):
        labels[frame, 1:4, 5:13, 5 + 2 * frame : 13 + 2 * frame] = frame + 1
        labels[frame, 2:5, 25:33, 25:33] = 9
    tracks = track_labels(labels)
    assert tracks.count == 2
    assert tracks.positions.shape == (6, 3)
    np.testing.assert_allclose(tracks.positions[0], [2, 8.5, 8.5])


def test_frames_without_objects_end_tracks():
    labels = np.zeros((5, 30, 30), np.uint8)
    labels[[0, 1, 4], 10:20, 10:20] = 3
    tracks = track_labels(labels)
    assert tracks.ids.tolist() == [1, 1, 2]


def test_frames_are_read_one_by_one(dividing_cells):
    class Lazy:
        shape = dividing_cells.labels.shape
        dtype = dividing_cells.labels.dtype

        def __getitem__(self, frame):
            assert isinstance(frame, int)
            return dividing_cells.labels[frame]

    assert links_of(track_labels(Lazy())) == dividing_cells.links


def test_progress_counts_frames_and_can_stop(dividing_cells):
    class Stop(Exception):
        pass

    seen = []

    def progress(done, total, message):
        seen.append((done, total))
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        track_labels(dividing_cells.labels, progress=progress)
    assert seen == [(0, 8), (1, 8), (2, 8), (3, 8)]


@pytest.mark.parametrize(
    ('labels', 'words'),
    [
        (np.zeros((4, 4), int), 'has the shape'),
        (np.zeros((1, 4, 4), int), '1 frame'),
        (np.zeros((3, 4, 4)), 'float64'),
        (np.zeros((3, 4, 4), int), 'no object'),
        (np.full((3, 4, 4), -2), '-2 is negative'),
        (np.full((3, 4, 4), 1 << 63, np.uint64), '5808 is negative or too la'),
        (np.zeros((3, 0, 4), int), 'its frames have no pixels'),
        ([[1, 2]], 'is a list'),
    ],
)
def test_what_is_no_series_of_labels_is_refused(labels, words):
    with pytest.raises(ImageError, match=words):
        nm.track_labels(labels)


@pytest.mark.parametrize(
    ('name', 'value'),
    [('max_distance', 0), ('max_distance', 'x'), ('gap', 1.5), ('gap', -1)],
)
def test_parameters_are_checked(dividing_cells, name, value):
    with pytest.raises(SegmentationError, match=name):
        nm.track_labels(
            dividing_cells.labels, LinkingParameters(**{name: value})
        )


def test_without_laptrack_the_extra_is_named(dividing_cells, monkeypatch):
    monkeypatch.setitem(sys.modules, 'laptrack', None)
    with pytest.raises(ImportError, match=r'napari-mobilesam\[track\]'):
        nm.track_labels(dividing_cells.labels)


# a stage that moves


def on_a_stage(labels, shifts):
    """Move each frame by the sum of the shifts up to it."""
    moved = np.zeros_like(labels)
    at = np.cumsum(shifts, axis=0)
    for frame, (row, column) in zip(range(len(labels)), at, strict=True):
        moved[frame] = np.roll(labels[frame], (row, column), (-2, -1))
    return moved


SHIFTS = [
    (0, 0),
    (30, -25),
    (0, 0),
    (-60, 40),
    (10, 45),
    (0, -30),
    (0, 0),
    (20, -30),
]


@pytest.mark.slow
@pytest.mark.parametrize('planes', [0, 2])
def test_shift_of_all_objects_is_taken_off(dividing_cells, planes):
    wide = np.pad(dividing_cells.labels, ((0, 0), (80, 80), (80, 80)))
    moved = on_a_stage(wide, SHIFTS)
    if planes:
        moved = np.repeat(moved[:, None], planes, axis=1)
    tracks = track_labels(moved)
    assert links_of(tracks) == dividing_cells.links
    # centroids are those in the labels
    index = tracks.index(3, int(moved[3].max()))
    own = np.argwhere(moved[3] == moved[3].max()).mean(axis=0)
    assert np.allclose(tracks.positions[index], own)
    without = track_labels(moved, LinkingParameters(drift=False))
    assert links_of(without) != dividing_cells.links


def test_a_frame_out_of_focus_does_not_hide_the_shift(dividing_cells):
    wide = np.pad(dividing_cells.labels, ((0, 0), (80, 80), (80, 80)))
    shifts = objects_in_time(on_a_stage(wide, SHIFTS), drift=True).shifts
    wide[4] = 0
    gap = objects_in_time(on_a_stage(wide, SHIFTS), drift=True).shifts
    np.testing.assert_array_equal(
        np.delete(gap, 4, 0), np.delete(shifts, 4, 0)
    )


@pytest.mark.parametrize('by', [(6, -9), (-699, 21)])
def test_the_shift_of_a_large_frame_is_in_its_pixels(by):
    frame = np.zeros((1300, 400), bool)
    for row, column in ((820, 60), (1010, 200), (1120, 110)):
        frame[row : row + 60, column : column + 45] = True
    stage = StageDrift()
    assert stage.shift(frame, 3) == (0, 0)
    assert stage.shift(np.roll(frame, by, (0, 1)), 3) == by


def test_objects_that_move_on_their_own_are_no_drift(dividing_cells):
    found = objects_in_time(dividing_cells.labels, drift=True)
    assert found.shifts is None
    lonely = np.zeros((2, 60, 60), np.uint8)
    lonely[0, 5:15, 5:15], lonely[1, 5:15, 5:15] = 1, 1
    lonely[0, 40:50, 40:50], lonely[1, 30:40, 45:55] = 2, 2
    assert objects_in_time(lonely, drift=True).shifts is None
    # nor is an empty frame
    lonely[0] = 0
    assert objects_in_time(lonely, drift=True).shifts is None


# divisions


@pytest.mark.parametrize(
    ('areas', 'children'),
    [
        ((60, 40), {1, 2}),
        # one is as large as the parent: the smaller is no child
        ((98, 30), {1}),
        ((30, 98), {2}),
        # one is much larger than the other: the farther is no child
        ((80, 30), {1}),
        ((30, 80), {1}),
    ],
)
def test_children_are_smaller_than_the_parent_and_similar(areas, children):
    objects = ObjectsInTime(
        np.array([0, 1, 1]),
        np.array([1, 1, 2]),
        np.array([[0.0, 0.0], [0.0, 9.0], [0.0, -30.0]]),
        np.array([100, *areas]),
        {},
        2,
    )
    previous = track_linking._plausible(objects, np.array([-1, 0, 0]))
    assert set(np.flatnonzero(previous == 0)) == children


# divisions over a gap


def divided(gap_of_child=0, gap_of_parent=0, size=8):
    """A cell that divides in frame 3; a child comes later."""
    labels = np.zeros((7, 60, 60), np.uint8)
    labels[: 3 - gap_of_parent, 20:32, 20:32] = 1
    labels[3:, 20:28, 12:22] = 2
    labels[3 + gap_of_child :, 24 : 24 + size, 30 : 30 + size] = 3
    return labels


@pytest.mark.parametrize('gaps', [(0, 0), (1, 0), (0, 1)])
def test_division_is_found_over_a_missing_object(gaps):
    tracks = track_labels(divided(*gaps))
    (parent,) = tracks.divisions
    assert tracks.labels[parent] == 1
    assert tracks.frames[parent] == 2 - gaps[1]
    children = sorted(tracks.labels[list(tracks.following[parent])])
    assert children == [2, 3]


def test_what_comes_late_is_no_child():
    # missing for longer than allowed
    assert not track_labels(divided(2)).divisions
    assert track_labels(divided(2), LinkingParameters(gap=2)).divisions
    assert not track_labels(
        divided(1), LinkingParameters(divisions=False)
    ).divisions
    # too small beside the other
    assert not track_labels(divided(1, size=3)).divisions


@pytest.mark.parametrize('planes', [None, 5])
def test_objects_of_shifted_frames(planes):
    """Everything moves by (3, -2) pixels; a frame without objects between."""
    frame = np.zeros((50, 50), np.int16)
    frame[5:11, 10:15], frame[20:28, 30:40], frame[30:34, 5:8] = 4, 2, 9
    moved = np.roll(frame, (3, -2), (0, 1))
    series = np.stack([frame, moved, 0 * frame, np.roll(moved, 4, 0)])
    if planes:
        series = np.repeat(series[:, None], planes, 1)
    found = objects_in_time(series, drift=True)
    assert found.frames.tolist() == [0, 0, 0, 1, 1, 1, 3, 3, 3]
    assert found.labels.tolist() == [2, 4, 9] * 3
    assert found.frame_count == 4
    areas = np.array([80, 30, 12] * 3) * (planes or 1)
    assert found.areas.tolist() == areas.tolist()
    whole = areas.tolist()
    assert found.overlaps == {(n, n + 3): whole[n] for n in range(3)}
    first = found.aligned[:3]
    np.testing.assert_allclose(found.aligned, np.tile(first, (3, 1)))
    assert found.positions[4, -2:].tolist() == [10.5, 10]
    if planes:
        volumes = np.pi / 6 * found.diameters**3
        np.testing.assert_allclose(volumes, areas)
        assert (found.positions[:, 0] == 2).all()
    else:
        np.testing.assert_allclose(np.pi / 4 * found.diameters**2, areas)
    still = objects_in_time(series)
    assert (still.aligned == still.positions).all()
    assert still.overlaps[0, 3] == 5 * 8 * (planes or 1)
    series[1] -= 1
    with pytest.raises(ImageError, match='Label -1 is negative'):
        objects_in_time(series)
