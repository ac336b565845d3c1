"""``segment`` for large images; see `napari_mobilesam.large`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mobilesam.cli.contrast_options import limits_of_source
from napari_mobilesam.cli.exit_codes import (
    ExitCode,
    OutputError,
    UsageError,
    writing,
)
from napari_mobilesam.cli.image_files import (
    LABEL_TIFF_SUFFIXES,
    check_labels_path,
    check_table,
    chosen_plane,
    output_file,
)
from napari_mobilesam.cli.large_options import is_zarr, refuse_in_tiles
from napari_mobilesam.cli.model_commands import prepare_model
from napari_mobilesam.cli.parameter_options import given_options
from napari_mobilesam.cli.progress import ProgressLine, with_time_left
from napari_mobilesam.cli.stop_on_interrupt import StopOnInterrupt
from napari_mobilesam.readers.axes import check_names, guessed_axes
from napari_mobilesam.readers.open_image import open_pyramid
from napari_mobilesam.text import counted
from napari_mobilesam.types import EverythingParameters

if TYPE_CHECKING:
    from napari_mobilesam.large.io.interfaces import Source
    from napari_mobilesam.large.large_plan import LargePlan
    from napari_mobilesam.large.model_references import ModelLoader
    from napari_mobilesam.large.results import LargeResult

# Maximum number of failed tiles to list.
MOST_LISTED = 20


def segment_large_command(options: argparse.Namespace) -> int:
    """Check the options, segment the tiles, and report the result."""
    from napari_mobilesam.large.io.tables import write_table

    check_options(options)
    source = open_image(options)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(ProgressLine(quiet=options.quiet))
        commit = stack.enter_context(reserved_output(options, source))
        commit_table = options.table and stack.enter_context(
            output_file(options.table, options.overwrite, [options.image])
        )
        stop = stack.enter_context(StopOnInterrupt(progress, 'tiles'))

        def write_rest(result: LargeResult) -> None:
            if commit_table:
                commit_table(lambda path: write_table(result.table, path))

        def write(result: LargeResult) -> None:
            # a stopped run is not taken for the result
            if is_final(result):
                commit(result, partial(write_rest, result))

        result = run_tiles(options, source, progress, stop, write)
    return report(options, result, stop.stopped.is_set())


def is_final(result: LargeResult) -> bool:
    """Return whether a run has finished, even with failures."""
    return result.complete or bool(result.failed)


def check_options(options: argparse.Namespace) -> None:
    """Refuse conflicting options and options not for large images."""
    refuse_in_tiles(options)
    check_table(options.table, options.output)
    if options.output.resolve() == options.image.resolve():
        raise UsageError(f'{options.output} is an input: give another output')
    if not is_zarr(options.output):
        check_labels_path(options.output, (*LABEL_TIFF_SUFFIXES, '.zarr'))
    if options.plane is not None and options.planes is not None:
        raise UsageError('give --plane or --planes, not both')
    if options.scheduler and (options.executor or options.workers):
        raise UsageError(
            '--scheduler brings its own workers: leave out --executor and '
            '--workers'
        )


def open_image(options: argparse.Namespace) -> Source:
    """Open the image according to ``--axes``, ``--channels`` …"""
    from napari_mobilesam.large.io.sources import open_source
    from napari_mobilesam.large.run_size import check_size

    chosen: dict[str, Any] = {
        'channels': options.channels,
        'select': dict(options.select or ()),
        'planes': options.planes,
    }
    if options.plane is not None:
        chosen |= _one_plane(options)
    source = open_source(
        options.image, axes=options.axes, series=options.series, **chosen
    )
    check_size(source)
    return source


def _one_plane(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `open_source` that choose ``--plane``."""
    pyramid = open_pyramid(options.image, series=options.series)
    shape, channels = pyramid.arrays[0].shape, options.channels
    named = options.axes or pyramid.axes
    names = (named or guessed_axes(shape, channels)).lower()
    check_names(names, shape)
    select = dict(options.select or ())
    taken = {*'yxs', *select, *('c' if channels is not None else '')}
    sizes = {
        name: int(size)
        for name, size in zip(names, shape, strict=True)
        if name not in taken
    }
    at = chosen_plane(options.image, options.plane, sizes)
    if 'c' in at:
        channels = at.pop('c')
    several = [name for name in at if sizes[name] > 1]
    last = at.pop(several[-1]) if several else 0
    return {
        'channels': channels,
        'select': select | at,
        'planes': (last, last + 1),
    }


def labels_path(options: argparse.Namespace) -> Path:
    """Return the zarr to which labels are written before the TIFF."""
    output: Path = options.output
    return (
        output if is_zarr(output) else output.with_name(f'{output.name}.zarr')
    )


