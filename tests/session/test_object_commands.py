"""Blocking commands of scripts and the console."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FIRST, SECOND, blobs, oracle_session

from napari_mobilesam.types import PromptError, SegmentationError


@pytest.fixture
def session():
    session = oracle_session([blobs()])
    yield session
    session.close()


def area(session, label):
    return int((session.scene.target.data == label).sum())


def test_click_returns_the_masks(session):
    candidates = session.click(*FIRST)
    assert len(candidates.masks) == 3
    assert session.click(2, 2, positive=False) is not None
    assert session.editor.record.prompts == 2


def test_click_on_nothing_returns_none(session):
    assert session.click(2, 2) is None


@pytest.mark.parametrize(
    'prompt',
    [
        lambda s: s.box(16, 20, 40, 44),
        lambda s: s.scribble([(20, 24), (36, 40)]),
        lambda s: s.outline([(14, 18), (14, 46), (42, 46), (42, 18)]),
    ],
    ids=['box', 'scribble', 'outline'],
)
def test_every_kind_of_prompt_finds_the_object(session, prompt):
    candidates = prompt(session)
    assert candidates.mask.area == pytest.approx(24 * 24, rel=0.1)
    record = session.accept()
    assert area(session, record.label) == candidates.mask.area


def test_accept_undo_redo_open_delete(session):
    for place in (FIRST, SECOND):
        session.click(*place)
        session.accept()
    assert session.undo() == 'object 2'
    assert session.redo() == 'object 2'
    assert session.open(at=FIRST).number == 1
    assert session.next().number == 2
    assert session.previous().number == 1
    assert session.next_uncertain() is None
    session.open(1)
    assert session.delete() == 1
    assert (area(session, 1), area(session, 2) > 400) == (0, True)
    assert session.undo() == 'deleting object 1'


def test_an_undone_change_is_told_from_an_undone_object(session):
    session.click(*FIRST)
    session.accept()
    session.open(1)
    session.click(*SECOND)
    session.accept()
    assert session.undo() == 'change of object 1'
    assert session.undo() == 'object 1'


def test_choose_and_reject(session):
    candidates = session.click(*FIRST)
    other = (candidates.chosen + 1) % 3
    session.choose(other)
    plane = session.scene.plane()
    assert session.editor.view(plane).candidates.chosen == other
    session.reject()
    assert session.editor.record.empty


def test_classes(session):
    session.assign_class('nucleus')
    session.click(*FIRST)
    assert session.accept().class_name == 'nucleus'
    session.assign_class('debris', 1)
    assert session.scene.objects(False)[1].class_name == 'debris'
    assert session.undo() == 'the class of object 1'
    assert session.scene.objects(False)[1].class_name == 'nucleus'


def test_errors_are_raised_where_they_are_made(session):
    with pytest.raises(PromptError, match='outside the image'):
        session.click(-50, 0)
    with pytest.raises(SegmentationError, match='Which object'):
        session.open()

    def broken(*args):
        raise MemoryError

    session._engine.predict = broken
    with pytest.raises(SegmentationError, match='Not enough memory'):
        session.click(*FIRST)


def test_session_without_a_viewer_takes_planes(session):
    plane = session.scene.plane()
    session.scene = None
    with pytest.raises(SegmentationError, match='no viewer'):
        session.click(*FIRST)
    assert session.click(*FIRST, plane=plane) is not None


def test_answers_come_though_no_event_loop_runs():
    waiting = []
    session = oracle_session([blobs()], deliver=waiting.append)
    assert session.click(*FIRST) is not None
    session.accept()
    assert area(session, 1) > 400
    # what the event loop would do later does nothing twice
    for function in waiting:
        function()
    assert np.unique(session.scene.target.data).tolist() == [0, 1]
    session.close()


ODD = {
    'none': None,
    'text': 'x',
    'nan': float('nan'),
    'list': [1],
    'object': object(),
    'dict': {},
    'array': np.zeros((2, 2, 2)),
}


@pytest.mark.parametrize(
    ('command', 'allowed'),
    [
        (lambda s, odd: s.click(odd, 3), ''),
        (lambda s, odd: s.click(3, 3, positive=odd), ''),
        (lambda s, odd: s.box(odd, 3, 20, 20), ''),
        (lambda s, odd: s.box(3, 3, 20, odd), ''),
        (lambda s, odd: s.scribble(odd), ''),
        (lambda s, odd: s.outline(odd), ''),
        (lambda s, odd: s.prompt(odd), ''),
        (lambda s, odd: s.choose(odd), ''),
        (lambda s, odd: s.accept(odd), 'none'),
        (lambda s, odd: s.open(odd), ''),
        (lambda s, odd: s.open(at=odd), ''),
        (lambda s, odd: s.batch(odd), 'dict'),
        (lambda s, odd: s.batch([], overlaps=odd), ''),
        (lambda s, odd: s.find_similar(odd), ''),
        (lambda s, odd: s.refine(odd), ''),
        (lambda s, odd: s.save(odd), 'text'),
        (lambda s, odd: s.load(odd), 'text'),
        (lambda s, odd: s.autosave(odd), 'none text'),
        (lambda s, odd: s.color_by_class(odd), ''),
        (lambda s, odd: s.segment_everything(odd), 'none'),
        (lambda s, odd: s.segment_everything(parameters=odd), 'none'),
        (lambda s, odd: s.segment_everything(regions=odd), 'none'),
        (lambda s, odd: s.segment_everything(regions=[odd]), 'none'),
        (lambda s, odd: s.segment_everything(linked=odd), ''),
        (lambda s, odd: s.segment_everything(overwrite=odd), ''),
        (lambda s, odd: s.segment_everything(semantic=odd), ''),
        (lambda s, odd: s.filter_everything(odd), ''),
    ],
)
def test_odd_arguments_are_refused(session, command, allowed):
    session.click(*FIRST)
    for name, odd in ODD.items():
        if name not in allowed.split():
            with pytest.raises(SegmentationError):
                command(session, odd)
    # and the open object is as it was
    assert session.accept().label == 1


@pytest.mark.parametrize(
    'vertices',
    [
        [(1, 1)],
        [(1, 1), (30, 40)],
        [(1, 1), (20, 20), (30, 30)],
        [(200, 1), (220, 1), (220, 20)],
    ],
    ids=['point', 'line', 'on a line', 'outside'],
)
def test_an_outline_without_area_is_refused(session, vertices):
    with pytest.raises(PromptError, match='The outline has no area'):
        session.outline(vertices)


@pytest.mark.parametrize('index', [-1, 3, 99, 1.5])
def test_a_mask_that_is_not_there_cannot_be_chosen(session, index):
    session.click(*FIRST)
    with pytest.raises(SegmentationError, match='index'):
        session.choose(index)


def test_what_a_number_has_to_be_is_said(session):
    with pytest.raises(SegmentationError, match='has to be a number.$'):
        session.click('x', 3)
    with pytest.raises(SegmentationError, match='has to be finite.$'):
        session.click(float('nan'), 3)
    session.click(*FIRST)
    with pytest.raises(SegmentationError, match='from 0 to 2.$'):
        session.choose(7)
