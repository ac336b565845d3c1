"""``napari-mobilesam models``: list and download models."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mobilesam.cli.command_parser import add_quiet
from napari_mobilesam.cli.exit_codes import (
    EXIT_CODES_HELP,
    DownloadError,
    ExitCode,
    UsageError,
)
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.types import CheckpointError

if TYPE_CHECKING:
    import torch

    from napari_mobilesam.model.sam import Sam

EXAMPLES = f"""\
examples:
  napari-mobilesam models
  napari-mobilesam models --json
  napari-mobilesam models download mobile_sam

Files are stored in the user's cache folder, verified against a known hash,
and not downloaded twice.

exit codes:
{EXIT_CODES_HELP}
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``models`` and ``models download``."""
    parser = commands.add_parser(
        'models',
        help='list or download models',
        description='List the models, or download one.',
        epilog=EXAMPLES,
    )
    parser.add_argument(
        '--json',
        action='store_true',
        help='print full records as a JSON array',
    )
    parser.set_defaults(run=list_command)
    actions = parser.add_subparsers(title='actions', metavar='ACTION')
    download = actions.add_parser(
        'download', help='download a model into the cache folder'
    )
    download.add_argument('name', metavar='NAME', help='name of a model')
    add_quiet(download)
    download.set_defaults(run=download_command)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--device``."""
    parser.add_argument(
        '--model',
        metavar='NAME|FILE',
        help='a name listed by `models`, or a checkpoint file (default: '
        'the official one if it is downloaded, else the bundled one)',
    )
    parser.add_argument(
        '--device',
        default='auto',
        metavar='DEVICE',
        help='auto, cpu, cuda or mps (default: %(default)s)',
    )


def load_chosen_model(
    options: argparse.Namespace, progress: ProgressLine
) -> Sam:
    """Load the model of ``--model`` on ``--device``, downloading it first.

    Raises
    ------
    UsageError
        For an unavailable device.
    DownloadError, CheckpointError
        See `download` and `napari_mobilesam.load_model`.
    """
    from napari_mobilesam.model.checkpoints import load_model

    device = prepare_model(options, progress)
    return load_model(options.model, device)


def prepare_model(
    options: argparse.Namespace, progress: ProgressLine
) -> torch.device:
    """Check ``--device``, and download ``--model`` if necessary.

    Raises
    ------
    UsageError, DownloadError, CheckpointError
        See `load_chosen_model`.
    """
    from napari_mobilesam.model.checkpoints import choose_device
    from napari_mobilesam.model.registry import registry

    try:
        device = choose_device(options.device)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.model in registry():
        download(options.model, progress)
    return device


def download(name: str, progress: ProgressLine) -> Path:
    """Download a model unless it is already cached.

    Raises
    ------
    CheckpointError
        If the name is unknown.
    DownloadError
        If the download fails.
    """
    from napari_mobilesam.model.registry import cached_path, download_model

    cached_path(name)  # an unknown name is an error of usage, not download
    try:
        return download_model(name, progress)
    except CheckpointError as error:
        raise DownloadError(str(error)) from error


def list_command(options: argparse.Namespace) -> int:
    """Print one line per model, or JSON."""
    from napari_mobilesam.model.registry import (
        cached_path,
        default_model_name,
        list_models,
    )

    records = list_models()
    if options.json:
        import json

        entries = []
        for record in records:
            path = cached_path(record.name)
            found = {'path': str(path) if path else None}
            entries.append(asdict(record) | found)
        print(json.dumps(entries, indent=2))
        return ExitCode.OK
    default = default_model_name()
    width = max(len(record.name) for record in records)
    for record in records:
        here = 'ready' if cached_path(record.name) else 'to download'
        chosen = '*' if record.name == default else ' '
        head = ' [instance head]' if record.instance_head else ''
        print(
            f'{chosen} {record.name:<{width}}  {size_text(record.size_bytes)}'
            f'  {here:<11}  {record.licence}: {record.purpose}{head}'
        )
    print('\n* is the default model.')
    return ExitCode.OK


def download_command(options: argparse.Namespace) -> int:
    """Download one model and print its location."""
    with ProgressLine(quiet=options.quiet) as progress:
        path = download(options.name, progress)
    print(path)
    return ExitCode.OK


def size_text(size_bytes: int) -> str:
    """Format ``40728226`` as ``'  40.7 MB'``; blank if the size is unknown."""
    return f'{size_bytes / 1e6:7.1f} MB' if size_bytes else ' ' * 10
