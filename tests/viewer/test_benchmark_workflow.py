"""The benchmark of series, table, refining and exports, with few objects."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT, load_script


@pytest.mark.slow
def test_a_row_for_each_step(make_napari_viewer, capsys):
    for package in ('roifile', 'zarr'):
        pytest.importorskip(package)
    workflow = load_script(ROOT / 'benchmarks' / 'workflow.py')
    workflow.main(make_napari_viewer(), images=3, objects=9, refined=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ['| what | CPU time |', '|---|---|']
    rows = [re.fullmatch(r'\| (.*) \| [\d,]+ ms \|', line) for line in lines]
    assert [row[1] for row in rows[2:]] == [
        'open a series of 3 images',
        'next image',
        'measure 9 objects',
        'show a table of 9 objects',
        'sort it',
        'refine 1 objects',
        *(f'export 9 objects to .{s}' for s in workflow.SUFFIXES),
    ]


@pytest.mark.slow
def test_labels_of_the_drawn_disks():
    workflow = load_script(ROOT / 'benchmarks' / 'workflow.py')
    image, labels = workflow.disks(5)
    assert sorted(set(labels.flat)) == [0, 1, 2, 3, 4, 5]
    assert image.shape == labels.shape == (72, 72)
    assert image[labels > 0].min() > image[labels == 0].max()
