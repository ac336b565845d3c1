"""Tests of the benchmark of large images in memory."""

from __future__ import annotations

import pytest
from conftest import ROOT, load_script
from segmentation.oracle import SeeingOracle


@pytest.mark.slow
def test_both_ways_find_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script(ROOT / 'benchmarks' / 'first_masks.py')
    assert script.mosaic(900).shape == (900, 900)
    assert script.mosaic(900)[-200:, -200:].std() > 1
    monkeypatch.setattr(script.nm, 'load_model', lambda name: SeeingOracle())
    assert script.main(['--side', '500']) == 0
    told = capsys.readouterr().out
    assert 'by blocks' in told and 'as a whole' in told
    assert ' 1.0' in told.splitlines()[-1]
