"""Instance tables in files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_mobilesam.large.io.tables import (
    check_table_path,
    read_table,
    write_table,
)
from napari_mobilesam.types import ImageError

TABLE = pd.DataFrame(
    {'id': [1, 2], 'area': [30, 41], 'score': [0.9, 0.25], 'plane': [0, 3]}
)


def test_csv_comes_back(tmp_path: Path) -> None:
    path = tmp_path / 'objects.csv'
    write_table(TABLE, path)
    pd.testing.assert_frame_equal(read_table(path), TABLE)
    assert [p.name for p in tmp_path.iterdir()] == ['objects.csv']


def test_parquet_comes_back(tmp_path: Path) -> None:
    path = tmp_path / 'objects.parquet'
    write_table(TABLE, path)
    pd.testing.assert_frame_equal(read_table(path), TABLE)


def test_parquet_without_pyarrow_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(ImportError, match='pip install pyarrow'):
        check_table_path('objects.parquet')


def test_other_suffixes_are_refused() -> None:
    with pytest.raises(ImageError, match=r'must end in \.csv'):
        check_table_path('objects.xlsx')


def test_a_failed_table_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*args: object, **options: object) -> None:
        raise OSError('No space left on device')

    monkeypatch.setattr(pd.DataFrame, 'to_csv', full_disk)
    with pytest.raises(OSError, match='No space'):
        write_table(TABLE, tmp_path / 'objects.csv')
    assert not list(tmp_path.iterdir())


def test_decimal_commas_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / 'table.csv'
    path.write_text('label;class;score\n1;a,b;0,5\n2;cell;1\n3;cell;\n')
    table = read_table(path)
    assert table['score'].tolist()[:2] == [0.5, 1.0]
    assert np.isnan(table['score'][2])
    assert table['class'].tolist() == ['a,b', 'cell', 'cell']


def test_classes_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / 'table.csv'
    classes = ['NA', 'None', '01', 'a b', None]
    table = pd.DataFrame({'label': [1, 2, 3, 4, 5], 'class': classes})
    write_table(table, path)
    read = read_table(path)['class']
    assert read[:4].tolist() == classes[:4]
    assert read.isna().tolist() == [False] * 4 + [True]
    table['class'] = [1, None, 2, 2, None]
    write_table(table, path)
    assert read_table(path)['class'].dropna().tolist() == ['1', '2', '2']


@pytest.mark.parametrize('rows', ['1,5,x\n2,6,y\n', '7,5,\n3,6,\n', '0,1,5\n'])
def test_rows_longer_than_the_names_are_refused(
    rows: str, tmp_path: Path
) -> None:
    """Otherwise pandas takes their first column for an index."""
    path = tmp_path / 'table.csv'
    path.write_text(f'label,score\n{rows}')
    with pytest.raises(ImageError, match='is not a table'):
        read_table(path)
