"""Large images by prompts derived from an instance head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from segmentation.helpers import disc, iou

from napari_mobilesam.large import large_estimate
from napari_mobilesam.large.image_view import ImageView
from napari_mobilesam.large.io.sources import open_source
from napari_mobilesam.large.large_estimate import (
    run_seconds,
    shown_shares,
)
from napari_mobilesam.large.large_plan import checked_large, make_plan
from napari_mobilesam.large.pipeline import segment_large
from napari_mobilesam.segmentation.cost_history import Speed

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


@pytest.mark.slow
def test_every_object_is_found_once_whatever_the_tiles(image, discs):
    result = run(image)
    assert result.tiles > 4
    assert result.labels.max() == len(discs)
    for row, column, radius in discs:
        plane = disc(SHAPE, (row, column), radius)
        number = result.labels[row, column]
        assert number
        assert iou(result.labels == number, plane) > 0.8


@pytest.mark.slow
def test_the_same_objects_as_of_the_grid(image):
    """Numbered in another order: their scores differ."""
    by_head = run(image).labels
    by_grid = run(image, model=small_model, adaptive=False).labels
    assert np.array_equal(by_head > 0, by_grid > 0)
    pairs = {
        *zip(by_head.ravel().tolist(), by_grid.ravel().tolist(), strict=True)
    }
    assert len(pairs) == 1 + by_head.max() == 1 + by_grid.max()


@pytest.mark.slow
def test_threads_write_the_same_bytes(image, tmp_path: Path):
    path = tmp_path / 'image.npy'
    np.save(path, image)
    outputs = [tmp_path / name / 'out.ome.zarr' for name in ('one', 'many')]
    run(path, output=outputs[0])
    run(path, output=outputs[1], executor='threads', workers=3)
    one, many = map(content, outputs)
    assert one == many


@pytest.mark.slow
def test_the_watershed_finds_every_object_once(image, discs):
    result = run(image, watershed=True)
    assert result.labels.max() == len(discs)
    for row, column, radius in discs:
        number = result.labels[row, column]
        plane = disc(SHAPE, (row, column), radius)
        assert number and iou(result.labels == number, plane) > 0.7


@pytest.mark.slow
def test_the_estimate_leaves_out_empty_tiles():
    square = np.zeros((100, 100), np.uint8)
    square[40:70, 40:70] = 255
    many = np.tile(square, (20, 20))
    few = np.zeros_like(many)
    few[:100, :200] = many[:100, :200]
    parameters = checked_large(None, {'diameter': DIAMETER})
    model = seeing_model()
    sparse, dense = (
        make_plan(open_source(plane), model, parameters)
        for plane in (few, many)
    )
    assert min(shown_shares(dense)) > 0.7
    assert max(shown_shares(sparse)) < 0.2
    speed = Speed(0.1, 0.01, 0.001)
    short, long = (
        run_seconds(plan, model.record, speed, 1) for plan in (sparse, dense)
    )
    assert short < long / 4


def test_the_estimate_leaves_out_what_cannot_be_read(tmp_path):
    plane = np.zeros((2000, 2000), np.uint8)
    plane[::7] = 255
    chunks = zarr.create_array(
        tmp_path / 'a.zarr', data=plane, chunks=(1000, 1000), zarr_format=2
    )
    parameters = checked_large(
        None, {'diameter': DIAMETER, 'contrast_limits': (0, 255)}
    )
    plan = make_plan(open_source(chunks), seeing_model(), parameters)
    assert shown_shares(plan) == (1, 1)
    (tmp_path / 'a.zarr' / '0.1').write_bytes(b'damaged')
    assert shown_shares(plan) == (1, 1)
    for damaged in ('0.0', '1.0', '1.1'):
        (tmp_path / 'a.zarr' / damaged).write_bytes(b'damaged')
    assert shown_shares(plan) == (1, 1)


def test_the_estimate_reads_no_further_block_after_some_time(
    image, monkeypatch
):
    monkeypatch.setattr(large_estimate, 'SAMPLE_SECONDS', -1.0)
    parameters = checked_large(None, {'diameter': DIAMETER})
    plan = make_plan(open_source(image), seeing_model(), parameters)
    monkeypatch.setattr(ImageView, 'rgb', None)
    assert shown_shares(plan) == (1, 1)


def test_the_estimate_knows_what_is_asked(image):
    speed = Speed(0.1, 0.01, 0.001)

    def seconds(model, **options):
        parameters = checked_large(None, {'diameter': DIAMETER, **options})
        plan = make_plan(open_source(image), model(), parameters)
        return run_seconds(plan, model().record, speed, 1)

    watershed = seconds(seeing_model, watershed=True)
    head, grid = seconds(seeing_model), seconds(small_model, adaptive=False)
    assert watershed < head < seconds(small_model) < grid
