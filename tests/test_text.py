"""Wording of messages."""

from __future__ import annotations

import errno

import pytest

from napari_mobilesam.extra import MissingExtraError
from napari_mobilesam.text import (
    counted,
    duration,
    explain,
    file_name,
    first_objects,
)
from napari_mobilesam.types import PromptError


@pytest.mark.parametrize(
    ('count', 'expected'),
    [(0, '0 objects'), (1, '1 object'), (1024, '1,024 objects')],
)
def test_counted(count: int, expected: str) -> None:
    assert counted(count, 'object') == expected


def test_counted_with_an_irregular_plural() -> None:
    assert counted(2, 'box', 'boxes') == '2 boxes'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [('a/b: "c"', 'a_b_ _c_'), ('..', '_'), ('a.tif', 'a.tif')],
)
def test_file_names(text: str, expected: str) -> None:
    assert file_name(text) == expected


@pytest.mark.parametrize(
    ('error', 'expected'),
    [
        (PromptError('Click an object.'), 'Click an object.'),
        (OSError(), 'OSError'),
        (MissingExtraError('zarr is not installed.'), 'zarr is not'),
        (KeyError('one\ntwo\n'), "Unexpected KeyError: 'one"),
        (RuntimeError('one\ntwo\n'), 'Unexpected RuntimeError: one two'),
        (OSError('No file.'), 'No file.'),
        (
            OSError(errno.ENOSPC, 'No space left on device', '/a/b'),
            'There is no space left for /a/b: delete files',
        ),
        (
            OSError(errno.ENOSPC, 'No space left on device'),
            'There is no space left: delete files',
        ),
        (
            PermissionError(errno.EACCES, 'Permission denied', '/a'),
            '/a cannot be opened or written (Permission denied): choose',
        ),
        (
            IsADirectoryError(errno.EISDIR, 'Is a directory', '/a'),
            '/a cannot be opened or written: Is a directory.',
        ),
        (RuntimeError('CUDA out of memory'), 'Not enough memory'),
        (KeyError('x'), "Unexpected KeyError: 'x'"),
    ],
)
def test_explain(error: Exception, expected: str) -> None:
    assert explain(error).startswith(expected)


def test_objects_are_named_in_the_plural_if_they_are_several() -> None:
    assert first_objects([3]) == 'object 3'
    assert first_objects([3, 4, 7, 9]) == 'objects 3, 4, 7 …'


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0, '1 s'),
        (8.6, '9 s'),
        (99, '99 s'),
        (100, '2 min'),
        (5900, '98 min'),
        (9600, '2 h 40 min'),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text
