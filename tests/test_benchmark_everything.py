"""Tests of the benchmark of prompts."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, load_script
from skimage.io import imsave

import napari_mobilesam as nm
from napari_mobilesam.model.sam import build_sam


@pytest.fixture(scope='module')
def everything() -> ModuleType:
    return load_script(ROOT / 'benchmarks' / 'everything.py')


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows, columns = np.mgrid[:64, :64]
    labels = np.zeros((64, 64), np.uint16)
    for number, (row, column) in enumerate([(20, 20), (42, 40)], start=1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= 100] = number
    image = np.where(labels > 0, 200, 20).astype(np.uint8)
    (tmp_path / 'cells').mkdir()
    imsave(tmp_path / 'cells/a_image.png', image, check_contrast=False)
    imsave(tmp_path / 'cells/a_labels.png', labels, check_contrast=False)
    (tmp_path / 'MANIFEST.csv').write_text(
        'dataset,id,split,modality\ncells,a,val,fluorescence\n'
    )
    return tmp_path


@pytest.mark.slow
def test_both_ways_side_by_side(
    everything: ModuleType, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = everything.main(
        [
            *('--data', str(data), '--device', 'cpu'),
            *('--points-per-side', '16', '--whole-image'),
            *('--csv', str(data / 'e.csv'), '--markdown', str(data / 'e.md')),
        ]
    )
    assert code == 0
    rows = pd.read_csv(data / 'e.csv').set_index('mode')
    assert rows.loc['grid', 'prompts'] == 256
    assert 0 < rows.loc['adaptive', 'prompts'] < 256
    for name in ('ap50', 'f1', 'ap50_95', 'recall'):
        assert rows[name].between(0, 1).all()
    table = (data / 'e.md').read_text()
    assert table == capsys.readouterr().out
    assert '| cells fluorescence | 1 | adaptive / grid |' in table
    assert 'points_per_side=16' in table


@pytest.mark.slow
def test_a_mode_needs_its_model(
    everything: ModuleType,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headless = build_sam('vit_t', input_size=64)
    monkeypatch.setattr(nm, 'load_model', lambda *_: headless)
    with pytest.raises(SystemExit):
        everything.main(['--data', str(data), '--mode', 'grid', 'head'])
    assert 'has no instance head' in capsys.readouterr().err


def test_bad_input(
    everything: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        everything.main(['--data', 'nowhere'])
    assert 'nowhere is not a folder' in capsys.readouterr().err
