"""Estimates, edges, proposals and boxes in the background."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import FIRST, SECOND, blobs, oracle_session

from napari_mobilesam.segmentation import box_prompts
from napari_mobilesam.session import PlaneTask
from napari_mobilesam.types import EverythingParameters, ModelRecord

PARAMETERS = EverythingParameters(
    whole_image=True, points_per_side=8, batch_size=4
)
IMAGE = blobs()


@pytest.fixture
def session():
    made = oracle_session([IMAGE, IMAGE])
    yield made
    made.close()
    assert made.wait(20)


@pytest.fixture
def task(session):
    return PlaneTask(session.scene.plane())


@pytest.fixture
def answers(session):
    values = []
    session.runs.jobs.finished.connect(values.append)
    return values


@pytest.mark.slow
def test_estimate_counts_prompts_of_all_planes(session):
    estimates = []
    jobs = session.runs.jobs
    jobs.estimated.connect(estimates.append)
    tasks = [PlaneTask(plane) for plane in session.scene.stack()]
    jobs.estimate(tasks, PARAMETERS)
    assert session.finish(30)
    jobs.estimate(tasks[:1], PARAMETERS)
    assert session.finish(30)
    both, one = estimates
    assert both.prompts == 2 * one.prompts
    assert both.seconds == pytest.approx(2 * one.seconds)
    assert both.memory_bytes == one.memory_bytes


@pytest.mark.slow
def test_estimate_follows_region_and_pixels_left_alone(session):
    estimates = []
    jobs = session.runs.jobs
    jobs.estimated.connect(estimates.append)
    plane = session.scene.plane()
    half = np.zeros(plane.shape, bool)
    half[:48] = True
    for task in (
        PlaneTask(plane),
        PlaneTask(plane, region=half),
        PlaneTask(plane, skip=lambda: half),
    ):
        jobs.estimate([task], PARAMETERS)
        assert session.finish(30)
    whole, inside, outside = (estimate.prompts for estimate in estimates)
    assert abs(inside + outside - whole) <= 1  # a rounded share each
    assert 0 < inside < whole


def test_only_the_newest_estimate_is_told(session, task):
    estimates = []
    jobs = session.runs.jobs
    jobs.estimated.connect(estimates.append)
    session._engine.model('oracle').go.clear()
    jobs.estimate([task], PARAMETERS)
    jobs.forget_estimate()
    session._engine.model('oracle').go.set()
    assert session.finish(30)
    assert estimates == []


@pytest.fixture
def search(monkeypatch):
    """Stand-in for the search for the object size: what happens during it."""
    from napari_mobilesam.segmentation import object_size

    done = []

    def find(image, guess, between):
        for happen in done.copy():
            happen()
        between()
        done.append('found')
        return [20.0]

    monkeypatch.setattr(object_size, 'find_diameters', find)
    return done


@pytest.mark.slow
def test_a_click_does_not_wait_for_the_object_size(session, task, search):
    jobs = session.runs.jobs
    worker = jobs._services.worker
    search.append(
        lambda: worker.submit('prompts', lambda: search.append('clicked'))
    )
    jobs.estimate([task], EverythingParameters())
    assert session.finish(30)
    assert search[1:] == ['clicked', 'found']


@pytest.mark.slow
def test_an_estimate_that_nobody_waits_for_stops(session, task, search):
    estimates = []
    jobs = session.runs.jobs
    jobs.estimated.connect(estimates.append)
    search.append(jobs.forget_estimate)
    jobs.estimate([task], EverythingParameters())
    assert session.finish(30)
    assert 'found' not in search
    assert estimates == []


@pytest.mark.slow
def test_a_run_is_cancelled_while_the_object_size_is_found(
    session, task, search
):
    results = []
    runs = session.runs
    runs.finished.connect(results.append)
    search.append(runs.cancel)
    runs.start([task], EverythingParameters())
    assert session.finish(30)
    (result,) = results
    assert not result.complete
    assert 'found' not in search


@pytest.mark.slow
def test_edges_lie_on_the_borders_of_objects(session, task, answers):
    # half as many points are asked
    per_side = 2 * PARAMETERS.points_per_side
    session.runs.jobs.edges(
        task, replace(PARAMETERS, points_per_side=per_side)
    )
    assert session.finish(30)
    (answer,) = answers
    assert answer.complete
    edges = answer.value
    assert edges.shape == IMAGE.shape
    assert edges[FIRST] == edges[SECOND] == edges[2, 2] == 0
    assert edges[28, 17:23].max() > 0.1


def test_edges_heed_the_points_per_side(session, task):
    totals = []
    session.runs.jobs.progress.connect(
        lambda done, total, _: totals.append(total)
    )
    session.runs.jobs.edges(task, PARAMETERS)
    assert session.finish(30)
    assert totals[0] == (PARAMETERS.points_per_side // 2) ** 2


def test_proposals_ask_no_more_points_than_there_can_be(session, task):
    totals = []
    session.runs.jobs.progress.connect(
        lambda done, total, _: (
            totals.append(total),
            session.runs.jobs.cancel(),
        )
    )
    session.runs.jobs.proposals(task, replace(PARAMETERS, points_per_side=200))
    assert session.finish(30)
    assert totals[0] == 256**2


@pytest.mark.slow
def test_proposals_are_boxes_around_objects(session, task, answers):
    session.runs.jobs.proposals(task, PARAMETERS)
    assert session.finish(30)
    table = answers[0].value
    boxes = table[['row0', 'column0', 'row1', 'column1']].to_numpy()
    assert sorted(map(tuple, boxes)) == [(16, 20, 40, 44), (56, 72, 80, 104)]


@pytest.mark.slow
def test_boxes_become_objects(session, task, answers):
    boxes = np.array([[56.0, 72, 80, 104], [16, 20, 40, 44]])
    session.runs.jobs.boxes(task, boxes)
    assert session.finish(30)
    labels, table = answers[0].value
    assert labels[SECOND] == 1
    assert labels[FIRST] == 2
    assert table['label'].tolist() == [1, 2]


def test_cancelled_jobs_give_what_they_have(session, task, answers):
    jobs, started = session.runs.jobs, threading.Event()

    def hold(done, total, message):
        # told on the worker thread, there being no other one
        started.set()
        jobs.cancel()

    jobs.progress.connect(hold)
    jobs.edges(task, PARAMETERS)
    assert session.finish(30)
    assert started.is_set()
    (answer,) = answers
    assert not answer.complete
    assert not answer.value.any()


def test_accepted_objects_do_not_wait_for_the_end_of_a_job(session, task):
    jobs, served = session.runs.jobs, []

    def accept(*args):
        jobs._services.worker.submit('accepted', lambda: served.append(jobs))

    jobs.progress.connect(accept)
    jobs.edges(task, PARAMETERS)
    assert session.finish(30)
    # else only the last one
    assert len(served) > 1


@pytest.mark.slow
def test_a_new_job_replaces_the_one_before(session, task, answers):
    session.runs.jobs.edges(task, PARAMETERS)
    number = session.runs.jobs.proposals(task, PARAMETERS)
    assert session.finish(30)
    assert [answer.number for answer in answers] == [number]


def test_failures_are_told_in_one_sentence(session, task, answers):
    failures = []
    session.failed.connect(lambda *what: failures.append(what))
    session.runs.jobs.boxes(task, np.array([[1.0, 1, 1, 9]]))
    assert session.finish(30)
    ((text, whom),) = failures
    assert whom == 'everything'
    assert 'area' in text
    assert answers == []


def test_a_job_that_ends_the_thread_is_told(session, task, monkeypatch):
    failures = []
    session.failed.connect(lambda *what: failures.append(what))

    def leave(*given, **options):
        raise SystemExit(3)

    monkeypatch.setattr(box_prompts, 'segment_boxes', leave)
    session.runs.jobs.boxes(task, np.zeros((1, 4)))
    assert session.finish(30)
    assert failures == [('Unexpected SystemExit: 3', 'everything')]


def test_an_estimate_learns_from_the_run_before(session, task, monkeypatch):
    """The same run again has the same prompts and duration."""
    from napari_mobilesam.segmentation import machine_speed
    from napari_mobilesam.segmentation.cost_history import Speed
    from napari_mobilesam.session.everything import (
        everything_runs as everything_run,
    )

    speed = Speed(embedding=0.5, prompt=0.05, mask=0.005)
    monkeypatch.setattr(machine_speed, 'measure_speed', lambda model: speed)
    monkeypatch.setattr(machine_speed, 'known_speed', lambda model: speed)
    # a machine on which every run takes five seconds
    ticks = itertools.count(0, 5)
    monkeypatch.setattr(
        everything_run, 'time', SimpleNamespace(perf_counter=ticks.__next__)
    )
    estimates = []
    runs = session.runs
    runs.jobs.estimated.connect(estimates.append)
    parameters = EverythingParameters(points_per_side=16, whole_image=True)
    for _ in range(2):
        runs.jobs.estimate([task], parameters)
        assert session.finish(30)
        runs.start([task], parameters)
        assert session.finish(30)
    first, second = estimates
    real = runs._runs.current.planes[0]
    assert first.prompts != real.prompts
    assert (second.prompts, second.windows) == (real.prompts, real.windows)
    assert first.seconds != pytest.approx(5, rel=0.3)
    assert second.seconds == pytest.approx(5, rel=0.3)
    # an embedding for a click says so, too
    session.prepare(session.scene.plane_at(1))
    assert session.finish(30)


def test_what_is_embedded_takes_no_time(monkeypatch):
    """After half of the prompts, half of the time is left."""
    from napari_mobilesam.model.versions import LatestOnly
    from napari_mobilesam.segmentation import machine_speed
    from napari_mobilesam.segmentation.cost_history import CostHistory, Speed
    from napari_mobilesam.session.everything.pace import PlaneWork

    speed = Speed(embedding=9.0, prompt=0.01, mask=0.0)
    monkeypatch.setattr(machine_speed, 'known_speed', lambda model: speed)
    plane = SimpleNamespace(shape=(400, 300), place='image')
    task = SimpleNamespace(plane=plane, region=None)
    model = SimpleNamespace(record=ModelRecord('model'))
    shares = []
    for embedded in True, False:
        image = SimpleNamespace(
            model=model,
            knows=lambda block, known=embedded: known,
            kept_maps=LatestOnly(),
        )
        work = PlaneWork(
            CostHistory(),
            task,
            None,
            EverythingParameters(diameter=40),
            image,
            40,
        )
        expected = work._expected.prompts
        work.note(expected // 2, 0)
        shares.append(work.share)
    assert shares[0] == pytest.approx(0.5, abs=0.05)
    assert shares[1] < 0.1


@pytest.mark.slow
def test_a_cancelled_run_says_nothing_of_prompts(session, task, monkeypatch):
    estimates = []
    runs = session.runs
    runs.jobs.estimated.connect(estimates.append)
    runs.jobs.estimate([task], PARAMETERS)
    assert session.finish(30)
    runs.progress.connect(lambda *step: runs.cancel())
    runs.start([task], PARAMETERS)
    assert session.finish(30)
    runs.jobs.estimate([task], PARAMETERS)
    assert session.finish(30)
    first, second = estimates
    assert first.prompts == second.prompts


def test_embeddings_for_clicks_tell_how_busy_the_machine_is(monkeypatch):
    from napari_mobilesam.segmentation import machine_speed
    from napari_mobilesam.segmentation.cost_history import CostHistory, Speed
    from napari_mobilesam.session.everything.pace import EmbeddingWatch

    speed = Speed(embedding=1.0, prompt=0.01, mask=0.001)
    monkeypatch.setattr(machine_speed, 'known_speed', lambda model: speed)
    experience = CostHistory(lambda: 0.0)
    watch, model = EmbeddingWatch(experience), SimpleNamespace(key='a')
    watch(model, 9.0)  # the first one of a model
    assert experience.pace == 1
    watch(model, 2.0)
    assert experience.pace == pytest.approx(2, rel=0.1)
    watch(SimpleNamespace(key='b'), 9.0)
    assert experience.pace == pytest.approx(2, rel=0.1)


@pytest.mark.slow
def test_the_search_for_the_sizes_of_planes_is_counted(session, search):
    estimates = []
    jobs = session.runs.jobs
    jobs.estimated.connect(estimates.append)
    search.append(lambda: time.sleep(0.3))
    tasks = [PlaneTask(plane) for plane in session.scene.stack()]
    for some in (tasks, tasks[:1], tasks):
        jobs.estimate(some, EverythingParameters())
        assert session.finish(30)
    both, one, again = estimates
    assert both.seconds > 2 * one.seconds + 0.25
    # known by now, but not for the other plane
    assert again.seconds > 2 * one.seconds + 0.25
