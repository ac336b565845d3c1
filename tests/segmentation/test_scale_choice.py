"""At which scales a click is asked, and in how many calls of the model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_mobilesam.segmentation.embedding_grid import EmbeddingGrid
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.segmentation.scale_choice import (
    center_of_prompts,
    first_scale,
    holding_pitch,
    in_order_of_search,
    pitch_of,
)
from napari_mobilesam.types import ModelRecord, Prompts

from .helpers import disc, iou, paste

CENTER = (300.0, 350.0)


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


@pytest.mark.parametrize('shape', [(4136, 4136), (2, 9000), (300, 500)])
def test_the_pitch_of_a_frame_is_that_of_its_scale(shape):
    grid = EmbeddingGrid(shape, ModelRecord('any', input_size=256))
    center = shape[0] / 2, shape[1] / 2
    for pitch in grid.pitches:
        frame = grid.frame_at(center, pitch)
        assert pitch_of(frame) == pitch


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
