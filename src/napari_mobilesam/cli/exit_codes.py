"""Exit codes of the command line, and the errors that lead to them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from napari_mobilesam.extra import MissingExtraError
from napari_mobilesam.run_lock import OutputInUseError
from napari_mobilesam.text import FULL
from napari_mobilesam.types import SegmentationError

# Reasons not to open an input.
REFUSED = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)


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
    1  failed while running: no memory, no network, no display
    2  invalid usage or input: options, image, labels, table, prompt, model
    3  the output cannot be written, exists without --overwrite, or is in use
       by another run
    4  some tiles of a large image, or some of many images, failed; the rest
       is written
  130  interrupted (Ctrl-C); outputs are whole or were not written, finished
       tiles and images are kept"""


class UsageError(ValueError):
    """Options contradict each other, or a value is invalid."""


class InputError(ValueError):
    """An input file is missing, unreadable or unsuitable."""


class OutputError(OSError):
    """A file cannot be written or may not be overwritten."""


class DownloadError(RuntimeError):
    """A model cannot be downloaded."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `OutputError` with the reason if a file cannot be written."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f'cannot write {path}: {error.strerror or error}'
        ) from error


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code of an error."""
    # errors of training are caused by those of the operating system
    cause = error if isinstance(error, OSError) else error.__cause__
    full = isinstance(cause, OSError) and cause.errno in FULL
    if full or isinstance(error, OutputError | OutputInUseError):
        return ExitCode.OUTPUT
    if isinstance(
        error, MissingExtraError | UsageError | InputError | SegmentationError
    ):
        return ExitCode.USAGE
    # outputs that cannot be written are an `OutputError`
    if isinstance(error, OSError) and error.errno in REFUSED:
        return ExitCode.USAGE
    return ExitCode.FAILURE
