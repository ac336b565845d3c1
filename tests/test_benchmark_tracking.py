"""The benchmark of tracking on a small series."""

from __future__ import annotations

from types import ModuleType

import pytest
from conftest import ROOT, load_script


@pytest.fixture(scope='module')
def tracking() -> ModuleType:
    return load_script(ROOT / 'benchmarks' / 'tracking.py')


@pytest.mark.slow
def test_small_series_is_followed(tracking: ModuleType) -> None:
    series = tracking.simulate(8, 12, side=300, rate=0.02, seed=1)
    truth = series.links()
    assert tracking.divisions(truth)
    score = tracking.measure(series)
    assert score.links == len(truth)
    assert score.f1 > 0.95
    assert score.divisions_true == score.divisions


@pytest.mark.slow
def test_links_lead_over_missing_objects(tracking: ModuleType) -> None:
    series = tracking.simulate(8, 12, side=300, rate=0)
    fewer = series.without(0.1)
    links = fewer.links()
    assert any(link[2] - link[0] > 1 for link in links)
    assert len(links) < len(series.links())
    assert tracking.measure(fewer).recall > 0.9


def test_wrong_links_cost(tracking: ModuleType) -> None:
    score = tracking.Score(10, 8, 6, 7, 0, 0, 0, 1.0)
    assert score.recall == 6 / 8
    assert score.precision == 6 / 7
    assert score.tra == pytest.approx(1 - (1.5 * 2 + 1) / (100 + 12))
    assert '| 0.7500 | 0.8571 |' in tracking.row('x', score)
