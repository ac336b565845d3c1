from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.segmentation.everything import segment_everything
from napari_mobilesam.segmentation.everything_plan import plan_for_shape
from napari_mobilesam.segmentation.mask_generator import (
    generate_candidates,
    generate_masks,
)
from napari_mobilesam.segmentation.parameters import checked_parameters
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.types import (
    EverythingParameters,
    ImageError,
    ModelRecord,
    SegmentationError,
)

from .helpers import assert_each_found_once, disc, iou, paste
from .oracle import Oracle, SpecklingOracle

LOOSE = {
    'predicted_iou': 0.0,
    'stability': 0.0,
    'points_per_side': 4,
    'whole_image': True,
    'adaptive': False,
    # The logits of an untrained model are close to zero.
    'stability_offset': 0.01,
    'box_nms': 1.0,
}


def discs(shape: tuple[int, int], radius: int, pitch: int) -> list[np.ndarray]:
    """Discs on a grid that the windows do not know of."""
    return [
        disc(shape, (row, column), radius)
        for row in range(radius + 3, shape[0] - radius - 2, pitch)
        for column in range(radius + 5, shape[1] - radius - 2, pitch)
    ]


def drawn(planes: list[np.ndarray]) -> np.ndarray:
    return np.where(np.any(planes, axis=0), 255, 0).astype(np.uint8)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)


@pytest.mark.slow
def test_masks_are_cropped_and_best_first(tiny_model, noise):
    masks = generate_masks(noise, tiny_model, **LOOSE)
    assert masks
    scores = [mask.score for mask in masks]
    assert scores == sorted(scores, reverse=True)
    for mask in masks:
        row0, column0, row1, column1 = mask.box
        assert mask.data.shape == (row1 - row0, column1 - column0)
        assert mask.data.any(axis=0)[[0, -1]].all()
        assert mask.data.any(axis=1)[[0, -1]].all()
        assert 0 <= mask.stability <= 1
        assert mask.crop_box == (0, 0, 50, 70)


@pytest.mark.slow
def test_batches_do_not_change_the_answer(tiny_model, noise):
    one = generate_masks(noise, tiny_model, batch_size=1, **LOOSE)
    many = generate_masks(noise, tiny_model, batch_size=7, **LOOSE)
    assert len(one) == len(many)
    for a, b in zip(one, many, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-4)
        assert iou(paste(a, (50, 70)), paste(b, (50, 70))) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize('name', ['predicted_iou', 'stability'])
def test_thresholds_drop_masks(tiny_model, noise, name):
    everything = generate_masks(noise, tiny_model, **LOOSE)
    attribute = {'predicted_iou': 'score'}.get(name, name)
    values = sorted(getattr(mask, attribute) for mask in everything)
    middle = min(1.0, max(0.0, values[len(values) // 2]))
    kept = generate_masks(noise, tiny_model, **{**LOOSE, name: middle})
    assert 0 < len(kept) < len(everything)
    assert all(getattr(mask, attribute) >= middle for mask in kept)


@pytest.mark.slow
def test_masks_of_nearly_everything_are_dropped(tiny_model, noise):
    areas = [m.area for m in generate_masks(noise, tiny_model, **LOOSE)]
    fraction = float(np.median(areas)) / noise.size
    masks = generate_masks(
        noise, tiny_model, **LOOSE, max_area_fraction=fraction
    )
    assert all(mask.area <= fraction * noise.size for mask in masks)
    assert 0 < len(masks) < len(areas)


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(1, 1), (1, 40), (30, 2), (64, 64)])
@pytest.mark.parametrize('layers', [0, 1])
def test_odd_and_constant_images_end_well(tiny_model, shape, layers):
    labels, table = segment_everything(
        np.zeros(shape, np.uint8), tiny_model, **LOOSE, crop_layers=layers
    )
    assert labels.shape == shape
    assert len(table) == labels.max()


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(1, 1), (5, 4), (64, 64)])
def test_a_quick_look_at_nothing_takes_the_whole_image(tiny_model, shape):
    labels, _ = segment_everything(
        np.full(shape, 7, np.uint8), tiny_model, points_per_side=2
    )
    assert labels.shape == shape


@pytest.mark.parametrize(
    'bad', [np.zeros((0, 3)), np.zeros(4), np.full((3, 3), np.nan)]
)
def test_images_that_cannot_be_segmented(tiny_model, bad):
    with pytest.raises(ImageError):
        segment_everything(bad, tiny_model)


def test_nan_pixels_are_told_once(tiny_model):
    image = np.random.default_rng(1).random((40, 40))
    image[4, 5] = np.nan
    with pytest.warns(UserWarning, match=r'\(4, 5\)') as record:
        generate_masks(image, tiny_model, **LOOSE)
    assert len(record) == 1


