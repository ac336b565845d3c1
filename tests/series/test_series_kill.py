"""A process that is killed in the middle of a series loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from viewer.oracle import OracleSam

from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_segmentation import segment_series
from napari_mobilesam.types import EverythingParameters

QUICK = EverythingParameters(points_per_side=8, whole_image=True)
COUNT = 6
SCRIPT = """
import sys

import numpy as np
from viewer.oracle import OracleSam

from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_segmentation import segment_series
from napari_mobilesam.types import EverythingParameters

series = Series.open(sys.argv[1])
# as a person does: an image by hand, and a mark
labels = np.zeros((64, 64), np.uint16)
labels[2:9, 3:8] = 7
series.save_labels(0, labels)
series.mark(0, 'done')
segment_series(
    series,
    OracleSam(),
    EverythingParameters(points_per_side=8, whole_image=True),
    on_image=lambda number: print(number, flush=True),
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(COUNT):
        image = np.full((64, 64), 10, np.uint8)
        image[10 : 30 + number, 12:40] = 200
        tifffile.imwrite(folder / f'{number}.tif', image)
    return folder


@pytest.mark.slow
def test_killed_and_resumed(folder: Path) -> None:
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), *sys.path])
    process = subprocess.Popen(
        [sys.executable, '-c', SCRIPT, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': path},
    )
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.wait()
    process.stdout.close()
    assert seen == [1, 2]

    series = Series.open(folder)
    assert series[0].status == 'done'
    by_hand = series.read_labels(0, (64, 64))
    assert by_hand is not None
    assert (by_hand.labels == 7).sum() == 35
    for number in range(COUNT):
        # what is there is whole
        if series[number].labelled:
            assert series.read_labels(number, (64, 64)) is not None
    result = segment_series(series, OracleSam(), QUICK)
    assert set(result.done) | set(result.skipped) == set(range(COUNT))
    assert {0, 1, 2} <= set(result.skipped)

    # as if nothing had happened
    for number in range(1, COUNT):
        image = tifffile.imread(folder / f'{number}.tif') > 100
        found = series.read_labels(number, (64, 64))
        assert found is not None
        assert np.array_equal(np.unique(found.labels), [0, 1])
        assert (image & (found.labels == 1)).sum() / image.sum() > 0.9
    hidden = [p.name for p in series.folder.iterdir() if p.name[0] == '.']
    parts = [name for name in hidden if name != '.napari-mobilesam']
    assert len(parts) <= 1
