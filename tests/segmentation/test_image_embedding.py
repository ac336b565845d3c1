"""One embedding at every scale: where blocks lie, and what is cut of them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.segmentation import image_embedding
from napari_mobilesam.segmentation.embedding_cache import EmbeddingCache
from napari_mobilesam.segmentation.embedding_grid import (
    EmbeddingGrid,
    pitches,
)
from napari_mobilesam.segmentation.image import resize
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.types import Frame, ModelRecord, Prompts

from .helpers import disc, iou, paste


def picture(shape, seed=0):
    """Smooth blobs, so that what surrounds a cell matters."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (*(n // 16 + 1 for n in shape), 3), np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8))[
        : shape[0], : shape[1]
    ]


@pytest.fixture(scope='module')
def image():
    return picture((300, 420))


@pytest.fixture
def embedding(tiny_model, image):
    return ImageEmbedding.of_rgb(tiny_model, image)


@given(
    st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    st.sampled_from([8, 16, 64]),
)
def test_scales_go_from_the_whole_image_down(shape, cells):
    found = pitches(shape, cells)
    assert found == sorted(set(found), reverse=True)
    assert found[0] * cells >= max(shape)
    assert (found[0] - 1) * cells < max(shape)
    ratios = np.array(found[:-1]) / found[1:]
    assert (ratios <= 1.75).all()


@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.booleans(),
)
def test_a_decoder_block_lies_around_its_centre(shape, place, large):
    grid = EmbeddingGrid(shape, ModelRecord('any', input_size=128))
    center = np.multiply(place, np.subtract(shape, 1))
    for pitch in grid.pitches:
        frame = grid.frame_at(center, pitch, large)
        low, high = np.array(frame.window[:2]), np.array(frame.window[2:])
        assert (low <= center).all()
        assert (center < high).all()
        assert (low >= 0).all()
        assert (high <= shape).all()
        assert max(frame.input_shape) <= 128
        # In the middle, but for the edges of the image and its block.
        inner = (low > 0) & (high < shape)
        off = np.abs((low + high) / 2 - center)
        assert (off[inner] <= 4 * pitch).all()


def test_a_block_is_embedded_once(image, tiny_model, monkeypatch):
    monkeypatch.setattr(image_embedding, 'DECODER_BLOCKS_KEPT', 2)
    embedding = ImageEmbedding.of_rgb(tiny_model, image)
    first = embedding.decoder_block((150, 200), 4)
    assert embedding.has((150, 200), 4)
    assert not embedding.has((20, 20), 4)
    monkeypatch.setattr(tiny_model, 'encode', None)
    assert embedding.decoder_block((150, 200), 4) is first
    beside = embedding.decoder_block((150, 206), 4)
    assert beside.frame != first.frame
    # the cut used last is kept longest
    embedding.decoder_block((150, 200), 4)
    embedding.decoder_block((150, 194), 4)
    assert embedding.decoder_block((150, 200), 4) is first
    assert embedding.decoder_block((150, 206), 4) is not beside


