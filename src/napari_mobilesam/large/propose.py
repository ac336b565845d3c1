"""Mask proposals of a few tiles, written as one record.

A task names the tiles; a `Proposer` has everything else and is sent to the
workers. The model is not sent: each process loads it once, by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from napari_mobilesam.large.image_view import ImageView
from napari_mobilesam.large.journal import Journal, Record
from napari_mobilesam.large.model_references import ModelLoader
from napari_mobilesam.large.resize import fine_box, place_mask
from napari_mobilesam.large.tiling import Grid, TileBlock, is_cut
from napari_mobilesam.segmentation.embedding_grid import EmbeddingGrid
from napari_mobilesam.segmentation.everything_plan import (
    Plan,
    PointSource,
    point_source,
)
from napari_mobilesam.segmentation.faint_masks import without_faint
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.lattice import Lattice
from napari_mobilesam.segmentation.mask_generator import ask_plan
from napari_mobilesam.segmentation.nms import (
    boxes_of,
    non_maximum_suppression,
    suppress,
)
from napari_mobilesam.segmentation.parameters import thresholds_for
from napari_mobilesam.segmentation.region import DecoderBlock, Region, cut_edge
from napari_mobilesam.segmentation.run import Collector, Hooks, Run
from napari_mobilesam.segmentation.scope import Scope
from napari_mobilesam.segmentation.small_regions import clean
from napari_mobilesam.types import (
    STRIDE,
    EverythingParameters,
    Mask,
    ModelRecord,
    SegmentationError,
    Window,
    slices_of,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

# Maximum range of gray values of an empty tile.
EMPTY_RANGE = 8
# Box IoU above which masks count as one object in progress reports.
SAME = 0.3


class TileTask(NamedTuple):
    """Windows to embed and points to prompt, as one unit of work.

    Attributes
    ----------
    key : str
        Name of the record.
    plane : int
        Plane of the source.
    window : tuple of int
        (row0, column0, row1, column1) on the working plane.
    tiles : tuple of (int, int)
        Tiles of the grid; none if points are given.
    shrink : int
        Pixels of the working plane per pixel shown to the model.
    points : ndarray or None
        (N, 2) points (row, column) to prompt in one tile around cut objects.
    """

    key: str
    plane: int
    window: Window
    tiles: tuple[tuple[int, int], ...] = ()
    shrink: int = 1
    points: NDArray[np.float64] | None = None


class TileSummary(NamedTuple):
    """Counts that a worker returns; the masks are in the record."""

    key: str
    objects: int
    cut: int
    prompts: int


def summarize(
    task: TileTask, record: Record, grid: Grid, prompts: int = 0
) -> TileSummary:
    """Count what a task found.

    Tiles overlap, and each tile that shows an object finds it. It is counted
    only by the tile whose core contains its centre, and only once if it has
    several masks.
    """
    whole = ~record.cut
    cut = int(np.count_nonzero(record.cut))
    best = non_maximum_suppression(record.boxes, [record.scores], SAME)
    whole &= np.isin(np.arange(len(record)), best)
    if task.tiles:
        middles = (record.boxes[:, :2] + record.boxes[:, 2:]) / 2
        owned = np.zeros(len(record), bool)
        for tile in task.tiles:
            core = grid.core(*tile)
            inside = (middles >= core[:2]) & (middles < core[2:])
            owned |= inside.all(axis=1)
        whole &= owned
    return TileSummary(task.key, int(np.count_nonzero(whole)), cut, prompts)


def grid_task(grid: Grid, block: TileBlock) -> TileTask:
    """Return the task for a block of the grid."""
    key = f'p{block.plane:05}/r{block.row:05}/c{block.column:05}'
    # The entire block is shown even if some of its tiles are skipped: the
    # result of a tile must not depend on that.
    first, last = (
        grid.window(
            min(block.row + further, grid.tiles[0] - 1),
            min(block.column + further, grid.tiles[1] - 1),
        )
        for further in (0, grid.block - 1)
    )
    window = (*first[:2], *last[2:])
    return TileTask(key, block.plane, window, block.tiles)


def repair_task(
    plane: int, window: Window, shrink: int, points: NDArray[np.float64]
) -> TileTask:
    """Return the task for a tile around objects that others cut off.

    Its key includes the points: other points make another record.
    """
    digest = xxhash.xxh64(repr((window, shrink)).encode())
    digest.update(np.ascontiguousarray(points).view(np.uint8).data)
    key = f'p{plane:05}/again/{digest.hexdigest()}'
    return TileTask(key, plane, window, (), shrink, points)


@dataclass(frozen=True, eq=False)
class Proposer:
    """Find the masks of tiles and write them as records.

    Attributes
    ----------
    view : ImageView
        The image as the model sees it.
    grid : Grid
        Tiles and their point prompts.
    diameter : float or None
        Typical object diameter in pixels of the working plane.
    folder : Path
        Folder of the records.
    load : callable
        Returns the model; picklable, and equal if the model is equal.
    model_key : str
        Key of the model behind the records.
    parameters : EverythingParameters
        Thresholds and other parameters.
    """

    view: ImageView
    grid: Grid
    diameter: float | None
    folder: Path
    load: ModelLoader
    model_key: str
    parameters: EverythingParameters

    def __call__(self, task: TileTask) -> TileSummary:
        """Process a task and write its record."""
        rgb = self.view.rgb(task.plane, task.window, task.shrink)
        regions = [
            region
            for region in self._regions(task)
            if not is_empty(rgb[slices_of(region.window)])
        ]
        masks: list[Mask] = []
        cut = np.zeros(0, bool)
        prompts = 0
        if regions:
            # Workers already run in parallel, and sums must be the same
            # wherever and with however many workers a tile is computed.
            torch.set_num_threads(1)
            model = self._model()
            if task.points is None:
                shape = rgb.shape[0], rgb.shape[1]
                regions = [
                    self._as_decoder_block(r, shape, model.record)
                    for r in regions
                ]
            found, prompts = self._ask(model, task, rgb, regions)
            masks, cut = self._sort(task, found, model.input_size)
        record = Record.of(masks, cut)
        Journal(self.folder).write(task.key, record)
        return summarize(task, record, self.grid, prompts)

    def _model(self) -> Sam:
        model = self.load()
        if model.key != self.model_key:
            raise SegmentationError(
                f'A worker has loaded the model {model.key}, but the run was '
                f'started with {self.model_key}: its file was replaced, or '
                'is another one on the machine of the worker.'
            )
        return model

    def _regions(self, task: TileTask) -> list[Region]:
        """Return the regions to embed, in pixels of the view."""
        row0, column0, row1, column1 = task.window
        if task.points is not None:
            rows, columns = (
                -(-length // task.shrink)
                for length in (row1 - row0, column1 - column0)
            )
            points = (task.points - (row0, column0)) / task.shrink
            # Nothing is dropped: cut masks are repaired later.
            return [Region((0, 0, rows, columns), points, edge=-1)]
        regions = []
        for tile in task.tiles:
            points = self.grid.points(*tile)
            if len(points):
                window, core = (
                    moved(of_tile(*tile), (-row0, -column0))
                    for of_tile in (self.grid.window, self.grid.core)
                )
                points = points - (row0, column0)
                regions.append(Region(window, points, edge=-1, core=core))
        return regions

    def _as_decoder_block(
        self, region: Region, shape: tuple[int, int], record: ModelRecord
    ) -> Region:
        """Return a region as a decoder block of the embedding of its task."""
        side, pitch = self.grid.side, self.grid.grain
        if side != pitch * (record.input_size // STRIDE):
            return region
        row, column = region.window[:2]
        block = DecoderBlock(
            (row + side / 2, column + side / 2), pitch, large=True
        )
        window = EmbeddingGrid(shape, record).frame_at(*block).window
        return replace(region, window=window, decoder_block=block)

    def _ask(
        self,
        model: Sam,
        task: TileTask,
        rgb: NDArray[np.uint8],
        regions: list[Region],
    ) -> tuple[list[Mask], int]:
        """Return masks in pixels of ``rgb``, as found, and prompts."""
        # The maximum area is a fraction of the plane, not of a tile.
        parameters = replace(self.parameters, max_area_fraction=1.0)
        thresholds = thresholds_for(parameters, model.record)
        collector = Collector(Scope(), thresholds, Hooks())
        total = sum(len(region.points) for region in regions)
        image = ImageEmbedding.of_rgb(model, rgb)
        run = Run(image, rgb, parameters, thresholds, Hooks(), total)
        plan = Plan(
            regions,
            Lattice.of(regions),
            self.diameter,
            self._source(task, regions, model.record),
        )
        ask_plan(run, plan, collector)
        masks = collector.masks
        if self.diameter is not None:
            masks = without_faint(masks, rgb, self.diameter / task.shrink)
        return masks, run.prompts

    def _source(
        self,
        task: TileTask,
        regions: Sequence[Region],
        record: ModelRecord,
    ) -> PointSource:
        """Return the source of the points of a task."""
        if task.points is not None:
            return 'grid'
        source = point_source(self.parameters, record, self.diameter)
        if (
            source in ('watershed', 'head')
            and regions[0].decoder_block is None
        ):
            # a single tile that is not a decoder block
            return 'adaptive'
        return source

    def _sort(
        self, task: TileTask, found: list[Mask], input_size: int
    ) -> tuple[list[Mask], NDArray[np.bool_]]:
        """Return masks on the working plane, cut ones last, with flags."""
        masks = [
            placed
            for window in sorted({mask.crop_box for mask in found})
            for mask in suppress(
                [mask for mask in found if mask.crop_box == window],
                self.parameters.box_nms,
            )
            if (placed := self._place(mask, task)) is not None
        ]
        side = self.grid.side * task.shrink
        edge = cut_edge(STRIDE * side / input_size)
        windows = np.array([mask.crop_box for mask in masks]).reshape(-1, 4)
        cut = is_cut(boxes_of(masks), windows, self.grid.shape, edge)
        whole = [masks[i] for i in np.flatnonzero(~cut)]
        parts = [masks[i] for i in np.flatnonzero(cut)]
        # areas are given in level-0 pixels
        area = math.ceil(
            self.parameters.min_area / math.prod(self.view.factor)
        )
        if area > 0 and whole:
            threshold = max(self.parameters.box_nms, self.parameters.crop_nms)
            whole = clean(whole, area, self.grid.shape, threshold)
        counts = [len(whole), len(parts)]
        return whole + parts, np.repeat([False, True], counts)

    def _place(self, mask: Mask, task: TileTask) -> Mask | None:
        """Map a mask from shown pixels to the working plane."""
        row0, column0, row1, column1 = task.window
        size = (0, 0, row1 - row0, column1 - column0)
        factor = (task.shrink, task.shrink)
        placed = place_mask(mask, factor, size, (row0, column0))
        if placed is None:
            return None
        window = fine_box(mask.crop_box, factor)
        return replace(placed, crop_box=moved(window, (row0, column0)))


def moved(window: Window, by: tuple[int, int]) -> Window:
    """Return a window shifted by rows and columns."""
    row0, column0, row1, column1 = window
    return row0 + by[0], column0 + by[1], row1 + by[0], column1 + by[1]


def is_empty(rgb: NDArray[np.uint8]) -> bool:
    """Return True if the gray values of an image hardly differ."""
    low = rgb.min(axis=(0, 1)).astype(int)
    return bool((rgb.max(axis=(0, 1)) - low <= EMPTY_RANGE).all())
