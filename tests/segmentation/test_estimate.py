"""Time and memory of a run before it begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_mobilesam.segmentation.cost_history import CostHistory, Speed, Work
from napari_mobilesam.segmentation.estimate import (
    BYTES_PER_CELL,
    BYTES_PER_INPUT_PIXEL,
    Estimate,
    estimate_run,
    expected_work,
)
from napari_mobilesam.types import (
    EverythingParameters,
    ModelRecord,
    ObjectDiameter,
    SegmentationError,
)

RECORD = ModelRecord(
    'any', input_size=256, object_diameter=ObjectDiameter(24, 48, 96)
)
SPEED = Speed(embedding=0.1, prompt=0.01, mask=0.002)
GRID = EverythingParameters(adaptive=False)


def test_memory_is_that_of_large_blocks_and_of_what_is_kept():
    whole, fine = (
        estimate_run((600, 600), RECORD, parameters, SPEED).memory_bytes
        for parameters in (
            replace(GRID, whole_image=True),
            replace(GRID, diameter=12),
        )
    )
    block = BYTES_PER_INPUT_PIXEL['vit_t'] * (1152**2 - 256**2)
    # a cell is 4 pixels wide
    assert fine > whole + block + 150**2 * BYTES_PER_CELL


def test_the_full_grid_is_counted_exactly():
    whole = estimate_run((200, 300), RECORD, GRID, SPEED)
    assert whole.prompts == 32 * 32
    assert whole.windows == 1
    assert whole.seconds >= 0.1 + 1024 * 0.01
    layers = replace(GRID, crop_layers=1)
    crops = estimate_run((200, 300), RECORD, layers, SPEED)
    assert (crops.prompts, crops.windows) == (2 * 1024, 5)


def test_small_objects_need_windows():
    seen = estimate_run((400, 400), RECORD, GRID, SPEED, diameter=20)
    assert seen.windows > 1
    given = replace(GRID, diameter=20)
    assert estimate_run((400, 400), RECORD, given, SPEED) == seen
    whole = replace(GRID, whole_image=True)
    alone = estimate_run((400, 400), RECORD, whole, SPEED, diameter=20)
    assert alone.windows == 1


def test_a_region_costs_its_share():
    whole = estimate_run((400, 400), RECORD, GRID, SPEED, diameter=20)
    region = (0, 0, 200, 400)
    half = estimate_run((400, 400), RECORD, GRID, SPEED, region, diameter=20)
    assert half.prompts == whole.prompts // 2
    assert half.windows <= whole.windows
    skip = np.zeros((400, 400), bool)
    skip[:200] = True
    rest = estimate_run(
        (400, 400), RECORD, GRID, SPEED, skip=skip, diameter=20
    )
    assert rest.prompts + half.prompts == whole.prompts


def test_the_adaptive_run_costs_less():
    few = estimate_run(
        (400, 400), RECORD, EverythingParameters(), SPEED, diameter=20
    )
    full = estimate_run((400, 400), RECORD, GRID, SPEED, diameter=20)
    assert few.prompts < full.prompts / 4
    assert few.windows == full.windows
    assert few.seconds < full.seconds


def test_what_is_embedded_already_costs_no_window():
    parameters = EverythingParameters()
    new = estimate_run((400, 400), RECORD, parameters, SPEED, diameter=20)
    known = estimate_run(
        (400, 400),
        RECORD,
        parameters,
        SPEED,
        diameter=20,
        embedded=lambda key: True,
    )
    assert known.windows == 0 < new.windows
    assert known.seconds == pytest.approx(
        new.seconds - new.windows * SPEED.embedding
    )


@pytest.mark.slow
def test_what_is_embedded_is_looked_at_all_the_same():
    """Maps, duplicates and labels of a large image take their time."""
    parameters = EverythingParameters(diameter=40)
    small, large = (
        expected_work(shape, RECORD, parameters, embedded=lambda key: True)
        for shape in ((400, 400), (2600, 2600))
    )
    assert small.windows == large.windows == 0
    assert large.looked_at > 30 * small.looked_at > 0
    besides = (
        work.seconds_of_run(SPEED) - work.seconds(SPEED)
        for work in (small, large)
    )
    assert next(besides) < next(besides) / 30


def test_a_run_without_embedding_does_not_make_the_next_seem_slow():
    history = CostHistory()
    done = Work(prompts=45, windows=0, masks_per_prompt=2.5, looked_at=29)
    # maps, duplicates and labels take almost as long as the prompts
    for _ in range(5):
        history.learn_time(done.seconds_of_run(SPEED), 1.2)
    seen = estimate_run(
        (400, 400), RECORD, EverythingParameters(), SPEED, experience=history
    )
    alone = estimate_run((400, 400), RECORD, EverythingParameters(), SPEED)
    assert seen.seconds < 1.3 * alone.seconds


def test_a_bad_region_is_refused():
    with pytest.raises(SegmentationError, match='no pixel'):
        estimate_run((50, 50), RECORD, GRID, SPEED, (60, 60, 70, 70))


def test_an_estimate_is_a_line_for_people():
    line = str(Estimate(1024, 1, 9.2, 900_000_000))
    assert line == '1,024 prompts, about 9 s, 0.9 GB'
    assert str(Estimate(1, 1, 0.2, 0)).startswith('1 prompt, about 1 s')
    assert str(Estimate(0, 1, 0.2, 0)).startswith('No prompts, about 1 s')
