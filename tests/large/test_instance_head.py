"""Large images by prompts derived from an instance head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from segmentation.helpers import disc, iou

from napari_mobilesam.large.pipeline import segment_large

from .images import (
    DIAMETER,
    content,
    drawn,
    field_of_discs,
    seeing_model,
    small_model,
)

SHAPE = (300, 512)


@pytest.fixture(scope='module')
def discs() -> tuple[tuple[int, int, int], ...]:
    return field_of_discs(SHAPE, seed=5)


@pytest.fixture(scope='module')
def image(discs) -> np.ndarray:
    return drawn(SHAPE, *discs)


def run(image, model=seeing_model, output=None, **options):
    options = {'diameter': DIAMETER, 'executor': 'serial', **options}
    return segment_large(image, output, model=model, **options)


def test_every_object_is_found_once_whatever_the_tiles(image, discs):
    result = run(image)
    assert result.tiles > 4
    assert result.labels.max() == len(discs)
    for row, column, radius in discs:
        plane = disc(SHAPE, (row, column), radius)
        number = result.labels[row, column]
        assert number
        assert iou(result.labels == number, plane) > 0.8


def test_the_same_objects_as_of_the_grid(image):
    """Numbered in another order: their scores differ."""
    by_head = run(image).labels
    by_grid = run(image, model=small_model, adaptive=False).labels
    assert np.array_equal(by_head > 0, by_grid > 0)
    pairs = {
        *zip(by_head.ravel().tolist(), by_grid.ravel().tolist(), strict=True)
    }
    assert len(pairs) == 1 + by_head.max() == 1 + by_grid.max()


def test_threads_write_the_same_bytes(image, tmp_path: Path):
    path = tmp_path / 'image.npy'
    np.save(path, image)
    outputs = [tmp_path / name / 'out.ome.zarr' for name in ('one', 'many')]
    run(path, output=outputs[0])
    run(path, output=outputs[1], executor='threads', workers=3)
    one, many = map(content, outputs)
    assert one == many
