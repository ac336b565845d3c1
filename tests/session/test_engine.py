"""From planes and prompts to masks: what is read, kept and answered."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.session.engine import Engine, ImagePlane, click
from napari_mobilesam.types import ModelRecord, ObjectDiameter

RECORD = ModelRecord(
    'tiny', input_size=128, object_diameter=ObjectDiameter(10, 24, 100)
)


@pytest.fixture(scope='module')
def tiny():
    model = build_sam('vit_t', record=RECORD)
    return model.eval().requires_grad_(False)


@pytest.fixture
def engine(tiny):
    return Engine(lambda name: tiny)


def plane_of_array(image, key='a', **kwargs):
    return ImagePlane(key, lambda: image, image.shape[:2], (0, 255), **kwargs)


def squares(side, step=40, size=16):
    """(side, side) uint8 with a bright square every ``step`` pixels."""
    cell = np.full((step, step), 10, np.uint8)
    cell[8 : 8 + size, 8 : 8 + size] = 220
    count = -(-side // step)
    return np.tile(cell, (count, count))[:side, :side]


def test_all_candidates_are_returned(engine, tiny):
    plane = plane_of_array(squares(100))
    prediction = engine.predict(plane, click((15, 15)), tiny)
    assert prediction.logits.shape == (3, 32, 32)
    assert prediction.scores.shape == (3,)
    assert prediction.prompts.points.tolist() == [[15, 15]]


def test_an_earlier_answer_is_fed_back(engine, tiny):
    plane = plane_of_array(squares(100))
    first = engine.predict(plane, click((15, 15)), tiny)
    second = engine.predict(plane, click((15, 15)), tiny, previous=first)
    assert np.array_equal(second.prompts.mask_input, first.logits[first.best])
    assert len(second.logits) == 1


def test_a_place_is_ready_once_its_window_is_embedded(engine, tiny):
    plane = plane_of_array(squares(100))
    assert not engine.ready(plane, (15, 15), tiny)
    engine.predict(plane, click((15, 15)), tiny)
    assert engine.ready(plane, (15, 15), tiny)
    assert not engine.ready(plane_of_array(squares(90), 'b'), (15, 15), tiny)
