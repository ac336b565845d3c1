"""Paths of the session files of images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from pathlib import Path

import platformdirs

from napari_mobilesam.session.files.record_json import fingerprint
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.settings import APP_NAME

SUFFIX = '.session'
# Number of missing file names after which there may be another file.
MOST_MISSING = 10

# time, size and number of a file
Version = tuple[int, int, int]


def beside(image: str | os.PathLike[str]) -> Path:
    """Return the session file of an image file or folder.

    For ``cells.tif`` this is ``cells.tif.session`` in the same folder.
    """
    path = Path(image)
    return path.with_name(path.name + SUFFIX)


def by_pixels(plane: ImagePlane, shape: Sequence[int]) -> Path:
    """Return the session file of an image that is not a file.

    It is in the `user_folder`.

    Parameters
    ----------
    plane : ImagePlane
        Plane whose fingerprint is part of the name.
    shape : sequence of int
        Shape of the whole image, also part of the name.
    """
    size = 'x'.join(map(str, shape))
    return user_folder() / f'{size}-{fingerprint(plane)}{SUFFIX}'


def rescued(path: Path) -> Path | None:
    """Return the file for what cannot be saved to a session file.

    It is in the folder of `by_pixels` and named after the path of the file;
    None for files already in that folder.
    """
    folder = user_folder()
    return None if path.parent == folder else folder / name_elsewhere(path)


def name_elsewhere(path: Path) -> str:
    """Return a name for a session file that is unique in any folder."""
    place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
    return f'{path.name.removesuffix(SUFFIX)}-{place}{SUFFIX}'


def user_folder() -> Path:
    """Return the user's folder for session files.

    ``NAPARI_MOBILESAM_SESSIONS`` overrides it.
    """
    override = os.environ.get('NAPARI_MOBILESAM_SESSIONS')
    data = platformdirs.user_data_dir(APP_NAME, False)
    return Path(override) if override else Path(data) / 'sessions'


def saved(first: Path) -> list[Path]:
    """Return the existing session files of an image.

    An image with several labels layers has several: ``cells.tif.session``,
    ``cells.tif.2.session`` and so on. Some may have been removed since. Of a
    `rescued` file and the file it stands for, the one written last is
    returned.
    """
    return [path for _, files in _by_name(first) for path in files]


def home_of(path: Path, first: Path) -> Path | None:
    """Return the session file that a `rescued` file stands for.

    Parameters
    ----------
    path : Path
        One of the files `saved` for an image.
    first : Path
        The first session file of the image.

    Returns
    -------
    Path or None
        None for a file that stands for itself.
    """
    names = (name for name, files in _by_name(first) if path in files)
    home = next(names, path)
    return None if home == path else home


def _by_name(first: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield names of the session files of an image, and existing files."""
    missing = 0
    for path in _names(first):
        files = _existing(path)
        missing = 0 if files else missing + 1
        if missing > MOST_MISSING:
            break
        yield path, files


def _existing(path: Path) -> list[Path]:
    """Return the existing files of one name."""
    place = rescued(path)
    files = [] if place is None else saved(place)
    if not path.exists():
        return files
    written = path.stat().st_mtime_ns
    newer = any(other.stat().st_mtime_ns >= written for other in files)
    return files if newer else [path]


def free(first: Path, taken: Collection[Path] = ()) -> Path:
    """Return the first unused session file name of an image.

    ``taken`` files are reserved, but not yet written.
    """
    return next(
        path
        for path in _names(first)
        if path not in taken and not _existing(path)
    )


def version_of(path: Path) -> Version | None:
    """Return a token that changes when a file is rewritten, or None."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _names(first: Path) -> Iterator[Path]:
    yield first
    stem = first.name.removesuffix(SUFFIX)
    for number in count(2):
        yield first.with_name(f'{stem}.{number}{SUFFIX}')
