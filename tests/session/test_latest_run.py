"""Runs of which only the newest is answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
)


@pytest.fixture
def waiting() -> list[Callable[[], None]]:
    """Functions on their way to the viewer's thread."""
    return []


@pytest.fixture
def runs(waiting: list[Callable[[], None]]) -> LatestRun[BackgroundRun]:
    return LatestRun(waiting.append)


def test_a_new_run_cancels_the_run_before(runs):
    first = runs.start(BackgroundRun())
    second = runs.start(BackgroundRun())
    assert first.cancelled.is_set()
    assert not second.cancelled.is_set()
    assert runs.current is second


def test_answers_of_a_replaced_run_are_dropped_on_their_way(runs, waiting):
    told = []
    first = runs.start(BackgroundRun())
    runs.tell(first, lambda: told.append('first'))
    second = runs.start(BackgroundRun())
    runs.tell(second, lambda: told.append('second'))
    for function in waiting:
        function()
    assert told == ['second']


def test_a_cancelled_run_is_answered(runs, waiting):
    told = []
    run = runs.start(BackgroundRun())
    runs.cancel()
    assert run.cancelled.is_set()
    runs.finish(run, lambda: told.append(runs.current))
    assert runs.current is run
    waiting.pop()()
    assert told == [None]


def test_a_dropped_run_is_not_answered(runs, waiting):
    told = []
    run = runs.start(BackgroundRun())
    runs.finish(run, lambda: told.append(1))
    runs.drop()
    waiting.pop()()
    assert told == []
    assert run.cancelled.is_set()
    runs.cancel()
