from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.segmentation.prediction import Prediction, agreement
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.segmentation.prompt_checks import checked_prompts
from napari_mobilesam.types import (
    Frame,
    ImageError,
    PromptError,
    Prompts,
    SegmentationError,
)

from .helpers import disc, iou, paste

SHAPE = (60, 90)


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


@pytest.fixture(scope='module')
def predictor(tiny_model):
    return Predictor(tiny_model)


@pytest.fixture(scope='module')
def embedding(predictor, image):
    return predictor.embed_window(image)


@pytest.mark.slow
@pytest.mark.parametrize(('multimask', 'count'), [(True, 3), (False, 1)])
def test_shapes_and_types_of_a_prediction(
    predictor, embedding, multimask, count
):
    assert embedding.features.shape == (1, 256, 8, 8)
    prediction = predictor.predict(
        embedding, points=[[10, 20]], labels=[1], multimask=multimask
    )
    assert prediction.scores.shape == (count,)
    assert prediction.scores.dtype == np.float32
    assert prediction.logits.shape == (count, 32, 32)
    assert prediction.logits.dtype == np.float32
    assert prediction.masks.shape == (count, *SHAPE)
    assert prediction.masks.dtype == bool
    assert prediction.masks is prediction.masks
    assert prediction.scores[prediction.best] == prediction.scores.max()


def half_planes(*columns, side=8):
    """Masks of the columns left of some, (M, side, side) bool."""
    masks = np.zeros((len(columns), side, side), bool)
    for mask, column in zip(masks, columns, strict=True):
        mask[:, :column] = True
    return masks


def test_agreement_is_the_iou_to_expect():
    found = agreement(half_planes(2, 4, 8, 0))
    assert found == pytest.approx(
        [(1 + 1 / 2 + 1 / 4) / 4, (1 / 2 + 1 + 1 / 2) / 4, 0.4375, 0]
    )


@pytest.mark.parametrize(
    ('ranking', 'best'), [('predicted_iou', 2), ('agreement', 1)]
)
def test_best_mask_is_what_the_model_ranks_first(
    tiny_model, embedding, monkeypatch, ranking, best
):
    record = replace(tiny_model.record, ranking=ranking)
    monkeypatch.setattr(tiny_model, 'record', record)
    prediction = Predictor(tiny_model).predict(embedding, points=[[10, 20]])
    logits = np.where(half_planes(2, 4, 8), 5, -5).astype(np.float32)
    scores = np.array([0.1, 0.2, 0.3], np.float32)
    told = replace(prediction, logits=logits, scores=scores)
    assert told.ranking == ranking
    assert told.best == best


def test_cropped_masks_are_the_planes(predictor, embedding):
    prediction = predictor.predict(embedding, points=[[30, 40]])
    for index, plane in enumerate(prediction.masks):
        mask = prediction.mask(index)
        assert np.array_equal(paste(mask, SHAPE), plane)
        assert mask.score == pytest.approx(float(prediction.scores[index]))
        assert mask.point == (30, 40)
        assert mask.crop_box == (0, 0, *SHAPE)
    best = prediction.mask()
    assert best.score == pytest.approx(float(prediction.scores.max()))


def test_a_box_alone_has_no_point(predictor, embedding):
    prediction = predictor.predict(embedding, box=[10, 10, 40, 50])
    assert np.isnan(prediction.mask().point).all()


def test_a_box_beyond_the_image_is_told(predictor, embedding):
    inside = predictor.predict(embedding, box=[0, 10, 40, 50])
    words = r'box \(-20, 10, 40, 50\) reaches beyond the image of 60 × 90'
    with pytest.warns(UserWarning, match=words):
        cut = predictor.predict(embedding, box=[-20, 10, 40, 50])
    assert np.array_equal(cut.logits, inside.logits)
    # within the width of a line
    predictor.predict(embedding, box=[-0.7, 10, 40, 50])


def test_labels_are_positive_unless_given(predictor, embedding):
    points = [[10, 20], [30, 40]]
    one = predictor.predict(embedding, points=points)
    two = predictor.predict(embedding, points=points, labels=[1, 1])
    other = predictor.predict(embedding, points=points, labels=[1, 0])
    assert np.array_equal(one.logits, two.logits)
    assert not np.allclose(one.logits, other.logits)


def test_asking_leaves_no_trace(predictor, embedding):
    first = predictor.predict(embedding, points=[[10, 20]])
    predictor.predict(embedding, box=[10, 10, 40, 50])
    again = predictor.predict(embedding, points=[[10, 20]])
    assert np.array_equal(first.logits, again.logits)


def test_logits_can_be_given_back_as_a_mask(predictor, embedding):
    first = predictor.predict(embedding, points=[[10, 20]])
    logits = first.logits[first.best]
    second = predictor.predict(embedding, points=[[10, 20]], mask_input=logits)
    with_axis = predictor.predict(
        embedding, points=[[10, 20]], mask_input=logits[None]
    )
    assert np.array_equal(second.logits, with_axis.logits)
    assert not np.allclose(first.logits, second.logits)


