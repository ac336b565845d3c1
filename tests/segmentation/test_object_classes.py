"""Classes proposed from a few examples of each."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from viewer.oracle import OracleSam

import napari_mobilesam as nm
from napari_mobilesam.segmentation.object_classes import (
    ClassesError,
    ClassProposals,
)
from napari_mobilesam.types import SegmentationError

pytest.importorskip('sklearn')


@pytest.fixture(scope='module')
def objects():
    """Six bright and six dim squares; the last two are hard to tell."""
    image = np.full((96, 128), 10, np.uint8)
    labels = np.zeros(image.shape, np.uint16)
    kinds = {}
    for number in range(12):
        row, column = 4 + 32 * (number // 4), 4 + 32 * (number % 4)
        bright = number % 2 == 0
        value = (220 if bright else 120) + number
        image[row : row + 20, column : column + 20] = value
        labels[row : row + 20, column : column + 20] = number + 1
        kinds[number + 1] = 'bright' if bright else 'dim'
    image[labels == 12] = 168
    return image, labels, kinds


@pytest.mark.slow
def test_classes_of_the_others_are_proposed(objects):
    image, labels, kinds = objects
    known = {label: kinds[label] for label in (1, 2, 3, 4)}
    steps = []
    proposals = nm.propose_classes(
        image,
        OracleSam(),
        labels,
        known,
        progress=lambda done, total, text: steps.append((done, total)),
    )
    proposed = proposals.proposed
    assert set(proposed) == set(kinds) - set(known)
    sure = {label: name for label, name in proposed.items() if label != 12}
    assert sure == {label: kinds[label] for label in sure}
    # between the two kinds: the least certain comes first
    assert next(iter(proposed)) == 12
    table = proposals.table()
    assert list(table.columns) == ['label', 'class', 'probability']
    assert table['probability'].is_monotonic_increasing
    assert table['probability'].between(0.5, 1).all()
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1]


def test_all_known_leaves_nothing(objects):
    image, labels, kinds = objects
    proposals = nm.propose_classes(image, OracleSam(), labels, kinds)
    assert proposals.proposed == {}
    assert len(proposals.table()) == 0


@pytest.mark.parametrize(
    ('known', 'message'),
    [
        ({}, 'there is none'),
        ({1: 'a', 2: 'a'}, 'only “a”'),
        ({1: 'a', 99: 'b'}, 'no object 99'),
        ({1: 'a', 2: '', 3: math.nan, 4: pd.NA}, 'only “a”'),
        (5, 'mapping of labels'),
    ],
)
def test_bad_classes_are_refused(objects, known, message):
    image, labels, _ = objects
    with pytest.raises(ClassesError, match=message):
        nm.propose_classes(image, OracleSam(), labels, known)


def test_bad_labels_and_cancelling(objects):
    image, labels, kinds = objects
    known = {1: 'bright', 2: 'dim'}
    with pytest.raises(SegmentationError, match='shape'):
        nm.propose_classes(image, OracleSam(), labels[:50], known)
    with pytest.raises(ClassesError, match='Stopped'):
        nm.propose_classes(
            image, OracleSam(), labels, known, cancelled=lambda: True
        )


def test_without_scikit_learn_it_says_what_to_install(objects, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'sklearn', None)
    image, labels, kinds = objects
    with pytest.raises(ImportError, match=r'napari-mobilesam\[classify\]'):
        nm.propose_classes(image, OracleSam(), labels, kinds)


def test_proposals_are_ranked_by_the_best_class():
    proposals = ClassProposals(
        np.array([4, 9]), ('a', 'b'), np.array([[0.6, 0.4], [0.1, 0.9]])
    )
    assert proposals.proposed == {4: 'a', 9: 'b'}
    assert proposals.table()['probability'].tolist() == [0.6, 0.9]
