"""Next and previous object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeTarget, plane_at, record_of, square, write

from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.prompts.navigation import Navigation


class FakeEditor:
    """Opens objects of one target."""

    def __init__(self) -> None:
        self.target_objects = Objects(FakeTarget())
        self.record = ObjectRecord()

    def bring_back(self, objects, record):
        self.record = record
        return record


@pytest.fixture
def editor():
    return FakeEditor()


@pytest.fixture
def navigation(editor):
    return Navigation(editor, list, plane_at)


def walk(navigation, by=1, steps=3):
    return [navigation.next(by).label for _ in range(steps)]


def test_walk_goes_round(editor, navigation):
    objects = editor.target_objects
    for column in (0, 10, 20):
        write(objects, record_of(square(0, column)))
    objects.delete(2)
    assert walk(navigation) == [1, 3, 1]
    assert walk(navigation, -1) == [3, 1, 3]
    # from an object that is not there
    editor.record = replace(editor.record, label=2, number=2)
    assert walk(navigation, 1, 1) == [3]
    editor.record = replace(editor.record, label=2, number=2)
    assert walk(navigation, -1, 1) == [1]


def test_walk_goes_on_after_the_object_was_closed(editor, navigation):
    for column in (0, 10, 20):
        write(editor.target_objects, record_of(square(0, column)))
    for label in (1, 2, 3, 1):
        assert navigation.next().label == label
        editor.record = ObjectRecord()


def test_there_is_nothing_in_empty_labels(editor, navigation):
    assert navigation.next() is None
    assert navigation.previous() is None
    assert navigation.next_uncertain() is None


def test_objects_erased_by_hand_are_passed_over(editor, navigation):
    objects = editor.target_objects
    for place in (0, 10, 20):
        write(objects, record_of(square(place, place)))
    data = objects.target.data
    kept = data.copy()
    data[data == 2] = 0
    objects.target.edited.emit(dict.fromkeys({2}, 0))
    assert walk(navigation) == [1, 3, 1]
    # napari's undo
    data[:] = kept
    objects.target.edited.emit(dict.fromkeys({2}, 0))
    assert walk(navigation) == [2, 3, 1]


def test_labels_of_other_programs_are_visited(editor, navigation):
    objects = editor.target_objects
    data = objects.target.data
    data[0, 2:6, 2:6] = 9
    data[0, 2:6, 12:16] = 4
    # on another plane
    data[1, 2:6, 2:6] = 7
    write(objects, record_of(square(20, 20)))
    assert walk(navigation, steps=4) == [4, 9, 10, 4]
    mask = navigation.next().views[plane_at().place].mask
    assert np.array_equal(mask.box, (2, 2, 6, 6))
    # it becomes an object
    adopted = write(objects, editor.record, editor.record)
    assert adopted.number and adopted.label == 9
    navigation.note_accepted(adopted)
    editor.record = ObjectRecord()
    assert walk(navigation, steps=3) == [10, 4, 9]
