"""``segment --text`` and ``detectors`` on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cli.conftest import Run
from napari_mobilesam.segmentation import box_detectors


class StandIn:
    """Boxes around the two upper discs."""

    def boxes(self, image: object, text: str) -> tuple[object, object]:
        if text == 'crash':
            raise RuntimeError('no such layer')
        if text == 'nothing':
            return [], []
        return [[17, 17, 43, 43], [17, 77, 43, 103]], [0.9, 0.2]


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name, value = 'mine', 'tests:StandIn'

        def load(self) -> object:
            return StandIn

    monkeypatch.setattr(box_detectors, 'entry_points', lambda group: [Point()])


def test_text(
    run: Run,
    image_path: Path,
    tiny_model: Path,
    tmp_path: Path,
    detector: None,
) -> None:
    output, table = tmp_path / 'labels.tif', tmp_path / 'table.csv'
    command = ('segment', image_path, '-o', output, '--model', tiny_model)
    command += ('--overwrite', '--quiet', '--detector', 'mine')
    result = run(
        *(*command, '--text', 'cell', '--text-score', 0.1, '--table', table),
    )
    assert (result.code, result.err) == (0, '')
    rows = pd.read_csv(table)
    assert rows['similarity'].between(0.2, 0.9).all()
    assert len(rows) == len(np.unique(tifffile.imread(output))) - 1
    result = run(*command, '--text', 'nothing')
    assert result.code == 0
    assert '0 objects' in result.out
    before = output.read_bytes()
    for options, message in (
        (('--text', 'crash'), 'no such layer'),
        (('--text', ' '), 'is empty'),
        (('--text', 'cell', '--point', '3,3'), 'combined with other prompts'),
        ((), 'no effect without --text'),
    ):
        result = run(*command, *options)
        assert result.code
        assert message in result.err
        assert result.err.count('\n') == 1
    assert output.read_bytes() == before


def test_detectors_are_listed_with_licence_and_size(
    run: Run,
    tmp_path: Path,
    detector: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path))
    result = run('detectors')
    assert result.code == 0
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *('grounding_dino_tiny', 'clipseg', 'mine')
    ]
    for line in lines[:2]:
        assert 'to download' in line
        assert 'MB, Apache-2.0' in line
        assert 'not on microscopy' in line
    result = run('detectors', 'download', 'yolo')
    assert 'no detector named' in result.err

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError('no network')

    monkeypatch.setattr('pooch.retrieve', fail)
    result = run('detectors', 'download', 'clipseg', '--quiet')
    assert result.code
    assert 'no network' in result.err
