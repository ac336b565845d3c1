"""Parser with one-line errors, shared options, output for any terminal."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from napari_mobilesam.cli.exit_codes import ExitCode


class HelpFormatter(argparse.HelpFormatter):
    """Wraps descriptions, and keeps the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if '\n' not in text:
            return super()._fill_text(text, width, indent)
        return ''.join(indent + line for line in text.splitlines(True))


class CommandParser(argparse.ArgumentParser):
    """`ArgumentParser` that reports an error without the full usage."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(
            *args, **{'formatter_class': HelpFormatter, **options}
        )

    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; what a command does not know is its own error."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Print one line and exit."""
        self.exit(
            ExitCode.USAGE,
            f'{self.prog}: error: {message} (see {self.prog} --help)\n',
        )

    def _unknown(self, arguments: Sequence[str]) -> str:
        options = [part for part in arguments if part.startswith('-')]
        if not options:
            return (
                f'too many arguments: {" ".join(arguments)}. Repeat the '
                'command for each, and quote names with spaces'
            )
        close = get_close_matches(options[0], self._option_string_actions, 1)
        hint = f': did you mean {close[0]}?' if close else ''
        return f'there is no option {" ".join(options)}{hint}'


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