def test_an_image_is_recognised_in_another_contrast_and_as_a_whole(
    tiny_model, image
):
    embedding = ImageEmbedding.of_rgb(tiny_model, image)
    assert embedding.is_of(image // 2 + 20)
    other = image[::-1, ::-1].copy()
    other[:100, :100] = image[:100, :100]
    assert not embedding.is_of(other)


def test_only_the_pixels_of_a_block_are_read(tiny_model, image):
    read = []

    def pixels(window, shape):
        read.append(window)
        return np.zeros((*shape, 3), np.uint8)

    embedding = ImageEmbedding(tiny_model, (100_000, 90_000), pixels)
    embedding.decoder_block((50_000, 40_000), 4)
    ((row0, column0, row1, column1),) = read
    assert row0 <= 50_000 < row1
    assert column0 <= 40_000 < column1
    assert max(row1 - row0, column1 - column0) == 4 * 14


def test_features_are_those_of_a_window_of_the_same_pixels(
    tiny_model, image, embedding
):
    """A scale of one block is what the whole image gives, but for rounding."""
    small = image[:120, :128]
    one = ImageEmbedding.of_rgb(tiny_model, small)
    cut = one.decoder_block((60, 60), 16)
    frame = Frame.of((120, 128), (0, 0, 120, 128), 128)
    assert cut.frame == frame
    window = Predictor(tiny_model).embed_window(small)
    torch.testing.assert_close(
        cut.features, window.features, atol=2e-3, rtol=2e-3
    )


@pytest.mark.slow
def test_masks_hardly_depend_on_the_block_they_are_cut_from(bundled):
    """Masks do not depend on the block that a cell was embedded in."""
    shape = (400, 400)
    rng = np.random.default_rng(1)
    centers = [(90, 110), (190, 205), (250, 330), (120, 310)]
    truths = [disc(shape, center, 24) for center in centers]
    gray = 60 + 120 * np.any(truths, axis=0) + rng.normal(0, 6, shape)
    rgb = np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    embedding = ImageEmbedding.of_rgb(bundled, rgb)
    predictor = Predictor(bundled)
    for center in centers:
        prompts = Prompts(np.array([center], float), np.ones(1, np.int64))
        cuts = [
            embedding.decoder_block(center, 11),
            embedding.decoder_block(center, 11, large=True),
        ]
        answers = predictor.predict_in_windows(cuts, prompts)
        masks = [paste(answer.mask(), shape) for answer in answers]
        assert iou(*masks) > 0.95


@pytest.mark.slow
def test_blocks_are_dropped_beyond_the_budget(tiny_model, image):
    embedding = ImageEmbedding(
        tiny_model,
        image.shape[:2],
        lambda window, shape: np.zeros((*shape, 3), np.uint8),
        budget=3 * 256 * 14 * 14 * 2,
    )
    places = [(40, 40), (40, 200), (200, 40), (200, 300)]
    for place in places:
        embedding.decoder_block(place, 4)
    assert not embedding.has(places[0], 4)
    assert all(embedding.has(place, 4) for place in places[1:])


def test_blocks_come_from_the_disk(tmp_path, tiny_model, image, monkeypatch):
    cache = EmbeddingCache(tmp_path)
    first = ImageEmbedding.of_rgb(tiny_model, image, cache).decoder_block(
        (90, 90), 4
    )
    monkeypatch.setattr(tiny_model, 'encode', None)
    again = ImageEmbedding.of_rgb(tiny_model, image, cache).decoder_block(
        (90, 90), 4
    )
    assert torch.equal(first.features, again.features)


@pytest.mark.slow
def test_encoders_with_positions_embed_whole_inputs():
    record = ModelRecord('vit', 'vit_b', input_size=64)
    model = build_sam(record=record).eval()
    embedding = ImageEmbedding.of_rgb(model, picture((200, 260)))
    cut = embedding.decoder_block((100, 130), 8)
    assert cut.features.shape == (1, 256, 4, 4)
    assert embedding.grid.large_block((100, 130), 8).side == 4


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.sampled_from([128, 256, 1024]),
    st.sampled_from(['vit_t', 'vit_b']),
)
@example((1200, 1600), (1, 1), 1024, 'vit_b')
def test_a_small_block_holds_the_decoder_block(shape, place, size, kind):
    record = ModelRecord('any', input_size=size, architecture=kind)
    grid = EmbeddingGrid(shape, record)
    center = np.multiply(place, np.subtract(shape, 1))
    for pitch in grid.pitches:
        key = grid.small_block(center, pitch)
        first = np.array(grid.first_cell(key, center))
        low = np.array([key.row, key.column])
        assert (low <= first).all()
        assert (first + grid.cells <= low + grid.canvas(key).cells).all()
        window = np.array(grid.frame(key, center).window)
        assert (window[:2] <= center).all()
        assert (center < window[2:]).all()
        # whatever block it is cut from, TinyViT's decoder block is the same
        ideal = np.round(center / pitch - grid.cells / 2)
        most = np.maximum(0, np.subtract(grid.shape(pitch), grid.cells))
        off = np.abs(first - np.clip(ideal, 0, most))
        assert (off <= grid.slack).all()


@pytest.mark.parametrize('kind', ['vit_t', 'vit_b'])
def test_large_blocks_embed_what_their_windows_show(kind):
    record = ModelRecord('any', input_size=1024, architecture=kind)
    grid = EmbeddingGrid((1040, 1388), record)
    for pitch in grid.pitches:
        for key in grid.large_blocks((0, 0, 1040, 1388), pitch):
            embedded = grid.canvas(key).window
            low = np.array([key.row, key.column]) * pitch
            for center in (low, low + key.side * pitch):
                shown = grid.frame(key, center).window
                assert np.greater_equal(shown[:2], embedded[:2]).all()
                assert np.less_equal(shown[2:], embedded[2:]).all()


