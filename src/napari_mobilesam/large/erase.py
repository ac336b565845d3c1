"""Deletion of objects from finished labels on disk, with undo.

Each deletion is a folder in the OME-Zarr that keeps what was removed: the
pixels, and the table before. It is named as unfinished while labels are
written, so that a deletion, or its undo, that was interrupted is found.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.extra import need
from napari_mobilesam.files import new_folder, temporary_path
from napari_mobilesam.large.io.object_columns import (
    GROUP,
    first_rows,
    read_objects,
    write_objects,
)
from napari_mobilesam.large.io.ome_zarr import (
    OURS,
    block_index,
    coarser_block,
    create_level,
    is_finished,
    open_labels,
)
from napari_mobilesam.large.journal import MANIFEST
from napari_mobilesam.large.run_folder import records_folder
from napari_mobilesam.run_lock import run_lock
from napari_mobilesam.types import (
    ImageError,
    Progress,
    SegmentationError,
    window_at,
)

if TYPE_CHECKING:
    import pandas as pd

STEPS, UNFINISHED = 'deleted', '.unfinished'
# In the folder of a deletion: the removed pixels, the labels, and the new
# table, until it changes places with the one before.
PIXELS, LABELS, NEW = '0', 'labels', 'new'
# Older deletions become permanent, as each keeps a table.
MOST_STEPS = 50

# Plane, and row and column among the chunks of a level.
Block = tuple[int, int, int]


def erase_objects(
    path: str | Path, labels: Collection[int], progress: Progress
) -> pd.DataFrame:
    """Delete objects on all planes and levels, as one step that can be undone.

    Parameters
    ----------
    path : path
        Folder of finished labels.
    labels : collection of int
        Labels of the objects.
    progress : callable
        Called with blocks done, blocks in total, and a message. If it raises,
        nothing is deleted.

    Returns
    -------
    DataFrame
        Rows of the deleted objects; see `read_objects`.

    Raises
    ------
    ImageError
        There are no finished labels of this program.
    SegmentationError
        There are no such objects, or their run is unfinished.
    OutputInUseError
        A run writes the labels.
    OSError
        If nothing can be written.
    """
    path = Path(path).absolute()
    with _locked(path):
        _finish_step(path)
        table = _table(path)
        gone = table['label'].isin(list(labels))
        rows = table[gone]
        if not len(rows):
            raise SegmentationError(
                f'{path} has none of the objects to delete: show the labels '
                'again.'
            )
        step = _begin(path, np.unique(rows['label']))
        try:
            _clear(path, step, rows, progress)
            _swap_tables(path, step, table[~gone].reset_index(drop=True))
        except BaseException:
            # what a full disk prevents is done at the next opening
            _restore(path, step)
            raise
        os.replace(step, step.with_suffix(''))
        for old in _steps(path)[:-MOST_STEPS]:
            _remove(old)
    return first_rows(rows)


def undo_erase(path: str | Path, progress: Progress) -> pd.DataFrame | None:
    """Undo the last deletion, also one of an earlier process.

    If it is interrupted, `finish_interrupted` and the next call continue it.

    Returns
    -------
    DataFrame or None
        Rows of the restored objects; None if there was no deletion.
    """
    path = Path(path).absolute()
    with _locked(path):
        rows = _finish_step(path)
        steps = _steps(path)
        if rows is not None or not steps:
            return rows
        step = steps[-1].with_suffix(UNFINISHED)
        os.replace(steps[-1], step)
        return _restore(path, step, progress)


def finish_interrupted(path: str | Path) -> None:
    """Restore objects whose deletion, or its undo, was interrupted."""
    path = Path(path).absolute()
    if _steps(path, UNFINISHED):
        with _locked(path):
            _finish_step(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep runs from writing labels meanwhile."""
    if not is_finished(path):
        raise ImageError(f'{path} has no finished labels of this program.')
    records = records_folder(path)
    with run_lock(records):
        if (records / MANIFEST).exists():
            raise SegmentationError(
                f'The run of {path} is unfinished, and would write its '
                'objects again: continue it to its end, then delete.'
            )
        yield


def _steps(path: Path, suffix: str = '') -> list[Path]:
    """Return the folders of deletions, oldest first."""
    known = [
        step for step in (path / STEPS).glob('[0-9]*') if step.suffix == suffix
    ]
    return sorted(known, key=lambda step: int(step.stem))


def _table(path: Path) -> pd.DataFrame:
    """Return the table that says where objects are."""
    table = read_objects(path)
    if table is None:
        raise ImageError(
            f'{path} has no table of its objects, or it is damaged: segment '
            'again, into another folder.'
        )
    return table


