"""One history over several labels: newest first, whichever they are in."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import FakeTarget, plane_at, square
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.prompts.navigation import Navigation


def desk_of(count):
    clock = itertools.count(1).__next__
    labels = [Objects(FakeTarget(), clock=clock) for _ in range(count)]
    editor = SimpleNamespace(
        forget_undone=lambda: None,
        take_back_accept=lambda: False,
        queue=SimpleNamespace(last=None),
    )
    return labels, Navigation(editor, lambda: labels, plane_at)


def pixels(labels):
    return np.concatenate([each.target.data.ravel() for each in labels])


@pytest.mark.slow
@given(st.lists(st.integers(0, 2), max_size=8))
def test_steps_of_several_labels_are_one_history(places):
    labels, navigation = desk_of(3)
    states = [pixels(labels)]
    for number, place in enumerate(places):
        with labels[place].step(f'step {number}') as step:
            step.paint(plane_at(), square(number, number), number + 1)
        states.append(pixels(labels))
    for number in reversed(range(len(places))):
        assert navigation.undo().startswith(f'step {number} in “')
        assert np.array_equal(pixels(labels), states[number])
    assert navigation.undo() is None
    for number in range(len(places)):
        assert navigation.redo().startswith(f'step {number} in “')
        assert np.array_equal(pixels(labels), states[number + 1])
    assert navigation.redo() is None


def test_new_step_in_other_labels_ends_redoing():
    (first, second), navigation = desk_of(2)
    for objects in (first, second):
        with objects.step('a step') as step:
            step.paint(plane_at(), square(0, 0), 1)
    assert navigation.undo() is not None
    with first.step('another') as step:
        step.paint(plane_at(), square(9, 9), 2)
    assert navigation.redo() is None
    assert navigation.undo().startswith('another')


@pytest.mark.parametrize('joins', [True, False])
def test_merged_steps_count_as_new(joins):
    (first, second), navigation = desk_of(2)
    for objects, key in ((first, 'slider'), (second, None)):
        with objects.step('a step', key) as step:
            step.paint(plane_at(), square(0, 0), 1)
    with first.step('moved again', 'slider' if joins else None) as step:
        step.paint(plane_at(), square(9, 9), 1)
    assert navigation.undo().startswith('moved again')
    assert first.target.data.any() != joins
