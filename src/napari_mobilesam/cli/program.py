"""Parser of the command line, and handling of errors."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from napari_mobilesam import __version__
from napari_mobilesam.cli import (
    classify_command,
    demo_command,
    detector_commands,
    distill_command,
    evaluate_command,
    export_commands,
    export_model_command,
    finetune_command,
    measure_command,
    model_commands,
    refine_command,
    segment,
    track_command,
    train_command,
)
from napari_mobilesam.cli.command_parser import CommandParser, show_any_text
from napari_mobilesam.cli.exit_codes import (
    EXIT_CODES_HELP,
    ExitCode,
    exit_code,
)
from napari_mobilesam.extra import MissingExtraError
from napari_mobilesam.text import FORBIDDEN, FULL, explain

PROGRAM = 'napari-mobilesam'
# Option value that begins with a minus sign.
NEGATIVE_VALUE = re.compile(r'-\.?\d')
# Part of a path to quote if it is too long.
LONGEST = 100
FAMILIES = (
    segment,
    refine_command,
    measure_command,
    classify_command,
    track_command,
    export_commands,
    model_commands,
    export_model_command,
    detector_commands,
    demo_command,
    train_command,
    distill_command,
    finetune_command,
    evaluate_command,
)

EXAMPLES = f"""\
examples:
  napari-mobilesam segment cells.tif -o labels.tif
  napari-mobilesam segment cells.tif -o one.tif --point 120,85
  napari-mobilesam export labels.tif -o cells.geojson
  napari-mobilesam models
  napari-mobilesam demo

exit codes:
{EXIT_CODES_HELP}
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    parser = CommandParser(
        prog=PROGRAM,
        description='Segment cells and other objects with MobileSAM.',
        epilog=EXAMPLES,
    )
    parser.add_argument(
        '--version', action='version', version=f'%(prog)s {__version__}'
    )
    parser.add_argument(
        '--traceback',
        action='store_true',
        help='show the traceback of an error, for reporting it',
    )
    commands = parser.add_subparsers(
        title='commands', metavar='COMMAND', required=True
    )
    for family in FAMILIES:
        family.add_parser(commands)
    return parser


def with_negative_values(arguments: Sequence[str]) -> list[str]:
    """Join options to values such as ``-5,3``, which argparse refuses.

    Parameters
    ----------
    arguments : sequence of str
        Arguments of the command line.

    Returns
    -------
    list of str
        ``'--point', '-5,3'`` becomes ``'--point=-5,3'``.
    """
    joined: list[str] = []
    for argument in arguments:
        before = joined[-1] if joined else ''
        is_option = before.startswith('--') and '=' not in before
        if is_option and NEGATIVE_VALUE.match(argument):
            joined[-1] = f'{before}={argument}'
        else:
            joined.append(argument)
    return joined


def run_program(arguments: Sequence[str] | None = None) -> int:
    """Run one command, see `napari_mobilesam.cli.main`.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, unless the command keeps its results.
    """
    show_any_text()
    # it logs the defects of a damaged file, which the error also reports; its
    # level stays, as the reader listens to it
    log = logging.getLogger('tifffile')
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    given = sys.argv[1:] if arguments is None else arguments
    if '' in given:  # such as the value of an unset variable
        print(f'{PROGRAM}: error: an argument is empty', file=sys.stderr)
        return ExitCode.USAGE
    try:
        options = build_parser().parse_args(with_negative_values(given))
    except SystemExit as stop:  # argparse exits on --help and bad usage
        return stop.code if isinstance(stop.code, int) else ExitCode.USAGE
    try:
        with warnings.catch_warnings():
            warnings.showwarning = once(show_warning)
            warnings.simplefilter('always', UserWarning)
            return int(options.run(options))
    except BrokenPipeError:
        # The reader of our output is gone (`… | head`); closing stdout at exit
        # must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILURE
    except (
        MissingExtraError,
        ValueError,
        OSError,
        MemoryError,
        RuntimeError,
    ) as error:
        if options.traceback:
            traceback.print_exc()
        print(f'{PROGRAM}: error: {message(error)}', file=sys.stderr)
        return exit_code(error)


def once(show: Callable[..., None]) -> Callable[..., None]:
    """Return a function that shows the same words once for many images."""
    shown: set[str] = set()

    def show_new(message: Warning | str, *details: Any) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            show(message, *details)

    return show_new


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning on one line."""
    text = ' '.join(str(message).split())
    print(f'{PROGRAM}: warning: {text}', file=sys.stderr)


def message(error: BaseException) -> str:
    """Return the message of an error on one line, with long paths cut."""
    text = one_line(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f'a file name is too long: {str(error.filename)[:LONGEST]}…'
    if isinstance(error, OSError) and error.errno in (*FULL, *FORBIDDEN):
        return explain(error)
    return text


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, or else its type."""
    return ' '.join(str(error).split()) or type(error).__name__
