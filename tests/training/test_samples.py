"""Crops and prompts: sizes, places, reproducibility."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.segmentation.image import as_rgb_plane
from napari_mobilesam.segmentation.masks import innermost_pixel
from napari_mobilesam.training.augment import scale_intensities
from napari_mobilesam.training.crop_geometry import choose_window
from napari_mobilesam.training.instance_maps import KnownMaps
from napari_mobilesam.training.interactive import error_clicks
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    labelled_image,
)
from napari_mobilesam.training.procedural import make_scene
from napari_mobilesam.training.sample_batches import SampleBatches
from napari_mobilesam.training.samples import (
    SampleSource,
    cut,
    grid_stride,
    simulate_prompts,
    to_xy,
    touching_ids,
)
from napari_mobilesam.training.simulated_prompts import (
    correction_point,
    jitter_box,
)
from napari_mobilesam.training.training_parameters import ZoomRange
from training.helpers import discs


def test_objects_get_the_chosen_size(
    disc_images: list[LabelledImage],
) -> None:
    image = disc_images[0]
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(8):
        window = choose_window(image, 48, 128, rng)
        _, labels = cut(image, window, 128)
        counts = np.bincount(labels.ravel())[1:]
        areas.append(counts.max())
    diameter = 2 * np.sqrt(np.median(areas) / np.pi) * grid_stride(128)
    assert 38 < diameter < 62


def test_window_stays_in_the_image(disc_images: list[LabelledImage]) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        target = float(rng.uniform(5, 300))
        window = choose_window(disc_images[0], target, 128, rng)
        assert 0 <= window[0] < window[2] <= 96
        assert 0 <= window[1] < window[3] <= 96


def test_labels_lie_on_the_pixels_they_label() -> None:
    pixels, labels = discs(3)
    image = labelled_image(pixels, labels)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        window = choose_window(image, 40, 128, rng)
        rgb, cropped = cut(image, window, 128, rng)
        stride = grid_stride(128)
        gray = rgb[..., 0].astype(float)[::stride, ::stride]
        inside = cropped[0, : gray.shape[0], : gray.shape[1]] > 0
        # Whether bright or inverted, discs and ground are told apart.
        contrast = abs(gray[inside].mean() - gray[~inside].mean())
        assert contrast > 2 * min(gray[inside].std(), gray[~inside].std()) / 3


def test_points_lie_in_their_objects_and_boxes_around_them(
    disc_images: list[LabelledImage],
) -> None:
    source = SampleSource(disc_images, 128, prompts=8, seed=5)
    for number in range(10):
        sample = source[number]
        stride = grid_stride(128)
        for (layer, label), point, box in zip(
            sample.targets, sample.points, sample.boxes, strict=True
        ):
            column, row = ((point - (stride - 1) / 2) / stride).astype(int)
            assert sample.labels[layer, row, column] == label
            assert box[0] < point[0] + 20 and point[0] - 20 < box[2]
            assert (box[2:] > box[:2]).all()
        for x, y in sample.background:
            row, column = int(y / stride), int(x / stride)
            assert not sample.labels[:, row, column].any()


def test_sample_numbers_are_reproducible(
    disc_images: list[LabelledImage],
) -> None:
    one = SampleSource(disc_images, 128, 0.5, make_scene, seed=3)
    two = SampleSource(disc_images, 128, 0.5, make_scene, seed=3)
    other = SampleSource(disc_images, 128, 0.5, make_scene, seed=4)
    _ = one[0], one[1]
    for name in ('image', 'labels', 'points', 'boxes', 'background'):
        assert np.array_equal(getattr(one[7], name), getattr(two[7], name))
    assert not np.array_equal(one[7].image, other[7].image)


def test_touching_ids() -> None:
    layer = np.array([[1, 1, 0, 3], [2, 2, 0, 3]], dtype=np.int32)
    assert touching_ids(layer).tolist() == [1, 2]


def test_few_objects_are_prompted_twice() -> None:
    pixels, labels = discs(0, count=2)
    rgb, cropped = cut(labelled_image(pixels, labels), (0, 0, 96, 96), 128)
    rng = np.random.default_rng(0)
    sample = simulate_prompts(rgb, cropped, 10, 0, rng)
    assert sample.targets[:, 1].tolist() == [1, 1, 2, 2]
    assert len(sample.background) == 0


def test_source_without_anything_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match='neither images nor a scene'):
        SampleSource([], 128)[0]


@given(st.integers(0, 2**32 - 1))
def test_zoom_is_within_its_range(seed: int) -> None:
    drawn = ZoomRange().draw(np.random.default_rng(seed))
    assert drawn is None or 20 <= drawn <= 180


def test_procedural_scenes_have_objects_and_parts() -> None:
    scenes = [make_scene(np.random.default_rng(seed)) for seed in range(30)]
    assert all(scene.labels[0].any() for scene in scenes)
    assert any(len(scene.labels) == 2 for scene in scenes)
    for scene in scenes:
        assert scene.image.dtype == np.uint8
        if len(scene.labels) == 2:
            part = scene.labels[1] > 0
            whole = scene.labels[0]
            assert (whole[part] == scene.labels[1][part]).all()


def test_innermost_pixel_is_deepest() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[2:13, 3:14] = True
    mask[7, 14:20] = True
    assert innermost_pixel(mask) == (7, 8)


def test_correction_goes_to_the_larger_error() -> None:
    truth = np.zeros((20, 20), dtype=bool)
    truth[2:18, 2:10] = True
    leak = truth.copy()
    leak[4:8, 10:13] = True
    row, column, label = correction_point(leak, truth)
    assert (label, truth[row, column]) == (0, False)
    half = truth.copy()
    half[9:] = False
    row, column, label = correction_point(half, truth)
    assert (label, truth[row, column], half[row, column]) == (1, True, False)
    row, column, label = correction_point(truth, truth)
    assert (label, truth[row, column]) == (1, True)


def test_random_corrections_lie_in_the_error() -> None:
    truth = torch.zeros(40, 20, 20, dtype=torch.bool)
    truth[:, 2:18, 2:10] = True
    found = truth.roll(3, dims=2)
    found[20:] = truth[20:]
    places, labels = error_clicks(found, truth, np.random.default_rng(0))
    columns, rows = places.long().T
    each = torch.arange(40)
    there, kept = truth[each, rows, columns], found[each, rows, columns]
    assert (there[:20] != kept[:20]).all()
    assert torch.equal(labels[:20] > 0, there[:20])
    assert labels[:20].unique().tolist() == [0, 1]
    # without an error, a positive click in the object
    assert there[20:].all() and (labels[20:] == 1).all()


@given(st.integers(0, 2**32 - 1))
def test_jittered_boxes_keep_an_area_inside_the_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = np.array([3.0, 4.0, 9.0, 40.0])
    moved = jitter_box(box, (64, 64), rng)
    assert (moved[2:] > moved[:2]).all()
    assert moved.min() >= 0 and moved.max() <= 64


def test_to_xy_is_the_middle_of_the_grid_pixel() -> None:
    # Grid pixel (3, 5) of stride 2 covers input rows 6, 7, columns 10, 11.
    assert to_xy((3, 5), 2) == (10.5, 6.5)


def test_incomplete_data_sets_get_no_clicks_on_the_background(
    disc_images: list[LabelledImage],
) -> None:
    kept = SampleSource(disc_images, 128, 0)
    left = SampleSource(disc_images, 128, 0, incomplete=('discs',))
    assert {image.dataset for image in disc_images} == {'discs'}
    assert any(len(kept[number].background) for number in range(4))
    assert not any(len(left[number].background) for number in range(4))


def test_maps_for_the_instance_head_fit_the_labels(
    disc_images: list[LabelledImage],
) -> None:
    source = SampleSource(
        disc_images, 128, 0, warped=1.0, known_maps=KnownMaps(disc_images)
    )
    for number in range(4):
        sample = source[number]
        assert sample.maps is not None
        assert sample.maps.shape == (4, 32, 32)
        there = sample.labels[0][::2, ::2] > 0
        assert ((sample.maps[0] > 127) == there).mean() > 0.9


def test_maps_prepared_in_processes_are_the_same(
    disc_images: list[LabelledImage],
) -> None:
    prepared, later = KnownMaps(disc_images), KnownMaps(disc_images)
    prepared.prepare(workers=1)
    for image in disc_images:
        assert np.array_equal(prepared.of(image), later.of(image))


def test_batches_made_ahead_are_the_same(
    disc_images: list[LabelledImage],
) -> None:
    source = SampleSource(disc_images, 128, 0, warped=0.5)
    ahead, now = SampleBatches(source, 128, 2), SampleBatches(source, 128)
    # in order, then elsewhere, as after a resumed run
    for first in (4, 6, 8, 20):
        one, two = ahead.get(first, 2), now.get(first, 2)
        for name, value in vars(one).items():
            assert torch.equal(value, getattr(two, name)), name


def test_maps_are_found_again_in_another_process(
    disc_images: list[LabelledImage],
) -> None:
    known = KnownMaps(disc_images)
    known.prepare(workers=1)
    images, copied = pickle.loads(pickle.dumps((disc_images, known)))
    for number, image in enumerate(images):
        assert copied.of(image) is copied.computed[number]


def test_colours_are_shown_as_by_the_predictor() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 10:30] = 1
    rng = np.random.default_rng(0)
    colours = rng.uniform(0.2, 0.6, (40, 40, 3))
    for image in (colours, (200 * colours).astype(np.uint8), labels > 0):
        shown = scale_intensities(image, labelled_image(image, labels), None)
        rgb = as_rgb_plane(np.asarray(image))
        assert np.abs(255 * shown - rgb).max() < 1


def test_intensities_of_any_unit_are_shown_as_by_the_predictor() -> None:
    pixels, labels = discs()
    for unit in (1e3, 1e-9):
        values = unit * pixels.astype(np.float32)
        shown = scale_intensities(values, labelled_image(values, labels), None)
        assert np.abs(255 * shown - as_rgb_plane(values)).max() < 1
