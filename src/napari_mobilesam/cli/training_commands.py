"""``napari-mobilesam train | distill | finetune | evaluate``.

`add_parsers` only describes the options, without loading torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from napari_mobilesam.cli.distill_command import add_distill_parser
from napari_mobilesam.cli.evaluate_command import add_evaluate_parser
from napari_mobilesam.cli.finetune_command import add_finetune_parser
from napari_mobilesam.cli.train_command import add_train_parser

PARSERS = (
    add_train_parser,
    add_distill_parser,
    add_finetune_parser,
    add_evaluate_parser,
)


def add_parsers(
    commands: argparse._SubParsersAction[Any],
    make_progress: Callable[[bool], Any],
) -> None:
    """Add the four commands.

    Parameters
    ----------
    commands : subparsers action
        Where they are added; each sets ``run`` to its function of the parsed
        options, which returns an exit code.
    make_progress : callable
        ``make_progress(quiet)`` gives a context manager whose value is called
        with ``(done, total, message)``.
    """
    for add in PARSERS:
        parser = add(commands)
        parser.set_defaults(make_progress=make_progress)
        parser.add_argument(
            '--device',
            default='auto',
            help='auto, cpu, cuda or mps (default: %(default)s)',
        )
        parser.add_argument(
            '--quiet', action='store_true', help='no progress on stderr'
        )
