"""``segment`` for many images: a folder of label images, resumable.

Next to the label images is a folder with one record per image, which states
the image, the parameters and what was written. An image whose record is still
valid is skipped, and a file without a record is never replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mobilesam.cli.contrast_options import chosen_limits
from napari_mobilesam.cli.exit_codes import (
    InputError,
    OutputError,
    UsageError,
)
from napari_mobilesam.cli.image_files import (
    PlaneChoiceError,
    check_folder,
    output_file,
    read_image,
)
from napari_mobilesam.cli.kinds import (
    TABLES,
    SegmentOutput,
    check_kind,
)
from napari_mobilesam.cli.large_options import ONLY_LARGE, wants_tiles
from napari_mobilesam.cli.model_commands import load_chosen_model
from napari_mobilesam.cli.parameter_options import (
    given_options,
    option_name,
    refuse_given,
    typed_options,
)
from napari_mobilesam.cli.progress import ProgressLine, with_time_left
from napari_mobilesam.cli.segment_job import SegmentJob
from napari_mobilesam.cli.series_tables import (
    EDITED,
    SUMMARY,
    TO_DO,
    begin_table,
    edited_objects,
    report,
    write_tables,
)
from napari_mobilesam.cli.stop_on_interrupt import StopOnInterrupt
from napari_mobilesam.large.io.tables import check_table_path, write_table
from napari_mobilesam.readers.tiff import holds_several
from napari_mobilesam.series.series_files import (
    RECORDS,
    ForeignFileError,
    SeriesError,
    SeriesImage,
    distinct_names,
    file_state,
    image_files,
    image_identity,
    is_image_folder,
    numbered,
    output_name,
    path_key,
    place_key,
    resolved,
    series_lock,
)
from napari_mobilesam.text import as_utf8, counted, explain, first_few
from napari_mobilesam.types import EverythingParameters

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

# Options of records that have another name.
OPTIONS = {'kind': '--output-kind'}

# Suffixes of single outputs, which are not folders for many images.
FILE_SUFFIXES = ('.tif', '.tiff', '.png', '.csv', '.zarr')


def is_series(images: Sequence[Path]) -> bool:
    """Return whether several images, or a folder of them, are given."""
    return len(images) > 1 or is_image_folder(images[0])


def add_series_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--names``."""
    group = parser.add_argument_group(
        'many images',
        'Several images, or folders of them, are written into the folder '
        '--output, with a table summary.csv. The same command continues '
        'where it stopped: images that are done and unchanged are skipped. '
        '--workers images are segmented at a time.',
    )
    group.add_argument(
        '--names',
        metavar='PATTERN',
        help='names of the label images: {name} is the image name without '
        'suffix, {suffix} its suffix without dot, {folder} its folder, '
        '{number} counts from 1, and stays when images are added (default: '
        '{name}_labels.tif)',
    )


def segment_many_command(options: argparse.Namespace) -> int:
    """Segment many images, write a summary, and list failures.

    Returns
    -------
    int
        `ExitCode.PARTIAL` if an image failed; the others are written.
    """
    refuse_for_series(options)
    folder = options.output
    found = image_files(options.images)
    images = list(series_of(options, found.images))
    _tell_labels(found.left_out)
    if not options.overwrite:
        _refuse_other_options(folder, images)
    _check_table(options.table, images, folder / SUMMARY)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f'{folder} is a file: give a folder for many images')
    if folder.suffix.lower() in FILE_SUFFIXES and not folder.is_dir():
        raise UsageError(
            f'{folder} is a file name: give a folder for many images'
        )
    try:
        with series_lock(folder):
            return _segment_into(folder, options, images)
    except SeriesError as error:
        raise OutputError(str(error)) from error


def _tell_labels(left_out: Sequence[Path]) -> None:
    """Warn about files of folders that are taken for labels."""
    if left_out:
        names = first_few([file.name for file in left_out])
        warnings.warn(
            f'{counted(len(left_out), "file")} named as labels of another '
            f'image left out: {names}; if they '
            'are images, give them as files',
            stacklevel=2,
        )


def _check_table(
    table: Path | None, images: Sequence[SeriesImage], summary: Path
) -> None:
    """Refuse a table that is not writable, or another file of the run."""
    if table is None:
        return
    check_table_path(table)
    key = path_key(table)
    if key in {path_key(image.image) for image in images}:
        raise UsageError(f'{table} is an input: give another table')
    written = (summary, *(image.labels for image in images))
    if key in map(path_key, written):
        raise UsageError(
            f'--table {table} is another output of this run: give another name'
        )


