"""Tests of the benchmark of the scale of a click."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT, load_script


@pytest.mark.parametrize('factor', [0.25, 0.5, 2])
def test_labels_lie_where_the_objects_do(factor):
    scales = load_script(ROOT / 'benchmarks' / 'scales.py')
    rows, columns = np.mgrid[:96, :120]
    labels = (np.hypot(rows - 45.5, columns - 61.5) < 22).astype(np.uint16)
    rgb = np.repeat(labels[..., None] * 255, 3, axis=2).astype(np.uint8)
    pixels, resized = scales.resize_both(rgb, labels, factor)
    assert resized.shape == pixels.shape[:2] == (96 * factor, 120 * factor)
    for axis in (0, 1):
        places = np.arange(resized.shape[axis])
        by_labels, by_pixels = (
            float(weights.sum(axis=1 - axis) @ places / weights.sum())
            for weights in (resized, pixels[..., 0].astype(float))
        )
        assert by_labels == pytest.approx(by_pixels, abs=0.05)
