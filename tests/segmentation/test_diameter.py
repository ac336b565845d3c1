from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from skimage.draw import disk
from skimage.filters import gaussian

from napari_mobilesam.segmentation.diameter import estimate_diameter
from napari_mobilesam.segmentation.image import as_rgb_plane


def scattered_discs(
    size: int, diameter: float, count: int, seed: int = 0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.normal(40, 4, (size, size))
    for _ in range(count):
        rows, columns = disk(
            rng.uniform(0, size, 2), diameter / 2, shape=image.shape
        )
        image[rows, columns] = rng.uniform(120, 200)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize('diameter', [10, 20, 40])
@pytest.mark.parametrize('inverted', [False, True])
def test_discs_are_measured_bright_or_dark(diameter, inverted):
    count = int(0.15 * 400**2 / diameter**2)
    image = scattered_discs(400, diameter, count)
    image = 255 - image if inverted else image
    estimate = estimate_diameter(image)
    assert estimate is not None
    assert 0.6 < estimate / diameter < 1.6


def test_large_images_are_looked_at_in_parts():
    image = scattered_discs(1500, 20, 700)
    estimate = estimate_diameter(image)
    assert estimate is not None
    assert 12 < estimate < 32


def test_objects_that_fill_large_images_are_seen_from_afar():
    image = scattered_discs(2000, 400, 6)
    estimate = estimate_diameter(image)
    assert estimate is not None
    assert estimate > 200


def cells(*, nuclei: bool, texture: float = 0) -> np.ndarray:
    """Draw large blurred discs, with small ones or with noise in them."""
    rng = np.random.default_rng(3)
    image = np.full((600, 600), 30.0)
    for middle in ((130, 130), (140, 400), (400, 180), (430, 450)):
        rows, columns = disk(middle, 80)
        image[rows, columns] = 120 + rng.normal(0, texture, len(rows))
        for offset in rng.uniform(-50, 50, (9, 2)) if nuclei else ():
            rows, columns = disk(middle + offset, 9)
            image[rows, columns] = 220
    image = gaussian(image, 1) + rng.normal(0, 1, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def test_objects_within_larger_things_are_what_is_measured():
    estimate = estimate_diameter(cells(nuclei=True))
    assert estimate is not None
    assert 9 < estimate < 30


@pytest.mark.parametrize('texture', [0, 40])
def test_larger_things_alone_are_the_objects(texture):
    estimate = estimate_diameter(cells(nuclei=False, texture=texture))
    assert estimate is not None
    assert estimate > 80


def test_colours_count_where_gray_shows_nothing():
    gray = scattered_discs(300, 24, 40).astype(int) - 100
    image = np.stack([100 + gray // 2, 100 - gray // 2, gray * 0 + 90], -1)
    image = np.clip(image, 0, 255).astype(np.uint8)
    estimate = estimate_diameter(image)
    assert estimate is not None
    assert 14 < estimate < 40


@pytest.mark.parametrize('shape', [(1, 1), (1, 50), (3, 3), (200, 200, 3)])
def test_nothing_is_seen_in_constant_images(shape):
    assert estimate_diameter(np.full(shape, 9, np.uint8)) is None


def test_noise_is_no_object():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
    assert estimate_diameter(noise) is None


@pytest.mark.parametrize('shape', [(2, 2), (1, 30), (5, 400)])
def test_tiny_and_narrow_images_are_no_trouble(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    estimate = estimate_diameter(image)
    assert estimate is None or estimate > 0


@pytest.mark.xfail(
    reason='object sizes are guessed by autocorrelation, which is within a '
    'factor of two on 88 % of the training images, not on 90 %',
    raises=AssertionError,
    strict=True,
)
def test_real_training_images_are_estimated_within_a_factor_of_two(shared):
    with (shared / 'data' / 'MANIFEST.csv').open(encoding='utf-8') as file:
        train = [
            row for row in csv.DictReader(file) if row['split'] == 'train'
        ]
    modalities = sorted({row['modality'] for row in train})
    ratios = []
    for modality in modalities:
        rows = [row for row in train if row['modality'] == modality]
        for row in rows[:: max(1, len(rows) // 5)][:5]:
            stem = shared / 'data' / row['dataset'] / row['id']
            image = np.asarray(Image.open(f'{stem}_image.png'))
            labels = np.asarray(Image.open(f'{stem}_labels.png'))
            areas = np.bincount(labels.ravel())[1:]
            true = np.sqrt(4 / np.pi * np.median(areas[areas > 0]))
            ratios.append((estimate_diameter(as_rgb_plane(image)) or 0) / true)
    assert 0.8 < np.median(ratios) < 1.25
    assert np.mean([0.5 < ratio < 2 for ratio in ratios]) >= 0.9