def _segment_into(
    folder: Path,
    options: argparse.Namespace,
    images: list[SeriesImage],
) -> int:
    """Segment images into a folder to which no other run writes."""
    records = folder / RECORDS
    summary = SeriesImage(
        folder, folder / SUMMARY, records / f'{SUMMARY}.json', {}
    )
    tables = [summary]
    if options.table is not None:
        where = zlib.crc32(os.fsencode(options.table.resolve()))
        record = records / f'{options.table.name}.{where:08x}.json'
        tables.append(SeriesImage(folder, options.table, record, {}))
        check_folder(options.table)
    for table in tables:
        begin_table(table, options.overwrite)
    rows: dict[Path, dict[str, Any]] = {}
    try:
        with (
            ProgressLine(quiet=options.quiet) as progress,
            StopOnInterrupt(progress, 'images') as stop,
        ):
            _segment_all(options, images, rows, progress, stop)
    except BaseException:
        # also for images finished before Ctrl-C
        write_tables(options, images, rows, tables)
        raise
    try:
        write_tables(options, images, rows, tables)
    except (OSError, OutputError):
        # the disk is full: report the written images anyway
        report(options, images, rows)
        raise
    return report(options, images, rows)


def refuse_for_series(options: argparse.Namespace) -> None:
    """Refuse options for single images, and values out of range.

    Raises
    ------
    UsageError, SegmentationError
        If an option is only for one image, or a value is out of range.
    """
    from napari_mobilesam.segmentation.parameters import checked_parameters

    names = ['point', 'negative', 'box', 'boxes', 'skip', 'like', 'similarity']
    names += ['text', 'detector', 'text_score']
    names += ONLY_LARGE
    given = typed_options(options, names)
    refuse_given(given, 'only for one image', 'give one image')
    checked_parameters(None, given_options(options, EverythingParameters))


def series_of(
    options: argparse.Namespace, images: Sequence[Path]
) -> Iterator[SeriesImage]:
    """Return the images of a series with their output files.

    Raises
    ------
    UsageError
        If there are none, if two would be written to the same file or one to
        an input image, or if a name has the wrong suffix.
    SeriesError
        If there are labels of other images, which must not be replaced.
    """
    suffix = '.csv' if options.output_kind in TABLES else '.tif'
    pattern = options.names or f'{{name}}_labels{suffix}'
    records = options.output / RECORDS
    parameters = _parameters(options)
    summary = options.output / SUMMARY
    taken = {path_key(summary): summary}
    places, there = resolved(images), options.output.resolve()
    inputs = {place_key(place) for place in places.values()}
    for number, image in numbered(options.output, pattern, images):
        name = output_name(pattern, image, number)
        labels = options.output / name
        key = place_key(there / name)
        if key in taken:
            other = distinct_names(image, taken[key], suffix)
            raise UsageError(
                f'the labels of {image} and {taken[key]} would both be '
                f'written to {labels}: give --names, for example {other}'
            )
        if key in inputs:
            raise UsageError(f'{labels} is an input: give another output')
        # such as a suffix that labels cannot have
        check_kind(
            argparse.Namespace(**vars(options) | {'output': labels}), False
        )
        taken[key] = image
        made_of = image_identity(places[image], there) | parameters
        record = records / f'{name}.json'
        each = SeriesImage(image, labels, record, made_of)
        if not options.overwrite:
            each.check_image(each.known())
        yield each


def _refuse_other_options(folder: Path, images: list[SeriesImage]) -> None:
    """Refuse to replace what a run with other options has written."""
    found = [changes for image in images if (changes := image.other_options())]
    if found:
        said = '; '.join(_change(*change) for change in found[0])
        raise OutputError(
            f'{folder} has the labels of {counted(len(found), "image")} from '
            f'a run with other options: {said}. Give the same options to '
            'continue it, or another --output; --overwrite replaces them'
        )


