"""Folders and checkpoints of training runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_mobilesam.cli.exit_codes import OutputError, UsageError
from napari_mobilesam.cli.image_files import refuse_existing
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.files import made_folders
from napari_mobilesam.run_lock import LOCK, run_lock
from napari_mobilesam.types import Progress, SegmentationError

# File in a run's folder that records its output and settings.
OUTPUT = 'output.txt'
# Suffix of written checkpoints.
CHECKPOINT = '.safetensors'


def run_folder(options: argparse.Namespace) -> Path:
    """Return the folder of a run, by default named after its output."""
    return options.run_folder or options.output.with_suffix('.run')


def check_checkpoint(options: argparse.Namespace) -> None:
    """Refuse an unwritable checkpoint before the long part.

    An existing checkpoint is replaced if this call resumes its run.

    Raises
    ------
    OutputError
        If it exists, or its folder or the run's folder cannot be created.
    """
    folder, output = run_folder(options), options.output
    if output.suffix != CHECKPOINT:
        raise UsageError(f'the checkpoint {output} must end in {CHECKPOINT}')
    refuse_existing(output, options.overwrite or _goes_on(options))
    for path in (folder, output.parent):
        try:
            with made_folders(path):
                tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f'cannot write to {path}: {reason}') from error


def _goes_on(options: argparse.Namespace) -> bool:
    """Return whether the folder belongs to a run like this one."""
    return _note(run_folder(options)) == _written(options)


def _note(folder: Path) -> str:
    """Return the record of a run; empty if there is none."""
    try:
        return (folder / OUTPUT).read_text('utf-8')
    except (OSError, ValueError):
        return ''


def _written(options: argparse.Namespace) -> str:
    """Return a run's output and settings; no other run continues it."""
    given = vars(options)
    way = [given['run'].__name__, given.get('mode'), given.get('head_only')]
    return ' '.join(map(str, [options.output.name, *way]))


@contextmanager
def training_run(options: argparse.Namespace) -> Iterator[Progress]:
    """Yield the progress of a run, to which no other run writes.

    After Ctrl-C, explain how to continue.
    """
    folder, parent = run_folder(options), options.output.parent
    with (
        made_folders(folder, parent),
        run_lock(folder),
        ProgressLine(quiet=options.quiet) as progress,
    ):
        before, note = _note(folder), folder / OUTPUT
        try:
            note.write_text(_written(options), 'utf-8')
            yield progress
        except BaseException as error:
            if isinstance(error, SegmentationError):
                # the folder may still belong to another run
                note.write_text(before, 'utf-8')
            if isinstance(error, KeyboardInterrupt):
                _tell_kept(folder)
            if {path.name for path in folder.iterdir()} <= {OUTPUT, LOCK}:
                # nothing was trained
                note.unlink(missing_ok=True)
            raise


def _tell_kept(folder: Path) -> None:
    """Say how to continue a run that was interrupted."""
    if any(folder.rglob('run.pt')):
        print(
            f'\nwhat was trained is kept in {folder}: the same command '
            'continues',
            file=sys.stderr,
        )
