from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.draw import disk
from skimage.filters import gaussian

from napari_mobilesam.segmentation.diameter import estimate_diameter
from napari_mobilesam.segmentation.image import as_rgb_plane
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.object_size import find_diameters


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


@pytest.mark.slow
@pytest.mark.parametrize('diameter', [10, 20, 40])
@pytest.mark.parametrize('inverted', [False, True])
def test_discs_are_measured_bright_or_dark(diameter, inverted):
    count = int(0.15 * 400**2 / diameter**2)
    image = scattered_discs(400, diameter, count)
    image = 255 - image if inverted else image
    estimate = estimate_diameter(image)
    assert estimate is not None
    assert 0.6 < estimate / diameter < 1.6


@pytest.mark.slow
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


@pytest.mark.slow
def test_objects_of_large_images_are_no_illumination():
    discs = scattered_discs(1000, 60, 283)
    small = estimate_diameter(discs)
    large = estimate_diameter(np.kron(discs, np.ones((2, 2), np.uint8)))
    assert small is not None
    assert large is not None
    assert 0.8 < large / small / 2 < 1.25


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


@pytest.mark.slow
def test_objects_within_larger_things_are_what_is_measured():
    estimate = estimate_diameter(cells(nuclei=True))
    assert estimate is not None
    assert 9 < estimate < 30


def test_objects_within_larger_things_are_measured_in_smaller_images():
    small = cells(nuclei=True)[::2, ::2]
    estimate = estimate_diameter(np.ascontiguousarray(small))
    assert estimate is not None
    assert 5 < estimate < 15


@pytest.mark.slow
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


def read_training_rows(shared: Path) -> list[dict[str, str]]:
    """Training images of the manifest."""
    with (shared / 'data' / 'MANIFEST.csv').open(encoding='utf-8') as file:
        rows = csv.DictReader(file)
        return [row for row in rows if row['split'] == 'train']


def read_image(
    shared: Path, row: dict[str, str]
) -> tuple[NDArray[np.uint8], float]:
    """Image as RGB, and the median diameter of its objects."""
    stem = shared / 'data' / row['dataset'] / row['id']
    rgb = as_rgb_plane(np.asarray(Image.open(f'{stem}_image.png')))
    labels = np.asarray(Image.open(f'{stem}_labels.png'))
    areas = np.bincount(labels.ravel())[1:]
    return rgb, float(np.sqrt(4 / np.pi * np.median(areas[areas > 0])))


# Autocorrelation sees 18 pixels in the first, whose cells measure 32.
@pytest.mark.slow
@pytest.mark.parametrize('image_id', ['ovule_z16', '00ae65c1c663'])
def test_the_model_finds_the_size_in_real_images(image_id, shared, bundled):
    rows = read_training_rows(shared)
    (row,) = [row for row in rows if row['id'] == image_id]
    rgb, true = read_image(shared, row)
    image = ImageEmbedding.of_rgb(bundled, rgb)
    found = find_diameters(image, estimate_diameter(rgb))
    assert 0.5 < found[0] / true < 2


@pytest.mark.slow
def test_most_guesses_in_real_images_are_within_a_factor_of_two(shared):
    train = read_training_rows(shared)
    ratios = []
    for modality in sorted({row['modality'] for row in train}):
        rows = [row for row in train if row['modality'] == modality]
        for row in rows[:: max(1, len(rows) // 5)][:5]:
            rgb, true = read_image(shared, row)
            ratios.append((estimate_diameter(rgb) or 0) / true)
    assert 0.8 < np.median(ratios) < 1.25
    assert np.mean([0.5 < ratio < 2 for ratio in ratios]) >= 0.85
