"""Read and write folders of the Cell Tracking Challenge."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_mobilesam.tracking.objects_in_time import objects_in_time
from napari_mobilesam.tracking.tracks import TrackError, Tracks

TABLE = 'res_track.txt'
# The challenge uses another name for the table of its ground truth.
TABLES = (TABLE, 'man_track.txt')
# Frame number at the end of the name of a label image.
NUMBER = re.compile(r'\d+$')
# The format has 16-bit labels.
MOST_TRACKS = np.iinfo(np.uint16).max


def write_ctc(tracks: Tracks, labels: Any, folder: Path) -> None:
    """Write masks and the table of tracks to a new folder.

    Parameters
    ----------
    tracks : Tracks
        The tracks.
    labels : array
        (frame, row, column) or (frame, plane, row, column) labels that were
        tracked.
    folder : Path
        Folder to create, with ``mask000.tif``, … and ``res_track.txt`` with
        one line per track: number, first frame, last frame, parent track or 0.
        In this format a track has a mask in every frame, so a track is split
        at each gap, and the part before is the parent of the part after it.

    Raises
    ------
    TrackError
        If a track number does not fit into 16 bits.
    OSError
        If the folder exists or cannot be written.
    """
    parts = _parts(tracks)
    most = max((part.number for part in parts), default=0)
    if most > MOST_TRACKS:
        raise TrackError(
            f'Track {most} is too large for this format: numbers end at '
            f'{MOST_TRACKS}.'
        )
    folder.mkdir()
    digits = max(3, len(str(labels.shape[0] - 1)))
    for frame in range(labels.shape[0]):
        own = tracks.relabelled(frame, np.asarray(labels[frame]))
        pixels = own.astype(np.uint16)
        for part in parts:
            if part.number != part.track and part.first <= frame <= part.last:
                pixels[own == part.track] = part.number
        tifffile.imwrite(
            folder / f'mask{frame:0{digits}d}.tif',
            pixels,
            photometric='minisblack',  # 3 or 4 planes are not colours
            compression='zlib',
        )
    lines = [
        f'{part.number} {part.first} {part.last} {part.parent}\n'
        for part in parts
    ]
    (folder / TABLE).write_text(''.join(lines), 'utf-8')


class _Part(NamedTuple):
    """Part of a track between gaps."""

    number: int
    track: int
    first: int
    last: int
    parent: int


def _parts(tracks: Tracks) -> list[_Part]:
    """Split tracks at gaps; the first part keeps the number of the track."""
    free = itertools.count(int(tracks.ids.max(initial=0)) + 1)
    parts, ends = [], {}
    for track in np.unique(tracks.ids).tolist():
        frames = np.unique(tracks.frames[tracks.members(track)])
        parent = 0
        for run in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1):
            number = next(free) if parent else track
            first, last = int(run[0]), int(run[-1])
            parts.append(_Part(number, track, first, last, parent))
            ends[track] = parent = number
    return [
        part._replace(parent=ends.get(tracks.parents.get(part.track, 0), 0))
        if part.number == part.track
        else part
        for part in parts
    ]


def read_ctc(folder: Path) -> tuple[NDArray[np.uint16], Tracks]:
    """Read a folder of the Cell Tracking Challenge.

    Parameters
    ----------
    folder : Path
        Folder with ``res_track.txt`` or ``man_track.txt`` and one label image
        per frame.

    Returns
    -------
    labels : array
        (frame, …) labels, which are the numbers of the tracks.
    tracks : Tracks
        The tracks, with the numbers of the table.

    Raises
    ------
    TrackError
        If the table is missing or does not match the images, or an image is
        missing.
    OSError
        If a file cannot be read.
    """
    table = next((folder / n for n in TABLES if (folder / n).is_file()), None)
    files = sorted(sorted(folder.glob('*.tif')), key=_frame_of)
    if table is None or not files:
        raise TrackError(
            f'{folder} has no {" or ".join(TABLES)}, or no label images '
            '(.tif).'
        )
    first = _first_frame(files)
    frames = [tifffile.imread(file) for file in files]
    odd = [n for n, each in enumerate(frames) if each.shape != frames[0].shape]
    if odd:
        raise TrackError(
            f'{files[odd[0]].name} has the shape {frames[odd[0]].shape}, '
            f'{files[0].name} {frames[0].shape}: all frames must have the '
            'same shape.'
        )
    labels = np.stack(frames)
    parents, last = _read_parents(table)
    if last >= first + len(files):
        raise TrackError(
            f'{table.name} ends at frame {last}, but the label images end at '
            f'{first + len(files) - 1}: are some missing?'
        )
    objects = objects_in_time(labels)
    unknown = sorted(set(objects.labels.tolist()) - set(parents))
    if unknown:
        raise TrackError(
            f'{table.name} has no line for label {unknown[0]} of the images.'
        )
    return labels, Tracks.of(
        objects.frames,
        objects.labels,
        objects.positions,
        _previous(objects.labels, parents),
        objects.labels,
    )


def _frame_of(file: Path) -> int:
    """Return the frame number in a file name, −1 if it has none."""
    found = NUMBER.search(file.stem)
    return -1 if found is None else int(found[0])


def _first_frame(files: list[Path]) -> int:
    """Return the first frame number; refuse missing and duplicate frames."""
    numbers = [_frame_of(file) for file in files]
    if numbers[-1] < 0:
        return 0
    if numbers[0] < 0:
        raise TrackError(
            f'{files[0]} has no frame number at the end of its name: '
            'move it elsewhere.'
        )
    for file, after in itertools.pairwise(files):
        if _frame_of(file) == _frame_of(after):
            raise TrackError(
                f'{file} and {after.name} are both frame '
                f'{_frame_of(file)}: move one of them elsewhere.'
            )
    missing = set(range(numbers[0], numbers[-1])) - set(numbers)
    if missing:
        raise TrackError(
            f'{files[0].parent.name} has no label image for frame '
            f'{min(missing)}.'
        )
    return numbers[0]


def _read_parents(table: Path) -> tuple[dict[int, int], int]:
    """Return the parent of each track, and the last frame of any track."""
    parents, ends = {}, 0
    for number, line in enumerate(table.read_text('utf-8').splitlines(), 1):
        if not line.strip():
            continue
        try:
            track, _, end, parent = (int(part) for part in line.split())
        except ValueError:
            raise TrackError(
                f'{table.name}, line {number}: “{line[:40]}” is not four '
                'whole numbers.'
            ) from None
        parents[track] = parent
        ends = max(ends, end)
    return parents, ends


def _previous(
    labels: NDArray[np.int64], parents: dict[int, int]
) -> NDArray[np.int64]:
    """Return the index of the object before each, in its track or parent."""
    last: dict[int, int] = {}
    previous = np.full(len(labels), -1)
    for index, label in enumerate(labels.tolist()):
        previous[index] = last.get(label, last.get(parents[label], -1))
        last[label] = index
    return previous
