from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('resource', reason='memory is measured on Unix')

TESTS = Path(__file__).resolve().parents[1]

# A disc every 500 pixels; the peak is that of the whole process.
RUN = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from large.images import DIAMETER, Discs, field_of_discs, small_model
from napari_mobilesam.large.pipeline import segment_large

side = int(sys.argv[3])
source = Discs((side, side), field_of_discs((side, side), pitch=500), depth=4)
result = segment_large(
    source, sys.argv[2], small_model, diameter=DIAMETER, executor='serial'
)
assert len(result.table) == len(source.discs)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_peak_memory_is_flat_as_the_image_grows(tmp_path):
    peaks = []
    for side in (1500, 6000):
        output = tmp_path / str(side) / 'labels.ome.zarr'
        done = subprocess.run(
            [sys.executable, '-c', RUN, str(TESTS), str(output), str(side)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < 1.2 * peaks[0]
    # One plane of labels, as a whole, would be 144 MB more.
    assert peaks[1] - peaks[0] < 100_000
