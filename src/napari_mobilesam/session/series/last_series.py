"""The most recently opened series, to resume it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from napari_mobilesam.settings import read_config, write_config

FILE = 'series.json'


@dataclass(frozen=True)
class LastSeries:
    """Most recent series: its source, and the image that was open.

    Attributes
    ----------
    images : tuple of str
        Files and folders.
    output : str
        Folder of the labels; empty for the default.
    names : str
        Pattern of the names.
    image : str
        Image file that was open.
    channel : int
        Channel in use, from 0.
    """

    images: tuple[str, ...]
    output: str
    names: str
    image: str = ''
    channel: int = 0


def last_series() -> LastSeries | None:
    """Return the most recently opened series; None if unknown."""
    stored = read_config(FILE)
    try:
        return LastSeries(
            tuple(str(path) for path in stored['images']),
            str(stored['output']),
            str(stored['names']),
            str(stored['image']),
            # missing in files of earlier versions
            max(0, int(stored.get('channel', 0))),
        )
    except (ValueError, KeyError, TypeError):
        return None


def remember_series(series: LastSeries) -> None:
    """Store which series is open.

    Raises
    ------
    OSError
        The folder of the settings is not writable.
    """
    write_config(FILE, asdict(series))
