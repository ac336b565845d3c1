"""Files of a series: images, label images, and a record for each.

Next to the label images lies a folder with one record per image: the image
that was segmented, and the files that were written. The records distinguish
files of this program from those that are foreign or were edited, which are
never replaced.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from napari_mobilesam.files import (
    made_folders,
    read_json_object,
    write_text_atomic,
)
from napari_mobilesam.large.journal import differences
from napari_mobilesam.readers.label_names import results_of
from napari_mobilesam.readers.open_image import ZARR_METADATA
from napari_mobilesam.run_lock import run_lock
from napari_mobilesam.types import SegmentationError

SUFFIXES = ('.tif', '.tiff', '.png', '.jpg', '.jpeg', '.bmp')
RECORDS = '.napari-mobilesam'
# suffix of label images whose names have none
SUFFIX = '.tif'
WRITABLE = 0o222
PATTERN = '{name}_labels'
# Records with this key are of labels edited by a person.
EDITED = 'edited'
# key of the state of a file that is about to be renamed to the labels
COMING = 'coming'
# key of the path of the image relative to its labels
SEEN = 'from'
# key of the state of the labels to which the saved tracks belong
TRACKED = 'tracked'
# key of the options that would not have changed the labels
UNUSED = 'unused'
# what tells of which image labels are, and not how they were made
OF_IMAGE = ('image', 'file', SEEN)


class SeriesError(SegmentationError):
    """A series cannot be opened or saved; the message says why."""


class ForeignFileError(SegmentationError):
    """A file is foreign or was edited, and is not replaced."""


@contextmanager
def series_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the output folder of a run on many images.

    Raises
    ------
    OutputInUseError
        If another run holds the lock.
    SeriesError
        If the folder cannot be written to.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(made_folders(folder))
            stack.enter_context(run_lock(folder / RECORDS))
        except OSError as error:
            reason = error.strerror or error
            raise SeriesError(f'cannot write to {folder}: {reason}') from error
        yield


@dataclass(frozen=True)
class SeriesImage:
    """An image of a series.

    Attributes
    ----------
    image, labels : Path
        File to read and file to write.
    record : Path
        Record of what was written.
    made_of : dict
        Image file and parameters that the labels depend on.
    """

    image: Path
    labels: Path
    record: Path
    made_of: dict[str, Any]

    def check_image(self, known: dict[str, Any]) -> None:
        """Refuse labels that belong to another image.

        Images may be moved or copied together with their labels.

        Parameters
        ----------
        known : dict
            The record, see `known`.

        Raises
        ------
        SeriesError
            If they belong to another image.
        """
        then = known.get('made_of')
        then = then if isinstance(then, dict) else {}
        same = (then.get(name) == self.made_of[name] for name in OF_IMAGE)
        other = str(then.get('image', ''))
        if other and not any(same) and Path(other).exists():
            raise SeriesError(
                f'{self.labels} is for the labels of {other}, but those of '
                f'{self.image} would be saved there too: choose another '
                'folder, or other names.'
            )

    def done(self) -> dict[str, Any] | None:
        """Return the record of labels that need no new run.

        Either the result would be the same, or a person has edited them.
        Return None for other labels.
        """
        known = self.known()
        if 'objects' not in known:
            return None
        if not self._is_made_of(known) and EDITED not in known:
            return None
        if known.get('written') != file_state(self.labels):
            return None
        return known

    def is_edited(self) -> bool:
        """Return whether another program has changed what was written."""
        known, state = self.known(), file_state(self.labels)
        ours = 'written' in known or COMING in known
        return ours and state is not None and not is_written(known, state)

    def other_options(self) -> list[tuple[str, Any, Any]]:
        """Parameters of labels that are there which are others now.

        Returns
        -------
        list of (str, object, object)
            Name, value then and value now; empty where nothing would be
            replaced that this program has written.
        """
        known = self.known()
        if EDITED in known or not is_written(known, file_state(self.labels)):
            return []
        left_out = {*OF_IMAGE, *known.get(UNUSED, ())}
        then, now = (
            {key: made_of[key] for key in made_of if key not in left_out}
            for made_of in (known.get('made_of', {}), self.made_of)
        )
        return differences(then, now)

    def _is_made_of(self, known: dict[str, Any]) -> bool:
        """Return whether labels are of this image and these parameters.

        The path of the image relative to its labels does not matter, nor do
        options that the image has no use for.
        """
        made_of = known.get('made_of')
        left_out = dict.fromkeys([SEEN, *known.get(UNUSED, ())])
        return isinstance(made_of, dict) and (
            made_of | left_out == self.made_of | left_out
        )

    def begin(self, overwrite: bool) -> bool:
        """Check that no foreign file is replaced.

        Returns
        -------
        bool
            Whether there are labels, which may be replaced.

        Raises
        ------
        ForeignFileError
            If there is a foreign or edited file and ``overwrite`` is False.
        """
        known = self.known()
        state = file_state(self.labels)
        ours = is_written(known, state)
        if state is not None and not ours and not overwrite:
            raise ForeignFileError(
                f'{self.labels} exists and was not written by this command, '
                'or was edited since; --overwrite replaces it'
            )
        record: dict[str, Any] = {'made_of': self.made_of}
        if ours:
            record['written'] = state
        if TRACKED in known:
            record[TRACKED] = known[TRACKED]
        self.write_record(record)
        return state is not None

    def expect(self, path: Path, known: dict[str, Any] | None = None) -> None:
        """Record that a finished temporary file becomes the labels.

        The run may be interrupted between renaming and the next record.

        Parameters
        ----------
        path : Path
            The temporary file.
        known : dict, optional
            Record to add this to; by default the current one.
        """
        known = self.known() if known is None else known
        self.write_record({**known, COMING: file_state(path)})

    def finish(
        self,
        objects: int,
        seconds: float,
        channel: int | None = None,
        unused: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Record that the labels are written.

        Parameters
        ----------
        objects : int
            Number of objects.
        seconds : float
            Duration of the segmentation.
        channel : int, optional
            Channel that was segmented, for images with several.
        unused : sequence of str
            Names of parameters that would not have changed the labels.
        """
        before = self.known()
        known: dict[str, Any] = {
            'made_of': self.made_of,
            'written': file_state(self.labels),
            'objects': objects,
            'seconds': round(seconds, 3),
        }
        if channel is not None:
            known['channel'] = channel
        if unused:
            known[UNUSED] = list(unused)
        if TRACKED in before:
            # tracks of other labels
            known[TRACKED] = before[TRACKED]
        self.write_record(known)
        return known

    @property
    def table(self) -> Path:
        """File of the table of this image."""
        return self.record.with_suffix('.csv')

    def known(self) -> dict[str, Any]:
        """Read the record; empty if it is missing or unreadable."""
        return read_json_object(self.record)

    def write_record(self, known: dict[str, Any]) -> None:
        """Write the record.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        write_text_atomic(self.record, json.dumps(known))


def is_read_only(path: Path) -> bool:
    """Return whether nobody may write to a file."""
    try:
        return not path.stat().st_mode & WRITABLE
    except OSError:
        return False


def resolved(paths: Iterable[Path]) -> dict[Path, Path]:
    """Return files without links; each folder is looked at once.

    `Path.resolve` asks the disk for every part of every path, which takes
    minutes for thousands of files on a slow one.
    """
    folders: dict[Path, Path] = {}
    found = {}
    for path in paths:
        if path.name in ('', '..') or path.is_symlink():
            found[path] = path.resolve()
            continue
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        found[path] = folders[path.parent] / path.name
    return found


def image_identity(place: Path, folder: Path) -> dict[str, Any]:
    """Return data that identify the image of a file of labels.

    Parameters
    ----------
    place, folder : Path
        Image file and folder of the labels, `resolved`.

    Returns
    -------
    dict
        Its path, also relative to the labels, its size and time.
    """
    try:
        seen = os.path.relpath(place, folder)
    except ValueError:
        # on another drive
        seen = str(place)
    return {'image': str(place), 'file': file_state(place), SEEN: seen}


def is_written(known: dict[str, Any], state: list[int] | None) -> bool:
    """Return whether a file is unchanged since this program wrote it.

    Parameters
    ----------
    known : dict
        Record of the image.
    state : list or None
        `file_state` of the file.
    """
    return state is not None and state in (
        known.get('written'),
        known.get(COMING),
    )


def file_state(path: Path) -> list[int] | None:
    """Return size and time of a file, None if there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns]


