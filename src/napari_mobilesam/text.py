"""Wording of messages, and file names.

Imports neither torch nor Qt.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from pathlib import Path

from napari_mobilesam.extra import MissingExtraError
from napari_mobilesam.types import SegmentationError

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# Maximum number of files named in a message.
MOST_NAMED = 5


def first_three(labels: Sequence[int]) -> str:
    """Return the first labels for a message, such as ``'3, 4, 7 …'``."""
    return ', '.join(map(str, labels[:3])) + (' …' if len(labels) > 3 else '')


def first_objects(labels: Sequence[int]) -> str:
    """Name the first objects: ``'object 3'``, ``'objects 3, 4, 7 …'``."""
    return f'object{"s" * (len(labels) > 1)} {first_three(labels)}'


def first_few(names: Sequence[str]) -> str:
    """Join names for a message, with an ellipsis if there are more."""
    more = ' …' if len(names) > MOST_NAMED else ''
    return ', '.join(names[:MOST_NAMED]) + more


def as_utf8(text: str | Path) -> str:
    """Return a path, or text that contains one, that UTF-8 can encode.

    Bytes of a file name that are not valid text are escaped, as ``\\udcff``.
    """
    return str(text).encode('utf-8', 'backslashreplace').decode('utf-8')


def file_name(text: str) -> str:
    """Return a text, such as the name of a layer, as a file name.

    Leading dots and characters that an operating system forbids become ``_``.
    """
    return re.sub(r'^\.+|[\\/:*?"<>|\x00-\x1f]+', '_', text)


def duration(seconds: float) -> str:
    """Format seconds as ``'9 s'``, ``'3 min'`` or ``'2 h 40 min'``."""
    if seconds < 1:
        return '1 s'
    if seconds < 99.5:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    if minutes < 100:
        return f'{minutes} min'
    return f'{minutes // 60} h {minutes % 60} min'


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``'1 object'``, ``'1,024 objects'``.

    Parameters
    ----------
    count : int
        The number.
    noun : str
        Singular.
    plural : str, optional
        By default the singular with an *s*.
    """
    return f'{count:,} {noun if count == 1 else plural or f"{noun}s"}'


def explain(error: BaseException) -> str:
    """Return a message about an error for the user.

    Parameters
    ----------
    error : BaseException
        Errors of this package and of the operating system are explained; any
        other error is reported with its type.
    """
    if isinstance(error, OSError) and error.strerror:
        return _explain_errno(error)
    if isinstance(error, SegmentationError | OSError | MissingExtraError):
        return str(error) or type(error).__name__
    if isinstance(error, MemoryError) or 'out of memory' in str(error):
        return (
            'Not enough memory: use a smaller model, a smaller batch or a '
            'crop of the image.'
        )
    one_line = ' '.join(str(error).split())
    return f'Unexpected {type(error).__name__}: {one_line}'


def _explain_errno(error: OSError) -> str:
    """Return a message about an error of the operating system."""
    name = error.filename if isinstance(error.filename, str) else None
    subject = 'The file' if name is None else name
    if error.errno in FULL:
        place = '' if name is None else f' for {name}'
        return (
            f'There is no space left{place}: delete files that you do not '
            'need, or choose a folder on another disk.'
        )
    if error.errno in FORBIDDEN:
        return (
            f'{subject} cannot be opened or written ({error.strerror}): '
            'choose another place, or change its permissions.'
        )
    return f'{subject} cannot be opened or written: {error.strerror}.'
