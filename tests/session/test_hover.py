"""Mask under the cursor: newest position only, clicks first."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.session import ImagePlane, Session
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import ModelRecord, ObjectDiameter, Prompts

RECORD = ModelRecord(
    'tiny', input_size=64, object_diameter=ObjectDiameter(1, 24, 100)
)


@pytest.fixture(scope='module')
def tiny():
    torch.manual_seed(0)
    return build_sam('vit_t', record=RECORD).eval().requires_grad_(False)


@pytest.fixture
def session(tiny):
    session = Session(load_model=lambda name: tiny, model_name='tiny')
    yield session
    session.close()


@pytest.fixture
def plane():
    image = np.zeros((64, 64), np.uint8)
    image[20:40, 20:40] = 200
    return ImagePlane('a', lambda: image, image.shape, (0, 255))


def test_place_without_embedding_has_no_answer_and_makes_none(session, plane):
    answers = []
    session.hover.shown.connect(answers.append)
    session.use_model('tiny')
    session.hover.ask(plane, (30, 30))
    assert session.wait(20)
    assert answers == [None]
    assert not session._engine.prepared(plane, session._engine.model('tiny'))


@pytest.mark.slow
def test_window_is_embedded_where_the_cursor_rests(session, plane):
    answers = []
    session.hover.shown.connect(answers.append)
    session.use_model('tiny')
    session.hover.ask(plane, (30, 30), rests=True)
    assert session.wait(20)
    assert answers[0].area
    session.hover.ask(plane, (30.2, 30.2))
    assert session.wait(20)
    assert answers[1].area


@pytest.mark.slow
def test_answer_is_that_of_a_click(session, plane, monkeypatch):
    # blocks that are embedded ahead change a few pixels of a mask
    monkeypatch.setattr(session.prefetch, 'want', lambda *planes: None)
    session.prepare(plane)
    answers, previews = [], []
    session.hover.shown.connect(answers.append)
    session.preview.connect(previews.append)
    session.hover.ask(plane, (30, 30))
    assert session.wait(20)
    session.predict(
        plane, [Prompts(np.array([[30.0, 30.0]]), np.ones(1, np.int64))]
    )
    assert session.wait(20)
    clicked = previews[0].masks[0]
    hovered = answers[0]
    assert clicked.area
    assert hovered.box == clicked.box
    assert np.array_equal(hovered.data, clicked.data)


@pytest.mark.slow
def test_only_the_newest_place_is_answered_after_waiting(session, plane):
    session.prepare(plane)
    assert session.wait(20)
    answers = []
    session.hover.shown.connect(answers.append)
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    for column in range(10, 30):
        session.hover.ask(plane, (30, column))
    gate.set()
    assert session.wait(20)
    session.hover.ask(plane, (30, 29))
    assert session.wait(20)
    newest, again = answers
    assert newest.box == again.box


@pytest.mark.slow
def test_cursor_that_has_left_gets_no_answer(session, plane):
    session.prepare(plane)
    assert session.wait(20)
    answers = []
    session.hover.shown.connect(answers.append)
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    session.hover.ask(plane, (30, 30))
    session.hover.forget()
    gate.set()
    assert session.wait(20)
    assert answers == []


def test_jobs_of_a_higher_rank_go_last():
    worker = LatestWorker('test')
    gate, order = threading.Event(), []
    worker.submit('gate', lambda: gate.wait(20) and None)
    worker.submit('hover', lambda: order.append('hover'), rank=1)
    worker.submit('first', lambda: order.append('first'))
    worker.submit('second', lambda: order.append('second'))
    gate.set()
    assert worker.wait(20)
    worker.close()
    assert order == ['first', 'second', 'hover']


def test_a_job_that_exits_does_not_end_the_worker(caplog):
    worker, told = LatestWorker('test'), []

    def leave():
        raise SystemExit(3)

    worker.submit('leave', leave)
    assert worker.wait(20)
    worker.submit('after', lambda: told.append(1))
    assert worker.wait(20)
    worker.close()
    assert told == [1]
    assert 'A background job of napari-mobilesam failed' in caplog.text


@pytest.mark.slow
def test_hover_at_rest_shows_the_mask_that_its_window_does_not_cut(
    session, plane, monkeypatch
):
    """As a click does."""
    asked = []

    def in_larger_window(engine, where, prompts, model, found):
        asked.append(tuple(prompts.points[0]))
        return found

    monkeypatch.setattr(
        'napari_mobilesam.session.prompts.prompting.in_larger_window',
        in_larger_window,
    )
    session.use_model('tiny')
    session.hover.ask(plane, (30, 30), rests=True)
    assert session.wait(20)
    assert asked == [(30.0, 30.0)]