def is_image_folder(path: Path) -> bool:
    """Return whether a path is a folder, but not a zarr."""
    return path.is_dir() and not any(
        (path / name).exists() for name in ZARR_METADATA
    )


class ImageFiles(NamedTuple):
    """Image files, and files of folders that are named as their labels."""

    images: list[Path]
    left_out: list[Path]


def image_files(given: Sequence[Path]) -> ImageFiles:
    """Return image files, including those in folders, each once.

    In folders, labels are skipped that a series has written, or that are
    named as those of another image there.

    Raises
    ------
    SeriesError
        If a folder has no image.
    """
    images: dict[Path, Path] = {}
    named: list[Path] = []
    for path in given:
        found = [path]
        if is_image_folder(path):
            files = _pictures(path)
            labels = results_of(files)
            named += labels
            taken = set(labels)
            found = [file for file in files if file not in taken]
            if not found:
                raise SeriesError(
                    f'{path} is a folder without images '
                    f'({", ".join(SUFFIXES)})'
                )
        for file, place in resolved(found).items():
            images.setdefault(place, file)
    left_out = [
        file for file, place in resolved(named).items() if place not in images
    ]
    return ImageFiles([*images.values()], left_out)


def _pictures(folder: Path) -> list[Path]:
    """Return the image files of a folder that no series has written."""
    written = _written_names(folder)
    with os.scandir(folder) as entries:
        return sorted(
            folder / entry.name
            for entry in entries
            if Path(entry.name).suffix.lower() in SUFFIXES
            and not entry.name.startswith('.')
            and not entry.is_dir()
            and entry.name not in written
        )


