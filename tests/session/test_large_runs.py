"""Estimates and runs on large images of which the reading takes long."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from segmentation.oracle import Oracle

from napari_mobilesam.large.io.sources import open_source
from napari_mobilesam.large.large_plan import checked_large
from napari_mobilesam.session import Session
from napari_mobilesam.session.everything.large_runs import LargeRequest

DIAMETER = 24
SECONDS = 40.0


class HeldSource:
    """An image of which a thread reads nothing while it is held.

    Attributes
    ----------
    reads : list of str
        Name of the thread of each call of `read`.
    expired : bool
        True if a thread was held for too long.
    """

    def __init__(self, image):
        self._source = open_source(image)
        self.reads = []
        self.waiting = threading.Event()
        self.released = threading.Event()
        self.expired = False
        self.holds = lambda name: True

    def __getattr__(self, name):
        return getattr(self._source, name)

    def read(self, plane, level, window):
        name = threading.current_thread().name
        self.reads.append(name)
        if self.holds(name):
            self.waiting.set()
            self.expired = not self.released.wait(SECONDS)
        return self._source.read(plane, level, window)


@pytest.fixture
def source():
    image = np.zeros((300, 400), np.uint8)
    image[20::64, 20::64] = 255
    held = HeldSource(image)
    yield held
    held.released.set()


@pytest.fixture
def session():
    model = Oracle(128, best=DIAMETER)
    made = Session(
        load_model=lambda name: model,
        model_name='oracle',
        scene=SimpleNamespace(image=None),
    )
    yield made
    made.close()
    assert made.wait(SECONDS)


@pytest.fixture
def request_of(tmp_path, source):
    def make():
        parameters = checked_large(
            None, {'diameter': DIAMETER, 'adaptive': False}
        )
        output = tmp_path / 'out.ome.zarr'
        return LargeRequest(source, (), output, parameters, 'oracle')

    return make


@pytest.mark.slow
def test_a_run_does_not_wait_for_an_estimate(session, source, request_of):
    runs, told, answers = session.large, [], []
    runs.estimated.connect(told.append)
    runs.finished.connect(answers.append)
    source.holds = lambda name: 'estimate' in name
    runs.estimate(request_of())
    assert source.waiting.wait(SECONDS)
    runs.start(request_of())
    while not answers:
        session.finish(0.05)
    assert not source.expired
    read = len(source.reads)
    source.released.set()
    assert session.finish(SECONDS)
    # the estimate was stopped at its first window, and only the run told it
    assert len(source.reads) == read
    assert len(told) == 1
    assert answers[0].result.complete


def test_a_later_estimate_replaces_one_that_reads(session, source, request_of):
    runs, told = session.large, []
    runs.estimated.connect(told.append)
    runs.estimate(request_of())
    assert source.waiting.wait(SECONDS)
    runs.estimate(request_of())
    source.released.set()
    assert session.finish(SECONDS)
    once = len(source.reads) - 1
    source.reads.clear()
    assert len(told) == 1
    runs.forget_estimate()
    runs._text = None, ''
    runs.estimate(request_of())
    assert session.finish(SECONDS)
    assert len(source.reads) == once


def test_cancel_stops_a_run_while_it_is_planned(session, source, request_of):
    runs, stopped, answers = session.large, [], []
    runs.stopped.connect(lambda: stopped.append(runs.running))
    runs.finished.connect(answers.append)
    request = request_of()
    runs.start(request)
    assert source.waiting.wait(SECONDS)
    runs.cancel()
    source.released.set()
    assert session.finish(SECONDS)
    assert stopped == [False]
    assert not answers
    assert len(source.reads) == 1
    assert not request.output.exists()
