"""Tests of the accuracy benchmark on synthetic images."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import ROOT, load_script
from skimage.io import imsave


@pytest.fixture(scope='module')
def accuracy() -> ModuleType:
    return load_script(ROOT / 'benchmarks' / 'accuracy.py')


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two data sets of one test and one training image each."""
    rows, columns = np.mgrid[:64, :64]
    labels = np.zeros((64, 64), np.uint16)
    for number, (row, column) in enumerate([(20, 20), (42, 40)], start=1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= 100] = number
    image = np.where(labels > 0, 200, 20).astype(np.uint8)
    lines = ['dataset,id,split,modality']
    for dataset in ('dsb2018', 'other'):
        (tmp_path / dataset).mkdir()
        for split in ('test', 'train'):
            lines.append(f'{dataset},{split}1,{split},fluorescence')
            stem = tmp_path / dataset / f'{split}1'
            imsave(f'{stem}_image.png', image, check_contrast=False)
            imsave(f'{stem}_labels.png', labels, check_contrast=False)
    (tmp_path / 'MANIFEST.csv').write_text('\n'.join(lines) + '\n')
    return tmp_path


@pytest.mark.slow
def test_numbers_and_table(
    accuracy: ModuleType,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = accuracy.main(
        [
            *('--data', str(data), '--model', 'mobile_sam_cells'),
            *(
                '--json',
                str(data / 'a.json'),
                '--markdown',
                str(data / 'a.md'),
            ),
            *('--predicted-iou', '0', '--stability', '0', '--whole-image'),
            *('--points-per-side', '4', '--device', 'cpu'),
        ]
    )
    assert code == 0
    (result,) = json.loads((data / 'a.json').read_text())
    names = [image['name'] for image in result['images']]
    assert names == ['dsb2018/test1', 'other/test1']
    for dataset in ('dsb2018', 'other'):
        means = result['datasets'][dataset]
        assert means['images'] == 1
        assert means['objects'] == 2
        assert 0.2 < means['box'] <= 1
        assert 0 <= means['point'] <= means['oracle'] <= 1
    # segment everything is measured on dsb2018 only
    assert 0 <= result['datasets']['dsb2018']['ap50'] <= 1
    assert result['datasets']['other']['ap50'] is None
    table = (data / 'a.md').read_text()
    assert table == capsys.readouterr().out
    assert '| mobile_sam_cells | dsb2018 | 1 |' in table
    assert 'points_per_side=4' in table


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--split', 'nix'], "'nix'"),
        (['--model', 'nix'], "'nix'"),
        (['--stability', '2'], 'stability is 2'),
        (['--data', 'nowhere'], 'nowhere is not a folder'),
    ],
)
def test_bad_input(
    accuracy: ModuleType,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as stop:
        accuracy.main(['--data', str(data), *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