def _written_names(folder: Path) -> set[str]:
    """Return the names of labels written to a folder.

    Labels saved beside a foreign file have another name than their record.
    """
    names = set()
    for name, known in records_in(folder):
        if 'written' in known or COMING in known:
            names |= {name, str(known.get('file'))}
    return names


def records_in(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records of a folder of label images, sorted by name.

    Parameters
    ----------
    folder : Path
        Folder of the label images.

    Yields
    ------
    name : str
        Name of the label image that the record was made for.
    known : dict
        The record; empty if it is unreadable.
    """
    for record in sorted((folder / RECORDS).glob('*.json')):
        yield record.stem, read_json_object(record)


def output_name(pattern: str, image: Path, number: int) -> str:
    """Return the name of the labels of an image.

    Parameters
    ----------
    pattern : str
        May contain ``{name}`` (of the image without suffix), ``{suffix}``
        (without dot), ``{folder}`` (name of the parent) and ``{number}``.
    image : Path
        The image.
    number : int
        Number of the image, see `numbered`.

    Raises
    ------
    SeriesError
        If the pattern does not give a file name.
    """
    # resolving thousands of paths takes time on a slow disk
    folder = image.resolve().parent.name if '{folder' in pattern else ''
    try:
        name = pattern.format(
            name=image.stem,
            suffix=image.suffix.removeprefix('.'),
            folder=folder,
            number=number,
        )
    except (
        AttributeError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        # such as a width of many digits
        MemoryError,
        OverflowError,
    ) as error:
        raise SeriesError(
            f'The names {pattern!r} are not a valid pattern ({error}): use '
            '{name}, {suffix}, {folder} and {number}, for example '
            '{name}_labels.tif.'
        ) from error
    if Path(name).name != name or not name:
        raise SeriesError(
            f'The names {pattern!r} give {name!r}, which is not a valid file '
            'name: use {name}, {suffix}, {folder} and {number}, without a '
            'folder.'
        )
    return name


def numbered(
    folder: Path, pattern: str, images: Sequence[Path]
) -> Iterator[tuple[int, Path]]:
    """Yield images with their numbers in the names of their labels.

    An image whose labels exist keeps its number when others are added; the
    other numbers are positions, from 1, or the next free ones.

    Parameters
    ----------
    folder : Path
        Folder of the label images.
    pattern : str
        Pattern of their names, see `output_name`.
    images : sequence of Path
        The images.
    """
    known = _known_numbers(folder, pattern, images)
    used = set(known.values())
    for place, image in enumerate(images, start=1):
        number = known.get(image) or next(
            free for free in itertools.count(place) if free not in used
        )
        used.add(number)
        yield number, image


def _known_numbers(
    folder: Path, pattern: str, images: Sequence[Path]
) -> dict[Path, int]:
    """Return the numbers of images in the names of their existing labels."""
    if '{number' not in pattern:
        return {}
    # an image may have labels under several names
    names: dict[Any, list[str]] = {}
    for name, known in records_in(folder):
        made_of = known.get('made_of')
        if isinstance(made_of, dict):
            for key in made_of.get('image'), made_of.get(SEEN):
                names.setdefault(key, []).append(name)
    numbers = {}
    there = folder.resolve()
    for image, place in resolved(images).items():
        identity = image_identity(place, there)
        found = names.get(identity['image']) or names.get(identity[SEEN], [])
        for name in found:
            for number in map(int, re.findall('[0-9]+', name)):
                expected = output_name(pattern, image, number)
                if name in (expected, f'{expected}{SUFFIX}'):
                    numbers[image] = number
    return numbers


def distinct_names(first: Path, second: Path, end: str) -> str:
    """Return a pattern that gives two images different names.

    Parameters
    ----------
    first, second : Path
        The images, such as ``a.tif`` and ``a.png``.
    end : str
        End of the pattern.
    """
    if first.resolve().parent != second.resolve().parent:
        if first.resolve().parent.name != second.resolve().parent.name:
            return f'{{folder}}_{{name}}{end}'
        return f'{{number}}_{{name}}{end}'
    if path_key(first.with_suffix('')) != path_key(second.with_suffix('')):
        return f'{{name}}{end}'
    if first.suffix.casefold() == second.suffix.casefold():
        return f'{{number}}_{{name}}{end}'
    return f'{{name}}_{{suffix}}{end}'


def path_key(path: Path) -> str:
    """Return a key for a file that ignores case."""
    return place_key(path.resolve())


def place_key(place: Path) -> str:
    """Return the `path_key` of a file that is `resolved`."""
    return str(place).casefold()
