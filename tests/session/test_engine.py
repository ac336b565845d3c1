"""Engine: reading, caching and prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from endless import Endless

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.segmentation import machine_speed
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.session.images.engine import Engine, click
from napari_mobilesam.session.images.planes import (
    SCREEN,
    ImagePlane,
    PlaneLevel,
    PlaneView,
    Viewport,
)
from napari_mobilesam.types import (
    EverythingParameters,
    ImageError,
    ModelRecord,
    ObjectDiameter,
    PromptError,
    Prompts,
)

RECORD = ModelRecord(
    'tiny', input_size=128, object_diameter=ObjectDiameter(10, 24, 100)
)


@pytest.fixture(scope='module')
def tiny():
    # other random weights may answer with an empty mask
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build_sam('vit_t', record=RECORD)
    return model.eval().requires_grad_(False)


@pytest.fixture
def engine(tiny):
    return Engine(lambda name: tiny)


def squares(rows, columns, step=40, size=16):
    """Pixels of an endless image with a bright square every ``step``."""
    inside = (rows % step < size)[:, None] & (columns % step < size)
    return np.where(inside, np.uint8(220), np.uint8(10))


def plane_of_array(image, key='a', limits=(0, 255), **kwargs):
    return ImagePlane(key, lambda: image, image.shape[:2], limits, **kwargs)


def endless_pyramid(side, levels, **kwargs):
    """A plane of ``levels`` halvings, and its arrays."""
    arrays = Endless.pyramid(side, levels)
    coarser = tuple(
        PlaneLevel(a.shape, lambda a=a: PlaneView(a, (0, 0), (0, 1)))
        for a in arrays[1:]
    )
    plane = ImagePlane(
        'pyramid',
        lambda: PlaneView(arrays[0], (0, 0), (0, 1)),
        arrays[0].shape,
        (0, 255),
        coarser=coarser,
        **kwargs,
    )
    return plane, arrays


def side_of(prediction):
    return max(prediction.frame.window_shape)


def test_the_preparation_takes_the_time_of_what_it_embeds(
    engine, tiny, monkeypatch
):
    monkeypatch.setattr(machine_speed, 'known_speed', lambda model: None)
    small = plane_of_array(np.zeros((100, 100), np.uint8))
    assert engine.preparation_seconds(small, tiny) is None
    engine.prepare(small, tiny)
    assert engine.preparation_seconds(small, tiny) == 0
    assert engine.blocks.seconds[tiny.key] > 0
    engine.blocks.seconds[tiny.key] = 2.0
    other = plane_of_array(np.ones((100, 100), np.uint8), 'b')
    # the scales of a click, in cells of blocks; the model takes 8 x 8
    cells = 8 * 8 + 13 * 13 + 25 * 25 + 14 * 14
    assert engine.preparation_seconds(other, tiny) == 2 * cells / 64


class Kept:
    """A cache that keeps what it is shown."""

    def __init__(self):
        self.seen = {}

    def features(self, pixels, frame, model_key, make):
        self.seen[frame.window] = pixels
        return make()


def embedded(engine, plane, point, model):
    """True if a click at a point needs decoding only."""
    found = engine.embedded_scales(plane, click(point), model)
    return found == engine.scales(plane, model)


def ask(engine, plane, point, model, **kwargs):
    return engine.predict(plane, click(point), model, **kwargs)


@pytest.mark.slow
def test_all_candidates_are_returned(engine, tiny):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    prediction = engine.predict(plane, click((15, 15)), tiny)
    assert prediction.logits.shape == (3, 32, 32)
    assert prediction.scores.shape == (3,)
    assert prediction.prompts.points.tolist() == [[15, 15]]


@pytest.mark.slow
def test_objects_too_large_to_be_written_are_refused(
    engine, tiny, monkeypatch
):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    prediction = engine.predict(plane, click((15, 15)), tiny)
    inside = np.count_nonzero(prediction.logits[prediction.best] > 0)
    scale = max(prediction.frame.window_shape) / 32
    found = inside * scale**2
    limit = 'napari_mobilesam.session.images.engine.MOST_PIXELS'
    monkeypatch.setattr(limit, found - 1)
    with pytest.raises(PromptError, match='Zoom in'):
        engine.predict(plane, click((15, 15)), tiny)
    monkeypatch.setattr(limit, found + 1)
    engine.predict(plane, click((15, 15)), tiny)


@pytest.mark.slow
def test_an_earlier_answer_is_fed_back(engine, tiny):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    first = engine.predict(plane, click((15, 15)), tiny)
    second = engine.predict(plane, click((15, 15)), tiny, previous=first)
    assert np.array_equal(second.prompts.mask_input, first.logits[first.best])
    assert len(second.logits) == 1


@pytest.mark.slow
def test_an_earlier_answer_is_moved_to_another_window(engine, tiny):
    side = 2500
    plane = plane_of_array(squares(*[np.arange(side)] * 2))
    near = Prompts(np.array([[300.0, 300.0], [310.0, 305.0]]), np.ones(2, int))
    far = Prompts(
        np.array([[300.0, 300.0], [310.0, 305.0], [600.0, 700.0]]),
        np.array([1, 1, 0]),
    )
    first = engine.predict(plane, near, tiny)
    second = engine.predict(plane, far, tiny, previous=first)
    row0, column0, row1, column1 = second.frame.window
    assert row0 <= 300 < 600 < row1
    assert column0 <= 300 < 700 < column1
    assert len(second.logits) == 1


@pytest.mark.slow
def test_previews_need_no_embedding(tiny):
    kept = Kept()
    engine = Engine(lambda name: tiny)
    engine.blocks.cache = kept
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    assert engine.preview(plane, (15, 15), tiny) is None
    assert not kept.seen
    first = engine.predict(plane, click((15, 15)), tiny).mask()
    count = len(kept.seen)
    again = engine.preview(plane, (15, 15), tiny)
    assert len(kept.seen) == count
    assert np.array_equal(first.data, again.data)
    other = plane_of_array(squares(*[np.arange(90)] * 2), 'b')
    assert engine.preview(other, (15, 15), tiny) is None


@pytest.mark.slow
def test_preparation_ends_between_blocks_when_a_prompt_waits(engine, tiny):
    image = squares(*[np.arange(2500)] * 2)
    seen = plane_of_array(image, viewport=Viewport((1250, 1250), 0.3))
    assert len(engine.scales(seen, tiny)) > 1
    asked = []
    assert not engine.prepare(seen, tiny, lambda: not asked.append(1))
    assert len(asked) == 1
    assert not engine.prepared(seen, tiny)
    assert engine.prepare(seen, tiny, lambda: False)
    assert engine.prepared(seen, tiny)


@pytest.mark.slow
def test_previews_of_an_embedded_view_are_those_of_clicks(engine, tiny):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    engine.prepare(plane, tiny)
    clicked = engine.predict(plane, click((50, 50)), tiny).mask()
    seen = engine.preview(plane, (50, 50), tiny)
    assert seen.box == clicked.box
    assert np.array_equal(seen.data, clicked.data)


def test_session_and_script_give_the_same_mask(engine, tiny):
    image = squares(*[np.arange(300)] * 2)
    plane = plane_of_array(image)
    predictor = Predictor(tiny)
    embedding = predictor.embed(image, contrast_limits=(0, 255))
    for prompts, given in (
        (click((130, 210)), {'points': [[130, 210]]}),
        (
            Prompts(box=np.array([118.0, 198, 138, 218])),
            {'box': [118, 198, 138, 218]},
        ),
    ):
        one = engine.predict(plane, prompts, tiny)
        other = predictor.predict(embedding, **given)
        assert one.frame == other.frame
        assert np.array_equal(one.logits, other.logits)


@pytest.mark.slow
@pytest.mark.parametrize('side', [20_000, 100_000])
def test_of_a_large_image_only_blocks_are_read(side, engine, tiny):
    image = Endless((side, side))
    view = Viewport((9007, 8008), 0.3)
    plane = ImagePlane(
        'a',
        lambda: PlaneView(image, (0, 0), (0, 1)),
        image.shape,
        (0, 255),
        viewport=view,
    )
    first = ask(engine, plane, (9007, 8008), tiny)
    assert side_of(first) <= 1000
    assert image.largest <= 1000**2
    image.pixels = 0
    again = ask(engine, plane, (9007, 8008), tiny)
    assert image.pixels == 0
    assert again.frame == first.frame


@pytest.mark.slow
def test_the_mask_of_a_large_image_is_at_full_resolution(engine, tiny):
    image = Endless((50_000, 50_000))
    plane = ImagePlane(
        'a', lambda: PlaneView(image, (0, 0), (0, 1)), image.shape, (0, 255)
    )
    frame = ask(engine, plane, (40_007, 30_008), tiny).frame
    assert frame.image_shape == (50_000, 50_000)
    row0, column0, row1, column1 = frame.window
    assert row0 < 40_007 < row1
    assert column0 < 30_008 < column1
    assert image.largest <= 4096**2


@pytest.mark.slow
def test_pyramids_are_read_at_the_level_that_suits(engine, tiny):
    far = Viewport((32_000, 32_000), 64.0)
    plane, arrays = endless_pyramid(1 << 16, 9, viewport=far)
    engine.prepare(plane, tiny)
    # objects are less than a pixel of the screen: those of the view are meant
    assert min(engine.scales(plane, tiny)) >= 64
    assert max(array.largest for array in arrays) <= 1024**2
    near = Viewport((30_030, 30_030), 0.06)
    plane, arrays = endless_pyramid(1 << 16, 9, viewport=near)
    assert side_of(ask(engine, plane, (30_007, 30_008), tiny)) <= 120


def test_zooming_in_leaves_out_coarse_scales(engine, tiny):
    image = squares(*[np.arange(600)] * 2, step=150, size=70)

    def scales(seen):
        looks = Viewport((230, 230), seen / SCREEN)
        return engine.scales(plane_of_array(image, viewport=looks), tiny)

    found = [scales(seen) for seen in (2000, 600, 200, 60, 5)]
    assert all(found)
    assert [max(s) for s in found] == sorted(map(max, found), reverse=True)
    assert max(found[0]) * 8 >= 600
    assert max(found[-1]) == 2


def test_an_image_without_levels_that_cannot_be_seen_is_said(engine, tiny):
    image = Endless((60_000, 60_000))
    plane = ImagePlane(
        'a', lambda: PlaneView(image, (0, 0), (0, 1)), image.shape, (0, 255)
    )
    box = Prompts(box=np.array([0.0, 0, 50_000, 50_000]))
    with pytest.raises(PromptError, match='no coarser level'):
        engine.predict(plane, box, tiny)
    assert image.pixels == 0


def test_levels_give_the_window_where_it_is(tiny):
    """Embedding from a coarse level equals that of the fine level."""
    side = 6000
    image = np.zeros((side, side), np.uint8)
    image[1000:3000, 2001:4003] = 200
    coarse = image[::4, ::4]
    kept = Kept()
    engine = Engine(lambda name: tiny)
    engine.blocks.cache = kept
    plane = ImagePlane(
        'a',
        lambda: image,
        image.shape,
        (0, 255),
        coarser=(PlaneLevel(coarse.shape, lambda: coarse),),
        viewport=Viewport((2000, 3000), 6.0),
    )
    box = Prompts(box=np.array([1000.0, 2000, 3000, 4000]))
    engine.predict(plane, box, tiny)
    ((window, rgb),) = kept.seen.items()
    step = (window[2] - window[0]) / len(rgb)
    rows = np.flatnonzero(rgb[:, rgb.shape[1] // 2, 0] > 100)
    assert window[0] + rows[0] * step == pytest.approx(1000, abs=step)
    assert window[0] + (rows[-1] + 1) * step == pytest.approx(3000, abs=step)


@pytest.mark.slow
def test_limits_embed_anew_only_if_blocks_look_different(tiny):
    kept = Kept()
    engine = Engine(lambda name: tiny)
    engine.blocks.cache = kept
    image = squares(*[np.arange(100)] * 2)

    def blocks(low, high, gamma=1.0):
        kept.seen.clear()
        plane = plane_of_array(
            image, (low, high, gamma), (low, high), gamma=gamma, place='a'
        )
        engine.predict(plane, Prompts(box=np.array([0.0, 0, 90, 90])), tiny)
        return len(kept.seen)

    assert blocks(0, 255) == 1
    assert blocks(0, 254) == 0
    assert blocks(0, 255.5) == 0
    assert blocks(0, 100) == 1
    assert blocks(0, 100, gamma=0.5) == 1
    # small steps add up to a difference
    steps = [blocks(0, high) for high in range(255, 180, -5)]
    assert 0 < sum(steps) < len(steps)


@pytest.mark.slow
def test_the_object_size_does_not_jump_with_the_contrast(tiny):
    engine = Engine(lambda name: tiny)
    image = squares(*[np.arange(96)] * 2)
    rng = np.random.default_rng(0)
    image = (image + rng.integers(0, 9, image.shape)).astype(np.uint8)
    sizes = {
        engine.working_diameter(
            plane_of_array(image, high, (0, high), place='a', gamma=gamma),
            EverythingParameters(),
            tiny,
            lambda: None,
        )
        for high, gamma in ((255, 1.0), (240, 0.9), (230, 1.2))
    }
    assert len(sizes) == 1


def test_a_window_without_finite_pixels_is_refused(engine, tiny):
    image = np.full((2500, 2500), np.nan, np.float32)
    image[:1200, :1200] = squares(*[np.arange(1200)] * 2)
    looks = Viewport((300, 300), 0.1)
    plane = plane_of_array(image, viewport=looks)
    ask(engine, plane, (300, 300), tiny)
    with pytest.raises(ImageError, match='no finite pixel'):
        ask(engine, plane, (2200, 2200), tiny)


@pytest.mark.slow
def test_pixels_that_are_no_numbers_are_counted(engine, tiny):
    image = squares(*[np.arange(300)] * 2).astype(np.float32)
    image[:10, :10] = np.nan
    image[20, 20:23] = np.inf, -np.inf, np.nan
    plane = plane_of_array(image)
    prompts = Prompts(box=np.array([0.0, 0, 280, 280]))
    assert engine.not_finite(plane, prompts, None, tiny) == 0
    frame = engine.predict(plane, prompts, tiny).frame
    assert engine.not_finite(plane, prompts, frame, tiny) == 103
    other = plane_of_array(np.nan_to_num(image), key='other')
    frame = engine.predict(other, prompts, tiny).frame
    assert engine.not_finite(other, prompts, frame, tiny) == 0


@pytest.mark.slow
def test_blocks_of_large_images_count_their_own(engine, tiny):
    image = squares(*[np.arange(2500)] * 2).astype(np.float32)
    image[2400:2410, 2400:2420] = np.nan
    plane = plane_of_array(image, viewport=Viewport((0, 0), 0.1))
    for place, expected in (((300, 300), 0), ((2412, 2405), 200)):
        frame = ask(engine, plane, place, tiny).frame
        found = engine.not_finite(plane, click(place), frame, tiny)
        assert found == pytest.approx(expected, rel=0.1)


@pytest.mark.slow
def test_prepare_embeds_a_small_image(engine, tiny):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    engine.prepare(plane, tiny)
    assert engine.prepared(plane, tiny)
    assert embedded(engine, plane, (50, 50), tiny)


@pytest.mark.slow
def test_prepare_embeds_the_middle_of_the_view(engine, tiny):
    image = squares(*[np.arange(2500)] * 2)
    seen = plane_of_array(image, viewport=Viewport((1250, 1250), 0.3))
    assert not engine.prepared(seen, tiny)
    engine.prepare(seen, tiny)
    assert engine.prepared(seen, tiny)
    assert embedded(engine, seen, (1250, 1250), tiny)
    assert not embedded(engine, seen, (250, 250), tiny)
    outside = plane_of_array(image, viewport=Viewport((-500, -500), 1.0))
    engine.prepare(outside, tiny)
    assert embedded(engine, outside, (0, 0), tiny)


@pytest.mark.slow
def test_models_with_absolute_positions_answer(engine):
    record = ModelRecord('vit', architecture='vit_b', input_size=64)

    class Whole:
        """Stands in for a ViT: refuses any input but its own size."""

        def __getattr__(self, name):
            return getattr(small, name)

        def encode(self, x):
            assert x.shape[-2:] == (64, 64)
            return small.encode(x)

    small = build_sam('vit_t', record=ModelRecord('t', input_size=64))
    small.eval().requires_grad_(False)
    model = Whole()
    model.record = record
    plane = plane_of_array(squares(*[np.arange(300)] * 2))
    prediction = engine.predict(plane, click((130, 210)), model)
    assert prediction.logits.shape[0] == 3
