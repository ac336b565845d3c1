"""Engine: reading, caching and prediction."""

from __future__ import annotations

import numpy as np
import pytest
from endless import Endless

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.segmentation.windows import SCREEN, Viewport
from napari_mobilesam.session.images.engine import Engine, click
from napari_mobilesam.session.images.planes import (
    ImagePlane,
    PlaneLevel,
    PlaneView,
)
from napari_mobilesam.types import (
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


def side_of(embedding):
    return max(embedding.frame.window_shape)


def test_all_candidates_are_returned(engine, tiny):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    prediction = engine.predict(plane, click((15, 15)), tiny)
    assert prediction.logits.shape == (3, 32, 32)
    assert prediction.scores.shape == (3,)
    assert prediction.prompts.points.tolist() == [[15, 15]]


def test_objects_too_large_to_be_written_are_refused(
    engine, tiny, monkeypatch
):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    prediction = engine.predict(plane, click((15, 15)), tiny)
    inside = np.count_nonzero(prediction.logits[prediction.best] > 0)
    found = inside * (100 / 32) ** 2
    limit = 'napari_mobilesam.session.images.engine.MOST_PIXELS'
    monkeypatch.setattr(limit, found - 1)
    with pytest.raises(PromptError, match='Zoom in'):
        engine.predict(plane, click((15, 15)), tiny)
    monkeypatch.setattr(limit, found + 1)
    engine.predict(plane, click((15, 15)), tiny)


def test_an_earlier_answer_is_fed_back(engine, tiny):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    first = engine.predict(plane, click((15, 15)), tiny)
    second = engine.predict(plane, click((15, 15)), tiny, previous=first)
    assert np.array_equal(second.prompts.mask_input, first.logits[first.best])
    assert len(second.logits) == 1


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
    assert second.frame != first.frame
    assert len(second.logits) == 1


def test_a_place_is_ready_once_its_window_is_embedded(engine, tiny):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    assert not engine.ready(plane, (15, 15), tiny)
    engine.predict(plane, click((15, 15)), tiny)
    assert engine.ready(plane, (15, 15), tiny)
    other = plane_of_array(squares(*[np.arange(90)] * 2), 'b')
    assert not engine.ready(other, (15, 15), tiny)


@pytest.mark.parametrize('side', [20_000, 100_000])
def test_of_a_large_image_only_places_and_windows_are_read(side, engine, tiny):
    image = Endless((side, side))
    plane = ImagePlane(
        'a', lambda: PlaneView(image, (0, 0), (0, 1)), image.shape, (0, 255)
    )
    first = engine.embedding(plane, click((9007, 8008)), tiny)
    assert side_of(first) < 1000
    assert image.pixels < 4 * 640**2 + 1000**2
    image.pixels = 0
    row0, column0, row1, column1 = first.frame.window
    middle = click(((row0 + row1) / 2, (column0 + column1) / 2))
    assert engine.embedding(plane, middle, tiny) is first
    assert image.pixels == 0
    # beside it, only the new window is read
    engine.embedding(plane, click((5007, 4008)), tiny)
    assert image.pixels == side_of(first) ** 2


def test_the_mask_of_a_large_image_is_at_full_resolution(engine, tiny):
    image = Endless((50_000, 50_000))
    plane = ImagePlane(
        'a', lambda: PlaneView(image, (0, 0), (0, 1)), image.shape, (0, 255)
    )
    frame = engine.embedding(plane, click((40_007, 30_008)), tiny).frame
    assert frame.image_shape == (50_000, 50_000)
    row0, column0, row1, column1 = frame.window
    assert row0 < 40_007 < row1
    assert column0 < 30_008 < column1


def test_pyramids_are_read_at_the_level_that_suits(engine, tiny):
    far = Viewport((32_000, 32_000), 64.0)
    plane, arrays = endless_pyramid(1 << 16, 9, viewport=far)
    embedding = engine.embedding(plane, click((30_000, 30_000)), tiny)
    # the objects are less than a pixel of the screen: the view is meant
    assert 1 << 12 < side_of(embedding) < 1 << 14
    assert max(array.largest for array in arrays) <= 1024**2
    near = Viewport((30_030, 30_030), 0.06)
    plane, arrays = endless_pyramid(1 << 16, 9, viewport=near)
    finest = engine.embedding(plane, click((30_007, 30_008)), tiny)
    usual, _ = endless_pyramid(1 << 16, 9)
    window = engine.embedding(usual, click((30_007, 30_008)), tiny)
    assert side_of(finest) <= side_of(window) < side_of(embedding)


def test_zooming_in_gives_finer_windows_and_keeps_them(engine, tiny):
    image = squares(*[np.arange(600)] * 2, step=150, size=70)

    def side(seen):
        looks = Viewport((230, 230), seen / SCREEN)
        plane = plane_of_array(image, viewport=looks)
        return side_of(engine.embedding(plane, click((230, 230)), tiny))

    assert side(600) == 600
    assert side(210) == 600
    assert side(190) == 300
    assert side(110) == 300
    assert side(80) == 150


def test_an_image_without_levels_that_cannot_be_seen_is_said(engine, tiny):
    image = Endless((60_000, 60_000))
    plane = ImagePlane(
        'a', lambda: PlaneView(image, (0, 0), (0, 1)), image.shape, (0, 255)
    )
    box = Prompts(box=np.array([0.0, 0, 50_000, 50_000]))
    with pytest.raises(PromptError, match='no coarser level'):
        engine.embedding(plane, box, tiny)
    assert image.largest <= 640**2


def test_levels_give_the_window_where_it_is(engine, tiny):
    """Embedding from a coarse level equals that of the fine level."""
    side = 6000
    image = np.zeros((side, side), np.uint8)
    image[1000:3000, 2001:4003] = 200
    coarse = image[::4, ::4]
    seen = {}

    def embed(model, rgb, frame):
        seen[frame.window] = rgb
        return 'embedding'

    engine = Engine(lambda name: tiny, embed=embed)
    plane = ImagePlane(
        'a',
        lambda: image,
        image.shape,
        (0, 255),
        coarser=(PlaneLevel(coarse.shape, lambda: coarse),),
        viewport=Viewport((2000, 3000), 1000.0),
    )
    engine.embedding(plane, click((2000, 3000)), tiny)
    ((window, rgb),) = seen.items()
    step = max(window[2] - window[0], window[3] - window[1]) / 128
    rows = np.flatnonzero(rgb[:, rgb.shape[1] // 2, 0] > 100)
    assert window[0] + rows[0] * step == pytest.approx(1000, abs=step)
    assert window[0] + (rows[-1] + 1) * step == pytest.approx(3000, abs=step)


def test_limits_embed_anew_only_if_the_window_looks_different(tiny):
    embedded = []

    def embed(model, rgb, frame):
        embedded.append(frame.window)
        return len(embedded)

    engine = Engine(lambda name: tiny, embed=embed)
    image = squares(*[np.arange(100)] * 2)

    def ask(low, high, gamma=1.0):
        plane = plane_of_array(
            image, (low, high, gamma), (low, high), gamma=gamma, place='a'
        )
        return engine.embedding(plane, click((15, 15)), tiny)

    assert ask(0, 255) == 1
    assert ask(0, 254) == 1
    assert ask(0, 255.5) == 1
    assert ask(0, 100) == 2
    assert ask(0, 100, gamma=0.5) == 3
    # small steps add up to a difference
    assert ask(0, 255) == 1
    assert ask(0, 252) == 1
    steps = [ask(0, high) for high in range(250, 180, -5)]
    assert steps[0] != steps[-1]
    assert len(embedded) < 3 + len(steps)


def test_the_object_size_does_not_jump_with_the_contrast(tiny):
    engine = Engine(lambda name: tiny)
    image = squares(*[np.arange(300)] * 2)
    rng = np.random.default_rng(0)
    image = (image + rng.integers(0, 9, image.shape)).astype(np.uint8)
    sizes = {
        engine.diameter(
            plane_of_array(image, high, (0, high), place='a', gamma=gamma)
        )
        for high, gamma in ((255, 1.0), (240, 0.9), (230, 1.2))
    }
    assert len(sizes) == 1


def test_a_window_without_finite_pixels_is_refused(engine, tiny):
    image = np.full((2500, 2500), np.nan, np.float32)
    image[:1200, :1200] = squares(*[np.arange(1200)] * 2)
    plane = plane_of_array(image)
    engine.embedding(plane, click((300, 300)), tiny)
    with pytest.raises(ImageError, match='no finite pixel'):
        engine.embedding(plane, click((2200, 2200)), tiny)


def test_pixels_that_are_no_numbers_are_counted(engine, tiny):
    image = squares(*[np.arange(300)] * 2).astype(np.float32)
    image[:10, :10] = np.nan
    image[20, 20:23] = np.inf, -np.inf, np.nan
    plane = plane_of_array(image)
    assert engine.not_finite(plane, click((50, 50)), tiny) == 0
    engine.embedding(plane, click((50, 50)), tiny)
    assert engine.not_finite(plane, click((50, 50)), tiny) == 103
    other = plane_of_array(np.nan_to_num(image), key='other')
    engine.embedding(other, click((50, 50)), tiny)
    assert engine.not_finite(other, click((50, 50)), tiny) == 0


def test_windows_of_large_images_count_their_own(engine, tiny):
    image = squares(*[np.arange(2500)] * 2).astype(np.float32)
    image[2400:2410, 2400:2420] = np.nan
    plane = plane_of_array(image)
    for place, expected in (((300, 300), 0), ((2412, 2405), 200)):
        engine.embedding(plane, click(place), tiny)
        found = engine.not_finite(plane, click(place), tiny)
        assert found == pytest.approx(expected, rel=0.1)


def test_limits_of_colour_images_are_sampled_once(engine, tiny):
    gray = squares(*[np.arange(2300)] * 2) / np.float32(40)
    image = np.stack([gray, gray, gray], axis=-1)

    class Counted:
        shape, dtype = image.shape, image.dtype
        pixels = 0

        def __getitem__(self, index):
            part = image[index]
            Counted.pixels += part.size
            return part

    view = PlaneView(Counted(), (0, 0, 0), (0, 1, 2))
    plane = plane_of_array(view, limits=None)
    engine.embedding(plane, click((300, 300)), tiny)
    Counted.pixels = 0
    window = engine.embedding(plane, click((2000, 2000)), tiny).frame.window
    area = (window[2] - window[0]) * (window[3] - window[1])
    assert Counted.pixels == 3 * area


def test_prepare_embeds_a_small_image_as_a_whole(engine, tiny):
    plane = plane_of_array(squares(*[np.arange(100)] * 2))
    engine.prepare(plane, tiny)
    assert engine.ready(plane, (15, 15), tiny)


def test_prepare_embeds_what_is_in_the_middle_of_the_view(engine, tiny):
    image = squares(*[np.arange(2500)] * 2)
    assert not engine.prepared(plane_of_array(image), tiny)
    engine.prepare(plane_of_array(image), tiny)
    assert engine.prepared(plane_of_array(image), tiny)
    assert not engine.ready(plane_of_array(image), (1250, 1250), tiny)
    seen = plane_of_array(image, viewport=Viewport((1250, 1250), 0.3))
    assert not engine.prepared(seen, tiny)
    engine.prepare(seen, tiny)
    assert engine.prepared(seen, tiny)
    assert engine.ready(seen, (1250, 1250), tiny)
    assert not engine.ready(seen, (250, 250), tiny)
    outside = plane_of_array(image, viewport=Viewport((-500, -500), 1.0))
    engine.prepare(outside, tiny)
    assert engine.ready(outside, (0, 0), tiny)
