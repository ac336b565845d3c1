"""Masks of nothing are told from faint objects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from napari_mobilesam.segmentation import faint_masks
from napari_mobilesam.segmentation.faint_masks import (
    gradient_of,
    without_faint,
)
from napari_mobilesam.segmentation.mask_generator import generate_masks

from .helpers import as_mask, disc
from .oracle import SeeingOracle

SHAPE = 240, 320
RADIUS = 12
PLACES = [(r, c) for r in range(30, 240, 60) for c in range(30, 320, 60)]


def drawn(heights, radius=RADIUS, scale=1):
    """Noise with a disc of each height, and its masks."""
    shape = SHAPE[0] * scale, SHAPE[1] * scale
    gray = np.random.default_rng(0).normal(60, 4, shape)
    masks = []
    for height, (row, column) in zip(heights, PLACES, strict=False):
        plane = disc(shape, (row * scale, column * scale), radius * scale)
        gray[plane] += height
        masks.append(as_mask(plane, 0.9 if height else 0.7))
    rgb = np.repeat(np.clip(gray, 0, 255)[..., None], 3, 2).astype(np.uint8)
    return rgb, masks


@pytest.mark.parametrize('scale', [1, pytest.param(4, marks=pytest.mark.slow)])
def test_what_has_no_outline_is_dropped_and_what_is_faint_stays(scale):
    heights = [150] * 8 + [0] * 4 + [25] * 3
    rgb, masks = drawn(heights, scale=scale)
    kept = without_faint(masks, rgb, 2 * RADIUS * scale)
    assert [id(m) for m in kept] == [
        id(m) for m, height in zip(masks, heights, strict=True) if height
    ]


def test_few_masks_say_nothing():
    rgb, masks = drawn([150, 150, 0, 0])
    assert without_faint(masks, rgb, 2 * RADIUS) == masks
    assert without_faint([], rgb, 2 * RADIUS) == []


def test_all_alike_are_kept():
    for height in (0, 10, 150):
        rgb, masks = drawn([height] * 12)
        assert len(without_faint(masks, rgb, 2 * RADIUS)) == 12


@pytest.mark.parametrize('diameter', [10, 70])
def test_the_gradient_does_not_depend_on_the_rows_at_once(
    diameter, monkeypatch
):
    rgb, _ = drawn([150] * 15)
    step = max(1, int(diameter * faint_masks.FINEST))
    whole = gradient_of(rgb, diameter, step)
    monkeypatch.setattr(faint_masks, 'ROWS', 32)
    np.testing.assert_allclose(
        gradient_of(rgb, diameter, step), whole, atol=0.5
    )


@pytest.mark.parametrize('step', [1, 2])
@pytest.mark.parametrize('center', [(30, 70), (235, 5)])
def test_the_outline_is_a_pixel_on_both_sides(center, step):
    plane = disc(SHAPE, center, RADIUS)
    ring = binary_dilation(plane) & ~binary_erosion(plane)
    blocks = ring.reshape(SHAPE[0] // step, step, SHAPE[1] // step, step)
    gradient = blocks.any(axis=(1, 3)).astype(np.float16)
    mask = as_mask(plane)
    assert faint_masks._along_outline(mask, gradient, step) == 1
    sides = np.where(plane, 1, 3)[::step, ::step].astype(np.float16)
    assert 1.2 < faint_masks._along_outline(mask, sides, step) < 2.2


def test_images_of_a_row_have_no_gradient():
    rgb = np.zeros((1, 300, 3), np.uint8)
    assert gradient_of(rgb, 12, 1).shape == (1, 300)


@pytest.mark.slow
def test_segment_everything_drops_them_where_it_knows_the_size():
    """The oracle sees what is above 128, however little."""
    columns = np.arange(SHAPE[1])
    ramps = 126 - 3 * np.abs((columns + 30) % 60 - 30)
    gray = np.tile(ramps, (SHAPE[0], 1))
    for number, place in enumerate(PLACES):
        row, column = place
        bright = number % 2 == 0
        peak = row, column + 30
        where = disc(SHAPE, place, 7) if bright else disc(SHAPE, peak, 6)
        gray[where] = 255 if bright else 132
    rgb = np.repeat(gray[..., None], 3, 2).astype(np.uint8)
    found = generate_masks(rgb, SeeingOracle(), diameter=14, stability=0.0)
    assert len(found) == 10
    assert all(
        rgb[tuple(np.round(m.point).astype(int))][0] == 255 for m in found
    )
