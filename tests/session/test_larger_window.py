"""Masks at the edge of their window, asked again in a larger one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_mobilesam.segmentation.prediction import Prediction
from napari_mobilesam.segmentation.scale_choice import known_diameter
from napari_mobilesam.session.prompts.larger_window import (
    in_larger_window,
    is_cut,
)
from napari_mobilesam.types import Frame, Prompts

SHAPE = (1000, 1000)
INPUT = 128
POINT = Prompts(np.array([[300.0, 300.0]]), np.ones(1, np.int64))


def prediction(origin, side, box, score=0.9):
    """Answer with a rectangle of the image in a square window."""
    row, column = origin
    window = (row, column, row + side, column + side)
    frame = Frame(SHAPE, window, (INPUT, INPUT), INPUT)
    cells = np.arange(INPUT // 4) * side * 4 / INPUT
    rows, columns = (cells + row)[:, None], (cells + column)[None]
    inside = (box[0] <= rows) & (rows < box[2])
    inside = inside & (box[1] <= columns) & (columns < box[3])
    logits = np.where(inside, 20.0, -20.0).astype(np.float32)
    return Prediction(
        np.array([score], np.float32), logits[None], frame, POINT
    )


BOX = Prompts(box=np.array([240.0, 240.0, 360.0, 360.0]))


class FakeEngine:
    """Engine with windows of 128, 256, 512 … pixels around (300, 300)."""

    def __init__(self, box, score=0.9):
        self.box, self.score = box, score
        self.asked = []

    def image(self, plane, model):
        return SimpleNamespace(grid=SimpleNamespace(pitches=[64, 32, 16]))

    def predict(self, plane, prompts, model, scales=None, diameter=None):
        if diameter is not None:
            # a box of 120 pixels suits the first window, of pitch 16
            scales = [round(16 * diameter / known_diameter(BOX))]
        (pitch,) = scales
        self.asked.append(pitch)
        side = pitch * 8
        corner = max(0, 300 - side // 2)
        return prediction((corner, corner), side, self.box, self.score)


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ((250, 250, 320, 320), False),
        ((250, 250, 320, 400), True),
        ((200, 250, 320, 320), True),
        ((250, 100, 320, 320), True),
        ((250, 250, 500, 320), True),
        # a tip of a pixel
        ((250, 318, 900, 320), False),
    ],
)
def test_cut_by_an_edge_of_the_window(box, expected):
    assert is_cut(prediction((236, 236), 128, box)) == expected


def test_edges_of_the_image_cut_nothing():
    assert not is_cut(prediction((0, 0), 128, (0, 0, 60, 60)))
    assert is_cut(prediction((0, 0), 128, (0, 0, 60, 200)))


def test_larger_windows_are_tried_until_it_fits():
    box = (250, 250, 350, 480)
    engine = FakeEngine(box)
    first = prediction((236, 236), 128, box)
    found = in_larger_window(engine, None, POINT, None, first)
    assert engine.asked == [32, 64]
    assert found.mask().box == pytest.approx(box, abs=20)
    assert not is_cut(found)


def test_mask_of_a_box_is_asked_again_too():
    box = (250, 250, 350, 480)
    engine = FakeEngine(box)
    first = prediction((236, 236), 128, box)
    found = in_larger_window(engine, None, BOX, None, first)
    assert engine.asked == [32, 64]
    assert found.mask().box == pytest.approx(box, abs=20)


def test_mask_that_fits_is_asked_once():
    engine = FakeEngine((0, 0, 1, 1))
    first = prediction((236, 236), 128, (260, 260, 340, 340))
    assert in_larger_window(engine, None, POINT, None, first) is first
    assert engine.asked == []


@pytest.mark.parametrize(
    ('box', 'score'), [((0, 0, 90, 90), 0.9), ((250, 250, 350, 480), 0.5)]
)
def test_other_or_less_certain_mask_is_not_taken(box, score):
    engine = FakeEngine(box, score)
    first = prediction((236, 236), 128, (250, 250, 350, 480))
    assert in_larger_window(engine, None, POINT, None, first) is first
