"""The series that was open last, to resume it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from napari_mobilesam.files import write_text_atomic
from napari_mobilesam.settings import settings_path

FILE = 'series.json'


@dataclass(frozen=True)
class LastSeries:
    """Last series: its source and the image that was shown.

    Attributes
    ----------
    images : tuple of str
        Files and folders.
    output : str
        Folder of the labels; empty for the default.
    names : str
        Pattern of names.
    image : str
        Image file that was open.
    channel : int
        Channel that was worked on, from 0.
    """

    images: tuple[str, ...]
    output: str
    names: str
    image: str = ''
    channel: int = 0


def last_series() -> LastSeries | None:
    """Return the series that was open last, None if it is unknown."""
    try:
        stored = json.loads(_path().read_text(encoding='utf-8'))
        return LastSeries(
            tuple(str(path) for path in stored['images']),
            str(stored['output']),
            str(stored['names']),
            str(stored['image']),
            # not known to files of earlier versions
            max(0, int(stored.get('channel', 0))),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_series(series: LastSeries) -> None:
    """Write down the series that is open.

    Raises
    ------
    OSError
        The folder of the settings is not writable.
    """
    _path().parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(_path(), json.dumps(asdict(series)))


def _path() -> Path:
    return settings_path().with_name(FILE)
