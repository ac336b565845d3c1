"""Time estimate for a run on a large image."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.large_plan import LargePlan
from napari_mobilesam.large.propose import is_empty
from napari_mobilesam.large.tiling import Grid
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.cost_history import Speed
from napari_mobilesam.segmentation.estimate import MASKS_PER_PROMPT
from napari_mobilesam.segmentation.everything_plan import (
    SHARES,
    point_source,
)
from napari_mobilesam.segmentation.machine_speed import measure_speed
from napari_mobilesam.segmentation.object_size import nothing
from napari_mobilesam.text import duration
from napari_mobilesam.types import STRIDE, ModelRecord, window_at

# Number of blocks read to find out how many are empty.
BLOCKS_READ = 20
# Seconds after which no further block is read: the source may be slow.
SAMPLE_SECONDS = 10.0


def run_seconds(
    plan: LargePlan,
    record: ModelRecord,
    speed: Speed,
    workers: int,
    between: Callable[[], None] = nothing,
) -> float:
    """Return the expected seconds of a run, by a sample of its tiles.

    Parameters
    ----------
    plan : LargePlan
        Plan from `napari_mobilesam.large.large_plan.make_plan`.
    record : ModelRecord
        Record of the model; an instance head uses fewer prompts than a grid.
    speed : Speed
        Speed from `napari_mobilesam.segmentation.machine_speed.measure_speed`.
    workers : int
        Number of tiles processed at a time.
    between : callable
        Called before each block of the sample is read; may raise to stop.
    """
    grid = plan.grid
    per_plane = math.prod(
        max(1.0, length / grid.spacing) for length in grid.shape
    )
    source = point_source(plan.parameters.everything, record, plan.diameter)
    prompts = SHARES[source] * per_plane * plan.view.source.planes
    per_prompt = speed.prompt + MASKS_PER_PROMPT[source] * speed.mask
    inputs = plan.tiles * _inputs_per_tile(grid, record)
    blocks, tiles = shown_shares(plan, between)
    embedding = blocks * inputs * speed.embedding
    return (embedding + tiles * prompts * per_prompt) / workers


def shown_shares(
    plan: LargePlan, between: Callable[[], None] = nothing
) -> tuple[float, float]:
    """Return the shares of blocks, and of tiles, that show something.

    The tiles of a block are embedded together unless all are empty. A sample
    of blocks is read, a smaller one where reading is slow; no share is 0.
    ``between`` is called before each block, and may raise to stop.
    """
    grid = plan.grid
    step = grid.stride * grid.block
    side = step - grid.stride + grid.side
    ends = plan.view.source.planes, *grid.shape
    places = np.random.default_rng(0).random((BLOCKS_READ, 3)) * ends
    blocks = []
    start = time.monotonic()
    for plane, *place in {
        *map(tuple, (places // (1, step, step)).astype(int))
    }:
        between()
        if time.monotonic() - start > SAMPLE_SECONDS:
            break
        row, column = (int(index) * step for index in place)
        window = window_at(row, column, (side, side), grid.shape)
        # what cannot be read fails later, and only its tiles
        with contextlib.suppress(Exception):
            rgb = plan.view.rgb(int(plane), window)
            blocks.append(_shown(rgb, grid.stride))
    if not blocks:
        return 1.0, 1.0
    tiles = [tile for block in blocks for tile in block]
    least = 1 / len(tiles)
    return (
        max(least, sum(map(any, blocks)) / len(blocks)),
        max(least, sum(tiles) / len(tiles)),
    )


def _shown(rgb: NDArray[np.uint8], side: int) -> list[bool]:
    """Return whether each square of this side shows something."""
    return [
        not is_empty(rgb[row : row + side, column : column + side])
        for row in range(0, rgb.shape[0], side)
        for column in range(0, rgb.shape[1], side)
    ]


def _inputs_per_tile(grid: Grid, record: ModelRecord) -> float:
    """Return the number of model inputs embedded per tile.

    Tiles that are decoder blocks share the embedding of their task.
    """
    if grid.side != grid.grain * (record.input_size // STRIDE):
        return 1.0
    span = grid.stride * (grid.block - 1) + grid.side
    return (span / (grid.side * grid.block)) ** 2


def describe_run(
    plan: LargePlan,
    model: Sam,
    workers: int,
    between: Callable[[], None] = nothing,
) -> str:
    """Describe a plan, with the time that its tiles take here."""
    speed = measure_speed(model)
    seconds = run_seconds(plan, model.record, speed, workers, between)
    return describe_plan(plan, seconds)


def describe_plan(plan: LargePlan, seconds: float | None = None) -> str:
    """Describe a plan in one line: planes, tiles, object size and time."""
    source = plan.view.source
    height, width = source.shape
    planes = '' if source.planes == 1 else f'{source.planes} planes of '
    factor = max(plan.view.factor)
    parts = [
        f'{planes}{height:,} × {width:,}',
        f'{plan.tiles:,} tile{"" if plan.tiles == 1 else "s"}',
    ]
    if plan.diameter is not None:
        parts.append(f'objects about {plan.diameter:.0f} px')
    if factor > 1:
        parts.append(f'read {factor:.3g} × coarser')
    if seconds is not None:
        parts.append(f'about {duration(seconds)}')
    return ', '.join(parts)
