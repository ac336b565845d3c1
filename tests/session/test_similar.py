"""Find similar in a session: into the labels, as one step."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import oracle_session, point

from napari_mobilesam.session.everything.queries import (
    MOST_EXAMPLES,
    examples_on,
)
from napari_mobilesam.types import SegmentationError

SMALL = [(10, 10), (10, 60), (40, 100), (70, 20)]


def image():
    """Four squares of 12 pixels, and one of 44."""
    image = np.full((96, 128), 10, np.uint8)
    for row, column in SMALL:
        image[row : row + 12, column : column + 12] = 200
    image[44:88, 44:88] = 200
    return image


@pytest.fixture
def session():
    made = oracle_session([image()])
    yield made
    made.close()
    assert made.wait(20)


@pytest.mark.slow
def test_similar_objects_are_added_as_one_step(session):
    session.prompt(point(15, 15))
    session.accept()
    labels = session.scene.target.data[0]
    before = labels.copy()
    result = session.find_similar()
    assert len(result.table) == 3
    assert (result.table['similarity'] >= 0.1).all()
    assert len(np.unique(labels)) == 5
    assert np.array_equal(labels[before > 0], before[before > 0])
    objects = session.scene.objects(False)
    assert {record.origin for record in objects} == {'prompts', 'everything'}
    assert session.undo() == '3 objects'
    assert np.array_equal(labels, before)
    session.redo()
    assert len(np.unique(labels)) == 5


def test_without_examples_it_says_what_to_do(session):
    with pytest.raises(SegmentationError, match='accept at least one'):
        session.find_similar()
    session.scene.objects(True)
    with pytest.raises(SegmentationError, match='no object on z 0'):
        session.find_similar()
    session.scene.target.data[0, 10:22, 10:22] = 4
    with pytest.raises(SegmentationError, match='no such object'):
        session.find_similar([7])
    assert set(np.unique(session.scene.target.data)) == {0, 4}
    assert len(session.find_similar([4]).table) == 3


def test_examples_are_bounded(session):
    objects = session.scene.objects(True)
    grid = np.arange(1, 81).reshape(8, 10)
    session.scene.target.data[0, :80:1, :100] = np.kron(
        grid, np.ones((10, 10), int)
    )
    examples = examples_on(objects.target, session.scene.plane())
    assert len(examples.masks) == MOST_EXAMPLES
    assert all(mask.area == 100 for mask in examples.masks)
