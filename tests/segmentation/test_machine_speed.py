"""The speed of a model, measured once a day and kept on disk."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from napari_mobilesam.segmentation import machine_speed
from napari_mobilesam.segmentation.cost_history import Speed
from napari_mobilesam.segmentation.machine_speed import (
    FILE,
    FRESH_SECONDS,
    known_speed,
    measure_speed,
)

SPEED = Speed(embedding=0.1, prompt=0.01, mask=0.002)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path))
    return tmp_path / FILE


@pytest.mark.slow
def test_speed_is_measured_once_and_remembered(cache, tiny_model, monkeypatch):
    speed = measure_speed(tiny_model)
    assert speed.embedding > 0
    assert speed.prompt > 0
    assert speed.mask >= 0
    assert len(json.loads(cache.read_text())) == 1
    monkeypatch.setattr(machine_speed, '_measure', lambda model: SPEED)
    assert measure_speed(tiny_model) == speed
    assert measure_speed(tiny_model, refresh=True) == SPEED
    assert measure_speed(tiny_model) == SPEED


def test_a_speed_is_measured_again_after_a_day(cache, tiny_model, monkeypatch):
    speeds = iter([SPEED, replace(SPEED, prompt=1.0)])
    monkeypatch.setattr(machine_speed, '_measure', lambda model: next(speeds))
    assert measure_speed(tiny_model) == measure_speed(tiny_model) == SPEED
    tomorrow = time.time() + 1.01 * FRESH_SECONDS
    monkeypatch.setattr(machine_speed.time, 'time', lambda: tomorrow)
    assert known_speed(tiny_model) == SPEED
    assert measure_speed(tiny_model).prompt == 1.0
    assert known_speed(tiny_model).prompt == 1.0


@pytest.mark.parametrize('torn', ['', '{"a', '[1]', '{"a": {"prompt": "x"}}'])
def test_a_torn_file_is_measured_again(cache, tiny_model, monkeypatch, torn):
    monkeypatch.setattr(machine_speed, '_measure', lambda model: SPEED)
    cache.write_text(torn)
    assert measure_speed(tiny_model) == SPEED
    assert json.loads(cache.read_text())


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path, tiny_model, monkeypatch
):
    file = tmp_path / 'file'
    file.write_text('in the way')
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(file / 'cache'))
    monkeypatch.setattr(machine_speed, '_measure', lambda model: SPEED)
    assert measure_speed(tiny_model) == SPEED
