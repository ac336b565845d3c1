"""One thread or all: whichever is faster on this machine, now."""

from __future__ import annotations

import pytest
import torch

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.model.threads import FRESH_SECONDS, ThreadChoice


class Machine:
    """A clock, and work that takes as long as the threads make it."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.now = 0.0
        self.runs = 0

    def work(self):
        self.runs += 1
        self.now += self.seconds[torch.get_num_threads()]

    def clock(self):
        return self.now


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def threads_inside(choice):
    with choice.apply():
        return torch.get_num_threads()


@pytest.mark.parametrize(
    ('seconds', 'expected'),
    [
        ({1: 0.010, 2: 0.006}, 2),
        ({1: 0.010, 2: 0.009}, 1),  # not worth a core
        ({1: 0.010, 2: 0.400}, 1),  # another process has the core
    ],
)
def test_faster_number_is_chosen(seconds, expected):
    machine = Machine(seconds)
    choice = ThreadChoice(machine.work, machine.clock)
    assert threads_inside(choice) == expected


def test_choice_is_kept_and_then_measured_again():
    machine = Machine({1: 0.010, 2: 0.006})
    choice = ThreadChoice(machine.work, machine.clock)
    assert threads_inside(choice) == 2
    runs = machine.runs
    machine.seconds = {1: 0.010, 2: 0.400}
    assert threads_inside(choice) == 2
    assert machine.runs == runs
    machine.now += FRESH_SECONDS + 1
    assert threads_inside(choice) == 1


def test_measuring_costs_little_time():
    machine = Machine({1: 1.0, 2: 5.0})
    choice = ThreadChoice(machine.work, machine.clock)
    threads_inside(choice)
    spent, runs = machine.now, machine.runs
    machine.now += 50 * spent
    threads_inside(choice)
    assert machine.runs == runs


def test_number_is_restored_after_an_error():
    machine = Machine({1: 0.010, 2: 0.400})
    choice = ThreadChoice(machine.work, machine.clock)
    with pytest.raises(KeyError), choice.apply():
        raise KeyError


def test_a_limit_of_one_is_kept():
    torch.set_num_threads(1)
    machine = Machine({1: 0.010, 2: 0.001})
    try:
        assert threads_inside(ThreadChoice(machine.work)) == 1
        assert machine.runs == 0
    finally:
        torch.set_num_threads(2)


def test_model_chooses_for_itself():
    model = build_sam('vit_t', input_size=64)
    with model.threads():
        assert torch.get_num_threads() in (1, 2)
