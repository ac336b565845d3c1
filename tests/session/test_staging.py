"""Steps staged on a copy, and committed or refused later."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fakes import FakeTarget, plane_at, square

from napari_mobilesam.session.objects import staging
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.targets import LabelsError
from napari_mobilesam.types import Prompts


@pytest.fixture(params=['in one go', 'one by one, sparse'])
def objects(request, monkeypatch):
    target = FakeTarget()
    target.few = 0
    if request.param != 'in one go':
        target.few = 10**9
        monkeypatch.setattr(staging, 'DENSE_PIXELS', 0)
    return Objects(target)


def record(number, row=2, column=3):
    plane, mask = plane_at(1), square(row, column)
    view = ObjectView(plane, Prompts(), ObjectCandidates((mask,)))
    return ObjectRecord(number, number, {plane.place: view})


def write(store, number, row=2, column=3, key=None):
    made = record(number, row, column)
    with store.step(f'object {number}', key) as step:
        step.paint(plane_at(1), made.masks[0], number)
        step.put(made)


def prepared(objects, *args, **kwargs):
    staged = objects.stage()
    write(staged, *args, **kwargs)
    return staged


def state(objects):
    table = objects.target.table.sort_values('index')
    return (
        objects.target.data.tolist(),
        [r.number for r in objects],
        table.astype(float, errors='ignore').to_dict('list'),
    )


def test_what_is_prepared_is_written_as_if_done_now(objects):
    other = Objects(FakeTarget())
    write(objects, 1)
    write(other, 1)
    staged = prepared(objects, 2, 4, 5)
    assert state(objects) == state(other)
    assert objects.commit(staged)
    write(other, 2, 4, 5)
    assert state(objects) == state(other)
    for do in ('undo', 'undo', 'redo', 'redo', 'undo'):
        assert getattr(objects, do)() == getattr(other, do)()
        assert state(objects) == state(other)


def test_it_becomes_one_with_the_step_before(objects):
    write(objects, 1, key='slider')
    assert objects.commit(prepared(objects, 2, 4, 5, key='slider'))
    assert len(objects.history) == 1
    objects.undo()
    assert not objects.target.data.any()
    assert not len(objects)
    assert not len(objects.target.table)


def test_steps_that_were_undone_do_not_become_one(objects):
    write(objects, 1, key='slider')
    write(objects, 2, 9, 9)
    objects.undo()
    assert objects.commit(prepared(objects, 2, 4, 5, key='slider'))
    assert len(objects.history) == 2
    objects.undo()
    assert [r.number for r in objects] == [1]


def test_steps_in_labels_of_another_shape_do_not_become_one(objects):
    write(objects, 1, key='slider')
    reshaped(objects)
    assert objects.commit(prepared(objects, 2, 4, 5, key='slider'))
    assert objects.undo() == 'object 2'
    assert objects.undo() is None


def painted(objects):
    objects.target.data[1, 4, 5] = 9


def described(objects):
    objects.target.table = pd.DataFrame({'index': [7], 'score': [0.1]})


def reshaped(objects):
    objects.target.data = np.pad(objects.target.data, ((0, 0), (0, 9), (0, 9)))


CHANGES = {
    'reshaped': reshaped,
    'painted': painted,
    'described': described,
    'reviewed': lambda objects: objects.review(1),
    'undone': Objects.undo,
    'deleted': lambda objects: objects.delete(1),
    'written': lambda objects: write(objects, 5, 20, 20),
    'forgotten': lambda objects: objects.forget_planes(lambda plane: True),
}


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_nothing_is_written_if_something_has_changed_since(objects, change):
    write(objects, 1)
    staged = prepared(objects, 2, 4, 5)
    change(objects)
    before = state(objects)
    steps = len(objects.history)
    assert not objects.commit(staged)
    assert state(objects) == before
    assert len(objects.history) == steps


def test_a_label_that_was_taken_since_is_not_given_again(objects):
    staged = objects.stage()
    assert staged.free_label() == 1
    write(staged, 1)
    objects.target.data[3, 30, 30] = 1
    assert not objects.commit(staged)


def test_nothing_to_do_is_done(objects):
    staged = objects.stage()
    with staged.step('nothing'):
        pass
    assert objects.commit(staged)
    assert not len(objects.history)


def test_labels_that_cannot_be_edited_any_more(objects):
    staged = prepared(objects, 1)
    objects.target.editable = False
    with pytest.raises(LabelsError, match='read-only'):
        objects.commit(staged)


def test_pixels_may_be_written_twice(objects):
    other = Objects(FakeTarget())
    staged = objects.stage()
    for store in (staged, other):
        with store.step('twice') as step:
            for label, row in ((1, 2), (2, 4), (0, 5)):
                step.paint(plane_at(1), square(row, 3), label)
    assert not objects.target.data.any()
    assert np.array_equal(staged.labels.array(), other.target.data)
    assert objects.commit(staged)
    assert state(objects) == state(other)
    objects.undo()
    assert not objects.target.data.any()


def test_pixels_may_be_as_before_at_the_end(objects):
    staged = objects.stage()
    with staged.step('twice') as step:
        for label in (1, 0):
            step.paint(plane_at(1), square(2, 3), label)
    assert objects.commit(staged)
    assert not objects.target.data.any()


def test_far_apart_pixels_are_found_again(objects, monkeypatch):
    monkeypatch.setattr(
        'napari_mobilesam.session.objects.patch.LONGEST_GAP', 60
    )
    monkeypatch.setattr(
        'napari_mobilesam.session.objects.patch.SPAN_PIXELS', 120
    )
    objects.target.data[0] = np.arange(2000).reshape(40, 50) % 200
    whole = objects.target.data.copy()
    staged = objects.stage()
    with staged.step('many') as step:
        for number, row in enumerate((0, 4, 9, 30)):
            step.paint(plane_at(0), square(row, 3, 4), number + 201)
    assert objects.commit(staged)
    assert np.count_nonzero(objects.target.data != whole) == 64
    assert [objects.target.data[0, r, 3] for r in (0, 4, 9, 30)] == [
        201,
        202,
        203,
        204,
    ]
    # what somebody has painted over since stays
    objects.target.data[0, 4, 3] = 7
    objects.undo()
    whole[0, 4, 3] = 7
    np.testing.assert_array_equal(objects.target.data, whole)


def test_objects_that_a_job_writes_are_not_written_by_others(objects):
    write(objects, 1)
    job = objects.begin('a batch')
    job.put(record(2, 4, 5))
    staged = objects.stage()
    with staged.step('deleting object 2') as step:
        step.remove(staged.get(2))
    for delete in (lambda: objects.commit(staged), lambda: objects.delete(2)):
        with pytest.raises(LabelsError, match='Object 2 is being written'):
            delete()
    objects.delete(1)
    job.finish()
    objects.delete(2)
    assert not len(objects)


def test_an_object_that_a_job_covers_in_part_is_removed_at_once(objects):
    """It is also erased beneath the pixels of the job, which are on top."""
    other = Objects(FakeTarget())
    for each in (objects, other):
        write(each, 1)
        job = each.begin('a batch')
        job.paint(plane_at(1), square(4, 5), 2)
        job.put(record(2, 4, 5))
        staged = each.stage() if each is objects else each
        with staged.step('deleting object 1') as step:
            step.erase(staged.get(1))
            step.remove(staged.get(1))
        assert each is other or objects.commit(staged)
        job.finish()
    assert state(objects) == state(other)
    for do in ('undo', 'undo', 'undo', 'redo', 'redo', 'redo'):
        assert getattr(objects, do)() == getattr(other, do)()
        assert state(objects) == state(other)
