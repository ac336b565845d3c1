"""``napari-mobilesam demo``: see `napari_mobilesam.widgets.demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.exit_codes import OutputError

EXAMPLES = """\
examples:
  napari-mobilesam demo
  napari-mobilesam demo --tour --output demo-output

Without a display (server, container), the tour runs on a virtual one.
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``demo``."""
    parser = commands.add_parser(
        'demo',
        help='open napari with a microscopy image and the docked widget',
        description='Open napari with a microscopy image and the docked '
        'widget. The tour clicks a cell, accepts its mask, segments '
        'everything, and saves a screenshot and the label images.',
        epilog=EXAMPLES,
    )
    parser.add_argument(
        '--tour',
        action='store_true',
        help='take the tour and exit, even if there is a display',
    )
    parser.add_argument(
        '--output',
        type=Path,
        default=Path('demo-output'),
        metavar='FOLDER',
        help='folder for the files of the tour (default: %(default)s)',
    )
    parser.add_argument(
        '--model',
        metavar='NAME|FILE',
        help='model to use (default: the official one if it is '
        'downloaded, else the bundled one)',
    )
    parser.set_defaults(run=demo_command)


def demo_command(options: argparse.Namespace) -> int:
    """Open napari, or take the tour."""
    from napari_mobilesam.widgets.demo import run_demo

    try:
        return run_demo(
            output=options.output, model=options.model, tour=options.tour
        )
    except OSError as error:
        raise OutputError(
            f'cannot write to {options.output}: {error.strerror or error}'
        ) from error
