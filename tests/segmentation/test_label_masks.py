"""Masks of label images, and pooling of the embedding within them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.label_masks import (
    ObjectMasks,
    equivalent_diameter,
    label_plane,
    masks_of_labels,
    typical_diameter,
)
from napari_mobilesam.segmentation.object_features import (
    block_of,
    cell_shares,
    pooled_features,
)
from napari_mobilesam.types import ImageError, SegmentationError
from segmentation.helpers import as_mask, disc, paste

SHAPE = (60, 90)


@pytest.mark.parametrize('dtype', [np.uint8, np.int32, np.uint32, np.int64])
def test_masks_are_those_of_the_labels(dtype):
    labels = np.zeros(SHAPE, dtype)
    labels[disc(SHAPE, (20, 30), 8)] = 7
    labels[disc(SHAPE, (40, 70), 12)] = 3
    masks = masks_of_labels(labels, SHAPE)
    assert list(masks) == [3, 7]
    for label, mask in masks.items():
        assert np.array_equal(paste(mask, SHAPE), labels == label)
    assert list(masks_of_labels(labels, SHAPE, [7])) == [7]
    assert equivalent_diameter(masks[7]) == pytest.approx(16, abs=0.5)
    expected = np.sqrt(16 * 24)
    assert typical_diameter(list(masks.values())) == pytest.approx(
        expected, abs=0.5
    )


@pytest.mark.parametrize('large', [1 << 40, -5])
def test_labels_of_any_number_are_found(large):
    labels = np.zeros(SHAPE, np.int64)
    labels[3:6, 4:9] = large
    labels[10:12, 1:3] = 2
    masks = masks_of_labels(labels, SHAPE)
    assert {k: m.area for k, m in masks.items()} == {large: 15, 2: 4}


@pytest.mark.parametrize(
    ('labels', 'numbers', 'message'),
    [
        (np.zeros(SHAPE), None, 'whole numbers'),
        ('cells', None, 'whole numbers'),
        (np.zeros((5, 5), int), None, r'shape \(5, 5\).*\(60, 90\)'),
        (np.zeros(SHAPE, int), [4], 'no object 4'),
    ],
)
def test_unusable_labels_are_refused(labels, numbers, message):
    with pytest.raises(SegmentationError, match=message):
        masks_of_labels(labels, SHAPE, numbers)


def test_shares_are_those_of_cells():
    plane = np.zeros(SHAPE, bool)
    plane[5:12, 6:9] = True
    row, column, shares = cell_shares(as_mask(plane), 4)
    assert (row, column) == (1, 1)
    assert shares.shape == (2, 2)
    whole = plane[4:12, 4:12].reshape(2, 4, 2, 4).mean(axis=(1, 3))
    assert np.allclose(shares, whole)


def test_features_are_the_mean_over_the_mask(tiny_model):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
    image = ImageEmbedding.of_rgb(tiny_model, rgb)
    pitch = image.grid.pitches[-1]
    cells = np.zeros(SHAPE, bool)
    cells[2 * pitch : 4 * pitch, 3 * pitch : 4 * pitch] = True
    mask = as_mask(cells)
    (pooled,) = pooled_features(image, [mask], pitch)
    key = block_of(image, mask, pitch)
    block = image.block(key).float().numpy()
    part = block[:, 2 - key.row : 4 - key.row, 3 - key.column : 4 - key.column]
    assert np.allclose(pooled, part.mean(axis=(1, 2)), atol=1e-5)
    assert pooled_features(image, [], pitch).shape[0] == 0


# label images as other programs write them


def two_labels() -> np.ndarray:
    labels = np.zeros((96, 128), np.uint16)
    labels[13:43, 17:47] = 3
    labels[53:83, 69:107] = 7
    return labels


def test_cellpose_uint16():
    objects = ObjectMasks.of(two_labels())
    assert sorted(objects.masks) == [3, 7]
    assert objects.masks[7].box == (53, 69, 83, 107)


def test_stardist_int32():
    assert sorted(ObjectMasks.of(two_labels().astype(np.int32)).masks) == [
        3,
        7,
    ]


@pytest.mark.parametrize('dtype', [np.int32, np.float32])
def test_instanseg_with_a_leading_axis(dtype: type):
    given = two_labels()[None, None].astype(dtype)
    objects = ObjectMasks.of(given)
    assert np.array_equal(objects.labels, two_labels())


@pytest.mark.parametrize(
    'threshold',
    [
        two_labels() > 0,
        255 * (two_labels() > 0).astype(np.uint8),
        (two_labels() > 0).astype(np.uint8),
    ],
    ids=['bool', '0-255', '0-1'],
)
def test_parts_of_a_threshold_are_objects(threshold: np.ndarray):
    objects = ObjectMasks.of(threshold)
    assert sorted(objects.masks) == [1, 2]
    assert np.array_equal(objects.labels == 1, two_labels() == 3)


def test_one_object_keeps_its_label():
    labels = np.where(two_labels() == 7, 7, 0)
    assert list(ObjectMasks.of(labels).masks) == [7]
    parts = ObjectMasks.of(np.where(two_labels() > 0, 7, 0), split=False)
    assert list(parts.masks) == [7]


def test_large_labels_cost_no_memory():
    labels = two_labels().astype(np.int64) * 100_000_000
    assert sorted(ObjectMasks.of(labels).masks) == [3 * 10**8, 7 * 10**8]


@pytest.mark.parametrize(
    'labels, message',
    [
        (np.full((4, 4), 0.5), 'fractions'),
        (np.full((4, 4), np.nan), 'fractions or NaN'),
        (np.full((4, 4), -1), 'negative values'),
        (np.full((4, 4), 2**40), 'too large'),
        (np.zeros((3, 4, 4), int), 'not one plane'),
        (np.zeros((0, 4), int), 'not one plane'),
        (np.full((4, 4), 'a'), 'are not labels'),
    ],
)
def test_other_arrays_are_refused(labels: np.ndarray, message: str):
    with pytest.raises(ImageError, match=message):
        label_plane(labels)
