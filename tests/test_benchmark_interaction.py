"""Tests of the benchmark of clicks and stacks."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT, load_script
from skimage.io import imsave


@pytest.fixture(scope='module')
def interaction():
    return load_script(ROOT / 'benchmarks' / 'interaction.py')


@pytest.fixture
def data(tmp_path):
    rows, columns = np.mgrid[:64, :64]
    labels = (np.hypot(rows - 30, columns - 34) <= 12).astype(np.uint16)
    (tmp_path / 'disks').mkdir()
    stem = tmp_path / 'disks' / 'one'
    imsave(
        f'{stem}_image.png', np.uint8(20 + 180 * labels), check_contrast=False
    )
    imsave(f'{stem}_labels.png', labels, check_contrast=False)
    manifest = 'dataset,id,split,modality\ndisks,one,val,drawn\n'
    (tmp_path / 'MANIFEST.csv').write_text(manifest, 'utf-8')
    return tmp_path


@pytest.mark.slow
def test_curves_and_stacks_are_printed(interaction, data, capsys, monkeypatch):
    monkeypatch.setattr(interaction, 'PLANES', 3)
    interaction.main(['--data', str(data), '--stacks', '1'])
    lines = capsys.readouterr().out.splitlines()
    fed, alone = (
        [float(value) for value in line.split(':')[1].split()]
        for line in lines[1:3]
    )
    assert len(fed) == len(alone) == interaction.CLICKS
    assert fed[0] == alone[0] > 0.5
    assert 'planes reached' in lines[3]


@pytest.mark.slow
def test_drawn_disks_are_where_their_labels_say(interaction):
    images, labels = interaction.drawn_stack(0)
    assert len(images) == interaction.PLANES
    for image, truth in zip(images, labels, strict=True):
        assert image[truth > 0].mean() > image[truth == 0].mean() + 40
