"""State of an incomplete run, read from its records."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from napari_mobilesam.large.journal import SUFFIX, Journal
from napari_mobilesam.large.large_plan import LargeParameters
from napari_mobilesam.large.run_folder import records_folder
from napari_mobilesam.large.tiling import Grid
from napari_mobilesam.types import EverythingParameters


@dataclass(frozen=True)
class RunState:
    """An unfinished run.

    Attributes
    ----------
    done : int
        Number of tiles with records; empty tiles have none.
    total : int
        Number of tiles in the grid, over all planes.
    parameters : LargeParameters
        Parameters with which the run was started.
    """

    done: int
    total: int
    parameters: LargeParameters


def run_state(output: str | Path) -> RunState | None:
    """Return the state of the unfinished run of an output, if any.

    Parameters
    ----------
    output : path
        OME-Zarr to which the labels of the run will be written.

    Raises
    ------
    JournalError
        The records are damaged.
    """
    folder = records_folder(output)
    manifest = Journal(folder).manifest()
    if manifest is None:
        return None
    try:
        grid = _grid(manifest['plan']['grid'])
        planes = int(manifest['image']['shape'][0])
        parameters = _parameters(manifest['parameters'])
    except (KeyError, IndexError, TypeError):
        # of another version, whose records cannot be used either
        return RunState(0, 0, LargeParameters())
    done = sum(
        _tiles(grid, path.parent.name, path.stem)
        for path in folder.glob(f'p[0-9]*/r[0-9]*/c[0-9]*{SUFFIX}')
    )
    return RunState(done, planes * math.prod(grid.tiles), parameters)


def _tiles(grid: Grid, row: str, column: str) -> int:
    """Return the number of tiles of a block, named after its first tile."""
    starts = int(row[1:]), int(column[1:])
    return math.prod(
        min(grid.block, count - start)
        for start, count in zip(starts, grid.tiles, strict=True)
    )


def _grid(stored: dict[str, Any]) -> Grid:
    height, width = stored['shape']
    return Grid(**{**stored, 'shape': (height, width)})


def _parameters(stored: dict[str, Any]) -> LargeParameters:
    names = {item.name for item in fields(LargeParameters)}
    known = {name: stored[name] for name in stored if name in names}
    limits = known.get('contrast_limits')
    if limits is not None:
        known['contrast_limits'] = tuple((low, high) for low, high in limits)
    known['everything'] = EverythingParameters(**known['everything'])
    return LargeParameters(**known)
