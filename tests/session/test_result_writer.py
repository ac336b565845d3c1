"""Staged writes of a run: the newest wins, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeTarget, plane_at
from test_everything_output import result, shown

from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.session.everything.everything_output import (
    EverythingOutput,
)
from napari_mobilesam.session.everything.result_writer import ResultWriter
from napari_mobilesam.session.objects.objects import Objects


class Desk:
    """ResultWriter whose other thread runs on demand."""

    def __init__(self, planes=1):
        self.target = FakeTarget()
        self.objects = Objects(self.target)
        self.output = EverythingOutput(
            self.objects, [plane_at(z) for z in range(planes)]
        )
        self.waiting = []
        self.prepared = 0
        self.writer = ResultWriter(self.output, self.apart)
        self.told, self.failures = [], []
        self.writer.written.connect(self.told.append)
        self.writer.failed.connect(self.failures.append)

    def apart(self, job, then):
        self.waiting.append((job, then))

    def work(self):
        """Run the other thread; return the remaining functions."""
        job, then = self.waiting.pop(0)
        self.prepared += 1
        job()
        return then

    def settle(self):
        while self.waiting:
            self.work()()


@pytest.fixture
def desk():
    return Desk()


def test_a_result_is_written_once_it_is_prepared(desk):
    found = result(1, 2)
    desk.writer.write(found)
    assert desk.writer.pending
    then = desk.work()
    assert not desk.target.data.any()
    assert not len(desk.objects)
    then()
    assert shown(desk.target) == {1: 1, 2: 2, 3: 0}
    assert desk.told == [found]
    assert not desk.writer.pending


@pytest.mark.slow
def test_it_is_the_same_as_writing_at_once(desk):
    other = Desk()
    for labels in ((1, 2, 3), (2,), (1, 3), (), (1, 2)):
        desk.writer.write(result(*labels), 'slider')
        desk.settle()
        other.output.write(result(*labels), 'slider')
        assert (desk.target.data == other.target.data).all()
        assert desk.target.table.equals(other.target.table)
        assert list(map(repr, desk.objects)) == list(map(repr, other.objects))
    for objects in (desk.objects, other.objects):
        assert len(objects.history) == 1
        objects.undo()
        assert not objects.target.data.any()
        assert not len(objects.target.table)


def test_the_newest_of_those_that_wait_is_written(desk):
    first, second, third = result(1), result(2), result(1, 3)
    desk.writer.write(first)
    desk.writer.write(second)
    desk.writer.write(third)
    desk.settle()
    assert desk.told == [first, third]
    assert desk.prepared == 2
    assert shown(desk.target) == {1: 1, 2: 0, 3: 2}


def test_labels_that_were_painted_meanwhile_are_looked_at_anew(desk):
    desk.writer.write(result(1, 2))
    then = desk.work()
    desk.target.data[0, 2:4, 3:5] = 9
    then()
    assert not desk.told
    desk.settle()
    assert (desk.target.data[0, 2:4, 3:5] == 9).all()
    # its label follows the one that was painted
    assert desk.target.data[0, 5, 6] == 10
    assert len(desk.told) == 1


def test_labels_that_do_not_rest_are_written_once_they_do(desk, monkeypatch):
    """The viewer's thread never computes what changes."""
    monkeypatch.setattr(desk.output, 'write', None)
    desk.writer.write(result(1))
    for value in range(20, 30):
        then = desk.work()
        desk.target.data[0, 2, 3] = value
        then()
    assert not desk.told
    assert not desk.failures
    desk.settle()
    assert desk.prepared == 11
    assert desk.target.data[0, 2, 3] == 29
    assert desk.target.data[0, 5, 6] == 30
    assert len(desk.told) == 1


def test_what_was_dropped_is_not_written(desk):
    desk.writer.write(result(1))
    desk.writer.write(result(2))
    then = desk.work()
    desk.writer.drop()
    then()
    assert not desk.writer.pending
    assert not desk.target.data.any()
    desk.writer.write(result(3))
    desk.settle()
    assert shown(desk.target) == {1: 0, 2: 0, 3: 1}


def test_failures_are_told_and_the_next_is_written(desk):
    desk.target.offset = (100, 100)
    desk.writer.write(result(1))
    then = desk.work()
    then()
    assert 'does not cover' in desk.failures[0]
    desk.target.offset = (0, 0)
    desk.writer.write(result(2))
    desk.settle()
    assert shown(desk.target) == {1: 0, 2: 1, 3: 0}
    desk.target.editable = False
    desk.writer.write(result(3))
    desk.settle()
    assert 'read-only' in desk.failures[1]


def test_planes_that_share_their_pixels_are_prepared_like_others(monkeypatch):
    desk, other = Desk(planes=2), Desk(planes=2)
    # both planes lie on the same pixels of the labels
    for plane in (*desk.output._planes, *other.output._planes):
        object.__setattr__(plane, 'geometry', 0)
    one = result(1)
    both = replace(
        one,
        pictures=(one.pictures[0], result(1, 2).pictures[0]),
        masks={
            1: (one.masks[1][0]._replace(plane=0),),
            2: (
                one.masks[1][0]._replace(
                    plane=1, mask=result(2).masks[2][0].mask
                ),
            ),
        },
        table=result(1, 2).table,
    )
    other.output.write(both)
    monkeypatch.setattr(desk.output, 'write', None)
    desk.writer.write(both)
    desk.settle()
    assert desk.told == [both]
    assert np.array_equal(desk.target.data, other.target.data)
    assert desk.target.data[0].any()
    assert desk.target.table.equals(other.target.table)


def test_undo_and_redo_tell_what_the_labels_show(desk):
    told = []
    desk.output.selection_restored.connect(told.append)
    chosen = [Selection(predicted_iou=value) for value in (0.1, 0.2, 0.3)]
    for number, selection in enumerate(chosen, start=1):
        found = replace(result(number), selection=selection)
        desk.writer.write(found, number > 1 and 'slider')
        desk.settle()
    assert desk.output.selection == chosen[2]
    assert told == []
    desk.objects.undo()
    assert told == [chosen[0]]
    desk.objects.undo()
    assert desk.output.selection is None
    desk.objects.redo()
    desk.objects.redo()
    assert told == [chosen[0], chosen[2]]
    desk.objects.delete(next(iter(desk.objects)).number)
    desk.objects.undo()
    assert told == [chosen[0], chosen[2]]


def test_what_is_forgotten_by_the_history_is_still_known(desk):
    desk.objects.history._max_bytes = 1
    first, second = (Selection(predicted_iou=value) for value in (0.1, 0.2))
    desk.output.write(replace(result(1), selection=first))
    desk.output.write(replace(result(2), selection=second))
    assert len(desk.objects.history) == 1
    desk.objects.undo()
    assert desk.output.selection == first


def test_a_selection_of_the_same_objects_is_remembered(desk):
    """With that of the same slider, or as a step by itself."""
    chosen = [Selection(predicted_iou=value) for value in (0.1, 0.2, 0.3)]
    for labels, selection in zip(((1, 2), (1,), (1,)), chosen, strict=True):
        found = replace(result(*labels), selection=selection)
        desk.writer.write(found, 'slider')
        desk.settle()
    told = []
    desk.output.selection_restored.connect(told.append)
    # the first write has the same key here
    assert len(desk.objects.history) == 1
    desk.objects.undo()
    desk.objects.redo()
    assert desk.output.selection == chosen[2]
    desk.objects.delete(1)
    desk.output.write(replace(result(1), selection=chosen[0]))
    assert desk.output.selection == chosen[0]
    desk.objects.undo()
    assert told == [chosen[2]]
