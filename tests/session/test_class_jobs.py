"""Classes proposed in a session, and accepted as one step."""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd
import pytest
from fakes import oracle_session, point

from napari_mobilesam.types import SegmentationError

pytest.importorskip('sklearn')
PLACES = {(10, 10): 220, (10, 50): 120, (10, 90): 220, (60, 10): 120}


def image():
    image = np.full((96, 128), 10, np.uint8)
    for (row, column), value in PLACES.items():
        image[row : row + 16, column : column + 16] = value
    return image


@pytest.fixture
def session():
    made = oracle_session([image()])
    yield made
    made.close()
    assert made.wait(20)


def accept(session, place, name=''):
    session.prompt(point(place[0] + 8, place[1] + 8))
    session.assign_class(name)
    return session.accept().number


def test_proposals_are_accepted_as_one_step(session):
    first, second, third, _ = PLACES
    accept(session, first, 'bright')
    accept(session, second, 'dim')
    number = accept(session, third)
    objects = session.scene.objects(False)
    # labelled by hand: no object of the session yet
    session.scene.target.data[0, 60:76, 10:26] = 9
    proposed = session.propose_classes()
    assert proposed.proposals.proposed == {number: 'bright', 9: 'dim'}
    before = session.scene.target.data.copy()
    assert session.accept_classes(proposed) == 2
    names = {record.label: record.class_name for record in objects}
    assert names == {1: 'bright', 2: 'dim', number: 'bright', 9: 'dim'}
    assert np.array_equal(session.scene.target.data, before)
    assert session.undo() == 'the class of 2 objects'
    assert {r.label: r.class_name for r in objects} == {
        1: 'bright',
        2: 'dim',
        number: '',
    }
    session.redo()
    assert objects[9].class_name == 'dim'
    # everything has a class now
    assert session.accept_classes(proposed) == 0


def test_corrections_and_changes_since_are_respected(session):
    first, second, third, fourth = PLACES
    accept(session, first, 'bright')
    accept(session, second, 'dim')
    numbers = [accept(session, third), accept(session, fourth)]
    proposed = session.propose_classes()
    session.assign_class('other', numbers[1])
    assert session.accept_classes(proposed, {numbers[0]: 'dim'}) == 1
    objects = session.scene.objects(False)
    assert objects[numbers[0]].class_name == 'dim'
    assert session.accept_classes(proposed) == 0
    assert objects[numbers[1]].class_name == 'other'


def test_all_objects_of_a_label_get_its_class(session):
    first, second, third, fourth = PLACES
    accept(session, first, 'bright')
    accept(session, second, 'dim')
    number = accept(session, third)
    session.prompt(point(fourth[0] + 8, fourth[1] + 8))
    session.accept(label=number)
    proposed = session.propose_classes()
    assert session.accept_classes(proposed, {number: 'bright'}) == 2
    rows = session.scene.target.table.set_index('index')
    assert rows['class'][number] == 'bright'


def test_the_row_of_a_label_has_the_class_of_any_of_its_objects():
    """Also if the first of them lies on another plane, and has none."""
    with contextlib.closing(oracle_session([image(), image()])) as session:
        first, second, third, _ = PLACES
        number = accept(session, third)
        session.scene.shown = 1
        accept(session, first, 'bright')
        accept(session, second, 'dim')
        session.prompt(point(third[0] + 8, third[1] + 8))
        session.assign_class('')
        session.accept(label=number)
        assert session.accept_classes(session.propose_classes()) == 1
        rows = session.scene.target.table.set_index('index')
        assert rows['class'][number] == 'bright'


def test_classes_of_labels_without_an_object_count(session):
    """Labels of a file, or of an image that was closed, have a table alone."""
    data = session.scene.objects(True).target.data
    for label, (row, column) in enumerate(PLACES, start=1):
        data[0, row : row + 16, column : column + 16] = label
    session.scene.target.set_features(
        pd.DataFrame({'index': [1, 2], 'class': ['bright', 'dim']})
    )
    proposed = session.propose_classes()
    assert proposed.proposals.proposed == {3: 'bright', 4: 'dim'}
    assert session.accept_classes(proposed, {1: 'dim', 3: 'bright'}) == 1
    objects = session.scene.objects(False)
    assert [each.label for each in objects] == [3]
    # one of them that is edited keeps its class
    assert session.open(at=(18, 58)).class_name == 'dim'
    session.click(12, 52)
    assert session.accept().class_name == 'dim'


def test_too_few_examples_say_what_to_do(session):
    with pytest.raises(SegmentationError, match='no labels'):
        session.propose_classes()
    accept(session, (10, 10), 'bright')
    with pytest.raises(SegmentationError, match='only “bright”'):
        session.propose_classes()
    with pytest.raises(SegmentationError, match='proposed is None'):
        session.accept_classes(None)


def test_cancelling_proposes_nothing(session):
    accept(session, (10, 10), 'bright')
    accept(session, (10, 50), 'dim')
    accept(session, (10, 90))
    jobs, heard = session.classifying, []
    jobs.stopped.connect(lambda: heard.append('stopped'))
    jobs.finished.connect(lambda result: heard.append('finished'))
    scene = session.scene
    jobs.start(scene.objects(False), scene.plane())
    jobs.cancel()
    assert session.finish(20)
    assert heard == ['stopped']
    assert not jobs.running
