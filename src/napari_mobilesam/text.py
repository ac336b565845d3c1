"""Wording of messages: counts with their nouns, errors as sentences.

Imports neither torch nor Qt.
"""

from __future__ import annotations

from napari_mobilesam.types import SegmentationError


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``'1 object'``, ``'1,024 objects'``.

    Parameters
    ----------
    count : int
        The number.
    noun : str
        Singular.
    plural : str, optional
        By default the singular and an *s*.
    """
    return f'{count:,} {noun if count == 1 else plural or f"{noun}s"}'


def explain(error: BaseException) -> str:
    """Return the message for the user about an error.

    Parameters
    ----------
    error : BaseException
        Errors of this package and of the operating system say what to do;
        any other error is reported with its type.
    """
    if isinstance(error, SegmentationError | OSError):
        return str(error) or type(error).__name__
    if isinstance(error, MemoryError) or 'out of memory' in str(error):
        return (
            'Not enough memory: use a smaller model, a smaller batch or a '
            'crop of the image.'
        )
    return f'Unexpected {type(error).__name__}: {error}'
