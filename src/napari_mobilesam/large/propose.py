"""One tile: show it to the model, ask its points, keep the record.

A tile task says where; a `Proposer` knows the rest and travels to the
workers. The model does not: each process loads it by its name once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from napari_mobilesam.large.interfaces import Window
from napari_mobilesam.large.journal import Journal, Record
from napari_mobilesam.large.models import ModelLoader
from napari_mobilesam.large.resize import place_mask
from napari_mobilesam.large.tiling import Grid, Tile, cut_edge, is_cut
from napari_mobilesam.large.view import View
from napari_mobilesam.segmentation.crops import Region
from napari_mobilesam.segmentation.masks import (
    boxes_of,
    clean,
    suppress,
)
from napari_mobilesam.segmentation.parameters import thresholds_for
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.types import EverythingParameters, Mask

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

# A tile whose gray values differ by no more shows nothing.
EMPTY_RANGE = 8


class TileTask(NamedTuple):
    """What is to be embedded and asked.

    Attributes
    ----------
    key : str
        Name of the record.
    plane : int
        Plane of the source.
    window : tuple of int
        (row0, column0, row1, column1) on the working plane.
    side : int
        Side of a whole tile there: a window at the end of the plane is
        shorter, and shown at the scale of a whole one.
    shrink : int
        Pixels of the working plane per pixel that is shown.
    points : ndarray or None
        (N, 2) points (row, column) to ask; None for those of the grid.
    tile : Tile or None
        Tile of the grid; None for one that is proposed again.
    """

    key: str
    plane: int
    window: Window
    side: int
    shrink: int = 1
    points: NDArray[np.float64] | None = None
    tile: Tile | None = None


class TileSummary(NamedTuple):
    """What a worker says of a tile; the masks are in its record."""

    key: str
    objects: int
    cut: int
    prompts: int


def grid_task(grid: Grid, tile: Tile) -> TileTask:
    """Task of a tile of the grid."""
    key = f'p{tile.plane:05}/r{tile.row:05}/c{tile.column:05}'
    window = grid.window(tile.row, tile.column)
    return TileTask(key, tile.plane, window, grid.side, tile=tile)


def repair_task(
    plane: int,
    window: Window,
    side: int,
    shrink: int,
    points: NDArray[np.float64],
) -> TileTask:
    """Task of a tile laid around objects that others cut off.

    Its key tells its points: with other points it is another record.
    """
    digest = xxhash.xxh64(repr((window, side, shrink)).encode())
    digest.update(np.ascontiguousarray(points).view(np.uint8).data)
    key = f'p{plane:05}/again/{digest.hexdigest()}'
    return TileTask(key, plane, window, side, shrink, points)


@dataclass(frozen=True, eq=False)
class Proposer:
    """Finds and records the masks of tiles.

    Attributes
    ----------
    view : View
        What is shown.
    grid : Grid
        Whose points are asked.
    folder : Path
        Where records go.
    load : callable
        Returns the model; picklable, and equal where the model is.
    parameters : EverythingParameters
        Thresholds and more.
    """

    view: View
    grid: Grid
    folder: Path
    load: ModelLoader
    parameters: EverythingParameters

    def __call__(self, task: TileTask) -> TileSummary:
        """Work through a tile, unless its record is there."""
        journal = Journal(self.folder)
        rgb = self.view.rgb(task.plane, task.window, task.shrink)
        if is_empty(rgb):
            record = Record.of(task.window, [], np.zeros(0, bool))
            journal.write(task.key, record)
            return TileSummary(task.key, 0, 0, 0)
        points = self._points(task)
        # Workers are what runs in parallel, and sums come out the same
        # wherever and with however many workers a tile is computed.
        torch.set_num_threads(1)
        model = self.load()
        found = self._ask(model, task, rgb, points)
        record = self._record(task, found, model.input_size)
        journal.write(task.key, record)
        cut = int(np.count_nonzero(record.cut))
        return TileSummary(task.key, len(record) - cut, cut, len(points))

    def _points(self, task: TileTask) -> NDArray[np.float64]:
        if task.points is not None:
            return task.points
        assert task.tile is not None
        return self.grid.points(task.tile.row, task.tile.column)

    def _ask(
        self,
        model: Sam,
        task: TileTask,
        rgb: NDArray[np.uint8],
        points: NDArray[np.float64],
    ) -> list[Mask]:
        """Masks in pixels of ``rgb``, duplicates dropped, best first."""
        # What a mask may cover is a question to the whole plane, and the
        # edges of the tile are looked at later.
        parameters = replace(self.parameters, max_area_fraction=1.0)
        shown = pad_to_scale(rgb, -(-task.side // task.shrink))
        region = Region((0, 0, *shown.shape[:2]), np.zeros((0, 2)), edge=-1)
        worker = RegionWorker(
            model,
            parameters,
            thresholds_for(parameters, model.record),
            region,
            shown,
        )
        local = (points - np.array(task.window[:2])) / task.shrink
        masks: list[Mask] = []
        for start in range(0, len(local), parameters.batch_size):
            masks += worker.propose(
                local[start : start + parameters.batch_size]
            )
        return suppress(masks, parameters.box_nms)

    def _record(
        self, task: TileTask, found: list[Mask], input_size: int
    ) -> Record:
        """Masks on the working plane, those cut off last."""
        row0, column0, row1, column1 = task.window
        size = (0, 0, row1 - row0, column1 - column0)
        factor = (task.shrink, task.shrink)
        placed = [
            place_mask(mask, factor, size, (row0, column0)) for mask in found
        ]
        masks = [mask for mask in placed if mask is not None]
        edge = cut_edge(task.side, input_size)
        cut = is_cut(boxes_of(masks), task.window, self.grid.shape, edge)
        whole = [masks[i] for i in np.flatnonzero(~cut)]
        parts = [masks[i] for i in np.flatnonzero(cut)]
        if self.parameters.min_area > 0 and whole:
            threshold = max(self.parameters.box_nms, self.parameters.crop_nms)
            whole = clean(
                whole, self.parameters.min_area, self.grid.shape, threshold
            )
        flags = np.repeat([False, True], [len(whole), len(parts)])
        return Record.of(task.window, whole + parts, flags)


def is_empty(rgb: NDArray[np.uint8]) -> bool:
    """Whether an image shows nothing that stands out."""
    low = rgb.min(axis=(0, 1)).astype(int)
    return bool((rgb.max(axis=(0, 1)) - low <= EMPTY_RANGE).all())


def pad_to_scale(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Make the longer side that of a whole tile, with black.

    The model's input is scaled by the longer side: without this the last
    tile of a plane, cut off by both its ends, would be shown larger.
    """
    missing = side - max(rgb.shape[:2])
    if missing <= 0:
        return rgb
    return np.pad(rgb, ((0, 0), (0, side - rgb.shape[1]), (0, 0)))
