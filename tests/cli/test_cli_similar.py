"""``napari-mobilesam segment --like`` from file to file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cli.conftest import Run


@pytest.fixture
def like(tmp_path: Path, discs: np.ndarray) -> Path:
    labels = np.zeros(discs.shape, np.uint8)
    labels[:60, :60] = discs[:60, :60] > 100
    path = tmp_path / 'examples.tif'
    tifffile.imwrite(path, labels)
    return path


@pytest.mark.slow
def test_like(
    run: Run, image_path: Path, tiny_model: Path, tmp_path: Path, like: Path
) -> None:
    output, table = tmp_path / 'labels.tif', tmp_path / 'table.csv'
    result = run(
        *('segment', image_path, '-o', output, '--table', table),
        *('--model', tiny_model, '--like', like, '--similarity', -9),
        *('--points-per-side', 4, '--predicted-iou', 0, '--stability', 0),
    )
    assert result.code == 0, result.err
    labels, rows = tifffile.imread(output), pd.read_csv(table)
    assert len(rows) == len(np.unique(labels)) - 1 > 0
    assert rows['similarity'].between(-9, 1).all()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--point', '30,30'), 'cannot be combined with prompts'),
        (('--similarity', 3), 'similarity'),
        (('--output-kind', 'edges'), 'leave out --like'),
    ],
)
def test_bad_options(
    run: Run,
    image_path: Path,
    tiny_model: Path,
    tmp_path: Path,
    like: Path,
    options: tuple[object, ...],
    message: str,
) -> None:
    output = tmp_path / 'labels.tif'
    result = run(
        *('segment', image_path, '-o', output, '--model', tiny_model),
        *('--like', like, '--quiet', *options),
    )
    assert result.code
    assert message in result.err
    assert result.err.count('\n') == 1
    assert not output.exists()


def test_bad_examples(
    run: Run, image_path: Path, tiny_model: Path, tmp_path: Path
) -> None:
    command = ('segment', image_path, '-o', tmp_path / 'labels.tif')
    given = ('--model', tiny_model, '--quiet')
    result = run(*command, *given, '--similarity', 0.4)
    assert 'no effect without --like' in result.err
    empty = tmp_path / 'empty.tif'
    tifffile.imwrite(empty, np.zeros((96, 128), np.uint8))
    result = run(*command, *given, '--like', empty)
    assert result.code
    assert 'no example' in result.err
    other = tmp_path / 'other.tif'
    tifffile.imwrite(other, np.ones((9, 12), np.uint8))
    result = run(*command, *given, '--like', other)
    assert f'--like {other} has the shape (9, 12)' in result.err
    result = run(*command, *given, '--skip', other)
    assert f'--skip {other} has the shape (9, 12)' in result.err
    missing = run(*command, *given, '--like', tmp_path / 'none.tif')
    assert missing.code
    assert not (tmp_path / 'labels.tif').exists()
