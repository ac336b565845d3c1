"""Segment everything in an image of any size.

Records first, pixels last: tiles are processed in any order, and what they
find is stored as records. Objects and their pixels are then determined from
the records alone. An interrupted run continues from its records; the result
depends neither on interruptions nor on the executor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mobilesam.argument_checks import (
    check_callable,
    check_flag,
    check_model,
    check_number,
    check_path,
)
from napari_mobilesam.extra import need
from napari_mobilesam.large.executors import (
    check_executor,
    is_remote,
    open_workers,
)
from napari_mobilesam.large.io.ngff import image_around
from napari_mobilesam.large.io.ome_zarr import (
    check_replaceable,
    remove_labels,
)
from napari_mobilesam.large.io.sources import open_source
from napari_mobilesam.large.journal import Journal
from napari_mobilesam.large.label_output import LabelOutput, never
from napari_mobilesam.large.large_plan import (
    LargeParameters,
    LargePlan,
    checked_large,
    make_plan,
)
from napari_mobilesam.large.model_references import (
    LoadedModel,
    ModelLoader,
    model_loader,
)
from napari_mobilesam.large.propose import Proposer
from napari_mobilesam.large.results import (
    LargeResult,
    TileFound,
)
from napari_mobilesam.large.run_folder import check_place, records_folder
from napari_mobilesam.large.run_size import check_size
from napari_mobilesam.large.search import Search, TileHooks
from napari_mobilesam.model.threads import threads_kept
from napari_mobilesam.run_lock import run_lock
from napari_mobilesam.types import Progress, SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


def segment_large(
    source: Any,
    output: str | Path | None = None,
    model: Sam | ModelLoader | str | Path | None = None,
    *,
    parameters: LargeParameters | None = None,
    executor: Any = 'threads',
    workers: int | None = None,
    device: str = 'auto',
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_plan: Callable[[LargePlan], None] | None = None,
    on_tile: Callable[[TileFound], None] | None = None,
    on_result: Callable[[LargeResult], None] | None = None,
    resume: bool = True,
    overwrite: bool = False,
    plan: LargePlan | None = None,
    **overrides: Any,
) -> LargeResult:
    """Label all objects of an image of any size.

    Parameters
    ----------
    source : array, path, or Source
        Anything `napari_mobilesam.large.io.sources.open_source` opens: (H, W),
        (H, W, 3 or 4), or planes of either; NumPy, memory map, dask, zarr,
        TIFF, OME-Zarr.
    output : path, optional
        OME-Zarr to write labels to; if None, labels are returned as an array.
        Records are kept next to it, in ``<output>.records``, until the run is
        complete, so that the same call continues an interrupted run.
    model : str, path, Sam, or callable
        Name or path of a model, a model (for threads only), or a picklable
        callable that returns one; None for the default.
    parameters : LargeParameters, optional
        All parameters of the run; by default the standard ones.
    executor : str or distributed.Client
        ``'threads'``, ``'processes'``, ``'serial'``, the address of a Dask
        scheduler, or its client. It does not change the result.
    workers : int, optional
        Number of threads or processes; by default the number of cores.
    device : str
        Device of a named model: ``'auto'``, ``'cpu'``, ``'cuda'``,
        ``'mps'``.
    progress : callable, optional
        ``progress(done, total, message)``, in tiles, then in chunks written.
    cancelled : callable, optional
        Called between tiles; if True, the run ends: masks found so far are
        labelled, and the records are kept.
    on_plan : callable, optional
        Called with the `LargePlan` before the first tile.
    on_tile : callable, optional
        Called with a `TileFound` after each tile.
    on_result : callable, optional
        Called with the `LargeResult` before the records are removed. If it
        raises, the records are kept, and the same call paints from them again.
    resume : bool
        Continue from the records of an earlier run; False removes them.
    overwrite : bool
        Remove existing labels of this program at ``output``, once everything
        is checked and the first tile is about to start.
    plan : LargePlan, optional
        Plan for the same source, model and parameters; computed if None.
    **overrides
        Single fields of `LargeParameters` or `EverythingParameters`, for
        example ``diameter=30``.

    Returns
    -------
    LargeResult
        Labels, numbered consecutively from 1; table; failed tiles.

    Raises
    ------
    ImageError, SegmentationError, TypeError
        If image, parameters or output are invalid.
    OutputInUseError
        If another run writes to the same output.
    JournalError
        If the records next to the output belong to another run; says what
        differs.
    OSError
        If nothing can be written to the output.
    StorageError
        If records or labels cannot be written; finished tiles are kept.
    """
    chosen = checked_large(parameters, overrides)
    hooks = _checked_hooks(progress, cancelled, on_tile)
    target = _checked_output(output)
    check_callable('on_plan', on_plan)
    check_callable('on_result', on_result)
    check_flag('resume', resume)
    check_flag('overwrite', overwrite)
    check_executor(executor)
    if workers is not None:
        check_number('workers', workers, 1, whole=True)
    image = open_source(source)
    check_size(image)  # before a model is loaded
    load = model_loader(model, device)
    _check_loader(load, executor)
    loaded = load()
    check_model(loaded)
    plan = plan or make_plan(image, loaded, chosen)
    manifest = plan.manifest(loaded.record, loaded.key)
    with _records(target) as folder, run_lock(folder):
        journal = Journal(folder)
        _open_journal(journal, manifest, target, resume, overwrite)
        if on_plan is not None:
            on_plan(plan)
        open_pool = partial(open_workers, executor, count=workers)
        search = Search(plan, journal, hooks)
        proposer = _proposer(plan, folder, load, loaded.key)
        with threads_kept(), open_pool(proposer) as pool:
            search.run(pool)
        output_of = LabelOutput(search)
        if target is None:
            result = output_of.to_memory()
        else:
            result = output_of.to_zarr(target, open_pool)
        if on_result is not None:
            on_result(result)
        if result.complete:
            journal.remove()
    return result


def _open_journal(
    journal: Journal,
    manifest: dict[str, Any],
    target: Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Start or resume a run; then remove old labels."""
    old = _finished_output(target, journal, overwrite)
    if not resume:
        journal.remove()
    journal.open(manifest)
    if old is not None:
        remove_labels(old)


