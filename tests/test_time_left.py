"""Time left of a run."""

from __future__ import annotations

import pytest

from napari_mobilesam.time_left import RECENT, TimeLeft


class Clock:
    """Seconds as a test wants them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_steady_steps() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    assert left(0, 100) is None
    clock.now = 1
    assert left(1, 100) is None
    clock.now = 10
    assert left(10, 100) == pytest.approx(90)


def test_steps_done_before_are_forgotten() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    for done in range(1000):  # records of an earlier run, read at once
        left(done, 2000)
    said = None
    for step in range(RECENT):
        clock.now += 5
        said = left(1000 + step, 2000)
    assert said == pytest.approx(5 * (2000 - 999 - RECENT), rel=0.01)


def test_other_messages_of_the_same_step_count_once() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    left(0, 10)
    for second in range(1, 101):
        clock.now = second
        said = left(1, 10)
    assert said == pytest.approx(450)


def test_a_step_in_progress_counts_once_it_is_slow() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    for done in range(3):
        clock.now = 10 * done
        left(done, 12)
    for now in (20, 25, 30):
        clock.now = now
        assert left(2, 12) == pytest.approx(100)
    clock.now = 45
    assert left(2, 12) == pytest.approx(150)


def test_slow_steps_are_averaged_with_fast_ones() -> None:
    clock = Clock()
    left = TimeLeft(clock, recent=None, least_share=0.02)
    said = [left(0, 100)]
    for plane in range(4):
        for step in range(25):
            clock.now += 10 if step == 0 else 0.1
            said.append(left(25 * plane + step + 1, 100))
    # the first step of a hundred says nothing yet
    assert said[:2] == [None, None]
    assert said[50] == pytest.approx(2 * 12.4, rel=0.3)
    assert said[75] == pytest.approx(12.4, rel=0.3)