@pytest.mark.slow
def test_a_window_is_embedded_as_the_image_it_is(predictor, image):
    window = np.array([10, 20, 50, 80])
    part = predictor.embed_window(
        image, window=window, contrast_limits=(0, 255)
    )
    alone = predictor.embed_window(
        image[10:50, 20:80], contrast_limits=(0, 255)
    )
    assert torch.equal(part.features, alone.features)
    there = predictor.predict(part, points=[[25, 47]])
    here = predictor.predict(alone, points=[[15, 27]])
    assert np.array_equal(there.logits, here.logits)
    assert np.array_equal(there.masks[:, 10:50, 20:80], here.masks)
    outside = there.masks.copy()
    outside[:, 10:50, 20:80] = False
    assert not outside.any()


@pytest.mark.slow
def test_contrast_and_channels_reach_the_model(predictor, image):
    stack = np.stack([image, 255 - image])
    first = predictor.embed_window(stack, channels=0)
    assert torch.equal(first.features, predictor.embed_window(image).features)
    darker = predictor.embed_window(image, contrast_limits=(0, 500))
    assert not torch.equal(first.features, darker.features)
    bent = predictor.embed_window(image, gamma=0.5)
    assert not torch.equal(first.features, bent.features)


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(1, 1), (1, 70), (300, 2)])
def test_images_of_odd_shapes_are_segmented(predictor, shape):
    embedding = predictor.embed_window(np.zeros(shape, np.uint8))
    prediction = predictor.predict(embedding, points=[[0, 0]])
    assert prediction.masks.shape == (3, *shape)


def test_nan_pixels_are_told_and_do_not_spoil_the_embedding(predictor):
    image = np.random.default_rng(1).random((20, 30))
    image[4, 5] = np.nan
    with pytest.warns(UserWarning, match=r'1 pixel .*\(4, 5\)'):
        embedding = predictor.embed_window(image)
    assert torch.isfinite(embedding.features).all()


@pytest.mark.parametrize(
    'bad', [np.zeros((0, 3)), np.zeros(4), np.full((3, 3), np.nan)]
)
def test_images_that_cannot_be_embedded(predictor, bad):
    with pytest.raises(ImageError):
        predictor.embed_window(bad)


def test_the_embedding_of_another_model_is_refused(embedding):
    torch.manual_seed(7)
    other = Predictor(build_sam('vit_t', input_size=128).eval())
    with pytest.raises(SegmentationError, match='embed the image with this'):
        other.predict(embedding, points=[[1, 1]])


@pytest.mark.parametrize(
    ('prompts', 'message'),
    [
        ({}, 'no prompt'),
        ({'points': []}, 'no prompt'),
        ({'points': np.zeros((0, 2)), 'labels': []}, 'no prompt'),
        ({'points': [[60.5, 5]]}, r'Point 0 .*\(60.5, 5\).*\(60, 90\)'),
        ({'points': [[5, 5], [5, -1]]}, r'Point 1 .*\(5, -1\).*\(60, 90\)'),
        ({'points': [[5, 91]]}, r'outside the image of shape \(60, 90\)'),
        ({'points': [[np.nan, 5]]}, 'NaN'),
        ({'points': [5, 5]}, r'points have the shape \(2,\)'),
        ({'points': [[5, 5, 5]]}, r'points have the shape \(1, 3\)'),
        ({'points': [['a', 'b']]}, 'points: .* not an array of numbers'),
        ({'points': [[5, 5]], 'labels': [1, 0]}, '1 point but labels'),
        ({'points': [[5, 5]], 'labels': [2]}, r'labels are \[2\]'),
        ({'labels': [1]}, '0 points but labels'),
        ({'box': [1, 2, 3]}, r'box has the shape \(3,\)'),
        ({'box': [5, 5, 5, 9]}, r'Box \(5.0, 5.0, 5.0, 9.0\) has no area'),
        ({'box': [9, 5, 5, 9]}, 'row1 has to be larger than row0'),
        ({'box': [70, 5, 80, 9]}, r'Box .* outside .*\(60, 90\)'),
        ({'box': [-9, 5, 0, 9]}, 'outside the image'),
        ({'box': [0, 0, np.inf, 5]}, 'infinity'),
        ({'mask_input': np.zeros((9, 9))}, r'\(9, 9\).*\(32, 32\)'),
        ({'mask_input': np.full((32, 32), np.nan)}, 'mask_input: .*NaN'),
    ],
)
def test_prompts_that_cannot_be_used(predictor, embedding, prompts, message):
    with pytest.raises(PromptError, match=re.compile(message, re.DOTALL)):
        predictor.predict(embedding, **prompts)


@pytest.mark.parametrize(
    'prompts', [{'points': [[5, 30]]}, {'box': [15, 15, 40, 70]}]
)
def test_prompts_beyond_the_window_are_refused(prompts):
    frame = Frame.of(SHAPE, (10, 10, 50, 60), 128)
    with pytest.raises(PromptError, match='embedded window'):
        checked_prompts(frame, **prompts)


