"""Command line: ``napari-mobilesam`` and ``python -m napari_mobilesam``.

There is one module per family of commands; each has an ``add_parser`` that
adds its subcommands and sets their function with ``set_defaults(run=…)``.
Importing this package loads neither torch nor Qt, so ``--help`` is immediate.

Exit codes are those of `napari_mobilesam.cli.exit_codes.ExitCode`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

# `ExitCode.INTERRUPTED`, without imports.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments without the program's name; by default those
        of the process.

    Returns
    -------
    int
        Exit code, see `napari_mobilesam.cli.exit_codes.ExitCode`.
    """
    # None if the streams are closed (`… >&-`, pythonw)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, 'w')  # noqa: SIM115 - as long as we run
    if sys.stderr is None:
        sys.stderr = open(os.devnull, 'w')  # noqa: SIM115
    try:
        # Ctrl-C may already come during imports
        from napari_mobilesam.cli.program import run_program

        return run_program(arguments)
    except KeyboardInterrupt:
        print('\nnapari-mobilesam: interrupted', file=sys.stderr)
        return INTERRUPTED
