"""Options shared by the training commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.command_parser import add_quiet
from napari_mobilesam.cli.parameter_options import add_options, given_options
from napari_mobilesam.cli.value_types import positive_number, whole_number
from napari_mobilesam.training.training_parameters import TrainConfig

DATA_HELP = (
    'folder of images and labels: <id>.*, <id>_image.* or <id>_img.* beside '
    '<id>_labels.* (or <id>_masks.*, <id>_seg.npy …), which may be in '
    'labels/, or images/ and labels/, or a folder of such folders (TIFF, '
    'PNG, zarr)'
)


def training_parser(
    commands: argparse._SubParsersAction[Any],
    name: str,
    text: str,
    example: str,
    run: Callable[[argparse.Namespace], int],
    details: str = '',
) -> argparse.ArgumentParser:
    """Add the parser of a training command.

    Parameters
    ----------
    commands : subparsers action
        Subparsers to add to.
    name, text, example : str
        Name, description, and arguments of an example.
    run : callable
        Runs the command with the parsed options.
    details : str
        Shown below the example.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + '.',
        epilog=f'example:\n  napari-mobilesam {example}\n{details}',
    )
    parser.add_argument(
        '--device',
        default='auto',
        help='auto, cpu, cuda or mps (default: %(default)s)',
    )
    add_quiet(parser)
    parser.set_defaults(run=run)
    return parser


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the folder of labelled images, and their channel."""
    parser.add_argument('data', type=Path, help=DATA_HELP)
    parser.add_argument(
        '--channel',
        type=whole_number(0),
        metavar='C',
        help='channel of images with several, counted from 0, while gray and '
        'colour images are used as they are (default: 0, with a warning)',
    )


def add_budget(parser: argparse.ArgumentParser, defaults: TrainConfig) -> None:
    """Add the options for budget and optimiser."""
    parser.set_defaults(default_minutes=defaults.minutes)
    add_options(
        parser,
        defaults,
        ('minutes', 'steps', 'batch_size', 'learning_rate', 'seed'),
        {
            'minutes': positive_number(1e6),
            'learning_rate': positive_number(1),
            'steps': whole_number(0, 10**9),
            'batch_size': whole_number(1, 4096),
            'seed': whole_number(0, 2**63 - 1),
        },
    )


def input_size(text: str) -> int:
    """Parse the side of a model input."""
    size = whole_number(32, 4096)(text)
    if size % 16:
        raise argparse.ArgumentTypeError(f'{size} is not a multiple of 16')
    return size


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``."""
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an existing output'
    )


def train_config(
    options: argparse.Namespace, base: TrainConfig
) -> TrainConfig:
    """Apply the options for budget and optimiser to defaults."""
    given = given_options(options, TrainConfig)
    if 'minutes' not in given:
        steps = given.get('steps')
        given['minutes'] = 0 if steps else options.default_minutes
    return replace(base, **given)
