"""Histograms of columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_mobilesam.measure.table_columns import (
    class_counts,
    histogram,
    histogram_columns,
    numbers_of,
    within,
)


def test_every_finite_value_is_counted_once() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    values[:10] = np.nan
    values[10] = np.inf
    found = histogram(values)
    assert found is not None
    assert found.counts.sum() == 989
    assert len(found.counts) == 40
    assert found.span == (np.nanmin(values), np.sort(values)[-12])


def test_whole_numbers_have_bins_of_whole_width() -> None:
    found = histogram(np.array([1, 2, 2, 5]))
    assert found is not None
    assert found.edges.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert found.counts.tolist() == [1, 2, 0, 0, 1]
    wide = histogram(np.arange(0, 1000), bins=40)
    assert wide is not None
    assert len(wide.counts) == 40
    assert set(wide.counts.tolist()) == {25}
    wider = histogram(np.arange(0, 1001), bins=40)
    assert wider is not None
    assert wider.counts.tolist() == [26] * 38 + [13]


@pytest.mark.parametrize('value', [0.25, 3.0, -1e9])
def test_one_value(value: float) -> None:
    found = histogram(np.full(5, value))
    assert found is not None
    assert found.counts.tolist() == [5]
    assert found.span[0] < value < found.span[1]


def test_no_value() -> None:
    assert histogram(np.array([])) is None
    assert histogram(np.array([np.nan, np.inf])) is None


def test_columns_of_numbers() -> None:
    table = pd.DataFrame(
        {
            'area': [1, 2],
            'class': ['a', 'b'],
            'score': [np.nan, 0.5],
            'empty': [np.nan, np.nan],
            'refined': [True, False],
        }
    )
    assert histogram_columns(table) == ['area', 'score']
    assert np.isnan(numbers_of(table, 'class')).all()


def test_ranges_are_closed_and_without_nan() -> None:
    values = np.array([1.0, 2.0, np.nan, 3.0])
    assert within(values, 1, 2).tolist() == [True, True, False, False]


def test_smallest_and_largest_value_are_not_edges_of_bins() -> None:
    found = histogram(np.array([1, 2, 2, 5]))
    assert found is not None
    assert found.extremes == (1, 5)


def test_objects_of_each_class_are_counted() -> None:
    names = ['stroma', 'tumour', '', None, 'tumour']
    table = pd.DataFrame({'class': pd.Categorical(names)})
    assert class_counts(table) == 'tumour 2, stroma 1, no class 2'
    assert class_counts(table[:2]) == 'stroma 1, tumour 1'
    assert class_counts(table[2:4]) == ''
    assert class_counts(pd.DataFrame({'area': [3]})) == ''
