"""Runs of segment everything: stacks, regions, cancelling, selections."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from fakes import FIRST, SECOND, blobs, oracle_session
from viewer.oracle import OracleDecoder

from napari_mobilesam.segmentation.filters import ObjectFilters
from napari_mobilesam.session import PlaneTask
from napari_mobilesam.types import EverythingParameters

PARAMETERS = EverythingParameters(
    whole_image=True, points_per_side=8, batch_size=4
)
BOTH = blobs()
ONE = BOTH.copy()
ONE[50:] = 10


@pytest.fixture
def make():
    sessions = []

    def session(*images):
        made = oracle_session(images)
        made.runs.answers = []
        made.runs.finished.connect(made.runs.answers.append)
        made.runs.selected.connect(made.runs.answers.append)
        sessions.append(made)
        return made

    yield session
    for made in sessions:
        made.close()
        assert made.wait(20)


def tasks_of(session, **options):
    return [PlaneTask(plane, **options) for plane in session.scene.stack()]


def run(session, tasks=None, parameters=PARAMETERS, **options):
    tasks = tasks or tasks_of(session)
    session.runs.start(tasks, parameters, **options)
    assert session.finish(60)
    return session.runs.answers[-1]


@pytest.mark.slow
def test_labels_and_table_of_a_plane(make):
    result = run(make(BOTH))
    (picture,) = result.pictures
    assert {picture[FIRST], picture[SECOND]} == {1, 2}
    # upscaling rounds the corners off
    assert np.count_nonzero((picture > 0) != (BOTH > 100)) == 8
    table = result.table.set_index('label')
    for label in (1, 2):
        row = table.loc[label]
        assert row['area'] == np.count_nonzero(picture == label)
        point = int(row['point_row']), int(row['point_column'])
        assert picture[point] == label
        (found,) = result.masks[label]
        assert found.plane == row['plane'] == 0
        assert found.mask.area == row['area']
    assert result.complete
    assert not result.problem
    assert result.found >= 2


@pytest.mark.slow
def test_planes_each_by_itself_share_no_label(make):
    result = run(make(BOTH, ONE))
    first, second = result.pictures
    assert len({first[FIRST], first[SECOND], second[FIRST]}) == 3
    assert sorted(result.table['plane']) == [0, 0, 1]


def test_linked_planes_share_labels(make):
    result = run(make(BOTH, ONE, BOTH), linked=True)
    at_first = {int(picture[FIRST]) for picture in result.pictures}
    assert len(at_first) == 1
    # missing on one plane only
    assert result.pictures[0][SECOND] == result.pictures[2][SECOND]
    table = result.table.set_index('label')
    assert table.loc[at_first.pop(), 'planes'] == 3
    assert table.loc[result.pictures[0][SECOND], 'planes'] == 2
    areas = sum(np.count_nonzero(picture) for picture in result.pictures)
    assert table['area'].sum() == areas
    assert {len(masks) for masks in result.masks.values()} == {2, 3}


def test_region_and_pixels_left_alone(make):
    session = make(BOTH)
    upper = np.zeros(BOTH.shape, bool)
    upper[:50] = True
    result = run(session, tasks_of(session, region=upper))
    assert result.pictures[0][FIRST]
    assert not result.pictures[0][SECOND]
    result = run(session, tasks_of(session, skip=lambda: upper))
    assert not result.pictures[0][FIRST]
    assert result.pictures[0][SECOND]


@pytest.mark.slow
def test_masks_come_while_it_runs(make):
    session = make(BOTH, ONE)
    found = []
    session.runs.found.connect(lambda *masks: found.append(masks))
    result = run(session)
    assert {number for number, _ in found} == {0, 1}
    assert sum(len(masks) for _, masks in found) == result.found


@pytest.mark.slow
def test_cancel_does_not_wait_for_the_model(make):
    session = make(BOTH)
    model = session._engine.model('oracle')
    stuck, found, ended = (threading.Event() for _ in range(3))
    session.runs.found.connect(lambda *masks: found.set())
    session.runs.finished.connect(lambda result: ended.set())
    decoder_of = model.image_decoder

    def decoder(features):
        made = decoder_of(features)
        attend = made.attend

        def hold(*args, **prompts):
            if found.is_set() and not stuck.is_set():
                model.go.clear()
                stuck.set()
            return attend(*args, **prompts)

        made.attend = hold
        return made

    model.image_decoder = decoder
    tasks = tasks_of(session)
    session.runs.start(tasks, replace(PARAMETERS, batch_size=1))
    assert stuck.wait(20)
    session.runs.cancel()
    # the model is still held in the middle of a step
    assert ended.wait(20)
    assert not model.go.is_set()
    (result,) = session.runs.answers
    assert not result.complete
    assert len(result.table) == 1
    model.go.set()
    assert session.finish(20)
    assert len(session.runs.answers) == 1


def test_cancel_before_it_begins(make):
    session = make(BOTH)
    session._engine.model('oracle').go.clear()
    session.prepare(session.scene.plane())
    session.runs.start(tasks_of(session), PARAMETERS)
    session.runs.cancel()
    assert session.runs.wait(20)
    (result,) = session.runs.answers
    assert not len(result.table)
    assert result.pictures == ()
    session._engine.model('oracle').go.set()


@pytest.mark.slow
def test_only_the_newest_run_answers(make):
    session = make(BOTH)
    first = session.runs.start(tasks_of(session), PARAMETERS)
    second = session.runs.start(tasks_of(session), PARAMETERS)
    assert session.finish(60)
    (result,) = session.runs.answers
    assert result.request.generation == second != first


@pytest.mark.slow
def test_selections_keep_labels(make):
    session = make(BOTH)
    result = run(session)
    large = int(result.table.set_index('label')['area'].idxmax())
    area = int(result.table['area'].max())
    filters = ObjectFilters(area=(area, float('inf')))
    session.runs.select(replace(result.selection, filters=filters))
    assert session.finish(20)
    fewer = session.runs.answers[-1]
    assert fewer.table['label'].tolist() == [large]
    assert set(np.unique(fewer.pictures[0])) == {0, large}
    session.runs.select(result.selection)
    assert session.finish(20)
    again = session.runs.answers[-1]
    np.testing.assert_array_equal(again.pictures[0], result.pictures[0])


@pytest.mark.slow
def test_selection_can_go_below_the_thresholds_of_the_run(make):
    session = make(BOTH)
    result = run(session, parameters=replace(PARAMETERS, predicted_iou=0.98))
    assert not len(result.table)
    assert result.found
    assert result.extent.predicted_iou == pytest.approx(0.88)
    session.runs.select(replace(result.selection, predicted_iou=0.9))
    assert session.finish(20)
    assert len(session.runs.answers[-1].table) == 2


@pytest.mark.slow
def test_extent_says_what_filters_reach(make):
    extent = run(make(BOTH)).extent
    assert extent.area == (24 * 24 - 4, 24 * 32 - 4)
    assert extent.intensity == (10, 200)


@pytest.mark.slow
def test_outlines_are_made_if_they_are_asked_for(make):
    session = make(BOTH)
    assert run(session).outlines == ()
    (outlines,) = run(session, outlined=True).outlines
    corners = {tuple(outline.min(axis=0)) for outline in outlines}
    assert corners == {(15.5, 19.5), (55.5, 71.5)}


def test_a_plane_that_cannot_be_read_keeps_those_before(make):
    session = make(BOTH, ONE)
    failed = []
    session.failed.connect(lambda *what: failed.append(what))
    good, bad = session.scene.stack()

    def broken():
        raise OSError('the disk is gone')

    bad = replace(bad, key='bad', read=broken)
    result = run(session, [PlaneTask(good), PlaneTask(bad)])
    assert result.problem == 'the disk is gone'
    assert not result.complete
    assert len(result.pictures) == 1
    assert len(result.table) == 2
    assert not failed
    session.runs.start([PlaneTask(bad)], PARAMETERS)
    assert session.finish(20)
    assert failed == [('the disk is gone', 'everything')]
    assert len(session.runs.answers) == 1


def test_a_plane_that_fails_in_the_middle_keeps_its_masks(make, monkeypatch):
    session, attend = make(BOTH), OracleDecoder.attend

    def fail(self, *args, **options):
        if session.runs._runs.current.fresh:
            raise RuntimeError('CUDA out of memory')
        return attend(self, *args, **options)

    monkeypatch.setattr(OracleDecoder, 'attend', fail)
    result = run(session)
    assert 'memory' in result.problem
    assert not result.complete
    assert len(result.table) > 0


@pytest.mark.slow
def test_clicks_and_runs_share_one_embedding(make):
    session = make(BOTH)
    (plane,) = session.scene.stack()
    by_size = replace(PARAMETERS, whole_image=False, diameter=11.0)
    run(session, parameters=by_size)
    model = session.models.loaded()
    image = session._engine.image(plane, model)
    embedded = image.embedded_pixels
    assert embedded
    scale = image.grid.pitch_for(11.0)
    assert image.has(FIRST, scale)
    assert image.has(SECOND, scale)
    run(session, parameters=by_size)
    assert image.embedded_pixels == embedded


@pytest.mark.slow
def test_the_search_for_the_size_of_objects_is_reported(make):
    session = make(BOTH, ONE)
    reports = []
    session.runs.progress.connect(lambda *step: reports.append(step))
    run(session, parameters=replace(PARAMETERS, whole_image=False))
    measuring = [step for step in reports if 'Measuring the size' in step[2]]
    names = [plane.name for plane in session.scene.stack()]
    assert measuring == [
        (1000 * n, 2000, f'{name}: Measuring the size of the objects')
        for n, name in enumerate(names)
    ]
    # before anything is done on the plane
    assert reports[0] == measuring[0]
    reports.clear()
    run(session)
    assert not [step for step in reports if 'Measuring the size' in step[2]]
