"""Segment everything from the console, and as a script."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from fakes import FIRST, SECOND, blobs, oracle_session

from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.segmentation.filters import ObjectFilters
from napari_mobilesam.session.everything.run_code import code_of
from napari_mobilesam.session.files.script_check import is_replay_script
from napari_mobilesam.session.objects.mask_text import mask_from
from napari_mobilesam.types import (
    EverythingParameters,
    ImageError,
    Mask,
    SegmentationError,
)

IMAGES = [np.roll(blobs(), 3 * z, axis=1) for z in range(3)]
# at which the oracle sees both squares, of 576 and 768 pixels
PARAMETERS = EverythingParameters(diameter=20.0)
SMALL, LARGE = (0.0, 600.0), (600.0, 9999.0)


@pytest.fixture
def sessions():
    """Factory of sessions on the same images; closes them."""
    made = []

    def make():
        made.append(oracle_session(IMAGES))
        return made[-1]

    yield make
    for session in made:
        session.close()


def selection(session, area=None, **values):
    return replace(
        Selection.of(EverythingParameters()),
        filters=ObjectFilters(area=area),
        **values,
    )


def replayed(session, sessions):
    """Run the script of a session; return the session that it made."""
    script = session.script()
    assert 'cannot be repeated' not in script
    names = {'new_session': sessions}
    exec(compile(script, 'script.py', 'exec'), names)  # noqa: S102
    return names['session']


def same(first, second):
    data, other = first.scene.target.data, second.scene.target.data
    table = first.scene.target.table
    return np.array_equal(data, other) and table.equals(
        second.scene.target.table
    )


def labels(session):
    return set(np.unique(session.scene.target.data).tolist()) - {0}


@pytest.mark.slow
def test_everything_is_added_as_one_step(sessions):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    result = session.segment_everything(None, PARAMETERS)
    assert len(result.masks) == 1
    assert labels(session) == {1, 2}
    assert session.undo() == '1 object'
    assert labels(session) == {1}


def test_filters_of_the_last_run(sessions):
    session = sessions()
    with pytest.raises(SegmentationError, match='no run to filter'):
        session.filter_everything(Selection())
    for odd in ({'predicted_iou': math.nan}, {'min_area': -4}, {'overlap': 2}):
        with pytest.raises(SegmentationError, match=f'{next(iter(odd))} is'):
            Selection(**odd)
    session.segment_everything(None, PARAMETERS)
    before = session.scene.target.data.copy()
    session.filter_everything(selection(session, LARGE))
    assert len(labels(session)) == 1
    session.undo()
    assert np.array_equal(session.scene.target.data, before)
    session.undo()
    with pytest.raises(SegmentationError, match='it was undone'):
        session.filter_everything(Selection())


def test_regions_planes_and_links(sessions):
    session = sessions()
    stack = session.scene.stack()
    half = np.zeros(IMAGES[0].shape, bool)
    half[:48] = True
    corner = Mask(np.ones((40, 50), bool), (50, 60, 90, 110), 1.0)
    session.segment_everything(
        stack, PARAMETERS, regions=[half, corner, None], linked=True
    )
    data = session.scene.target.data
    assert data[0, 28, 32] == data[2, 28, 38] > 0
    assert data[0, 68, 88] == 0
    assert data[1, 28, 35] == 0
    assert data[1, 68, 91] == data[2, 68, 94] > 0
    again = replayed(session, sessions)
    assert same(session, again)
    assert 'mask_from(' in session.script()


def test_regions_that_do_not_fit(sessions):
    session = sessions()
    outside = Mask(np.ones((4, 4), bool), (94, 0, 98, 4), 1.0)
    with pytest.raises(ImageError, match='of the shape'):
        session.segment_everything(regions=[outside])
    with pytest.raises(ImageError, match='of the shape'):
        session.segment_everything(regions=[np.ones((3, 3), bool)])
    with pytest.raises(ImageError, match='of the shape'):
        session.segment_everything(regions=[np.full(IMAGES[0].shape, 0.2)])
    with pytest.raises(SegmentationError, match='a list of 1'):
        session.segment_everything(regions=[None, None])


@pytest.mark.parametrize(
    'parameters, why',
    [
        (EverythingParameters(points_per_side=0), 'points_per_side is 0'),
        (0.9, 'parameters is 0.9'),
    ],
)
def test_parameters_that_cannot_be_used(sessions, parameters, why):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    for command in (
        session.segment_everything,
        session.find_similar,
        partial(session.segment_text, 'cell'),
    ):
        with pytest.raises(SegmentationError, match=why):
            command(parameters=parameters)


def test_overwrite_and_semantic(sessions):
    session = sessions()
    objects = session.scene.objects(True)
    objects.target.data[0, 20:30, 24:30] = 7
    session.segment_everything(None, PARAMETERS, overwrite=True, semantic=True)
    assert labels(session) == {8}
    script = session.script()
    assert 'overwrite=True' in script
    assert 'semantic=True' in script


def test_script_repeats_runs_filters_and_corrections(sessions):
    session = sessions()
    session.segment_everything(None, PARAMETERS)
    session.filter_everything(selection(session, LARGE))
    session.open(at=SECOND)
    # unchanged: kept
    session.accept()
    session.filter_everything(selection(session, SMALL))
    assert labels(session) == {1, 2}
    session.open(at=FIRST)
    session.click(60, 10, positive=False)
    session.accept()
    session.scene.shown = 1
    session.click(68, 91)
    session.accept()
    session.segment_everything(None, PARAMETERS)
    session.open(at=(28, 35))
    session.delete()
    again = replayed(session, sessions)
    assert same(session, again)
    assert again.script() == session.script()
    assert [r.reviewed for r in again.scene.objects(False)] == [
        r.reviewed for r in session.scene.objects(False)
    ]


@pytest.mark.slow
def test_script_repeats_similar_objects(sessions):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    result = session.find_similar(similarity=0.05)
    assert len(result.masks) == 1
    again = replayed(session, sessions)
    assert same(session, again)


@pytest.mark.slow
def test_script_repeats_labels_of_filters_that_were_merged(sessions):
    """Positions of a slider are one step, with the labels given on the way."""
    session = sessions()
    session.segment_everything(None, PARAMETERS)
    session.undo()
    # a run in which the second object is found first
    commands = session._everything_commands
    result = session.segment_everything(None, PARAMETERS)
    output = commands._output
    session.filter_everything(selection(session, (0.0, 1.0)))
    runs, waiter = session.runs, commands._parts.waiter
    for area in (LARGE, SMALL, None):
        chosen = selection(session, area)
        output.write(
            waiter.answer(runs.selected, lambda c=chosen: runs.select(c)),
            'slider',
        )
    assert len(result.masks) == 2
    script = session.script()
    assert script.count('# change of the filters') == 2
    assert same(session, replayed(session, sessions))


def test_what_follows_a_run_that_cannot_be_repeated_is_a_comment(sessions):
    session = sessions()
    session.runs.found.connect(lambda *args: session.cancel())
    result = session.segment_everything(
        None, replace(PARAMETERS, adaptive=False, batch_size=1)
    )
    assert not result.complete
    assert labels(session)
    number = next(iter(session.scene.objects(False))).number
    session.open(number)
    session.accept()
    session.filter_everything(selection(session))
    session.click(68, 91, plane=session.scene.plane_at(1))
    session.accept()
    lines = session.script().splitlines()
    assert sum('cannot be repeated' in line for line in lines) >= 2
    assert not any('session.open' in line for line in lines)
    assert not any('session.filter_everything' in line for line in lines)
    assert any('session.click' in line for line in lines)
    names = {'new_session': sessions}
    exec('\n'.join(lines), names)  # noqa: S102
    assert len(labels(names['session'])) == 1


@pytest.mark.slow
def test_a_session_file_keeps_the_script_of_a_run(sessions, tmp_path):
    session = sessions()
    session.segment_everything(None, PARAMETERS)
    session.filter_everything(selection(session, LARGE))
    session.save(tmp_path / 'one.session')
    again = sessions()
    again.load(tmp_path / 'one.session')
    assert same(session, replayed(again, sessions))


@pytest.mark.slow
def test_script_has_open_ranges_of_sliders(sessions):
    session = sessions()
    session.segment_everything(None, PARAMETERS)
    least = (float('-inf'), 600.0)
    session.filter_everything(selection(session, least))
    assert "float('-inf')" in session.script()
    assert is_replay_script(session.script().splitlines()[-1:])
    assert same(session, replayed(session, sessions))


def test_code_of_values_has_what_was_changed():
    chosen = Selection(
        np.float64(0.5), filters=ObjectFilters(area=(1.0, float(2)))
    )
    code = code_of(chosen)
    assert code == (
        'Selection(predicted_iou=0.5, filters=ObjectFilters(area=[1.0, 2.0]))'
    )
    names = {'Selection': Selection, 'ObjectFilters': ObjectFilters}
    assert eval(code, names).filters.area == [1.0, 2.0]  # noqa: S307
    assert code_of(EverythingParameters()) == 'EverythingParameters()'


@pytest.mark.slow
def test_regions_are_packed(sessions):
    session = sessions()
    half = np.zeros(IMAGES[0].shape, bool)
    half[:48] = True
    session.segment_everything(None, PARAMETERS, regions=[half])
    text = session.script().split('mask_from(')[1].split("'")[1]
    assert mask_from(text).box == (0, 0, 48, 128)