@contextlib.contextmanager
def reserved_output(
    options: argparse.Namespace, source: Source
) -> Iterator[Callable[[LargeResult, Callable[[], None]], None]]:
    """Check the outputs, and yield a function that writes the TIFF.

    It calls a second function before the TIFF gets its name, so that no TIFF
    remains if that raises.

    Raises
    ------
    OutputError
        If labels or other data with that name exist and may not be replaced.
    UsageError
        If there is no run to resume.
    """
    from napari_mobilesam.large.io.ome_zarr import (
        check_replaceable,
        remove_labels,
    )
    from napari_mobilesam.large.run_folder import records_folder

    target = labels_path(options)
    unfinished = records_folder(target).exists()
    if options.resume and not unfinished:
        raise UsageError(
            f'there is no unfinished run for {options.output} to resume: '
            'leave out --resume'
        )
    if target.exists() and not unfinished:
        if not options.overwrite:
            raise OutputError(f'{target} exists; --overwrite replaces it')
        check_replaceable(target)
    if target == options.output:
        yield lambda result, write_rest: write_rest()
        return
    with output_file(
        options.output, options.overwrite, [options.image]
    ) as commit_file:

        def commit(
            result: LargeResult, write_rest: Callable[[], None]
        ) -> None:
            def write(path: Path) -> None:
                write_result_tiff(result, path, source)
                write_rest()

            commit_file(write)
            if result.complete:
                remove_labels(target)

        yield commit


def write_result_tiff(result: LargeResult, path: Path, source: Source) -> None:
    """Write the labels of a run as TIFF."""
    from napari_mobilesam.large.io.label_tiff import write_label_tiff
    from napari_mobilesam.large.io.ome_zarr import open_labels

    assert isinstance(result.labels, Path)
    largest = int(result.table['label'].max()) if len(result.table) else 0
    labels = open_labels(result.labels)[0]
    geometry = getattr(source, 'geometry', None)
    write_label_tiff(labels, path, largest, geometry)


def run_tiles(
    options: argparse.Namespace,
    source: Source,
    progress: ProgressLine,
    stop: StopOnInterrupt,
    write: Callable[[LargeResult], None],
) -> LargeResult:
    """Call `segment_large` with the options.

    ``write`` gets the result before the records are removed, so that the same
    command can continue from them if the outputs cannot be written.
    """
    from napari_mobilesam.large.journal import StorageError
    from napari_mobilesam.large.pipeline import segment_large

    model = model_reference(options, progress)

    def on_plan(plan: LargePlan) -> None:
        stop.keep_work()
        progress.say(
            f'{options.image.name}: {plan_text(options, plan, model)}'
        )

    given = given_options(options, EverythingParameters)
    if options.contrast_limits is not None:
        given['contrast_limits'] = limits_of_source(
            options.contrast_limits, source
        )
    if options.link is not None:
        given['link'] = options.link
    # read failures are reported as ImageError
    with writing(options.output):
        try:
            return segment_large(
                source,
                labels_path(options),
                model,
                executor=options.scheduler or options.executor or 'threads',
                workers=options.workers,
                progress=with_time_left(progress),
                on_plan=on_plan,
                on_result=write,
                cancelled=stop.stopped.is_set,
                resume=not options.restart,
                overwrite=options.overwrite,
                **given,
            )
        except StorageError as error:
            raise OutputError(str(error)) from error


def plan_text(
    options: argparse.Namespace, plan: LargePlan, model: ModelLoader
) -> str:
    """Return a description of the tiles and their expected duration."""
    from napari_mobilesam.large.executors import available_cores
    from napari_mobilesam.large.large_estimate import (
        describe_plan,
        describe_run,
    )

    if options.scheduler:
        return describe_plan(plan)
    workers = options.workers or available_cores()
    if options.executor == 'serial':
        workers = 1
    return describe_run(plan, model(), workers)


def model_reference(
    options: argparse.Namespace, progress: ProgressLine
) -> ModelLoader:
    """Return a loader of the model, downloaded first if needed.

    Workers elsewhere load it themselves, from other working directories.
    """
    from napari_mobilesam.large.model_references import model_loader
    from napari_mobilesam.model.registry import default_model_name

    prepare_model(options, progress)
    name = options.model or default_model_name()
    if Path(name).exists():
        name = str(Path(name).absolute())
    return model_loader(name, options.device)


def report(
    options: argparse.Namespace, result: LargeResult, stopped: bool
) -> int:
    """Print the result and the failures."""
    count = result.table['label'].nunique()
    found = counted(count, 'object')
    if result.cut:
        warnings.warn(
            f'{counted(len(result.cut), "object")} too large for the tiles '
            'have no label; give their size with --diameter',
            stacklevel=2,
        )
    for failed in result.failed[:MOST_LISTED]:
        row0, column0, row1, column1 = failed.window
        print(
            f'failed: plane {failed.plane}, rows {row0} to {row1}, columns '
            f'{column0} to {column1}: {failed.error}',
            file=sys.stderr,
        )
    if len(result.failed) > MOST_LISTED:
        more = len(result.failed) - MOST_LISTED
        print(f'failed: {counted(more, "more tile")}', file=sys.stderr)
    if stopped and not result.complete:
        print(
            f'stopped with {found}: finished tiles are kept, and the same '
            'command continues from them',
            file=sys.stderr,
        )
        return ExitCode.INTERRUPTED
    print(f'{options.output}: {found}')
    if result.failed:
        written = not is_zarr(options.output) or options.table
        again = '' if options.overwrite or not written else ' with --overwrite'
        print(
            f'{counted(len(result.failed), "tile")} failed, the rest is '
            f'written: the same command{again} retries them',
            file=sys.stderr,
        )
        return ExitCode.PARTIAL
    return ExitCode.OK
