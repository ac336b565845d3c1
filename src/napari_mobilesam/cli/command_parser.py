"""Parser with one-line errors, shared options, output for any terminal."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import NoReturn

from napari_mobilesam.cli.exit_codes import ExitCode

UNRECOGNIZED = 'unrecognized arguments: '


class CommandParser(argparse.ArgumentParser):
    """`ArgumentParser` that reports an error without the full usage."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit."""
        if message.startswith(UNRECOGNIZED):
            message = _unrecognized(message.removeprefix(UNRECOGNIZED))
        self.exit(
            ExitCode.USAGE,
            f'{self.prog}: error: {message} (see {self.prog} --help)\n',
        )


def _unrecognized(arguments: str) -> str:
    if any(part.startswith('-') for part in arguments.split()):
        return f'there is no option {arguments}'
    return (
        f'too many arguments: {arguments}. Repeat the command for each, and '
        'quote names with spaces'
    )


def add_output(
    parser: argparse.ArgumentParser,
    metavar: str,
    description: str,
    replaced: str | None = None,
) -> None:
    """Add ``--output``, and ``--overwrite`` if something may be replaced."""
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        required=True,
        metavar=metavar,
        help=description,
    )
    if replaced is not None:
        parser.add_argument(
            '--overwrite', action='store_true', help=f'replace {replaced}'
        )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet``."""
    parser.add_argument(
        '--quiet', action='store_true', help='no progress on stderr'
    )


def show_any_text() -> None:
    """Replace characters that stdout or stderr cannot encode."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors='replace')  # type: ignore[union-attr]