@pytest.mark.slow
def test_progress_counts_prompts_to_the_end(tiny_model, noise):
    seen = []
    generate_masks(
        noise,
        tiny_model,
        **{**LOOSE, 'crop_layers': 1},
        progress=lambda *report: seen.append(report),
    )
    done = [report[0] for report in seen]
    assert done == sorted(done)
    assert {report[1] for report in seen} == {16 + 4 * 4}
    assert done[-1] == 32
    assert [report[2] for report in seen[-2:]] == [
        'Segmenting',
        'Removing duplicates',
    ]


def test_cancelling_at_once_finds_nothing(tiny_model, noise):
    labels, table = segment_everything(
        noise, tiny_model, **LOOSE, cancelled=lambda: True
    )
    assert not labels.any()
    assert len(table) == 0


def test_cancelling_is_heard_while_sizes_are_looked_for():
    model = Oracle(best=24)
    asked = []
    found = generate_candidates(
        drawn(discs((120, 160), 9, 30)),
        model,
        cancelled=lambda: len(asked) > 1 or asked.append(model.encoded),
    )
    assert not found.complete
    assert not found.masks
    # no more than the looks between which it was asked
    assert asked[-1] <= model.encoded <= asked[-1] + 2


@pytest.mark.slow
def test_cancelling_keeps_what_was_found():
    planes = discs((120, 160), 9, 30)
    model = Oracle(best=24)
    done = []
    labels, _ = segment_everything(
        drawn(planes),
        model,
        whole_image=True,
        adaptive=False,
        points_per_side=16,
        batch_size=16,
        progress=lambda *report: done.append(report[0]),
        cancelled=lambda: bool(done) and done[-1] >= 128,
    )
    # Half of the points, row by row: the upper half is labelled.
    assert 0 < labels.max() < len(planes)
    assert labels[:40].any()
    assert not labels[75:].any()


@pytest.mark.slow
def test_masks_are_handed_over_region_by_region():
    planes = discs((120, 160), 9, 30)
    parts = []
    masks = generate_masks(
        drawn(planes),
        Oracle(best=96),
        diameter=18,
        on_masks=parts.append,
        points_per_side=8,
    )
    assert len(parts) > 1
    given = [mask for part in parts for mask in part]
    assert {mask.box for mask in masks} <= {mask.box for mask in given}


@pytest.mark.slow
@pytest.mark.parametrize('layers', [0, 1])
def test_discs_are_found_in_the_whole_image(layers):
    planes = discs((120, 160), 12, 36)
    labels, table = segment_everything(
        drawn(planes),
        Oracle(),
        whole_image=True,
        crop_layers=layers,
        points_per_side=16,
    )
    assert_each_found_once(labels, planes)
    assert (table.score > 0.9).all()


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(200, 200), (130, 330), (331, 97)])
def test_small_objects_are_enlarged_and_found_in_one_pass(shape):
    planes = discs(shape, 7, 19)
    model = Oracle(best=48)
    labels, _ = segment_everything(
        drawn(planes), model, diameter=14, points_per_side=4
    )
    assert model.encoded <= 2
    assert_each_found_once(labels, planes, least=0.85)


@pytest.mark.slow
def test_the_size_of_small_objects_is_found():
    planes = discs((200, 200), 6, 23)
    model = Oracle(best=64)
    labels, _ = segment_everything(drawn(planes), model)
    assert model.encoded > 1
    assert_each_found_once(labels, planes)


@pytest.mark.slow
def test_the_size_of_large_objects_is_found():
    planes = discs((200, 200), 28, 80)
    model = Oracle(best=64)
    labels, _ = segment_everything(drawn(planes), model, points_per_side=8)
    assert_each_found_once(labels, planes)


@pytest.mark.slow
@pytest.mark.parametrize('shift', [0, 5, 11, 17])
def test_objects_on_seams_are_whole(shift):
    shape = (150, 260)
    model = Oracle(best=48)
    plan = plan_for_shape(
        shape,
        model.record,
        EverythingParameters(diameter=14, points_per_side=4),
    )
    seams = {region.window[1] for region in plan.regions} - {0}
    centers = [(75, column + shift - 8) for column in sorted(seams)]
    planes = [disc(shape, center, 7) for center in centers[::2]]
    labels, _ = segment_everything(
        drawn(planes), model, diameter=14, points_per_side=4
    )
    assert_each_found_once(labels, planes, least=0.85)


@pytest.mark.slow
@pytest.mark.parametrize('adaptive', [False, True])
def test_a_mask_cut_by_an_inner_edge_is_asked_again(adaptive):
    shape = (60, 300)
    # Longer than the windows of 48 pixels, shorter than twice.
    bar = np.zeros(shape, bool)
    bar[25:35, 100:165] = True
    (mask,) = generate_masks(
        drawn([bar]),
        Oracle(best=48),
        diameter=12,
        points_per_side=4,
        adaptive=adaptive,
    )
    assert iou(paste(mask, shape), bar) > 0.9


@pytest.mark.slow
def test_a_mask_cut_by_an_inner_edge_twice_is_dropped():
    shape = (60, 300)
    # Longer than any window: no window sees both ends.
    bar = np.zeros(shape, bool)
    bar[25:35, 10:290] = True
    masks = generate_masks(
        drawn([bar]), Oracle(best=48), diameter=12, points_per_side=4
    )
    assert masks == []


