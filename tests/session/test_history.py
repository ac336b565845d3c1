"""Undo and redo of label writes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fakes import FakeTarget, plane_at, square
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.session.objects.history import (
    Entry,
    History,
    joined,
)
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.patch import Patch
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.targets import LabelsError, Pixels

SHAPE = (3, 12, 14)
writes = st.lists(
    st.tuples(
        st.integers(0, 2),  # plane
        st.integers(-3, 10),  # row
        st.integers(-3, 12),  # column
        st.integers(1, 6),  # side
        st.integers(0, 5),  # label
        st.sampled_from(['overwrite', 'keep']),
    ),
    max_size=8,
)


def objects_on(shape=SHAPE, **options):
    return Objects(FakeTarget(shape), **options)


def apply(objects, steps):
    """Write one step each; return the pixels after each step."""
    states = [objects.target.data.copy()]
    for z, row, column, side, label, policy in steps:
        with objects.step('a write') as step:
            step.paint(plane_at(z), square(row, column, side), label, policy)
        states.append(objects.target.data.copy())
    return states


@pytest.mark.slow
@given(writes)
def test_undo_takes_back_every_write_and_redo_repeats_it(steps):
    objects = objects_on()
    states = apply(objects, steps)
    # a step that changed nothing is none
    states = [
        state
        for number, state in enumerate(states)
        if number == 0 or not np.array_equal(state, states[number - 1])
    ]
    for state in reversed(states[:-1]):
        assert objects.undo() == 'a write'
        assert np.array_equal(objects.target.data, state)
    assert objects.undo() is None
    for state in states[1:]:
        assert objects.redo() == 'a write'
        assert np.array_equal(objects.target.data, state)
    assert objects.redo() is None


@pytest.mark.slow
@given(writes)
def test_one_step_of_many_writes_is_one_undo(steps):
    objects = objects_on()
    with objects.step('all') as step:
        for z, row, column, side, label, policy in steps:
            step.paint(plane_at(z), square(row, column, side), label, policy)
    after = objects.target.data.copy()
    if len(objects.history):
        objects.undo()
        assert not objects.target.data.any()
        objects.redo()
    assert np.array_equal(objects.target.data, after)


@pytest.mark.slow
@given(writes, writes)
def test_steps_with_a_key_become_one(first, second):
    objects = objects_on()
    for steps in (first, second):
        with objects.step('thresholds', key='run 1') as step:
            for z, row, column, side, label, policy in steps:
                step.paint(
                    plane_at(z), square(row, column, side), label, policy
                )
    after = objects.target.data.copy()
    assert len(objects.history) <= 1
    objects.undo()
    assert not objects.target.data.any()
    objects.redo()
    assert np.array_equal(objects.target.data, after)


@pytest.mark.slow
@given(writes)
def test_an_error_leaves_nothing_behind(steps):
    objects = objects_on()
    apply(objects, steps[:2])
    before = objects.target.data.copy()
    count = len(objects.history)
    with pytest.raises(ZeroDivisionError), objects.step('broken') as step:
        for z, row, column, side, label, policy in steps[2:]:
            step.paint(plane_at(z), square(row, column, side), label, policy)
        raise ZeroDivisionError
    assert np.array_equal(objects.target.data, before)
    assert len(objects.history) == count


def test_nothing_is_undone_while_a_long_job_writes():
    objects = objects_on()
    apply(objects, [(0, 0, 0, 2, 1, 'overwrite')])
    step = objects.begin('a long job')
    with pytest.raises(LabelsError, match='still being written to'):
        objects.undo()
    with pytest.raises(LabelsError, match='still being written to'):
        objects.redo()
    step.finish()
    assert objects.undo() == 'a write'


def test_rows_that_cannot_be_written_leave_nothing_behind():
    objects = objects_on()

    def broken(table):
        raise ZeroDivisionError

    objects.target.set_features = broken
    with pytest.raises(ZeroDivisionError), objects.step('rows') as step:
        step.paint(plane_at(0), square(0, 0), 1)
        step.describe({1}, objects.rows((1,)))
    assert not objects.target.data.any()
    assert objects.undo() is None


def test_undo_and_redo_leave_labels_that_are_locked():
    objects = objects_on()
    empty, written = apply(objects, [(0, 2, 3, 4, 5, 'overwrite')])
    for act, before, after in [
        (objects.undo, written, empty),
        (objects.redo, empty, written),
    ]:
        objects.target.editable = False
        with pytest.raises(LabelsError, match='read-only'):
            act()
        assert np.array_equal(objects.target.data, before)
        objects.target.editable = True
        assert act() == 'a write'
        assert np.array_equal(objects.target.data, after)
    objects.target.editable = False
    # there is nothing to write
    assert objects.redo() is None


def test_undo_leaves_what_was_painted_by_hand_since():
    objects = objects_on()
    apply(objects, [(0, 2, 2, 5, 1, 'overwrite')])
    objects.target.data[0, 3, 3] = 9
    objects.undo()
    expected = np.zeros(SHAPE)
    expected[0, 3, 3] = 9
    assert np.array_equal(objects.target.data, expected)


@pytest.mark.parametrize('value', [0, 9])
@pytest.mark.parametrize('few', [0, 1000])
def test_redo_leaves_what_was_painted_or_erased_before(value, few):
    objects = objects_on()
    objects.target.few = few
    apply(objects, [(0, 2, 2, 5, 1, 'overwrite'), (1, 0, 0, 3, 2, 'keep')])
    objects.target.data[0, 3:5, 3] = value
    painted = objects.target.data.copy()
    for _ in range(2):
        while objects.undo() is not None:
            pass
        assert np.count_nonzero(objects.target.data) == 2 * (value > 0)
        while objects.redo() is not None:
            pass
        assert np.array_equal(objects.target.data, painted)
    assert objects.history.nbytes == sum(
        entry.nbytes for entry in objects.history.done
    )


def test_a_new_write_ends_what_could_be_redone():
    objects = objects_on()
    apply(objects, [(0, 0, 0, 2, 1, 'overwrite')])
    objects.undo()
    apply(objects, [(1, 0, 0, 2, 2, 'overwrite')])
    assert objects.redo() is None


def test_a_key_does_not_join_steps_with_another_in_between():
    objects = objects_on()
    for key in ('run', None, 'run'):
        with objects.step('step', key=key) as step:
            label = len(objects.history) + 1
            step.paint(plane_at(0), square(0, 0), label)
    assert len(objects.history) == 3


def test_runs_are_small_whatever_the_size_of_the_mask():
    indices = np.nonzero(np.ones((200, 300), bool))
    before = np.zeros(60_000, np.uint16)
    patch = Patch.of((200, 300), indices, before, before + 7)
    assert len(patch) == 60_000
    assert len(patch.starts) == 1
    assert patch.nbytes < 100


def test_memory_is_bounded_and_the_newest_step_stays():
    objects = objects_on((1, 200, 200), max_bytes=4000)
    plane = plane_at(0, (200, 200))
    rng = np.random.default_rng(0)
    for number in range(1, 11):
        with objects.step(f'step {number}') as step:
            picture = number * (rng.random((10, 10)) > 0.5)
            step.paint_picture(plane, picture, (number * 15, 0))
        assert objects.history.nbytes <= 4000
    assert objects.history.undoable == 'step 10'
    titles = [title for title, _ in objects.history.replay_codes]
    assert titles == [f'step {number}' for number in range(1, 11)]
    undone = 0
    while objects.undo():
        undone += 1
    assert 1 <= undone < 10
    big = objects_on((1, 200, 200), max_bytes=1)
    with big.step('too large') as step:
        step.paint(plane, square(0, 0, 50), 1)
    assert big.undo() == 'too large'


def test_history_counts_what_it_forgets():
    history = History(10_000)
    rows = pd.DataFrame({'index': [1]})
    for number in range(3):
        history.push(Entry(str(number), rows_after=rows))
    history.pop_undo()
    history.push(Entry('other'))
    assert (len(history), history.redoable) == (3, None)
    assert history.nbytes == sum(entry.nbytes for entry in history.done) > 0
    history.clear()
    assert history.nbytes == 0
    assert history.undoable is None


def test_joined_steps_keep_what_only_one_has_but_half_a_script():
    rows = pd.DataFrame({'index': [1]})
    code = ReplayCode(('pass',))
    one = Entry('one', (), {}, {}, rows, rows, (1,), replay_code=code)
    other = Entry('other', labels=(2,))
    for both in (joined(one, other), joined(other, one)):
        assert both.rows_before is both.rows_after is rows
        assert both.labels == (1, 2)
        assert both.replay_code is None


def test_a_script_has_an_object_that_was_made_again():
    there, gone = {1: SimpleNamespace(nbytes=0)}, {1: None}
    history, code = History(), ReplayCode(('pass',))
    history.push(Entry('made by hand', (), gone, there))
    history.push(Entry('deleted', (), there, gone, replay_code=code))
    history.push(Entry('made', (), gone, there, replay_code=code))
    history.push(Entry('changed', (), there, there, replay_code=code))
    found = [code for _, code in history.replay_codes]
    assert found == [None, None, code, code]


@pytest.mark.slow
@given(st.data())
def test_replacing_a_picture_touches_only_its_own_pixels(data):
    pictures = st.lists(
        st.lists(st.integers(0, 3), min_size=5, max_size=5),
        min_size=4,
        max_size=4,
    ).map(np.array)
    old, new, hand = (data.draw(pictures) for _ in range(3))
    objects = objects_on((1, 4, 5))
    plane = plane_at(0, (4, 5))
    with objects.step('old') as step:
        step.paint_picture(plane, old)
    # somebody paints over a part of it
    painted = hand == 3
    objects.target.data[0][painted] = 77
    with objects.step('new') as step:
        step.replace_picture(plane, old, new)
    expected = np.where(painted, 77, new)
    assert np.array_equal(objects.target.data[0], expected)
    if len(objects.history) and objects.history.undoable == 'new':
        objects.undo()
    assert np.array_equal(objects.target.data[0], np.where(painted, 77, old))


class ChannelTarget(FakeTarget):
    """A plane of labels that are the same in every channel."""

    def channels(self, plane):
        return self.shape[0]

    def locate(self, plane, picture, corner):
        locate = super().locate
        every = [
            locate(plane_at(n), picture, corner) for n in range(self.shape[0])
        ]
        indices = zip(*(indices for indices, _ in every), strict=True)
        values = np.concatenate([values for _, values in every])
        return Pixels(tuple(map(np.concatenate, indices)), values)


def test_areas_are_those_of_one_channel():
    objects = Objects(ChannelTarget(SHAPE))
    with objects.step('two objects') as step:
        step.paint(plane_at(0), square(0, 0), 1)
        step.paint(plane_at(0), square(6, 6), 2)
    target, size = objects.target, square(0, 0).area
    target.table = pd.DataFrame({'index': [1, 2], 'area': [size, size]})
    with objects.step('a correction') as step:
        step.paint(plane_at(0), square(0, 2), 2)
    counts = np.bincount(target.data[0].reshape(-1))[1:].tolist()
    assert target.table['area'].tolist() == counts
    objects.undo()
    assert target.table['area'].tolist() == [size, size]
    objects.redo()
    assert target.table['area'].tolist() == counts


def interrupted(again):
    """Return a step that another one has interrupted, and its objects."""
    objects = objects_on()
    plane = plane_at(0)
    long = objects.begin('long')
    long.paint(plane, square(0, 0), 1)
    with objects.step('short') as short:
        short.paint(plane, square(0, 2), 2)
    if again:
        long.paint(plane, square(2, 3), 3)
    return objects, long


@pytest.mark.parametrize('again', [False, True])
def test_a_step_that_was_interrupted_is_undone_before_the_other(again):
    objects, long = interrupted(again)
    long.finish()
    data = objects.target.data
    end, alone = data.copy(), np.zeros_like(data)
    mask = square(0, 2)
    row0, column0, row1, column1 = mask.box
    alone[0, row0:row1, column0:column1] = 2 * mask.data
    for _ in range(2):
        assert objects.undo() == 'long'
        assert np.array_equal(data, alone)
        assert objects.undo() == 'short'
        assert not data.any()
        objects.redo()
        assert np.array_equal(data, alone)
        objects.redo()
        assert np.array_equal(data, end)


def test_a_step_that_was_interrupted_counts_what_it_took():
    objects, long = interrupted(again=True)
    target, size = objects.target, square(0, 2).area
    target.table = pd.DataFrame({'index': [2], 'area': [size]})
    long.finish()
    left = np.count_nonzero(target.data == 2)
    assert left < size
    assert target.table['area'].tolist() == [left]
    objects.undo()
    assert target.table['area'].tolist() == [size]


def test_nothing_is_left_of_an_interrupted_step_that_failed():
    objects, long = interrupted(again=True)
    long.roll_back()
    assert np.unique(objects.target.data).tolist() == [0, 2]
    objects.undo()
    assert not objects.target.data.any()


def picture(*writes):
    """Return the pixels after painting squares at (row, column, label)."""
    objects = objects_on()
    with objects.step('all') as step:
        for row, column, label in writes:
            step.paint(plane_at(0), square(row, column), label)
    return objects.target.data


def assert_steps(objects, *states):
    """Undo and redo all steps, through the given pixels."""
    data = objects.target.data
    for _ in range(2):
        for state in reversed(states[:-1]):
            assert objects.undo() is not None
            assert np.array_equal(data, state)
        for state in states[1:]:
            assert objects.redo() is not None
            assert np.array_equal(data, state)


def commit(objects, *args, key=None):
    staged = objects.stage()
    with staged.step('staged', key) as step:
        step.paint(*args)
    assert objects.commit(staged)


def write(objects, *args, key=None):
    with objects.step('at once', key) as step:
        step.paint(*args)


@pytest.mark.parametrize('act', [write, commit])
def test_steps_of_a_slider_between_writes_of_a_job_are_one(act):
    objects = objects_on()
    plane, data = plane_at(0), objects.target.data
    long = objects.begin('long')
    act(objects, plane, square(0, 0), 1, key='slider')
    long.paint(plane, square(0, 2), 2)
    act(objects, plane, square(2, 3), 3, key='slider')
    long.paint(plane, square(3, 5), 4)
    long.finish()
    end, sliders = data.copy(), picture((0, 0, 1), (2, 3, 3))
    assert_steps(objects, np.zeros_like(end), sliders, end)


def test_jobs_that_write_at_the_same_time_are_undone_one_by_one():
    objects = objects_on()
    plane, data = plane_at(0), objects.target.data
    one, two = objects.begin('one'), objects.begin('two')
    one.paint(plane, square(0, 0), 1)
    two.paint(plane, square(0, 2), 2)
    one.paint(plane, square(2, 1), 3)
    write(objects, plane, square(1, 2), 5)
    two.paint(plane, square(3, 0), 4)
    two.finish()
    one.finish()
    end = data.copy()
    between, both = picture((1, 2, 5)), picture((0, 2, 2), (3, 0, 4))
    both[between > 0] = 5
    both[picture((3, 0, 4)) > 0] = 4
    assert_steps(objects, np.zeros_like(end), between, both, end)


def test_nothing_is_left_of_a_failed_job_in_another():
    objects = objects_on()
    plane = plane_at(0)
    one, two = objects.begin('one'), objects.begin('two')
    one.paint(plane, square(0, 0), 1)
    two.paint(plane, square(0, 2), 2)
    one.paint(plane, square(2, 3), 3)
    one.roll_back()
    two.finish()
    end = objects.target.data.copy()
    assert np.unique(end).tolist() == [0, 2]
    assert_steps(objects, np.zeros_like(end), end)


def test_a_row_counts_what_two_steps_took():
    objects = objects_on()
    plane, target = plane_at(0), objects.target
    write(objects, plane, square(0, 0, 8), 9)
    target.table = pd.DataFrame({'index': [9], 'area': [64]})
    long = objects.begin('long')
    long.paint(plane, square(0, 0), 1)
    write(objects, plane, square(0, 2), 2)
    long.finish()
    assert target.table['area'].tolist() == [np.sum(target.data == 9)]


def test_an_object_that_is_deleted_while_a_job_hides_it_does_not_return():
    objects = objects_on()
    plane = plane_at(0)
    with objects.step('an object') as step:
        step.paint(plane, square(0, 0), 1)
        step.put(ObjectRecord(1, 1))
    there = objects.target.data.copy()
    long = objects.begin('long')
    long.paint(plane, square(0, 2), 2)
    long.paint(plane, square(0, 1, 2), 0)
    with objects.step('deleting it') as step:
        step.put_at(np.nonzero(objects.target.data == 1), 0)
        step.remove(objects[1])
    long.finish()
    end = objects.target.data.copy()
    empty = np.zeros_like(end)
    assert_steps(objects, empty, there, empty, end)


def test_a_job_that_changed_nothing_in_the_end_is_forgotten():
    objects = objects_on()
    plane = plane_at(0)
    long = objects.begin('long')
    long.paint(plane, square(0, 0), 1)
    long.paint(plane, square(0, 0), 0)
    staged = objects.stage()
    with staged.step('staged') as step:
        step.paint(plane, square(4, 4), 2)
    long.finish()
    assert not objects.commit(staged)
    assert not list(objects.writes)
