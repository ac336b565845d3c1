"""Sparse labels read and write like an array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.session.objects.sparse_labels import (
    SparseLabels,
    empty_labels,
    label_pyramid,
    write_levels,
)

SHAPE = (3, 300, 700)
seeds = st.integers(0, 10_000)


def random_box(rng):
    corners = [np.sort(rng.integers(0, n + 1, 2)) for n in SHAPE]
    return tuple(slice(int(a), int(b)) for a, b in corners)


def random_points(rng, count=200):
    return tuple(rng.integers(0, n, count) for n in SHAPE)


@given(seeds)
def test_reads_and_writes_are_those_of_an_array(seed):
    rng = np.random.default_rng(seed)
    dense = np.zeros(SHAPE, np.uint16)
    sparse = SparseLabels(SHAPE)
    for number in range(1, 4):
        where = random_points(rng) if number % 2 else random_box(rng)
        dense[where] = number
        sparse[where] = number
    where = random_points(rng)
    values = rng.integers(0, 9, len(where[0]))
    # each pixel once: which of two values stays is left open
    _, first = np.unique(np.stack(where), axis=1, return_index=True)
    where = tuple(part[first] for part in where)
    dense[where] = values[first]
    sparse[where] = values[first]
    assert np.array_equal(np.asarray(sparse), dense)
    box = random_box(rng)
    assert np.array_equal(sparse[box], dense[box])
    points = random_points(rng)
    assert np.array_equal(sparse[points], dense[points])
    assert sparse.max() == dense.max()


@pytest.mark.parametrize(
    'key',
    [
        1,
        -1,
        (1, slice(3, 9)),
        (slice(None), 5, slice(-50, None)),
        (..., slice(2, 200, 3)),
        (2, ..., slice(10, 2, -2)),
        (0, 5, 7),
        (np.int64(1), slice(5, 5), slice(None)),
        (slice(None, None, 2), slice(250, 260), slice(250, 270)),
    ],
)
def test_integers_and_slices_are_those_of_an_array(key):
    dense = np.arange(np.prod(SHAPE), dtype=np.int64).reshape(SHAPE) % 60_000
    dense = dense.astype(np.uint16)
    sparse = SparseLabels(SHAPE)
    sparse[...] = dense
    assert np.array_equal(sparse[key], dense[key])
    assert sparse[key].shape == dense[key].shape


def test_what_is_not_there_is_said():
    sparse = SparseLabels(SHAPE)
    with pytest.raises(IndexError):
        sparse[3]
    with pytest.raises(IndexError, match='step'):
        sparse[::2] = 1


def test_only_what_is_labelled_takes_memory():
    sparse = SparseLabels((100_000, 100_000))
    sparse[50_000:50_010, 70_000:70_010] = 0
    assert sparse.nbytes == 0
    sparse[50_000:50_010, 70_000:70_010] = 7
    assert 0 < sparse.nbytes < 1 << 20
    assert sparse[50_005, 70_005] == 7
    assert sparse[49_999, 70_005] == 0
    assert len(sparse) == 100_000


def test_squares_lie_on_the_axes_that_are_shown():
    sparse = SparseLabels((5000, 3, 5000), axes=(0, 2))
    sparse[100:200, 1, 100:200] = 4
    assert sparse.nbytes == 256 * 256 * 2
    assert not sparse[:, 0, :200].any()


@pytest.mark.slow
@given(seeds)
def test_levels_agree_with_the_finest(seed):
    rng = np.random.default_rng(seed)
    levels = label_pyramid((2, 4100, 300), axes=(1, 2))
    assert [level.shape for level in levels] == [
        (2, 4100, 300),
        (2, 2050, 150),
        (2, 1025, 75),
    ]
    for number in (1, 2, 0):
        rows, columns = np.indices((60, 50)).reshape(2, -1)
        rows = rows + rng.integers(0, 4000)
        columns = columns + rng.integers(0, 250)
        planes = np.full(len(rows), rng.integers(0, 2))
        values = np.full(len(rows), number, np.uint16)
        write_levels(levels, (planes, rows, columns), values)
    finest = np.asarray(levels[0])
    for step, level in enumerate(levels):
        expected = finest[:, :: 1 << step, :: 1 << step]
        assert np.array_equal(np.asarray(level), expected)


def test_what_labels_are_kept_in_depends_on_their_size():
    assert isinstance(empty_labels((20_000, 20_000), 'u2', (0, 1)), np.ndarray)
    stack = empty_labels((2000, 4000, 4000), 'u2', (1, 2))
    assert isinstance(stack, SparseLabels)
    slide = empty_labels((100_000, 90_000), 'u2', (0, 1))
    assert [level.shape for level in slide][-1] == (1563, 1407)
