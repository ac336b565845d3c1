"""From tiles to records: tiles of the grid, then tiles around cut objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_mobilesam.large.executors import TaskWorkers
from napari_mobilesam.large.journal import Journal, MaskRecordReader, Record
from napari_mobilesam.large.large_plan import LargePlan
from napari_mobilesam.large.mask_table import (
    MaskTable,
    gather,
    join,
    joined_boxes,
)
from napari_mobilesam.large.propose import TileTask, grid_task, summarize
from napari_mobilesam.large.repair import fits, repair_tasks
from napari_mobilesam.large.resize import fine_box, place_mask
from napari_mobilesam.large.results import CutObject, FailedTile, TileFound
from napari_mobilesam.large.scan import scan_blocks
from napari_mobilesam.large.stitch import unexplained
from napari_mobilesam.large.tasks import run_tasks
from napari_mobilesam.text import counted
from napari_mobilesam.types import Progress, Window


@dataclass(frozen=True)
class TileHooks:
    """Callbacks of a run; see `segment_large`."""

    progress: Progress
    cancelled: Callable[[], bool]
    on_tile: Callable[[TileFound], None] | None = None


@dataclass(eq=False)
class Search:
    """Tiles of a run: propose masks, and repair cut objects.

    Attributes
    ----------
    plan : LargePlan
        Plan of the run.
    journal : Journal
        Journal of the run.
    hooks : TileHooks
        Callbacks.
    keys : list of list of str
        Keys of the records of each plane.
    failed : list of FailedTile
        Tiles that failed.
    cut : list of CutObject
        Objects too large for the largest tiles.
    skipped : int
        Number of empty tiles.
    cancelled : bool
        True if the run was cancelled.
    """

    plan: LargePlan
    journal: Journal
    hooks: TileHooks
    keys: list[list[str]] = field(init=False)
    failed: list[FailedTile] = field(default_factory=list)
    cut: list[CutObject] = field(default_factory=list)
    skipped: int = 0
    cancelled: bool = False
    _done: int = 0
    _total: int = 0
    _noun: str = 'tiles'
    _objects: int = 0
    # tiles with a record of an earlier run, and whether that was told
    _before: int = 0
    _told_before: bool = False
    _windows: dict[str, Window] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._total = self.plan.tiles
        self.keys = [[] for _ in range(self.plan.view.source.planes)]

    def run(self, workers: TaskWorkers) -> None:
        """Process all tiles without a record, unless cancelled."""
        self._search(workers)
        if self.cancelled:
            # and those from an earlier run that this one did not reach
            self.keys = [
                self.journal.keys(f'p{plane:05}')
                for plane in range(len(self.keys))
            ]

    def _search(self, workers: TaskWorkers) -> None:
        self.tell()
        self._run(workers, self._grid_tasks())
        left: Sequence[MaskTable | None] = [None] * len(self.keys)
        rounds = [2**n for n in range(self.plan.parameters.coarser + 1)]
        for shrink in rounds:
            if self._asked_to_end():
                return
            left = self._repair(workers, left, shrink, shrink == rounds[-1])
        self._report_cut()

    def _report_cut(self) -> None:
        """Report the objects that no tile shows completely."""
        for plane in range(len(self.keys)):
            lost = self._unexplained(plane)
            self.cut += [
                CutObject(plane, self._at_level_0(tuple(box)))
                for box in joined_boxes(lost.boxes).tolist()
            ]

    def _asked_to_end(self) -> bool:
        self.cancelled = self.cancelled or self.hooks.cancelled()
        return self.cancelled

    def _grid_tasks(self) -> Iterator[TileTask]:
        for block, count in scan_blocks(self.plan):
            # no task checks for it while all tiles are empty
            if self._asked_to_end():
                return
            nothing = count - len(block.tiles)
            self.skipped += nothing
            if nothing:
                self._count(0, nothing)
            if block.tiles:
                yield grid_task(self.plan.grid, block)

    def _repair(
        self,
        workers: TaskWorkers,
        left: Sequence[MaskTable | None],
        shrink: int,
        last: bool,
    ) -> list[MaskTable]:
        """Propose cut objects again; return those still cut."""
        grid = self.plan.grid
        tasks: list[TileTask] = []
        later: list[MaskTable] = []
        for plane, cut in enumerate(left):
            cut = self._unexplained(plane, cut)
            now = fits(cut, grid, shrink) | last
            tasks += repair_tasks(cut.take(now), plane, grid, shrink)
            later.append(cut.take(~now))
        if tasks:
            # a separate phase, so that the total of the first one does not
            # change
            self._done, self._total = 0, len(tasks)
            self._before, self._told_before = 0, False
            self._noun = 'places at the borders of tiles'
            self.tell()
        known = [len(keys) for keys in self.keys]
        self._run(workers, tasks)
        return [
            join(cut, gather(self.journal, keys[count:]).cut_ones())
            for cut, keys, count in zip(later, self.keys, known, strict=True)
        ]

    def _unexplained(
        self, plane: int, cut: MaskTable | None = None
    ) -> MaskTable:
        """Return cut masks that no complete mask covers."""
        if cut is not None and not len(cut):
            return cut
        found = gather(self.journal, self.keys[plane])
        cut = found.cut_ones() if cut is None else cut
        if not len(cut):
            return cut
        reader = MaskRecordReader(self.journal)
        return unexplained(cut, found.whole_ones(), reader)

    def _run(self, workers: TaskWorkers, tasks: Iterable[TileTask]) -> None:
        """Run the tasks that have no record yet, and collect all keys."""
        done: list[tuple[int, str]] = []
        outcomes = run_tasks(
            workers, self._missing(tasks, done), self._asked_to_end
        )
        for outcome in outcomes:
            if outcome.error is None:
                self._note(outcome.task, outcome.result)
                self._keep(outcome.task, done)
            else:
                self._note_failed(outcome.task, outcome.error)
        # Sorted, so that nothing depends on the order in which workers finish.
        for plane, key in sorted(done):
            self.keys[plane].append(key)

    def _missing(
        self, tasks: Iterable[TileTask], done: list[tuple[int, str]]
    ) -> Iterator[TileTask]:
        for task in tasks:
            if self._asked_to_end():
                return
            record = self.journal.read(task.key)
            if record is None:
                self._tell_before()
                yield task
                continue
            self._before += max(1, len(task.tiles))
            self._note(task, summarize(task, record, self.plan.grid), record)
            self._keep(task, done)
        self._tell_before()

    def _tell_before(self) -> None:
        """Report once how much an earlier run has done."""
        if self._before and not self._told_before:
            self._told_before = True
            self.tell(
                f'{self._before} of {self._total} {self._noun} were done '
                f'before, {counted(self._objects, "object")}'
            )

    def _keep(self, task: TileTask, done: list[tuple[int, str]]) -> None:
        self._windows[task.key] = task.window
        done.append((task.plane, task.key))

    def _note(
        self, task: TileTask, summary: Any, record: Record | None = None
    ) -> None:
        if self.hooks.on_tile is not None:
            record = record or self.journal.read(task.key)
            if record is not None:
                self.hooks.on_tile(self._found(task, record))
        self._count(summary.objects, max(1, len(task.tiles)))

    def fail_missing(self, plane: int, keys: Iterable[str]) -> None:
        """Count tiles with missing or damaged records as failed."""
        self.failed += [
            FailedTile(
                plane,
                self._at_level_0(self._windows[key]),
                f'{self.journal.path(key)} is gone or damaged',
            )
            for key in keys
            if key in self._windows
        ]

    def _note_failed(self, task: TileTask, error: BaseException) -> None:
        said = f'{type(error).__name__}: {error}'
        window = self._at_level_0(task.window)
        self.failed.append(FailedTile(task.plane, window, said))
        self._count(0, max(1, len(task.tiles)))

    def _count(self, objects: int, tiles: int) -> None:
        self._done += tiles
        self._objects += objects
        if not self._before or self._told_before:
            self.tell()

    def tell(self, message: str = '') -> None:
        """Report the number of finished tiles or places to repair."""
        steps = f'{self._done} of {self._total} {self._noun}'
        message = message or f'{steps}, {self._objects} objects'
        self.hooks.progress(self._done, self._total, message)

    def _found(self, task: TileTask, record: Record) -> TileFound:
        factor = self.plan.view.factor
        whole = (0, 0, *self.plan.view.source.shape)
        placed = [
            place_mask(record.mask(index), factor, whole)
            for index in np.flatnonzero(~record.cut).tolist()
        ]
        masks = [mask for mask in placed if mask is not None]
        return TileFound(task.plane, self._at_level_0(task.window), masks)

    def _at_level_0(self, window: Window) -> Window:
        row0, column0, row1, column1 = fine_box(window, self.plan.view.factor)
        height, width = self.plan.view.source.shape
        return row0, column0, min(row1, height), min(column1, width)
