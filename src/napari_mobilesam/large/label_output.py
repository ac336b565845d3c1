"""Labels made from the records of tiles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.executors import SerialWorkers, TaskWorkers, Work
from napari_mobilesam.large.io.interfaces import LabelSink
from napari_mobilesam.large.io.ome_zarr import LabelWriter, remove_labels
from napari_mobilesam.large.journal import (
    MaskRecordReader,
    storage_errors,
)
from napari_mobilesam.large.mask_table import MaskTable, gather
from napari_mobilesam.large.render import ChunkTask, Renderer, chunk_tasks
from napari_mobilesam.large.results import LargeResult, TableBuilder
from napari_mobilesam.large.search import Search
from napari_mobilesam.large.stitch import (
    mask_overlaps,
    visible,
    without_duplicates,
)
from napari_mobilesam.large.tasks import run_tasks
from napari_mobilesam.segmentation.linking import Linker, Overlaps
from napari_mobilesam.types import Window

CHUNK = (1024, 1024)

OpenPool = Callable[[Work], AbstractContextManager[TaskWorkers]]


class MemorySink:
    """Labels of a plane or a stack as an array in this process."""

    def __init__(self, planes: int, shape: tuple[int, int]) -> None:
        self._stack = np.zeros((planes, *shape), np.uint32)

    @property
    def labels(self) -> NDArray[np.uint32]:
        """(H, W), or (planes, H, W) if there are several planes."""
        return self._stack if len(self._stack) > 1 else self._stack[0]

    def write_chunk(
        self, plane: int, window: Window, labels: NDArray[np.uint32]
    ) -> None:
        """Copy the labels of one chunk."""
        row0, column0, row1, column1 = window
        self._stack[plane, row0:row1, column0:column1] = labels


class LabelOutput:
    """Objects of all planes: selected, numbered, linked and painted.

    Parameters
    ----------
    search : Search
        Search of the run; only finished tiles count.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._plan = search.plan
        self._reader = MaskRecordReader(search.journal)
        parameters = search.plan.parameters
        self._linker = Linker(parameters.link_iou, parameters.link_gap)
        self._recent: deque[MaskTable] = deque(maxlen=parameters.link_gap + 1)
        self._table = TableBuilder(search.plan.view.factor)
        self._labels = 0

    def to_memory(self) -> LargeResult:
        """Return the labels as an array."""
        source = self._plan.view.source
        sink = MemorySink(source.planes, source.shape)
        work = self._renderer(sink)
        complete = self._render(SerialWorkers(work))
        return self._result(sink.labels, complete)

    def to_zarr(self, path: Path, open_pool: OpenPool) -> LargeResult:
        """Write the labels as OME-Zarr, replacing unfinished ones."""
        source = self._plan.view.source
        with storage_errors(path):
            remove_labels(path)
            sink = LabelWriter.create(
                path, source.planes, source.shape, CHUNK, like=source
            )
        with open_pool(self._renderer(sink)) as pool:
            complete = self._render(pool, path)
        if complete:
            with storage_errors(path):
                sink.finish(table=self._table.table())
        return self._result(path, complete)

    def _renderer(self, sink: LabelSink) -> Renderer:
        return Renderer(
            self._search.journal.folder, self._plan.view.factor, sink
        )

    def _render(self, pool: TaskWorkers, path: Path | None = None) -> bool:
        """Paint every chunk that has an object; False if cancelled.

        Chunks are written to a path, or to memory.
        """
        cancelled = self._search.hooks.cancelled
        if self._search.cancelled:
            # Objects found before an early end are labelled, too.
            cancelled = never
        outcomes = run_tasks(pool, self._tasks(), cancelled)
        for written, outcome in enumerate(outcomes, start=1):
            if outcome.error is not None:
                # not around the loop: it calls functions of the user
                with storage_errors(path) if path else nullcontext():
                    raise outcome.error
            assert outcome.result is not None
            self._table.see(outcome.result)
            self._search.tell(f'Writing labels: chunk {written}')
        return not cancelled()

    def _result(
        self, labels: NDArray[np.uint32] | Path, written: bool
    ) -> LargeResult:
        search = self._search
        return LargeResult(
            labels,
            self._table.table(),
            tuple(search.failed),
            tuple(search.cut),
            written and not search.cancelled and not search.failed,
            self._plan.tiles,
            search.skipped,
        )

    def _tasks(self) -> Iterator[ChunkTask]:
        view = self._plan.view
        for plane in range(view.source.planes):
            found = self._objects(plane)
            labels = self._number(found)
            self._table.add(plane, found, labels)
            yield from chunk_tasks(
                plane, found, labels, view.factor, view.source.shape, CHUNK
            )

    def _objects(self, plane: int) -> MaskTable:
        """Return the masks of a plane that get a label, best first."""
        search, parameters = self._search, self._plan.parameters.everything
        missing: list[str] = []
        found = gather(search.journal, search.keys[plane], missing)
        search.fail_missing(plane, missing)
        found = found.whole_ones()
        most = parameters.max_area_fraction * np.prod(self._plan.view.shape)
        found = found.take(found.areas <= most)
        found = without_duplicates(found, parameters.crop_nms)
        return visible(found, self._reader)

    def _number(self, found: MaskTable) -> NDArray[np.uint32]:
        """Number the labels in the order found; linked planes share them."""
        if self._plan.parameters.link:
            numbers = self._linker.add(
                len(found), partial(self._overlaps, found)
            )
            self._recent.appendleft(found)
        else:
            numbers = self._labels + 1 + np.arange(len(found))
            self._labels += len(found)
        return numbers.astype(np.uint32)

    def _overlaps(self, found: MaskTable, distance: int) -> Overlaps:
        return mask_overlaps(self._recent[distance], found, self._reader)


def never() -> bool:
    """Never cancel; default of ``cancelled``."""
    return False
