"""Parser whose errors are one line, and output that any terminal can show."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import NoReturn

from napari_mobilesam.cli.exit_codes import ExitCode

UNRECOGNIZED = 'unrecognized arguments: '


class CommandParser(argparse.ArgumentParser):
    """`ArgumentParser` that reports an error without the whole usage."""

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
        f'one argument too many: {arguments}. Repeat the command for each, '
        'and quote names with spaces'
    )


def show_any_text() -> None:
    """Replace characters that the encoding of stdout or stderr lacks."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors='replace')  # type: ignore[union-attr]
