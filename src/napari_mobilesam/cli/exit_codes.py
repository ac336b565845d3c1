"""Exit codes of the command line, and the errors that lead to them."""

from __future__ import annotations

import errno
from enum import IntEnum

from napari_mobilesam.extra import MissingExtraError
from napari_mobilesam.run_lock import OutputInUseError
from napari_mobilesam.types import SegmentationError


class ExitCode(IntEnum):
    """Exit codes of the process."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    OUTPUT = 3
    PARTIAL = 4
    INTERRUPTED = 130


EXIT_CODES_HELP = """\
    0  done
    1  it failed while running: no memory, no network, no display
    2  bad usage or bad input: options, image, labels, table, prompt, model
    3  the output cannot be written, exists and --overwrite is not given, or
       is in use by another run
    4  some tiles of a large image, or some of many images, failed; the rest
       is written
  130  interrupted (Ctrl-C); outputs are whole or were not written, finished
       tiles and images are kept"""


class UsageError(ValueError):
    """Contradicting options, or an invalid value."""


class InputError(ValueError):
    """A file that cannot be read."""


class OutputError(OSError):
    """A file that cannot be written or may not be overwritten."""


class DownloadError(RuntimeError):
    """A model that could not be downloaded."""


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code of an error."""
    if isinstance(error, OutputError | OutputInUseError):
        return ExitCode.OUTPUT
    if isinstance(
        error, MissingExtraError | UsageError | InputError | SegmentationError
    ):
        return ExitCode.USAGE
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return ExitCode.USAGE
    return ExitCode.FAILURE
