"""``napari-mobilesam classify`` from file to file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cli.conftest import Run

pytest.importorskip('sklearn')


@pytest.fixture
def labels_path(tmp_path: Path) -> Path:
    labels = np.zeros((96, 128), np.uint8)
    for number in range(6):
        row, column = 10 + 40 * (number // 3), 10 + 40 * (number % 3)
        labels[row : row + 12 + number, column : column + 20] = number + 1
    path = tmp_path / 'labels.tif'
    tifffile.imwrite(path, labels)
    return path


def table(path: Path, **columns: list[object]) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_classes_of_all_objects_are_written(
    run: Run,
    image_path: Path,
    tiny_model: Path,
    tmp_path: Path,
    labels_path: Path,
) -> None:
    known = table(
        tmp_path / 'known.csv',
        label=[1, 2, 3],
        **{'class': ['a', 'b', None]},
    )
    output = tmp_path / 'all.csv'
    result = run(
        *('classify', image_path, labels_path, '--classes', known),
        *('-o', output, '--model', tiny_model),
    )
    assert result.code == 0, result.err
    rows = pd.read_csv(output)
    assert sorted(rows['label']) == [1, 2, 3, 4, 5, 6]
    assert set(rows['class']) <= {'a', 'b'}
    assert rows.loc[rows['given'], 'class'].tolist() == ['a', 'b']
    proposed = rows[~rows['given']]
    assert proposed['probability'].is_monotonic_increasing
    assert '4 objects got one of 2 classes' in result.out


@pytest.mark.parametrize(
    ('columns', 'message'),
    [
        ({'label': [1, 2]}, 'no column class'),
        ({'label': [], 'class': []}, 'no row'),
        ({'label': ['x', 'y'], 'class': ['a', 'b']}, 'not a whole number'),
        ({'label': [1.5, 2], 'class': ['a', 'b']}, 'not a whole number'),
        ({'label': [1, 1], 'class': ['a', 'b']}, 'two classes, a and b'),
        ({'label': [1, 9], 'class': ['a', 'b']}, 'no object 9'),
        ({'label': [1], 'class': ['a']}, 'only “a”'),
    ],
)
def test_bad_tables(
    run: Run,
    image_path: Path,
    tiny_model: Path,
    tmp_path: Path,
    labels_path: Path,
    columns: dict[str, list[object]],
    message: str,
) -> None:
    known = table(tmp_path / 'known.csv', **columns)
    output = tmp_path / 'all.csv'
    result = run(
        *('classify', image_path, labels_path, '--classes', known),
        *('-o', output, '--model', tiny_model, '--quiet'),
    )
    assert result.code
    assert message in result.err
    assert result.err.count('\n') == 1
    assert not output.exists()


def test_a_stack_is_refused_without_an_option_that_is_not_there(
    run: Run, image_path: Path, tmp_path: Path, labels_path: Path
) -> None:
    stack = tmp_path / 'stack.tif'
    tifffile.imwrite(stack, np.zeros((5, 96, 128), np.uint8))
    known = table(tmp_path / 'known.csv', label=[1], **{'class': ['a']})
    for given in ((stack, labels_path), (image_path, stack)):
        result = run(
            *('classify', *given, '--classes', known),
            *('-o', tmp_path / 'all.csv'),
        )
        assert result.code == 2
        assert 'stack.tif has 5 planes: give a file with one' in result.err
