"""Planes that are likely to be shown next are embedded when idle."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.segmentation.scale_choice import pitch_of
from napari_mobilesam.session.images.engine import Engine, click
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.prompts.prefetch import Prefetch, planes_ahead
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import ModelRecord


@pytest.fixture(scope='module')
def tiny():
    model = build_sam('vit_t', record=ModelRecord('tiny', input_size=64))
    return model.eval().requires_grad_(False)


@pytest.fixture
def engine(tiny):
    return Engine(lambda name: tiny)


@pytest.fixture
def worker():
    worker = LatestWorker()
    yield worker
    assert worker.wait(20)
    worker.close()


def plane(number, fail=False):
    image = np.random.default_rng(number).integers(0, 255, (60, 60), np.uint8)

    def read():
        if fail:
            raise OSError('the disk is gone')
        return image

    return ImagePlane(number, read, image.shape, (0, 255))


def ready(engine, planes, model):
    return [engine.prepared(plane, model) for plane in planes]


@pytest.mark.slow
def test_planes_are_embedded_before_they_are_asked_for(engine, worker, tiny):
    planes = [plane(0), plane(1), plane(2)]
    Prefetch(worker, engine, lambda: tiny).want(planes[:2])
    assert worker.wait(20)
    assert ready(engine, planes, tiny) == [True, True, False]


@pytest.mark.slow
def test_planes_to_embed_afterwards_are_embedded_once(
    engine, worker, tiny, monkeypatch
):
    prepared = []
    prepare = engine.prepare

    def watched(wanted, model):
        prepared.append(wanted)
        return prepare(wanted, model)

    monkeypatch.setattr(engine, 'prepare', watched)
    prefetch = Prefetch(worker, engine, lambda: tiny)
    planes = [plane(5), plane(6)]
    prefetch.want_afterwards(planes)
    assert worker.wait(20)
    assert prepared == planes
    prefetch.want(planes[:1])
    assert worker.wait(20)
    assert prepared == planes + planes[:1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        ('prompts', [0, 'request', 'embedded', 1, 'embedded']),
        ('prepare', [0, 'request', 0, 'embedded', 1, 'embedded']),
    ],
)
def test_requests_do_not_wait_for_the_embedding(
    kind, expected, engine, worker, tiny
):
    """Prompts are answered between two layers, other requests stop it."""
    order = []
    planes = [plane(0), plane(1)]
    prepare = engine.prepare
    layers = iter(range(3))

    def slow(plane, model):
        order.append(plane.key)
        prepare(plane, model)
        order.append('embedded')

    class Interrupted:
        """Return the model; a request comes during its third layer."""

        def __getattr__(self, name):
            return getattr(tiny, name)

        def giving_way(self, between):
            def check():
                if next(layers, None) == 2:
                    worker.submit(kind, lambda: order.append('request'))
                between()

            return tiny.giving_way(check)

    engine.prepare = slow
    Prefetch(worker, engine, Interrupted).want(planes)
    assert worker.wait(20)
    assert order == expected
    assert ready(engine, planes, tiny) == [True, True]


@pytest.mark.slow
def test_a_prompt_served_meanwhile_may_embed(engine, worker, tiny):
    other, answers = plane(5), []
    layers = iter(range(3))

    class Interrupted:
        def __getattr__(self, name):
            return getattr(tiny, name)

        def giving_way(self, between):
            def check():
                if next(layers, None) == 2:
                    worker.submit('prompts', answer)
                between()

            return tiny.giving_way(check)

    def answer():
        answers.append(engine.predict(other, click((30, 30)), tiny))

    Prefetch(worker, engine, Interrupted).want([plane(0)])
    assert worker.wait(20)
    fresh = Engine(lambda name: tiny)
    expected = fresh.predict(other, click((30, 30)), tiny)
    np.testing.assert_array_equal(answers[0].logits, expected.logits)
    assert engine.prepared(plane(0), tiny)


@pytest.mark.slow
def test_the_view_is_embedded_after_the_planes(engine, worker, tiny):
    shown = plane(0)
    prefetch = Prefetch(worker, engine, lambda: tiny)
    prefetch.want([plane(1)], shown)
    assert worker.wait(20)
    assert engine.prepared(plane(1), tiny)
    assert not engine.embed_ahead(shown, tiny)
    places = [(row, column) for row in (3, 30, 57) for column in (3, 57)]
    for place in places:
        engine.predict(shown, click(place), tiny)
        prefetch.go_on()
        assert worker.wait(20)
    # now no click needs an embedding at the scale of the answers
    image = engine.image(shown, tiny)
    before = image.embedded_pixels
    for place in places:
        answer = engine.predict(shown, click(place), tiny)
        assert image.has(place, pitch_of(answer.frame))
    assert image.embedded_pixels == before


@pytest.mark.slow
def test_a_newer_wish_replaces_an_older_one(engine, worker, tiny):
    gate = threading.Event()
    worker.submit('gate', lambda: gate.wait(20) and None)
    prefetch = Prefetch(worker, engine, lambda: tiny)
    planes = [plane(0), plane(1), plane(2)]
    prefetch.want(planes[:2])
    prefetch.want(planes[2:])
    gate.set()
    assert worker.wait(20)
    assert ready(engine, planes, tiny) == [False, False, True]
    prefetch.want(planes[:1])
    prefetch.want([])
    assert worker.wait(20)


def test_planes_are_forgotten_while_the_worker_embeds(engine, worker, tiny):
    prefetch = Prefetch(worker, engine, lambda: None)
    prefetch.want([plane(0), plane(1), plane(2)])
    assert worker.wait(20)

    def gone(shown):
        # as the worker does when one is embedded
        if shown.key == 0:
            prefetch._wanted.popleft()
        return shown.key == 1

    prefetch.forget(gone)
    assert [shown.key for shown in prefetch._wanted] == [0, 2]


def test_without_a_model_nothing_is_embedded(engine, worker, tiny):
    Prefetch(worker, engine, lambda: None).want([plane(0)])
    assert worker.wait(20)
    assert ready(engine, [plane(0)], tiny) == [False]


def test_a_plane_that_cannot_be_read_is_left_to_the_click(
    engine, worker, tiny
):
    planes = [plane(0, fail=True), plane(1)]
    Prefetch(worker, engine, lambda: tiny).want(planes)
    assert worker.wait(20)
    assert ready(engine, planes, tiny) == [False, True]
    with pytest.raises(OSError, match='disk'):
        engine.predict(planes[0], click((5, 5)), tiny)


@pytest.mark.parametrize(
    ('before', 'now', 'expected'),
    [
        (None, (3, 7, 0, 0), [(1, 1), (1, -1)]),
        ((3, 6, 0, 0), (3, 7, 0, 0), [(1, 1), (1, 2), (1, -1)]),
        ((3, 9, 0, 0), (3, 7, 0, 0), [(1, -1), (1, -2), (1, 1)]),
        ((2, 7, 0, 0), (3, 7, 0, 0), [(0, 1), (0, 2), (0, -1)]),
        ((3, 7, 0, 0), (3, 7, 0, 0), [(1, 1), (1, 2), (1, -1)]),
        ((7, 0, 0), (3, 7, 0, 0), [(1, 1), (1, 2), (1, -1)]),
    ],
)
def test_the_direction_of_travel_is_followed(before, now, expected):
    assert planes_ahead(before, now, (0, 1)) == expected


def test_a_single_plane_has_no_neighbours():
    assert planes_ahead(None, (0, 0), ()) == []
