"""Folders of the Cell Tracking Challenge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_mobilesam.tracking.objects_in_time import objects_in_time
from napari_mobilesam.tracking.tracks import TrackError, Tracks

TABLE = 'res_track.txt'
# The challenge's own truth has another name for the same table.
TABLES = (TABLE, 'man_track.txt')
# Labels of the format are 16 bits.
MOST_TRACKS = np.iinfo(np.uint16).max


def write_ctc(tracks: Tracks, labels: Any, folder: Path) -> None:
    """Write masks and the table of tracks into a new folder.

    Parameters
    ----------
    tracks : Tracks
        The tracks.
    labels : array
        (frame, row, column) or (frame, plane, row, column) labels that they
        were made from.
    folder : Path
        Made here: ``mask000.tif``, … and ``res_track.txt`` with one line per
        track: number, first frame, last frame, parent track or 0.

    Raises
    ------
    TrackError
        If a number does not fit into 16 bits.
    OSError
        If the folder exists or cannot be written.
    """
    most = int(tracks.ids.max(initial=0))
    if most > MOST_TRACKS:
        raise TrackError(
            f'Track {most} does not fit into the 16 bits of this format.'
        )
    folder.mkdir()
    digits = max(3, len(str(labels.shape[0] - 1)))
    for frame in range(labels.shape[0]):
        pixels = tracks.relabelled(frame, np.asarray(labels[frame]))
        tifffile.imwrite(
            folder / f'mask{frame:0{digits}d}.tif',
            pixels.astype(np.uint16),
            compression='zlib',
        )
    (folder / TABLE).write_text(''.join(_lines(tracks)), 'utf-8')


def _lines(tracks: Tracks) -> list[str]:
    parents = tracks.parents
    lines = []
    for track in np.unique(tracks.ids).tolist():
        frames = tracks.frames[tracks.members(track)]
        lines.append(
            f'{track} {frames[0]} {frames[-1]} {parents.get(track, 0)}\n'
        )
    return lines


def read_ctc(folder: Path) -> tuple[NDArray[np.uint16], Tracks]:
    """Read a folder of the Cell Tracking Challenge.

    Parameters
    ----------
    folder : Path
        With ``res_track.txt`` or ``man_track.txt`` and one label image per
        frame.

    Returns
    -------
    labels : array
        (frame, …) labels: the number of the track.
    tracks : Tracks
        The tracks, with the numbers of the table.

    Raises
    ------
    TrackError
        If there is no table, or it and the images do not agree.
    OSError
        If a file cannot be read.
    """
    table = next((folder / n for n in TABLES if (folder / n).is_file()), None)
    files = sorted(folder.glob('*.tif'))
    if table is None or not files:
        raise TrackError(
            f'{folder} has no {" or ".join(TABLES)} with label images beside '
            'it.'
        )
    labels = np.stack([tifffile.imread(file) for file in files])
    parents = _read_parents(table)
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


def _read_parents(table: Path) -> dict[int, int]:
    parents = {}
    for number, line in enumerate(table.read_text('utf-8').splitlines(), 1):
        if not line.strip():
            continue
        try:
            track, _, _, parent = (int(part) for part in line.split())
        except ValueError:
            raise TrackError(
                f'{table.name}, line {number}: “{line[:40]}” is not four '
                'whole numbers.'
            ) from None
        parents[track] = parent
    return parents


def _previous(
    labels: NDArray[np.int64], parents: dict[int, int]
) -> NDArray[np.int64]:
    """Index of the object before each one, of its track or its parent's."""
    last: dict[int, int] = {}
    previous = np.full(len(labels), -1)
    for index, label in enumerate(labels.tolist()):
        previous[index] = last.get(label, last.get(parents[label], -1))
        last[label] = index
    return previous
