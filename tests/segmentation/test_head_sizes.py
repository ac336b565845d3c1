"""Sizes of objects, as the instance head sees them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.segmentation.head_sizes import head_diameter
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.object_size import find_diameters

from .helpers import disc
from .oracle import SeeingOracle

MIDDLE = (160.0, 160.0)


def nothing():
    pass


def discs(radius, side=320):
    """(side, side, 3) uint8: white discs on a grid on black."""
    step = round(2.5 * radius)
    cell = disc((step, step), (step // 2, step // 2), radius)
    repeats = side // step
    gray = np.zeros((side, side), np.uint8)
    tiles = np.tile(255 * cell.astype(np.uint8), (repeats, repeats))
    gray[: len(tiles), : len(tiles)] = tiles
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.fixture
def model():
    return SeeingOracle(best=64)


@pytest.mark.slow
@pytest.mark.parametrize('radius', [12, 24, 60])
@pytest.mark.parametrize('guess', [None, 20, 200])
def test_any_start_leads_to_the_size(model, radius, guess):
    image = ImageEmbedding.of_rgb(model, discs(radius))
    found = head_diameter(image, guess, MIDDLE, nothing)
    assert found == pytest.approx(2 * radius, rel=0.2)


def test_small_objects_are_found_from_a_guess(model):
    image = ImageEmbedding.of_rgb(model, discs(8, side=160))
    assert head_diameter(image, 24, (80.0, 80.0), nothing) == pytest.approx(
        16, rel=0.2
    )


@pytest.mark.parametrize('guess', [24, 27, 30])
def test_a_close_guess_is_kept_and_only_its_scale_embedded(model, guess):
    # 11 pixels of the input at the coarsest scale: too small to be seen there
    middle = (320.0, 320.0)
    image = ImageEmbedding.of_rgb(model, discs(14, side=640))
    assert head_diameter(image, guess, middle, nothing) == guess
    embedded = image.embedded_pixels
    key = image.grid.large_block(middle, image.grid.pitch_for(guess))
    assert image.knows(key)
    rows, columns = image.grid.canvas(key).cells
    assert embedded == rows * columns * 16**2


@pytest.mark.parametrize('guess', [50, 80, 180])
def test_large_objects_are_seen_in_the_whole_image(model, guess):
    image = ImageEmbedding.of_rgb(model, discs(90, side=800))
    found = head_diameter(image, guess, (400.0, 400.0), nothing)
    assert found == pytest.approx(180, rel=0.2)
    # whatever the guess is, its scale is not embedded but where it is right
    side = max(image.grid.shape(image.grid.pitch_for(180)))
    work = image.embedded_pixels / (16 * side) ** 2
    assert work <= 1.8


def test_nothing_seen_is_no_size(model):
    black = np.zeros((300, 200, 3), np.uint8)
    image = ImageEmbedding.of_rgb(model, black)
    assert head_diameter(image, 30, (100.0, 100.0), nothing) is None


@pytest.mark.slow
def test_clicks_tell_the_size_where_the_head_is_unsure(model):
    # all peaks are as low as where the head is unsure
    seen = model.instance_maps
    model.instance_maps = lambda features: 0.65 * seen(features)
    image = ImageEmbedding.of_rgb(model, discs(24))
    assert head_diameter(image, 30, MIDDLE, nothing) is None
    (found,) = find_diameters(image, 30)
    assert found == pytest.approx(48, rel=0.35)
    assert model.encoded > 2


def test_the_head_is_asked_before_clicks(model, monkeypatch):
    def click(*_):
        raise AssertionError('a click was asked')

    monkeypatch.setattr(
        'napari_mobilesam.segmentation.object_size._ask', click
    )
    image = ImageEmbedding.of_rgb(model, discs(24))
    assert find_diameters(image, 50) == [50]
