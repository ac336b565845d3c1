"""Time estimate for a run on a large image."""

from __future__ import annotations

import math

from napari_mobilesam.large.large_plan import LargePlan
from napari_mobilesam.large.tiling import Grid
from napari_mobilesam.segmentation.embedding_grid import STRIDE
from napari_mobilesam.segmentation.estimate import (
    MASKS_PER_PROMPT,
    Speed,
    duration,
)
from napari_mobilesam.segmentation.everything_plan import (
    SHARES,
    point_source,
)
from napari_mobilesam.types import ModelRecord


def run_seconds(
    plan: LargePlan, record: ModelRecord, speed: Speed, workers: int
) -> float:
    """Return the seconds for all tiles if none of them is empty.

    Parameters
    ----------
    plan : LargePlan
        Plan from `napari_mobilesam.large.large_plan.make_plan`.
    record : ModelRecord
        Record of the model; an instance head uses fewer prompts than a grid.
    speed : Speed
        Speed from `napari_mobilesam.segmentation.estimate.measure_speed`.
    workers : int
        Number of tiles processed at a time.
    """
    grid = plan.grid
    per_plane = math.prod(
        max(1.0, length / grid.spacing) for length in grid.shape
    )
    source = point_source(plan.parameters.everything, record, plan.diameter)
    prompts = SHARES[source] * per_plane * plan.view.source.planes
    per_prompt = speed.prompt + MASKS_PER_PROMPT[source] * speed.mask
    inputs = plan.tiles * _inputs_per_tile(grid, record)
    return (inputs * speed.embedding + prompts * per_prompt) / workers


def _inputs_per_tile(grid: Grid, record: ModelRecord) -> float:
    """Return the number of model inputs embedded per tile.

    Tiles that are decoder blocks share the embedding of their task.
    """
    if grid.side != grid.grain * (record.input_size // STRIDE):
        return 1.0
    span = grid.stride * (grid.block - 1) + grid.side
    return (span / (grid.side * grid.block)) ** 2


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
        parts.append(f'up to about {duration(seconds)}')
    return ', '.join(parts)
