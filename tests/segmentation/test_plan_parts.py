"""Parts of a large image that the instance head looks at in turns."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_mobilesam.segmentation.embedding_grid import EmbeddingGrid
from napari_mobilesam.segmentation.everything_plan import (
    blocks_of,
    plan_for_shape,
)
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.segmentation.plan_parts import parts_of, sample_of
from napari_mobilesam.types import EverythingParameters

from .oracle import SeeingOracle

DIAMETER = 48
MODEL = SeeingOracle()


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        'napari_mobilesam.segmentation.plan_parts.WHOLE_CELLS', 0
    )


def discs(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Bright discs everywhere, some of them at the edges of blocks."""
    rows, columns = (np.arange(length) % 49 - 24 for length in shape)
    inside = rows[:, None] ** 2 + columns**2 < 17**2
    return np.where(inside, 255, 0).astype(np.uint8)


def found(image, **options):
    return generate_candidates(image, MODEL, diameter=DIAMETER, **options)


@pytest.mark.slow
@pytest.mark.parametrize('watershed', [False, True])
@pytest.mark.parametrize(
    'shape',
    [(1500, 200), pytest.param((200, 1500), marks=pytest.mark.slow)],
)
def test_parts_give_what_the_whole_gives(shape, watershed, monkeypatch, large):
    image = discs(shape)
    in_parts = found(image, watershed=watershed)
    monkeypatch.undo()
    whole = found(image, watershed=watershed)
    assert in_parts.prompts == whole.prompts
    one, other = (c.paint()[0] for c in (in_parts, whole))
    assert one.max() == other.max() > 100
    assert ((one > 0) == (other > 0)).mean() > 0.999


@pytest.mark.slow
def test_the_rest_is_expected_to_be_like_what_is_done(large):
    told = []
    candidates = found(
        discs((5200, 100)), progress=lambda *report: told.append(report[:2])
    )
    prompts = candidates.prompts
    assert told[-1] == (prompts, prompts)
    # from a third of the image on
    later = [total for done, total in told if done > prompts / 3]
    assert max(later) < 1.35 * prompts and min(later) > 0.65 * prompts


def test_long_objects_are_not_cut_between_parts(large):
    """Bars that reach over several blocks, and over their contexts."""
    image = np.zeros((3000, 200), np.uint8)
    for column in (30, 90, 150):
        for start in (40, 1540):
            image[start : start + 1400, column : column + 22] = 255
    labels = found(image, watershed=True).paint()[0]
    assert labels.max() == 6
    assert ((labels > 0) == (image > 0)).mean() > 0.97
    for column in (30, 90, 150):
        assert len(np.unique(labels[60:1400, column + 11])) == 1


def test_masks_come_before_the_rest_is_embedded(large):
    image = discs((5200, 100))
    embedding = ImageEmbedding.of_rgb(MODEL, np.stack([image] * 3, -1))
    seen = []

    def on_masks(masks):
        seen.append((len(masks), embedding.embedded_pixels))

    cancelled = found(
        image,
        embedding=embedding,
        on_masks=on_masks,
        cancelled=lambda: bool(seen),
    )
    assert not cancelled.complete
    assert len(cancelled.masks) >= seen[0][0] > 0
    whole = found(image, embedding=embedding)
    assert whole.complete
    assert seen[0][1] < embedding.embedded_pixels


@pytest.mark.slow
def test_every_region_is_in_one_part_with_what_is_around_it(large):
    shape = 2600, 2500
    regions = plan_for_shape(
        shape, MODEL.record, EverythingParameters(diameter=DIAMETER)
    ).regions
    grid = EmbeddingGrid(shape, MODEL.record)
    parts = parts_of(regions, grid)
    assert len(parts) == len(blocks_of(regions, grid)) == 9
    assert {id(r) for part in parts for r in part.regions} == {
        id(region) for region in regions
    }
    assert sum(len(part.regions) for part in parts) == len(regions)
    assert len(parts[0].blocks) == 4
    assert len(parts[4].blocks) == 9
    for part in parts:
        assert set(blocks_of(part.regions, grid)) <= set(part.blocks)
        row0, column0, row1, column1 = np.multiply(part.window, 16).tolist()
        for region in part.regions:
            assert row0 <= max(region.core[0] - 64, 0)
            assert column0 <= max(region.core[1] - 64, 0)
            assert row1 >= min(region.core[2] + 64, shape[0])
            assert column1 >= min(region.core[3] + 64, shape[1])
    sample = sample_of(parts, grid)
    assert [len(part.blocks) for part in sample] == [1] * 9
    assert sample[0].blocks == blocks_of(parts[4].regions, grid)


def test_a_small_image_is_one_part():
    shape = 300, 400
    regions = plan_for_shape(
        shape, MODEL.record, EverythingParameters(diameter=DIAMETER)
    ).regions
    grid = EmbeddingGrid(shape, MODEL.record)
    (part,) = parts_of(regions, grid)
    assert part.regions == regions and part.window is None
    assert sample_of([part], grid)[0].blocks == part.blocks
