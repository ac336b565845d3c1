"""Sizes of objects, as the model sees them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.object_size import find_diameters

from .helpers import disc
from .oracle import Oracle


def scene(shape, radius, step):
    """(H, W, 3) uint8: white discs on a grid on black."""
    half = step // 2
    cell = disc((step, step), (half, half), radius)
    repeats = (shape[0] // step, shape[1] // step)
    gray = np.zeros(shape, np.uint8)
    tiles = np.tile(255 * cell.astype(np.uint8), repeats)
    gray[: tiles.shape[0], : tiles.shape[1]] = tiles
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.mark.slow
@pytest.mark.parametrize('radius', [6, 12, 24, 48])
@pytest.mark.parametrize('guess', [None, 30])
def test_the_size_is_found_whatever_the_guess(radius, guess):
    rgb = scene((500, 500), radius, round(2.5 * radius))
    image = ImageEmbedding.of_rgb(Oracle(best=64), rgb)
    found = find_diameters(image, guess)
    assert found[0] == pytest.approx(2 * radius, rel=0.35)


@pytest.mark.slow
def test_nothing_leaves_the_guess():
    black = np.zeros((200, 240, 3), np.uint8)
    assert find_diameters(ImageEmbedding.of_rgb(Oracle(), black), 30) == [30]
    assert find_diameters(ImageEmbedding.of_rgb(Oracle(), black)) == []


def test_it_can_be_stopped_between_clicks():
    rgb = scene((500, 500), 12, 30)
    image = ImageEmbedding.of_rgb(Oracle(best=64), rgb)
    steps = []

    def between():
        steps.append(image.model.encoded)
        if len(steps) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_diameters(image, 100, between)
    assert len(set(steps)) > 1
    assert image.diameters is None


@pytest.mark.slow
def test_a_confirmed_guess_costs_little():
    rgb = scene((1000, 1000), 12, 30)
    image = ImageEmbedding.of_rgb(Oracle(best=64), rgb)
    (found,) = find_diameters(image, 24)
    assert found == pytest.approx(24, rel=0.2)
    assert image.embedded_pixels < 0.5 * (1000 * 64 / 24) ** 2
