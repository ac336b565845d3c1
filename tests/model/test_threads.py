"""One thread or all: whichever is faster on this machine, now."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Barrier, current_thread, main_thread

import pytest
import torch

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.model.threads import (
    FRESH_SECONDS,
    ThreadChoice,
    ThreadTeam,
)


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


def threads_inside(choice, long=False):
    with choice.apply(long):
        return torch.get_num_threads()


@pytest.mark.parametrize(
    ('seconds', 'short', 'long'),
    [
        ({1: 0.010, 2: 0.006}, 2, 2),
        ({1: 0.010, 2: 0.009}, 1, 2),  # worth a core for long regions only
        ({1: 0.010, 2: 0.400}, 1, 1),  # another process has the core
    ],
)
def test_faster_number_is_chosen(seconds, short, long):
    machine = Machine(seconds)
    choice = ThreadChoice(machine.work, machine.clock)
    assert threads_inside(choice) == short
    assert threads_inside(choice, long=True) == long


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


@pytest.mark.slow
def test_model_chooses_for_itself():
    model = build_sam('vit_t', input_size=64)
    with model.threads():
        assert torch.get_num_threads() in (1, 2)


@pytest.mark.parametrize('count', [1, 3])
def test_results_come_in_the_order_of_the_items(count):
    workers = ThreadTeam(count, nullcontext)
    items = [5, 1, 4, 2, 3, 0, 9]
    assert list(workers.map(lambda x: x * x, items)) == [x * x for x in items]


def test_workers_compute_on_one_thread_without_gradients():
    def look(_):
        return torch.get_num_threads(), torch.is_grad_enabled()

    seen = list(ThreadTeam(2, nullcontext).map(look, range(6)))
    assert seen == [(1, False)] * 6
    assert torch.is_grad_enabled()
    with ThreadPoolExecutor() as pool:
        assert pool.submit(torch.get_num_threads).result() == 2


def test_items_are_taken_as_they_are_needed():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = ThreadTeam(2, nullcontext).map(str, items())
    assert next(results) == '0'
    assert len(taken) <= 4
    results.close()
    assert len(taken) <= 4


def test_an_error_comes_in_its_turn_and_ends_the_work():
    def work(item):
        if item == 2:
            raise KeyError(item)
        return item

    results = ThreadTeam(2, nullcontext).map(work, range(1000))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError):
        next(results)


class SharedMachine(Machine):
    """Work that takes 1 s alone and ``together`` for two at once."""

    def __init__(self, together):
        super().__init__({1: 1.0, 2: 1.0})
        self.meeting = Barrier(2, lambda: self.wait(together), timeout=60)

    def wait(self, seconds):
        self.now += seconds

    def work(self):
        if current_thread() is main_thread():
            super().work()
        else:
            self.meeting.wait()


@pytest.mark.parametrize(
    ('together', 'expected'), [(1.1, 2), (1.9, 1), (30.0, 1)]
)
def test_workers_are_used_where_they_do_more(together, expected):
    machine = SharedMachine(together)
    choice = ThreadChoice(machine.work, machine.clock)
    assert choice.workers().count == expected


def test_workers_keep_a_limit_of_one():
    torch.set_num_threads(1)
    try:
        assert ThreadChoice(lambda: None).workers().count == 1
    finally:
        torch.set_num_threads(2)


FORKED = """
import os
import torch
from napari_mobilesam.model.threads import ThreadChoice

torch.set_num_threads(2)
choice = ThreadChoice(lambda: torch.ones(1000, 1000).sum())
with choice.apply():
    pass
child = os.fork()
if not child:
    try:
        with choice.apply():
            os._exit(1)
    except ValueError as error:
        os._exit(0 if "get_context('spawn')" in str(error) else 2)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there are no forks')
def test_a_fork_after_use_is_told_to_use_spawn():
    """Instead of waiting for ever for threads that it does not have."""
    subprocess.run([sys.executable, '-c', FORKED], check=True, timeout=120)


FORKED_MODEL = """
import os
import numpy as np
import torch
torch.set_num_threads(2)
from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.segmentation.image_embedding import encode_canvas
from napari_mobilesam.types import ModelRecord, SegmentationError
model = build_sam(record=ModelRecord('random', input_size=256)).eval()
pixels = np.zeros((256, 256, 3), np.uint8)
encode_canvas(model, pixels, (256, 256))
child = os.fork()
if not child:
    try:
        encode_canvas(model, pixels, (256, 256))
        os._exit(1)
    except SegmentationError as error:
        os._exit(0 if "get_context('spawn')" in str(error) else 2)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there are no forks')
def test_a_fork_does_not_wait_where_pixels_are_converted():
    command = [sys.executable, '-c', FORKED_MODEL]
    subprocess.run(command, check=True, timeout=120)
