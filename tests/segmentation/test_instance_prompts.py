"""Segment everything by prompts derived from an instance head."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.segmentation.cost_history import Speed
from napari_mobilesam.segmentation.embedding_grid import EmbeddingGrid
from napari_mobilesam.segmentation.estimate import estimate_run
from napari_mobilesam.segmentation.everything_plan import plan_for_shape
from napari_mobilesam.segmentation.head_maps import maps_of
from napari_mobilesam.segmentation.head_sizes import seen_density
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.instances import find_instances
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.types import EverythingParameters

from .helpers import SHAPE, iou
from .oracle import Oracle, SeeingOracle


def found(image, model=None, **options):
    return generate_candidates(
        image, model or SeeingOracle(best=48), diameter=14, **options
    )


def assert_all_found(labels, planes):
    assert labels.max() == len(planes)
    for plane in planes:
        (number,) = np.unique(labels[plane & (labels > 0)])
        assert iou(labels == number, plane) > 0.85


@pytest.mark.slow
def test_one_prompt_for_each_object(image, planes):
    candidates = found(image)
    assert candidates.prompts == len(planes)
    assert_all_found(candidates.paint()[0], planes)


@pytest.mark.slow
def test_what_the_head_shows_without_a_peak_is_asked_again(image, planes):
    blind = SeeingOracle(best=48)
    blind.shown = 100.0
    candidates = found(image, blind)
    assert candidates.prompts == len(planes)
    assert_all_found(candidates.paint()[0], planes)


@pytest.mark.slow
def test_where_the_head_is_unsure_the_grid_is_asked(image, planes):
    class Unsure(SeeingOracle):
        def instance_maps(self, features):
            return 0.6 * super().instance_maps(features) + 0.2

    candidates = found(image, Unsure(best=48))
    assert candidates.prompts > 1.5 * len(planes)
    assert_all_found(candidates.paint()[0], planes)


@pytest.mark.slow
def test_masks_that_the_head_does_not_see_are_dropped(image, planes):
    """The decoder is sure of them, but the head sees little but background."""

    class Blind(SeeingOracle):
        def instance_maps(self, features):
            maps = super().instance_maps(features)
            # of the first disc, at this scale pixel for pixel, a spot is seen
            maps[:, :, :18, :20] = 0
            maps[:, :, 9:12, 9:12] = 1
            return maps

    candidates = found(image, Blind(best=48))
    # and what was answered is not asked again
    assert candidates.prompts == len(planes)
    labels, _ = candidates.paint()
    assert not labels[planes[0]].any()
    assert_all_found(labels, planes[1:])


@pytest.mark.slow
def test_the_grid_is_asked_without_a_head_and_by_choice(image):
    adaptive = found(image, Oracle(best=48)).prompts
    assert found(image, instance_head=False).prompts == adaptive
    full = found(image, Oracle(best=48), adaptive=False).prompts
    assert found(image, adaptive=False).prompts == full


@pytest.mark.parametrize(
    ('options', 'source'),
    [
        ({'diameter': 14.0}, 'head'),
        ({'diameter': 14.0, 'instance_head': False}, 'adaptive'),
        ({'diameter': 14.0, 'adaptive': False}, 'grid'),
        ({'whole_image': True}, 'adaptive'),
        ({'crop_layers': 1}, 'grid'),
        ({}, 'adaptive'),
    ],
)
def test_source_of_the_points(options, source):
    record = SeeingOracle().record
    planned = plan_for_shape(SHAPE, record, EverythingParameters(**options))
    assert planned.source == source


@pytest.mark.slow
def test_region_and_skip_limit_what_is_asked(image, planes):
    whole = found(image)
    part = found(image, region=(0, 0, 100, 60))
    inside = [p for p in planes if p[:100, :60].any()]
    assert 0 < part.prompts <= len(inside) < whole.prompts
    assert all(m.point[0] < 100 and m.point[1] < 60 for m in part.masks)
    skipped = planes[0] | planes[1]
    rest = found(image, skip=skipped)
    assert rest.prompts == len(planes) - 2
    assert not rest.paint()[0][skipped].any()


def test_a_cancelled_run_keeps_what_it_found(image, planes):
    seen = []
    candidates = found(
        image,
        batch_size=4,
        on_masks=seen.extend,
        cancelled=lambda: len(seen) > 0,
    )
    assert not candidates.complete
    assert 0 < candidates.prompts < len(planes)
    assert set(map(id, seen)) <= set(map(id, candidates.masks))
    nothing = found(image, cancelled=lambda: True)
    assert nothing.prompts == 0 and not nothing.complete


@pytest.mark.slow
def test_progress_counts_the_objects_that_are_seen(image, planes):
    seen = []
    found(image, progress=lambda *report: seen.append(report[:2]))
    assert seen[-1] == (len(planes), len(planes))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_estimate_knows_the_head():
    speed = Speed(0.3, 0.007, 0.0015)
    parameters = EverythingParameters(diameter=14)
    head, grid = (
        estimate_run(SHAPE, model.record, parameters, speed)
        for model in (SeeingOracle(best=48), Oracle(best=48))
    )
    assert head.prompts < grid.prompts
    assert head.windows == grid.windows


@pytest.mark.parametrize('count', [3, 40])
def test_the_estimate_knows_how_many_objects_the_head_saw(count):
    image = squares(SHAPE, range(count))
    assert seen_density(image) is None
    look(image, 4)
    density = seen_density(image)
    assert density * np.prod(SHAPE) == pytest.approx(count)
    work = estimate_run(
        SHAPE,
        image.model.record,
        EverythingParameters(diameter=14),
        Speed(0.3, 0.007, 0.0015),
        density=density,
    )
    assert count <= work.prompts <= 2 * count


@pytest.mark.slow
@pytest.mark.parametrize('count', [9, 2500])
def test_a_look_at_a_part_tells_of_the_rest_by_its_contrast(count):
    shape = 1400, 1400
    image = squares(shape, range(count))
    look(image, 4, (0, 0))
    seen = len(image.kept_maps.newest.instances.seeds)
    assert seen == 9 or seen < count / 4
    assert seen_density(image) * np.prod(shape) == pytest.approx(
        count, rel=0.5
    )


def squares(shape, numbers):
    """Return the embedding of an image of squares, in rows."""
    gray = np.zeros(shape, np.uint8)
    for number in numbers:
        row, column = (28 * n for n in divmod(number, shape[1] // 28))
        gray[row + 7 : row + 21, column + 7 : column + 21] = 255
    return ImageEmbedding.of_rgb(SeeingOracle(), np.stack([gray] * 3, -1))


def look(image, pitch, at=None):
    """Look at all of an image, or at one large block."""
    keys = image.grid.large_blocks((0, 0, *image.image_shape), pitch)
    if at is not None:
        keys = [image.grid.large_block(at, pitch)]
    maps_of(image, pitch, keys)


@pytest.mark.slow
def test_two_sizes_of_objects_are_not_asked_twice(image, planes):
    model = SeeingOracle(best=48)
    embedding = ImageEmbedding.of_rgb(model, np.stack([image] * 3, -1))
    embedding.diameters = [14.0, 28.0]
    candidates = generate_candidates(image, model, embedding=embedding)
    assert candidates.prompts == len(planes)
    assert_all_found(candidates.paint()[0], planes)


@pytest.mark.slow
def test_maps_of_blocks_join_to_those_of_the_whole():
    rng = np.random.default_rng(4)
    shape = 1500, 700
    centers = np.argwhere(rng.random((30, 14)) > 0.5) * 50 + 25
    bright = np.zeros(shape, bool)
    for row, column in centers:
        bright[row - 15 : row + 16, column - 15 : column + 16] = True
    rgb = np.repeat(np.where(bright, 255, 0)[..., None], 3, 2)
    model = SeeingOracle()
    image = ImageEmbedding.of_rgb(model, rgb.astype(np.uint8))
    grid = EmbeddingGrid(shape, model.record)
    keys = grid.large_blocks((0, 0, *shape), 16)
    assert len(keys) > 1
    maps = maps_of(image, 16, keys)
    assert maps.values.shape == (3, 4 * 94, 4 * 44)
    truth = rgb[::4, ::4, 0][:, : 700 // 4] > 0
    joined = maps.values[0][: truth.shape[0], : truth.shape[1]] > 0.5
    assert (joined == truth).mean() > 0.97
    points = maps.to_data(np.array([[0, 0], [375, 175]]))
    assert np.allclose(points, [[1.5, 1.5], [1499, 699]])


@pytest.mark.slow
def test_one_block_has_the_instances_that_it_has_in_the_whole_image():
    """What it cuts off ends there, as beside pixels that are not looked at."""
    shape = 3000, 2600
    rows, columns = (np.arange(length) % 90 - 45 for length in shape)
    bright = rows[:, None] ** 2 + columns**2 < 35**2
    rgb = np.repeat(np.where(bright, 255, 0)[..., None], 3, 2)
    model = SeeingOracle()
    image = ImageEmbedding.of_rgb(model, rgb.astype(np.uint8))
    key = image.grid.large_block((1500, 1300), 16)
    maps = maps_of(image, 16, [key])
    height, width = (4 * length for length in image.grid.shape(16))
    assert maps.values.shape[1] < height and maps.values.shape[2] < width
    # smoothing does not mirror objects at the edges
    assert maps.values[0].any()
    assert not maps.values[:, [0, -1]].any()
    assert not maps.values[:, :, [0, -1]].any()
    whole = np.zeros((3, height, width), np.float32)
    top, left = maps.first
    place = np.s_[
        top : top + maps.values.shape[1], left : left + maps.values.shape[2]
    ]
    whole[:, *place] = maps.values
    expected = find_instances(whole)
    seeds = {tuple(seed) for seed in (maps.instances.seeds + maps.first)}
    assert seeds == {tuple(seed) for seed in expected.seeds}
    assert ((expected.labels[place] > 0) == (maps.instances.labels > 0)).all()


def test_what_told_the_size_of_the_objects_is_not_looked_at_again(image):
    class Counting(SeeingOracle):
        looks = 0

        def instance_maps(self, features):
            self.looks += 1
            return super().instance_maps(features)

    model = Counting(best=48)
    embedding = ImageEmbedding.of_rgb(
        model, np.repeat(image[..., None], 3, axis=2)
    )
    keys = embedding.grid.large_blocks((0, 0, *image.shape), 8)
    maps = maps_of(embedding, 8, keys)
    looks = model.looks
    assert looks == len(keys)
    again = maps_of(embedding, 8, keys[::-1])
    assert again is maps
    assert again.instances is maps.instances
    assert model.looks == looks
    assert maps_of(embedding, 16, []) is not maps


@pytest.mark.parametrize('watershed', [False, True])
def test_nothing_is_left_out_where_not_all_blocks_are_kept(
    monkeypatch, watershed
):
    monkeypatch.setattr(
        'napari_mobilesam.segmentation.mask_generator.RUN_BYTES', 0
    )
    bright = np.zeros((800, 300), bool)
    centers = np.mgrid[60:800:120, 60:300:120].reshape(2, -1).T
    for row, column in centers:
        bright[row - 9 : row + 10, column - 9 : column + 10] = True
    gray = np.where(bright, 255, 0).astype(np.uint8)
    rgb = np.repeat(gray[..., None], 3, 2)
    model = SeeingOracle()
    embedding = ImageEmbedding.of_rgb(model, rgb)
    embedding._budgets = [1]
    candidates = generate_candidates(
        rgb,
        model,
        diameter=18,
        watershed=watershed,
        stability=0.3,
        predicted_iou=0.3,
        embedding=embedding,
    )
    assert candidates.paint()[0].max() == len(centers)
    assert len(embedding._blocks) == 1


@pytest.mark.slow
@pytest.mark.parametrize('watershed', [False, True])
def test_the_pixel_that_a_point_lies_on_can_be_skipped(image, watershed):
    def points(**options):
        model = SeeingOracle(best=48)
        options |= {'diameter': 18, 'watershed': watershed}
        masks = generate_candidates(image, model, **options).masks
        return [mask.point for mask in masks]

    # at this scale some lie in the upper left half of their pixel
    point = next(p for p in points() if p[0] % 1 > 0.5)
    skip = np.zeros(SHAPE, bool)
    skip[round(point[0]), round(point[1])] = True
    assert point not in points(skip=skip)