def test_large_blocks_are_those_whose_cores_meet_a_window_middle_first():
    grid = EmbeddingGrid((3200, 200), ModelRecord('any', input_size=256))
    first = grid.large_block((0, 0), 4)
    end = next(r for r in range(3200) if grid.large_block((r, 0), 4) != first)
    assert grid.large_blocks((0, 0, end, 200), 4) == [first]
    assert len(grid.large_blocks((0, 0, end + 1, 200), 4)) == 2
    every = grid.large_blocks((0, 0, 3200, 200), 4)
    ways = [abs(key.row + key.side / 2 - 400) for key in every]
    assert ways == sorted(ways) and len(ways) == 13
    # wherever a place lies in its block, more than a core around it is shown
    half = 4 * (grid.core / 2 + 0.5)
    for row in range(0, 3200, 3):
        low, _, high, _ = grid.frame_at((row, 100), 4, large=True).window
        assert low <= max(0, row - half) and min(3200, row + half) <= high
    # two blocks of 100 cells that share twice the halo of five
    two = EmbeddingGrid((400, 200), grid.record)
    assert two.large_block((0, 0), 4).side == (100 + 10) / 2


@pytest.mark.slow
@given(
    st.tuples(st.integers(200, 3000), st.integers(200, 3000)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.floats(0.01, 1),
)
def test_large_blocks_cover_a_window(shape, place, share):
    grid = EmbeddingGrid(shape, ModelRecord('any', input_size=256))
    low = np.multiply(place, np.subtract(shape, 2)).astype(int)
    high = np.minimum(shape, low + 1 + np.multiply(share, shape).astype(int))
    window = (*low.tolist(), *high.tolist())
    for pitch in grid.pitches[:4]:
        keys = grid.large_blocks(window, pitch)
        assert len(set(keys)) == len(keys)
        wanted = {
            grid.large_block((row, column), pitch)
            for row in np.linspace(low[0], high[0] - 1, 25)
            for column in np.linspace(low[1], high[1] - 1, 25)
        }
        assert wanted == set(keys)


@pytest.mark.slow
def test_prompts_use_what_everything_embedded(tiny_model, image, monkeypatch):
    embedding = ImageEmbedding.of_rgb(tiny_model, image)
    apart = ImageEmbedding.of_rgb(tiny_model, image).decoder_block(
        (150, 200), 4
    )
    embedding.decoder_block((150, 200), 4, large=True)
    assert embedding.has((150, 200), 4)
    monkeypatch.setattr(tiny_model, 'encode', None)
    cut = embedding.decoder_block((150, 200), 4)
    assert cut.frame == apart.frame


@pytest.mark.slow
def test_work_on_a_large_image_is_bounded(tiny_model):
    """Large blocks embed a scale little more than once."""
    embedding = ImageEmbedding(tiny_model, (6000, 6000), None)
    keys = {
        embedding.grid.large_block((row, column), 4)
        for row in range(0, 6000, 32)
        for column in range(0, 6000, 32)
    }
    assert sum(key.side**2 for key in keys) < 1.5 * 1500**2


@pytest.mark.slow
@pytest.mark.parametrize('factor', [0.5, 1, 2])
def test_the_size_of_an_image_in_pixels_does_not_matter(bundled, factor):
    """A click finds an object however large its image was made."""
    side = 320
    rng = np.random.default_rng(2)
    centers = [(70, 80), (150, 220), (250, 120)]
    truths = [disc((side, side), center, 17) for center in centers]
    gray = 50 + 130 * np.any(truths, axis=0) + rng.normal(0, 5, (side, side))
    rgb = np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    shape = round(side * factor), round(side * factor)
    predictor = Predictor(bundled)
    embedding = predictor.embed(resize(rgb, shape), contrast_limits=(0, 255))
    for center in centers:
        place = np.add(center, 0.5) * factor - 0.5
        found = predictor.predict(embedding, points=[place])
        truth = disc(shape, tuple(place), 17 * factor)
        assert iou(found.masks[found.best], truth) > 0.85


@pytest.mark.parametrize('copied', [pickle.dumps, copy.deepcopy])
def test_a_copy_of_an_embedding_is_refused(copied, embedding):
    with pytest.raises(TypeError, match='embed the image again'):
        copied(embedding)