def _change(name: str, then: Any, now: Any) -> str:
    """Describe an option that has changed."""
    option = OPTIONS.get(name, option_name(name.rpartition('.')[2]))
    if name == 'model':
        # name and state of the file
        then, now = then[0], now[0]
        if then == now:
            return f'the file {now} of the model was changed'
    if isinstance(then, list) or isinstance(now, list):
        return f'{option} has changed'
    was, is_now = ('not given' if it is None else it for it in (then, now))
    return f'{option} was {was} and is {is_now} now'


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that affect labels, as read from JSON."""
    from napari_mobilesam.model.registry import default_model_name

    model = options.model or default_model_name()
    known = {
        'model': [str(model), file_state(Path(model))],
        'kind': options.output_kind,
        'plane': options.plane,
        'series': options.series,
        'region': options.region,
        'contrast_limits': options.contrast_limits,
        'parameters': given_options(options, EverythingParameters),
    }
    if options.channel:
        known['channel'] = options.channel
    return json.loads(json.dumps(known, default=str))


def _segment_all(
    options: argparse.Namespace,
    images: list[SeriesImage],
    rows: dict[Path, dict[str, Any]],
    progress: ProgressLine,
    stop: StopOnInterrupt,
) -> None:
    """Segment unfinished images; return one row per image."""
    waiting = []
    for image in images:
        row = None if options.overwrite else _row_of(image)
        if row is None:
            waiting.append(image)
        else:
            rows[image.image] = row
    if not waiting:
        return
    from napari_mobilesam.model.threads import threads_kept

    model = load_chosen_model(options, progress)
    workers = min(options.workers or 1, len(waiting))
    pool = ThreadPoolExecutor(workers, 'segment')
    dropped = threading.Event()

    def segment(image: SeriesImage) -> dict[str, Any]:
        if stop.stopped.is_set():
            return TO_DO
        return _segment(image, options, model, dropped.is_set)

    # one torch thread per worker, if there are several
    with threads_kept(1 if workers > 1 else None):
        try:
            stop.keep_work()
            tasks: dict[Future[dict[str, Any]], SeriesImage] = {
                pool.submit(segment, image): image for image in waiting
            }
            tell, total = with_time_left(progress), len(waiting)
            tell(0, total, f'Segmented 0 of {total} images')
            for done, task in enumerate(as_completed(tasks), start=1):
                rows[tasks[task].image] = task.result()
                if not stop.stopped.is_set():
                    tell(done, total, f'Segmented {done} of {total} images')
        except BaseException:
            # a second Ctrl-C ends it without what is at work
            dropped.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            for task, image in tasks.items():
                if not task.cancelled() and task.exception() is None:
                    rows[image.image] = task.result()


def _row_of(image: SeriesImage) -> dict[str, Any] | None:
    """Return the row of an image that needs no run; None of others."""
    known = image.done()
    if known is not None:
        return {'status': 'skipped', **known}
    if not image.is_edited():
        return None
    table = edited_objects(image)
    return {'status': EDITED, 'objects': None if table is None else len(table)}


def _segment(
    image: SeriesImage,
    options: argparse.Namespace,
    model: Sam,
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """Segment one image; report a failure without stopping the others."""
    own = argparse.Namespace(
        **vars(options)
        | {'image': image.image, 'output': image.labels, 'workers': None}
    )
    start = time.perf_counter()
    try:
        if wants_tiles(own):
            raise InputError(
                f'{image.image} has to be segmented tile by tile: give it '
                'alone'
            )
        there = image.begin(options.overwrite)
        result = segment_in_series(own, model, cancelled)
        if cancelled():
            return TO_DO
        with output_file(image.labels, there, [image.image]) as commit:
            commit(partial(_write_expected, image, result))
        objects = 0
        if result.table is not None:
            objects = len(result.table)
            write_table(result.table, image.table)
        known = image.finish(
            objects,
            time.perf_counter() - start,
            result.channel,
            result.unused,
        )
    # a problem with one image must not stop the others
    except Exception as error:  # noqa: BLE001
        own_errors = InputError | OutputError | UsageError | ForeignFileError
        told = str(error) if isinstance(error, own_errors) else explain(error)
        return {'status': 'failed', 'error': as_utf8(' '.join(told.split()))}
    return {'status': 'done', **known}


def segment_in_series(
    options: argparse.Namespace, model: Sam, cancelled: Callable[[], bool]
) -> SegmentOutput:
    """Segment everything in one of many images.

    Options for files with several images, planes or channels do not matter
    for others.
    """
    several = holds_several(options.image)
    try:
        image = read_image(
            options.image,
            options.plane,
            series=options.series if several else None,
            channel=options.channel or 0,
            if_several=True,
        )
    except PlaneChoiceError as error:
        raise InputError(
            f'{error}; to segment all, give it alone, with an output that '
            'ends in .ome.zarr'
        ) from error
    limits = chosen_limits(options.contrast_limits, image)
    progress = ProgressLine(quiet=True)
    job = SegmentJob(
        options, image, limits, model, progress, cancelled=cancelled
    )
    used = {
        'series': several,
        'plane': bool(image.chosen),
        'channel': image.channel is not None,
    }
    unused = tuple(name for name in used if not used[name])
    return job.everything()._replace(channel=image.channel, unused=unused)


def _write_expected(
    image: SeriesImage, result: SegmentOutput, path: Path
) -> None:
    result.write(path)
    image.expect(path)