def _proposer(
    plan: LargePlan, folder: Path, load: ModelLoader, key: str
) -> Proposer:
    return Proposer(
        plan.view,
        plan.grid,
        plan.working_diameter,
        folder,
        load,
        key,
        plan.parameters.everything,
    )


def _check_loader(load: ModelLoader, executor: Any) -> None:
    """Raise `SegmentationError` if workers cannot load the model."""
    if is_remote(executor) and isinstance(load, LoadedModel):
        raise SegmentationError(
            'Workers outside this process load the model themselves: give '
            'its name or its path, not the model.'
        )


def _checked_hooks(
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
    on_tile: Callable[[TileFound], None] | None,
) -> TileHooks:
    """Raise `SegmentationError` if a callback is not callable."""
    check_callable('progress', progress)
    check_callable('cancelled', cancelled)
    check_callable('on_tile', on_tile)
    return TileHooks(
        progress or (lambda done, total, message: None),
        cancelled or never,
        on_tile,
    )


def _checked_output(output: Any) -> Path | None:
    """Raise `SegmentationError` if an output is not a path to a zarr.

    Raise `OSError` if it is not writable.
    """
    if output is None:
        return None
    check_path('output', output)
    path = Path(output).absolute()
    # labels of an image may have any name, such as “cells v1.2”
    if not image_around(path) and path.suffix.lower() not in ('', '.zarr'):
        raise SegmentationError(
            f'The output {output} ends in {path.suffix}, but labels are '
            'written as zarr: give a name that ends in .zarr.'
        )
    check_place(path)
    return path


@contextmanager
def _records(target: Path | None) -> Iterator[Path]:
    """Return the folder of the records, a temporary one without output."""
    if target is not None:
        yield records_folder(target)
        return
    with tempfile.TemporaryDirectory(prefix='napari-mobilesam-') as folder:
        yield Path(folder) / 'records'


def _finished_output(
    target: Path | None, journal: Journal, overwrite: bool
) -> Path | None:
    """Return finished labels at the output that are to be replaced.

    Anything that may not or cannot be replaced is refused.
    """
    if target is None:
        return None
    need('zarr')  # now, not after the last tile
    if not target.exists():
        return None
    unfinished = journal.manifest() is not None
    if not overwrite and not unfinished:
        raise SegmentationError(
            f'{target} exists: give overwrite=True to replace it, or another '
            'output.'
        )
    check_replaceable(target)
    return None if unfinished else target
