"""The benchmark of examples, on labels made up."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from conftest import ROOT, load_script

pytest.importorskip('sklearn')


@pytest.fixture(scope='module')
def similar() -> ModuleType:
    return load_script(ROOT / 'benchmarks' / 'similar.py')


def squares(*places: tuple[int, int]) -> np.ndarray:
    labels = np.zeros((64, 64), np.int32)
    for number, (row, column) in enumerate(places, start=1):
        labels[row : row + 8, column : column + 8] = number
    return labels


def test_examples_count_for_nothing(similar: ModuleType) -> None:
    truth = squares((0, 0), (0, 20), (20, 0), (40, 40))
    found = squares((0, 0), (0, 21), (20, 6), (50, 10))
    score = similar.score(found, truth, [1])
    assert score == (3, 3, 1)
    assert score.recall == score.precision == pytest.approx(1 / 3)


def test_examples_are_drawn_where_there_are_enough(
    similar: ModuleType,
) -> None:
    places = [(10 * row, 10 * column) for row in range(3) for column in (0, 2)]
    labels = squares(*places)
    assert len(set(similar.draw_examples(labels, 3))) == 3
    assert similar.draw_examples(labels, 4) is None


def test_accuracy_of_kinds_that_are_easy_to_tell(similar: ModuleType) -> None:
    rng = np.random.default_rng(0)
    names = np.repeat(['a', 'b'], 20)
    features = rng.normal(size=(40, 3)) + 10 * (names == 'b')[:, None]
    assert similar.accuracy(features, names, 5) == (1.0, 1.0)
