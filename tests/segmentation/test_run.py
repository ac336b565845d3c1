"""Batches of prompts of a run."""

from __future__ import annotations

import pytest

from napari_mobilesam.segmentation.run import batches


@pytest.mark.parametrize('size', [5, 16])
def test_batches_cover_all_prompts_in_few_sizes(size):
    sizes = set()
    for count in range(200):
        parts = list(batches(count, size))
        covered = [i for part in parts for i in range(part.start, part.stop)]
        assert covered == list(range(count))
        sizes |= {part.stop - part.start for part in parts}
    assert sizes <= {1, 2, 4, 8, size}