def test_the_borders_of_the_image_can_be_clicked():
    frame = Frame.of(SHAPE, (0, 0, *SHAPE), 128)
    corners = [[-0.5, -0.5], [59.4, 89.4], [0, 89.4], [59.4, 0]]
    assert len(checked_prompts(frame, corners).points) == 4
    for outside in ([60, 0], [0, 90], [59.5, 0], [-0.6, 0]):
        with pytest.raises(PromptError, match='is outside the image'):
            checked_prompts(frame, [outside])


def test_a_box_that_leaves_the_image_is_cut_off():
    frame = Frame.of(SHAPE, (0, 0, *SHAPE), 128)
    prompts = checked_prompts(frame, box=[-20, 30, 40, 500])
    assert prompts.box is not None
    assert prompts.box.tolist() == [0, 30, 40, 90]


def test_the_best_mask_is_the_highest_scored():
    frame = Frame.of(SHAPE, (0, 0, *SHAPE), 128)
    prediction = Prediction(
        np.array([0.2, 0.9, 0.4], np.float32),
        np.zeros((3, 32, 32), np.float32),
        frame,
        Prompts(),
    )
    assert prediction.best == 1
    assert not prediction.masks.any()
    lower = replace(prediction, threshold=-1.0)
    assert lower.masks.all()


@pytest.fixture(scope='module')
def whole(predictor, image):
    return predictor.embed(image)


@pytest.mark.slow
def test_a_box_is_answered_where_its_object_has_the_best_size(
    predictor, whole
):
    small = predictor.predict(whole, box=[20, 30, 28, 38])
    large = predictor.predict(whole, box=[2, 5, 58, 80])
    assert len(small.scores) == len(large.scores) == 1
    assert small.frame.window_shape[0] < large.frame.window_shape[0]
    assert small.masks.shape == (1, *SHAPE)


@pytest.mark.slow
def test_a_diameter_says_the_scale(predictor, whole):
    small = predictor.predict(whole, points=[[20, 30]], diameter=8)
    large = predictor.predict(whole, points=[[20, 30]], diameter=60)
    assert len(small.scores) == 3
    assert small.frame.window_shape[0] < large.frame.window_shape[0]


def test_points_far_apart_are_held_by_one_window(predictor, whole):
    found = predictor.predict(whole, points=[[5, 5], [50, 80]])
    row0, column0, row1, column1 = found.frame.window
    assert row0 <= 5
    assert row1 >= 50
    assert column0 <= 5
    assert column1 >= 80


@pytest.mark.slow
def test_a_correction_stays_at_its_scale(predictor, whole):
    first = predictor.predict(whole, points=[[20, 30]], diameter=20)
    second = predictor.predict(
        whole, points=[[20, 30], [22, 33]], labels=[1, 0], previous=first
    )
    assert second.frame == first.frame
    assert np.array_equal(second.prompts.mask_input, first.logits[first.best])


def test_an_answer_on_another_image_is_not_corrected(predictor, whole):
    other = predictor.embed(np.zeros((70, 90), np.uint8))
    first = predictor.predict(other, points=[[20, 30]], diameter=20)
    with pytest.raises(PromptError, match=r'previous .* \(70, 90\)'):
        predictor.predict(whole, points=[[20, 30]], previous=first)


def test_a_correction_far_away_takes_a_coarser_scale(predictor, whole):
    first = predictor.predict(whole, points=[[20, 30]], diameter=4)
    second = predictor.predict(
        whole, points=[[20, 30], [50, 80]], labels=[1, 1], previous=first
    )
    assert second.frame.window_shape > first.frame.window_shape
    assert second.prompts.mask_input is not None


def test_logits_without_their_window_are_refused(predictor, whole):
    with pytest.raises(PromptError, match='previous='):
        predictor.predict(
            whole, points=[[20, 30]], mask_input=np.zeros((32, 32))
        )


def test_prompts_outside_the_image_are_refused_by_name(predictor, whole):
    with pytest.raises(PromptError, match='outside the image'):
        predictor.predict(whole, points=[[20, 300]])
    with pytest.raises(PromptError, match='no prompt'):
        predictor.predict(whole)


@pytest.mark.slow
@pytest.mark.parametrize('factor', [0.25, 0.5, 2, 4])
def test_a_click_finds_the_object_at_any_size(bundled, factor):
    """The bundled model finds a disc of 40 pixels resized by ¼ … 4."""
    side, radius = round(256 * factor), 20 * factor
    rng = np.random.default_rng(0)
    truth = disc((side, side), (0.45 * side, 0.55 * side), radius)
    noise = rng.normal(0, 6, (side, side))
    shown = np.clip(60 + 120 * truth + noise, 0, 255).astype(np.uint8)
    predictor = Predictor(bundled)
    found = predictor.predict(
        predictor.embed(shown, contrast_limits=(0, 255)),
        points=[[0.45 * side, 0.55 * side]],
    )
    assert iou(paste(found.mask(), truth.shape), truth) > 0.85
