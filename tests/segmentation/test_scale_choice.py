"""At which scales a click is asked, and in how many calls of the model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_mobilesam.segmentation.embedding_grid import EmbeddingGrid
from napari_mobilesam.segmentation.prediction import Prediction
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.segmentation.scale_choice import (
    ScaleAnswers,
    anchor_of,
    center_of_prompts,
    first_scale,
    holding_pitch,
    in_order_of_search,
    pitch_of,
    suits_scale,
    worths,
)
from napari_mobilesam.types import ModelRecord, ObjectDiameter, Prompts

from .helpers import disc, iou, paste

CENTER = (300.0, 350.0)
SEEING = ModelRecord(
    'any', input_size=256, object_diameter=ObjectDiameter(24, 48, 160)
)


@pytest.fixture
def asked(bundled, monkeypatch):
    """Numbers of scales in the calls of the model."""
    counts = []
    answer = bundled.answer

    def counting(features, *args):
        counts.append(len(features))
        return answer(features, *args)

    monkeypatch.setattr(bundled, 'answer', counting)
    return counts


def embed(bundled, radius):
    """Embedding of an image of 640 pixels with one disc, and the disc."""
    truth = disc((640, 640), CENTER, radius)
    noise = np.random.default_rng(0).normal(0, 6, truth.shape)
    shown = np.clip(60 + 120 * truth + noise, 0, 255).astype(np.uint8)
    predictor = Predictor(bundled)
    return predictor, predictor.embed(shown, contrast_limits=(0, 255)), truth


def embedded_pitches(embedding):
    return {key.pitch for key in embedding._blocks}


@pytest.mark.slow
def test_a_small_object_needs_no_view_of_the_whole_image(bundled, asked):
    predictor, embedding, truth = embed(bundled, 9)
    found = predictor.predict(embedding, points=[CENTER])
    assert iou(paste(found.mask(), truth.shape), truth) > 0.9
    ladder = embedding.grid.pitches[::2]
    start = first_scale(ladder)
    assert start == 2
    assert embedded_pitches(embedding) <= set(ladder[start:])
    assert len(asked) < len(ladder)


@pytest.mark.slow
@pytest.mark.parametrize('radius', [120, 280])
def test_a_large_object_is_looked_for_at_coarser_scales(
    bundled, asked, radius
):
    predictor, embedding, truth = embed(bundled, radius)
    found = predictor.predict(embedding, points=[CENTER])
    assert iou(paste(found.mask(), truth.shape), truth) > 0.9
    assert embedding.grid.pitches[0] in embedded_pitches(embedding)


@pytest.mark.slow
def test_what_is_embedded_is_asked_at_once_with_the_same_answer(
    bundled, asked
):
    predictor, embedding, _ = embed(bundled, 9)
    first = predictor.predict(embedding, points=[CENTER])
    assert set(asked) == {1}
    scales = len(asked)
    asked.clear()
    again = predictor.predict(embedding, points=[CENTER])
    assert asked == [scales]
    assert again.frame == first.frame
    np.testing.assert_allclose(again.logits, first.logits, atol=1e-3)
    np.testing.assert_allclose(again.scores, first.scores, atol=1e-4)


@pytest.mark.parametrize(
    ('ladder', 'order'),
    [
        ([64, 32, 16, 8, 4], [16, 8, 4, 32, 64]),
        ([16, 8, 4], [8, 4, 16]),
        ([8, 4], [8, 4]),
        ([4], [4]),
        ([], []),
    ],
)
def test_a_search_begins_below_the_whole_image(ladder, order):
    assert in_order_of_search(ladder) == order


def answer(box, pitch):
    """Answer of a model that sees a rectangle of data pixels."""
    grid = EmbeddingGrid((1000, 1000), SEEING)
    frame = grid.frame_at((440, 460), pitch)
    logits = np.full((1, 64, 64), -9, np.float32)
    row0, column0, row1, column1 = (
        (edge - first) * 4 // pitch
        for edge, first in zip(box, 2 * frame.window[:2], strict=True)
    )
    logits[0, row0:row1, column0:column1] = 9
    prompts = Prompts(np.array([[440.0, 460.0]]), np.ones(1, np.int64))
    return Prediction(np.array([0.9], np.float32), logits, frame, prompts)


@pytest.mark.parametrize(
    ('finer', 'iou'),
    [
        ((400, 420, 480, 480), 1),
        ((400, 440, 480, 500), 40 / 80),
        ((380, 450, 430, 510), 900 / 6900),
        ((400, 480, 480, 500), 0),
    ],
)
def test_answers_at_two_scales_agree_as_far_as_their_boxes_overlap(finer, iou):
    coarse, fine = answer((400, 420, 480, 480), 16), answer(finer, 8)
    answers = ScaleAnswers(SEEING)
    answers.add(16, coarse)
    answers.add(8, fine)
    for pitch, each in ((16, coarse), (8, fine)):
        alone = worths(each, SEEING)[0]
        assert answers.worth(pitch) == pytest.approx(alone + 0.5 * iou)
    assert answers.end_at(8) == (iou > 0.4)
    assert not answers.end_at(16)


def test_a_mask_suits_its_scale_if_it_is_as_large_as_the_model_likes():
    box = (400, 420, 480, 480)
    assert suits_scale(answer(box, 16), SEEING)
    assert not suits_scale(answer(box, 8), SEEING)


def test_a_block_is_centred_on_the_first_positive_click():
    points = np.array([[9, 9], [1, 2], [5, 6]], float)
    assert anchor_of(Prompts(points, np.array([0, 1, 1]))).tolist() == [1, 2]


@pytest.mark.parametrize('shape', [(4136, 4136), (2, 9000), (300, 500)])
def test_the_pitch_of_a_frame_is_that_of_its_scale(shape):
    grid = EmbeddingGrid(shape, ModelRecord('any', input_size=256))
    center = shape[0] / 2, shape[1] / 2
    for pitch in grid.pitches:
        frame = grid.frame_at(center, pitch)
        assert pitch_of(frame) == pitch


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['vit_t', 'vit_b'])
def test_a_scale_that_holds_two_clicks_shows_both(kind):
    record = ModelRecord('any', input_size=1024, architecture=kind)
    grid = EmbeddingGrid((1500, 2000), record)
    image = SimpleNamespace(grid=grid)
    shares = np.random.default_rng(0).uniform(0, 1, (100, 2, 2))
    for points in shares * grid.image_shape - 0.5:
        prompts = Prompts(points, np.array([1, 0]))
        for finest in grid.pitches:
            pitch = holding_pitch(grid, prompts, finest)
            center = center_of_prompts(prompts, image, pitch)
            window = np.array(grid.frame_at(center, pitch).window)
            assert (points >= window[:2] - 0.5).all()
            assert (points < window[2:]).all()
