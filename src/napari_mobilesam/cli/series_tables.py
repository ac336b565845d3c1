"""Summary, table and report of ``segment`` for many images."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_mobilesam.cli.exit_codes import ExitCode, OutputError, writing
from napari_mobilesam.cli.image_files import output_file
from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.large.io.tables import read_table, write_table
from napari_mobilesam.series.series_files import ForeignFileError, SeriesImage
from napari_mobilesam.text import as_utf8, counted
from napari_mobilesam.types import ImageError, SegmentationError

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = 'summary.csv'
# Row of an image that a run did not reach.
TO_DO = {'status': 'to do'}
# Status of an image whose labels were edited: they are kept.
EDITED = 'edited'
# Columns that are not known from the labels alone.
SCORES = ('score', 'stability')
# Notes on images of a status.
NOTES = {
    'skipped': 'done before',
    EDITED: 'kept, edited by hand: --overwrite replaces them',
}
COLUMNS = (
    'image', 'labels', 'status', 'objects', 'channel', 'seconds', 'error',
)  # fmt: skip
# Maximum number of failed images to list.
MOST_LISTED = 20


def begin_table(table: SeriesImage, overwrite: bool) -> None:
    """Make sure that the table of the series replaces no foreign file."""
    try:
        with writing(table.record):
            table.begin(overwrite)
    except ForeignFileError as error:
        raise OutputError(str(error)) from error


def write_tables(
    options: argparse.Namespace,
    images: list[SeriesImage],
    rows: dict[Path, dict[str, Any]],
    tables: list[SeriesImage],
) -> None:
    """Write the summary, and the table of all objects if requested."""
    import pandas as pd

    told = [
        {
            'image': as_utf8(image.image),
            'labels': as_utf8(image.labels),
            **rows.get(image.image, TO_DO),
        }
        for image in images
    ]
    for row in told:
        if row['status'] not in ('done', 'skipped', EDITED):
            row['labels'] = ''
    table = pd.DataFrame(told).reindex(columns=list(COLUMNS))
    for name in ('objects', 'channel'):
        table[name] = table[name].astype('Int64')
    _write_table(tables[0], table, options.overwrite)
    if options.table is None:
        return
    parts = []
    for image, row in zip(images, told, strict=True):
        part = None
        if row['status'] == EDITED:
            part = edited_objects(image)
        elif row['labels'] and image.table.exists():
            part = _objects_of(image, options.table)
        if part is not None:
            part.insert(0, 'image', as_utf8(image.image))
            parts.append(part)
    everything = pd.concat(parts) if parts else pd.DataFrame({'image': []})
    _write_table(tables[1], everything, options.overwrite)


def _objects_of(image: SeriesImage, table: Path) -> pd.DataFrame | None:
    try:
        return read_table(image.table)
    except ImageError as error:
        warnings.warn(
            f'{error} Its objects are not in {table}: --overwrite finds them '
            'again.',
            UserWarning,
            stacklevel=2,
        )
        return None


def edited_objects(image: SeriesImage) -> pd.DataFrame | None:
    """Describe the objects of labels that were edited since.

    Objects that are as they were keep their scores.

    Returns
    -------
    DataFrame or None
        None if the file is no label image.
    """
    from napari_mobilesam.segmentation.label_masks import masks_of_labels
    from napari_mobilesam.segmentation.painting import label_table

    if image.made_of['kind'] != 'labels':
        return None
    try:
        labels = np.asarray(read_labels(image.labels).labels[...])
        masks = masks_of_labels(labels, labels.shape[-2:])
    except (SegmentationError, OSError):
        return None
    numbers = np.array(list(masks), int)
    visible = np.searchsorted(numbers, labels, side='right')
    table = label_table(visible, list(masks.values())).assign(label=numbers)
    with suppress(ImageError):
        same = [name for name in table if name not in SCORES]
        before = read_table(image.table)
        if set(before) >= {*same, *SCORES}:
            table = table[same].merge(before[[*same, *SCORES]], 'left')
    return table


def _write_table(
    output: SeriesImage, table: pd.DataFrame, overwrite: bool
) -> None:
    """Write a table of the series, which may grow with every run."""
    # others may have written it since the run started
    begin_table(output, overwrite)

    def write(path: Path) -> None:
        write_table(table, path)
        output.expect(path)

    with output_file(output.labels, True) as commit:
        commit(write)
    output.finish(len(table), 0)


def report(
    options: argparse.Namespace,
    images: list[SeriesImage],
    rows: dict[Path, dict[str, Any]],
) -> int:
    """Print what was done, and return the exit code."""
    status = [row['status'] for row in rows.values()]
    objects = sum(int(row.get('objects') or 0) for row in rows.values())
    notes = [
        f'{count:,} {"was" if count == 1 else "were"} {what}'
        for name, what in NOTES.items()
        if (count := status.count(name))
    ]
    note = f' ({", ".join(notes)})' if notes else ''
    left = status.count(TO_DO['status'])
    good = len(images) - status.count('failed') - left
    print(
        f'{options.output}: {counted(objects, "object")} in '
        f'{counted(good, "image")}{note}'
    )
    channels = [row['channel'] for row in rows.values() if 'channel' in row]
    if channels and options.channel is None:
        print(
            f'Channel {channels[0]} of {counted(len(channels), "image")} with '
            'several channels was segmented: --channel chooses another one, '
            'with --overwrite or another --output'
        )
    _list_failed(images, rows)
    if left:
        print(
            f'stopped: {counted(left, "image")} to do; the same command '
            'continues, and keeps the finished ones',
            file=sys.stderr,
        )
        return ExitCode.INTERRUPTED
    return ExitCode.PARTIAL if 'failed' in status else ExitCode.OK


def _list_failed(
    images: list[SeriesImage], rows: dict[Path, dict[str, Any]]
) -> None:
    failed = [
        (image.image, rows[image.image]['error'])
        for image in images
        if rows[image.image]['status'] == 'failed'
    ]
    list_failed(failed, f': see {SUMMARY}')


def list_failed(failed: Sequence[tuple[Path, str]], where: str = '') -> None:
    """Print the images of a run that failed, and why.

    Parameters
    ----------
    failed : sequence of (Path, str)
        File and reason.
    where : str
        Where those are that are not printed.
    """
    if not failed:
        return
    print(f'{counted(len(failed), "image")} failed:', file=sys.stderr)
    for path, error in failed[:MOST_LISTED]:
        name = '' if str(path) in error else f'{path}: '
        print(f'  {name}{error}', file=sys.stderr)
    if len(failed) > MOST_LISTED:
        left = len(failed) - MOST_LISTED
        print(f'  and {left:,} more{where}', file=sys.stderr)