def _begin(path: Path, labels: NDArray[Any]) -> Path:
    """Create the folder of a deletion."""
    zarr = need('zarr')
    output = zarr.open_group(str(path), mode='r+')
    kind, finest = output.metadata.zarr_format, output['0']
    folder = path / STEPS
    if not folder.exists():
        with new_folder(folder) as part:
            zarr.create_group(str(part), zarr_format=kind)
    for left in folder.glob('.*.part'):
        shutil.rmtree(left)
    number = max((int(step.stem) for step in _steps(path)), default=0) + 1
    step = folder / f'{number}{UNFINISHED}'
    with new_folder(step) as part:
        group = zarr.create_group(str(part), zarr_format=kind)
        group.create_array(LABELS, data=labels)
        create_level(
            group,
            int(PIXELS),
            finest.shape,
            finest.chunks,
            finest.dtype,
            output.attrs[OURS]['axes'],
        )
    return step


def _clear(
    path: Path, step: Path, rows: pd.DataFrame, progress: Progress
) -> None:
    """Move the pixels of objects from the labels to a step."""
    levels, removed = open_labels(path, 'r+'), _open(step)[PIXELS]
    gone = np.zeros(int(rows['label'].max()) + 2, bool)
    gone[rows['label']] = True
    blocks = _blocks(rows, levels[0].chunks)
    for done, block in enumerate(blocks):
        progress(done, len(blocks), 'Deleting')
        index = _index(levels[0], block)
        pixels = levels[0][index]
        # beyond the last one, labels are kept
        chosen = gone[np.minimum(pixels, len(gone) - 1)]
        # first, so that each pixel is always in one of them
        removed[index] = np.where(chosen, pixels, 0)
        levels[0][index] = np.where(chosen, 0, pixels)
    _write_coarser(levels, blocks)


def _swap_tables(path: Path, step: Path, table: pd.DataFrame) -> None:
    """Replace the table of the objects, and keep the one before in a step."""
    write_objects(_open(step).create_group(NEW), table)
    os.replace(path / GROUP, step / GROUP)
    os.replace(step / NEW / GROUP, path / GROUP)


def _finish_step(path: Path) -> pd.DataFrame | None:
    """Restore the objects of an unfinished step; return their rows."""
    rows = None
    for step in _steps(path, UNFINISHED):
        rows = _restore(path, step)
    return rows


def _restore(
    path: Path, step: Path, progress: Progress = lambda *told: None
) -> pd.DataFrame:
    """Restore the objects of an unfinished step; it may be repeated."""
    before = step / GROUP
    table = _table(step if before.exists() else path)
    group, levels = _open(step), open_labels(path, 'r+')
    rows = table[table['label'].isin(group[LABELS][:])]
    blocks = _blocks(rows, levels[0].chunks)
    for done, block in enumerate(blocks):
        progress(done, len(blocks), 'Restoring')
        index = _index(levels[0], block)
        removed = group[PIXELS][index]
        pixels = levels[0][index]
        levels[0][index] = np.where(removed, removed, pixels)
    _write_coarser(levels, blocks)
    if before.exists():
        if (path / GROUP).exists():
            os.replace(path / GROUP, step / NEW / GROUP)
        os.replace(before, path / GROUP)
    _remove(step)
    return first_rows(rows)


def _remove(folder: Path) -> None:
    """Remove a folder, of which no part is left under its name."""
    left = temporary_path(folder)
    os.replace(folder, left)
    shutil.rmtree(left)


def _open(path: Path) -> Any:
    return need('zarr').open_group(str(path), mode='r+')


def _blocks(rows: pd.DataFrame, chunks: tuple[int, ...]) -> list[Block]:
    """Return the blocks that the boxes of objects touch."""
    height, width = chunks[-2:]
    names = ['plane', 'row0', 'column0', 'row1', 'column1']
    return sorted(
        {
            (plane, row, column)
            for plane, row0, column0, row1, column1 in zip(
                *(rows[name].tolist() for name in names), strict=True
            )
            for row in range(row0 // height, -(-row1 // height))
            for column in range(column0 // width, -(-column1 // width))
        }
    )


def _index(array: Any, block: Block) -> tuple[Any, ...]:
    return block_index(array, block[0], _window(array, block))


def _window(array: Any, block: Block) -> tuple[int, int, int, int]:
    _, row, column = block
    height, width = array.chunks[-2:]
    return window_at(
        row * height, column * width, (height, width), array.shape[-2:]
    )


def _write_coarser(levels: list[Any], blocks: list[Block]) -> None:
    """Write the blocks of coarser levels in which others were changed."""
    for finer, coarser in itertools.pairwise(levels):
        blocks = sorted({(p, r // 2, c // 2) for p, r, c in blocks})
        for block in blocks:
            window = _window(coarser, block)
            pixels = coarser_block(finer, block[0], window)
            coarser[block_index(coarser, block[0], window)] = pixels
