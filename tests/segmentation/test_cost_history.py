"""Estimates that learn from what runs have really cost."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from napari_mobilesam.segmentation.cost_history import (
    HALF_LIFE,
    MOST,
    CostHistory,
    Speed,
    Work,
)
from napari_mobilesam.segmentation.estimate import estimate_run, expected_work
from napari_mobilesam.time_left import TimeLeft
from napari_mobilesam.types import (
    EverythingParameters,
    ModelRecord,
    ObjectDiameter,
)

RECORD = ModelRecord(
    'any', input_size=256, object_diameter=ObjectDiameter(24, 48, 96)
)
SPEED = Speed(embedding=0.3, prompt=0.008, mask=0.002)
SHAPE = (520, 696)
PARAMETERS = EverythingParameters()


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def experience(clock):
    return CostHistory(clock)


def estimate(experience, what='image', shape=SHAPE):
    return estimate_run(
        shape,
        RECORD,
        PARAMETERS,
        SPEED,
        diameter=30,
        experience=experience,
        what=what,
    )


def run(experience, clock, busy, what='image', prompts=1.0, windows=1.0):
    """A run on a machine that is so many times as slow as when measured.

    Returns how many seconds it took.
    """
    usual = expected_work(SHAPE, RECORD, PARAMETERS, diameter=30)
    done = replace(
        usual,
        prompts=round(prompts * usual.prompts),
        windows=round(windows * usual.windows),
    )
    took = busy * done.seconds(SPEED)
    clock.now += took
    experience.learn_work(usual, done, what)
    experience.learn_time(done.seconds(SPEED), took)
    return took


@pytest.mark.slow
@pytest.mark.parametrize('busy', [0.5, 1, 2, 4])
@pytest.mark.parametrize('prompts', [0.6, 1, 1.6])
def test_the_second_estimate_is_right(experience, clock, busy, prompts):
    plain = estimate(None)
    assert estimate(experience) == plain
    took = run(experience, clock, busy, prompts=prompts, windows=0.7)
    again = estimate(experience)
    assert again.seconds == pytest.approx(took, rel=0.3)
    assert again.prompts == pytest.approx(prompts * plain.prompts, abs=1)
    # the first one was not
    if busy == 4:
        assert plain.seconds < 0.6 * took


def test_another_image_gains_from_it(experience, clock):
    for number in range(4):
        run(experience, clock, 2, what=number, prompts=1.5)
    plain, other = estimate(None), estimate(experience, 'another')
    assert plain.prompts < other.prompts < 1.5 * plain.prompts
    took = run(experience, clock, 2, 'another', prompts=1.5)
    assert other.seconds == pytest.approx(took, rel=0.3)


def test_it_is_forgotten_when_the_machine_has_rested(experience, clock):
    run(experience, clock, 3)
    assert experience.pace == pytest.approx(3, rel=0.1)
    clock.now += 20 * HALF_LIFE
    assert experience.pace == pytest.approx(1, rel=0.05)


def test_what_happened_last_counts_most(experience, clock):
    for _ in range(5):
        run(experience, clock, 1)
    clock.now += 3 * HALF_LIFE
    run(experience, clock, 3)
    assert experience.pace > 2
    clock.now += 3 * HALF_LIFE
    run(experience, clock, 1)
    assert experience.pace < 1.4


def test_one_odd_moment_does_not_count_without_end(experience, clock):
    experience.learn_time(0.01, 1000.0)
    assert experience.pace < 1.5
    for _ in range(1000):
        experience.learn_time(1.0, 1e9)
    assert experience.pace <= MOST
    experience.learn_time(0.0, 1.0)
    experience.learn_time(1.0, 0.0)
    assert experience.pace <= MOST


def test_embeddings_that_were_read_say_nothing(experience):
    experience.learn_embedding(0.3, 0.01)
    assert experience.pace == 1
    experience.learn_embedding(0.3, 0.6)
    assert 1.5 < experience.pace < 2


def test_several_threads_may_learn(experience):
    def learn(number):
        for _ in range(300):
            experience.learn_time(1.0, 2.0)
            usual = Work(10, 1)
            experience.learn_work(usual, Work(20, 1), number)
            assert experience.work(usual, number).prompts == 20
            seen.append(experience.pace)

    seen: list[float] = []
    threads = [threading.Thread(target=learn, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1200
    assert min(seen) > 1


def test_the_share_of_a_run_grows_with_its_time(clock):
    """Windows first, prompts last: the time left is right all along."""
    expected = Work(200, 36, 1.2)
    total = 2.5 * expected.seconds(SPEED)
    left = TimeLeft(clock)
    shares = []
    for windows, prompts in [
        *((n, 0) for n in range(1, 37)),
        *((36, 10 * n) for n in range(1, 20)),
    ]:
        done = replace(expected, prompts=prompts, windows=windows)
        clock.now = 2.5 * done.seconds(SPEED)
        share = done.share_of(expected, SPEED)
        shares.append(share)
        assert share == pytest.approx(clock.now / total, abs=0.02)
        told = left(round(1000 * share), 1000)
        if told is not None:
            assert told == pytest.approx(total - clock.now, rel=0.3, abs=0.5)
    assert shares == sorted(shares)
    beyond = replace(expected, prompts=400, windows=36)
    assert 0.99 < beyond.share_of(expected, SPEED) < 1