def test_small_regions_are_removed():
    plane = disc((120, 120), (60, 60), 30)
    holed = plane & ~disc((120, 120), (60, 60), 3)
    masks = generate_masks(
        drawn([holed]),
        Oracle(),
        whole_image=True,
        points_per_side=8,
        min_area=100,
    )
    assert len(masks) == 1
    assert paste(masks[0], plane.shape)[60, 60]


def test_a_speck_neither_stays_nor_makes_a_mask_one_that_is_cut():
    planes = discs((60, 260), 10, 60)
    labels, table = segment_everything(
        drawn(planes), SpecklingOracle(), diameter=20, points_per_side=4
    )
    assert_each_found_once(labels, planes)
    assert (table['row1'] - table['row0']).max() <= 22
    assert (table['column1'] - table['column0']).max() <= 22


def test_the_procedure_of_the_paper_keeps_specks():
    plane = disc((120, 120), (60, 60), 30)
    (mask,) = generate_masks(
        drawn([plane]), SpecklingOracle(), whole_image=True, points_per_side=8
    )
    assert mask.box[:2] < (5, 5)
    assert paste(mask, plane.shape)[60, 60]


def test_a_given_diameter_asks_points_dense_enough():
    plan = plan_for_shape(
        (200, 300),
        Oracle().record,
        EverythingParameters(diameter=40, points_per_side=4),
    )
    points = np.concatenate([region.points for region in plan.regions])
    columns = np.unique(points[:, 1])
    assert np.diff(columns).max() <= 40 / 2.5


def test_overrides_change_single_fields():
    base = EverythingParameters(points_per_side=5, min_area=3)
    chosen = checked_parameters(base, {'min_area': 9})
    assert (chosen.points_per_side, chosen.min_area) == (5, 9)
    assert checked_parameters(None, {}) == EverythingParameters()


def test_unknown_parameters_are_named():
    with pytest.raises(TypeError, match="'points'.*points_per_side"):
        checked_parameters(None, {'points': 3})


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'predicted_iou': 1.5}, 'predicted_iou is 1.5.*from 0 to 1'),
        ({'stability': -0.1}, 'stability is -0.1'),
        ({'points_per_side': 0}, 'points_per_side is 0.*from 1 to'),
        ({'crop_layers': -1}, 'crop_layers'),
        ({'batch_size': 0}, 'batch_size'),
        ({'min_area': -5}, 'min_area'),
        ({'diameter': 0}, 'diameter is 0.*from 1 to'),
        ({'diameter': float('nan')}, 'diameter is nan'),
        ({'diameter': float('inf')}, 'diameter is inf'),
        ({'diameter': 9, 'crop_layers': 1}, 'one of them'),
        ({'diameter': 9, 'whole_image': True}, 'one of them'),
    ],
)
def test_parameters_out_of_range(overrides, message):
    with pytest.raises(SegmentationError, match=message):
        checked_parameters(None, overrides)


@pytest.mark.slow
def test_an_embedding_is_used_and_filled(tiny_model, noise):
    known = Predictor(tiny_model).embed(noise, contrast_limits=(0, 255))
    options = {**LOOSE, 'whole_image': False, 'diameter': 20}
    first = generate_masks(
        noise, tiny_model, embedding=known, contrast_limits=(0, 255), **options
    )
    embedded = known.embedded_pixels
    assert embedded
    again = generate_masks(
        noise, tiny_model, embedding=known, contrast_limits=(0, 255), **options
    )
    assert known.embedded_pixels == embedded
    alone = generate_masks(
        noise, tiny_model, contrast_limits=(0, 255), **options
    )
    for one, other, third in zip(first, again, alone, strict=True):
        assert one.box == other.box == third.box
        assert (one.data == other.data).all()
        assert (one.data == third.data).all()


def test_the_embedding_of_something_else_is_refused(tiny_model, noise):
    known = Predictor(tiny_model).embed(noise[:-1])
    with pytest.raises(SegmentationError, match=r'\(49, 70\).*\(50, 70\)'):
        generate_masks(noise, tiny_model, embedding=known)
    other = build_sam('vit_t', record=ModelRecord('other', input_size=64))
    known = Predictor(other.eval()).embed(noise)
    with pytest.raises(SegmentationError, match='made by model'):
        generate_masks(noise, tiny_model, embedding=known)


def test_the_embedding_of_another_image_of_the_size_is_refused(
    tiny_model, noise
):
    known = Predictor(tiny_model).embed(noise)
    with pytest.raises(SegmentationError, match='of another image of this'):
        generate_masks(
            np.ascontiguousarray(noise[::-1]), tiny_model, embedding=known
        )


def test_an_image_is_nothing_to_skip(tiny_model, noise):
    with pytest.raises(SegmentationError, match='skip has fractions'):
        generate_masks(
            noise, tiny_model, skip=np.full(noise.shape[:2], 0.5, np.float32)
        )
