"""Save the tracks of a series with its labels, and read them again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from psygnal import Signal

from napari_mobilesam.export.exported import LabelsWithTable
from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.export.label_images import write_tiff
from napari_mobilesam.files import atomic_path
from napari_mobilesam.large.io.tables import read_table, write_table
from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_entry import SeriesEntry
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.session.series.rescued import rescued_tracks
from napari_mobilesam.session.track.tracked_labels import (
    TrackResult,
    tracks_of_pixels,
)
from napari_mobilesam.text import explain
from napari_mobilesam.tracking.tracks import TrackError

# column of the table: whether the labels were edited after tracking
EDITED = 'labels_edited'


class TracksSaving:
    """Save and read tracks on the thread of the files of a series.

    If the folder of the labels cannot be written to, tracks are saved in the
    user's folder, and read from there.

    Parameters
    ----------
    services : Services
        Services, which deliver signals to the main thread.
    files : LatestWorker
        Thread that reads and writes the files of the series.

    Attributes
    ----------
    found : Signal(Series, int, TrackResult)
        Answer to `ask`, for an image that has tracks.
    failed : Signal(str)
        Tracks could not be saved or read.
    """

    found = Signal(object, int, object)
    failed = Signal(str)

    def __init__(self, services: Services, files: LatestWorker) -> None:
        self._deliver = services.deliver
        self._files = files

    def save(self, series: Series, number: int, kept: TrackResult) -> None:
        """Save tracks of an image, which nobody changes, in place of others.

        Parameters
        ----------
        series : Series
            The series.
        number : int
            Number of the image.
        kept : TrackResult
            Its tracks.
        """
        entry = series[number]
        self._files.submit(
            f'save tracks {number}', lambda: self._save(entry, kept)
        )

    def set_aside(self, series: Series, number: int) -> None:
        """Rename the files of tracks of an image, so that `ask` finds none.

        Parameters
        ----------
        series : Series
            The series.
        number : int
            Number of the image.
        """
        places = _places(series[number])

        def work() -> None:
            for path in places:
                for each in (path, _table(path)):
                    with contextlib.suppress(OSError):
                        each.replace(each.with_name(f'removed-{each.name}'))

        # instead of a waiting save
        self._files.submit(f'save tracks {number}', work)

    def ask(self, series: Series, number: int, shape: Sequence[int]) -> None:
        """Read the tracks of an image; `found` emits them, if there are any.

        Parameters
        ----------
        series : Series
            The series.
        number : int
            Number of the image.
        shape : sequence of int
            Shape of its labels.
        """
        entry = series[number]

        def work() -> None:
            path = next((p for p in _places(entry)[::-1] if p.exists()), None)
            if path is None:
                return
            try:
                found = read_tracks(path, tuple(shape))
            except Exception as error:  # noqa: BLE001 - told to the user
                self._tell(f'The tracks of {entry.name}: {explain(error)}')
                return
            self._deliver(lambda: self.found.emit(series, number, found))

        self._files.submit('read tracks', work)

    # below: on the thread

    def _tell(self, text: str) -> None:
        self._deliver(lambda: self.failed.emit(text))

    def _save(self, entry: SeriesEntry, kept: TrackResult) -> None:
        problem: Exception | None = None
        places = _places(entry)
        for path in places:
            try:
                write_tracks(path, kept)
            except Exception as error:  # noqa: BLE001 - told to the user
                problem = problem or error
                continue
            for other in places:
                if other != path:
                    _remove(other)
            if problem is not None:
                self._tell(
                    f'{explain(problem)} The tracks of {entry.name} are saved '
                    f'to {path} instead, and come back with the image.'
                )
            return
        assert problem is not None
        self._tell(
            f'{explain(problem)} The tracks of {entry.name} are not saved: '
            'export them in the Track dock before you open another image.'
        )


def _places(entry: SeriesEntry) -> list[Path]:
    """Return the files for the tracks of an image, the proper one first.

    A later one exists only if it was written last.
    """
    return [entry.tracks, *rescued_tracks(entry.tracks)]


def _remove(path: Path) -> None:
    for each in (path, _table(path)):
        with contextlib.suppress(OSError):
            each.unlink(missing_ok=True)


def _table(path: Path) -> Path:
    """Return the table of tracks beside their label image."""
    return path.with_suffix('.csv')


def write_tracks(path: Path, kept: TrackResult) -> None:
    """Write labels with one number per track, and a table of the tracks.

    Parameters
    ----------
    path : Path
        TIFF file to write; the table has the suffix ``.csv``.
    kept : TrackResult
        The tracks.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    pixels = kept.pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = 'tyx' if pixels.ndim == 3 else 'tzyx'
    with atomic_path(path, keep_suffix=True) as temporary:
        write_tiff(LabelsWithTable(pixels, axes=axes), temporary)
    table = kept.tracks.table()
    table[EDITED] = int(kept.edited)
    write_table(table, _table(path))


def read_tracks(path: Path, shape: tuple[int, ...]) -> TrackResult:
    """Read what `write_tracks` has written.

    Objects without a row, as after an interrupted write, are kept.

    Parameters
    ----------
    path : Path
        TIFF file.
    shape : tuple of int
        Shape of the labels that were tracked.

    Raises
    ------
    OSError, SegmentationError
        If a file is missing, unreadable, or of labels of another shape.
    """
    pixels = np.asarray(read_labels(path).labels[...])
    if pixels.size != np.prod(shape):
        raise TrackError(
            f'{path} has the shape {pixels.shape}, but the labels have '
            f'{shape}: the file is kept until you track them.'
        )
    table = read_table(_table(path))
    rows = table[['frame', 'track', 'label', 'parent']].to_numpy(np.int64)
    labels: dict[tuple[int, int], int] = {}
    parents: dict[int, int] = {}
    for frame, track, label, parent in rows.tolist():
        labels[frame, track] = label
        if parent:
            parents[track] = parent
    found = tracks_of_pixels(pixels.reshape(shape), labels, parents)
    edited = EDITED in table and bool(table[EDITED].any())
    return replace(found, edited=edited)
