"""Pixels, labels and maps of a crop go the same way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_mobilesam.training.crop_geometry import CropGeometry, Orientation
from napari_mobilesam.training.labelled_images import labelled_image
from napari_mobilesam.training.warp import Warp
from training.helpers import discs


@given(st.integers(0, 2**32 - 1), st.sampled_from([(64, 64), (80, 64)]))
def test_a_warp_stays_in_the_crop(seed: int, shape: tuple[int, int]) -> None:
    warp = Warp.draw(np.random.default_rng(seed))
    nodes = warp.nodes(shape)
    assert nodes.min() >= 0 and nodes.max() <= 1
    assert 1 <= warp.enlargement < 2.5


def test_a_long_crop_is_not_turned() -> None:
    nodes = Warp(angle=0.5).nodes((20, 200))
    assert np.allclose(nodes[0, :, 0], 0) and np.allclose(nodes[-1, :, 0], 1)


def test_without_turn_and_jitter_nothing_moves() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    warped = Warp().image(Image.fromarray(pixels), (40, 40))
    assert np.array_equal(np.asarray(warped), pixels)
    places = Warp().places(np.array([0.25, 0.5]), np.array([0.75]), (40, 40))
    assert np.allclose(places[:, 0], [(0.25, 0.75), (0.5, 0.75)])


def test_a_turned_crop_shows_objects_enlarged() -> None:
    warp = Warp(angle=np.pi / 4)
    pixels = np.zeros((101, 101), np.uint8)
    rows, columns = np.indices(pixels.shape) - 50
    pixels[np.hypot(rows, columns) < 20] = 255
    warped = np.asarray(warp.image(Image.fromarray(pixels), pixels.shape))
    grown = np.sqrt((warped > 127).sum() / (pixels > 127).sum())
    assert grown == pytest.approx(warp.enlargement, rel=0.03)


@pytest.mark.parametrize('seed', range(6))
def test_labels_and_maps_follow_the_pixels(seed: int) -> None:
    _, labels = discs(3)
    pixels = np.where(labels > 0, 200, 20).astype(np.uint8)
    image = labelled_image(pixels, labels)
    rng = np.random.default_rng(seed)
    geometry = CropGeometry(
        (96, 96), (10, 4, 90, 84), 128, Warp.draw(rng), Orientation.draw(rng)
    )
    rgb = geometry.pixels(image)
    ids = geometry.labels(image.labels, 2)[0]
    planes = geometry.planes((labels[None] > 0).astype(np.uint8) * 255, 4)[0]
    seen = rgb[..., 0].reshape(64, 2, 64, 2).mean((1, 3)) > 110
    assert ((ids > 0) == seen).mean() > 0.985
    coarse = rgb[..., 0].reshape(32, 4, 32, 4).mean((1, 3)) > 110
    assert ((planes > 127) == coarse).mean() > 0.97
