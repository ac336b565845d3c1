"""Save the tracks of a series with its labels, and read them again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
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
from napari_mobilesam.session.runtime.worker import (
    LatestWorker,
    SupersededError,
)
from napari_mobilesam.session.series.rescued import rescued_tracks
from napari_mobilesam.session.track.tracked_labels import (
    TrackResult,
    tracks_of_pixels,
)
from napari_mobilesam.text import explain
from napari_mobilesam.tracking.tracks import TrackError
from napari_mobilesam.types import SegmentationError

# column of the table: whether the labels were edited after tracking
EDITED = 'labels_edited'
# start of the names of tracks that are set aside
REMOVED = 'removed-'
# kind of the job that reads tracks
READ = 'read tracks'


class TracksSaving:
    """Save and read tracks on a thread, which no other file waits for.

    If the folder of the labels cannot be written to, tracks are saved in the
    user's folder, and read from there.

    Parameters
    ----------
    services : Services
        Services, which deliver signals to the main thread.
    lock : Lock
        Held while records are read or written.

    Attributes
    ----------
    found : Signal(Series, int, TrackResult)
        Answer to `ask`, for an image that has tracks.
    failed : Signal(str)
        Tracks could not be saved or read.
    """

    found = Signal(object, int, object)
    failed = Signal(str)

    def __init__(self, services: Services, lock: threading.Lock) -> None:
        self._deliver = services.deliver
        self._lock = lock
        self._files = LatestWorker('napari-mobilesam-tracks')

    def wait(self, timeout: float | None = None) -> bool:
        """Block until files are read and written; return False on timeout."""
        return self._files.wait(timeout)

    def close(self) -> None:
        """Finish saving, and end the thread."""
        self._files.discard(READ)
        self._files.wait()
        self._files.close()

    def save(
        self,
        series: Series,
        number: int,
        kept: TrackResult,
        edited: threading.Event | None = None,
    ) -> None:
        """Save tracks of an image, in place of others.

        Parameters
        ----------
        series : Series
            The series.
        number : int
            Number of the image.
        kept : TrackResult
            Its tracks.
        edited : Event, optional
            Set when they are edited: what is half written is then discarded,
            and they must be saved again.
        """
        edited = edited or threading.Event()
        self._files.submit(
            f'save tracks {number}',
            lambda: self._save(series, number, kept, edited),
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
            _set_aside(places)

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
            places = _places(entry)
            path = next((p for p in places[::-1] if p.exists()), None)
            if path is None:
                return
            try:
                with self._lock:
                    replaced = entry.tracks_replaced
                    unread = entry.labels_state is None and entry.labelled
                if replaced and unread:
                    # perhaps those that were tracked, once they can be read
                    return
                if replaced:
                    names = _set_aside(places)
                    kept = f'kept as {names[-1]}, and ' if names else ''
                    self._tell(
                        f'The labels of {entry.name} are not those that were '
                        f'tracked: its tracks are {kept}not shown. Track '
                        'again.'
                    )
                    return
                found = read_tracks(path, tuple(shape))
            except Exception as error:  # noqa: BLE001 - told to the user
                self._tell(f'The tracks of {entry.name}: {explain(error)}')
                return
            self._deliver(lambda: self.found.emit(series, number, found))

        self._files.submit(READ, work)

    # below: on the thread

    def _tell(self, text: str) -> None:
        self._deliver(lambda: self.failed.emit(text))

    def _save(
        self,
        series: Series,
        number: int,
        kept: TrackResult,
        edited: threading.Event,
    ) -> None:
        problem: Exception | None = None
        entry = series[number]
        places = _places(entry)
        for path in places:
            try:
                write_tracks(path, kept, edited)
                # without it, old tracks might be shown with other labels
                with contextlib.suppress(SegmentationError), self._lock:
                    series.note_tracks(number)
            except SupersededError:
                return
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


def _set_aside(places: Sequence[Path]) -> list[str]:
    """Rename tracks, replacing none; return the new names of label images."""
    names = []
    for path in places:
        prefixes = (f'{REMOVED}{n}-' if n else REMOVED for n in count())
        free = next(
            prefix
            for prefix in prefixes
            if not path.with_name(f'{prefix}{path.name}').exists()
        )
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f'{free}{path.name}'))
            names.append(f'{free}{path.name}')
            table = _table(path)
            table.replace(table.with_name(f'{free}{table.name}'))
    return names


def _remove(path: Path) -> None:
    for each in (path, _table(path)):
        with contextlib.suppress(OSError):
            each.unlink(missing_ok=True)


def _table(path: Path) -> Path:
    """Return the table of tracks beside their label image."""
    return path.with_suffix('.csv')


def write_tracks(
    path: Path, kept: TrackResult, edited: threading.Event | None = None
) -> None:
    """Write labels with one number per track, and a table of the tracks.

    Parameters
    ----------
    path : Path
        TIFF file to write; the table has the suffix ``.csv``.
    kept : TrackResult
        The tracks.
    edited : Event, optional
        Set when they are edited.

    Raises
    ------
    OSError
        If a file cannot be written.
    SupersededError
        If they were edited in the meantime; an earlier file is kept.
    """
    pixels = kept.pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = 'tyx' if pixels.ndim == 3 else 'tzyx'
    with atomic_path(path, keep_suffix=True) as temporary:
        write_tiff(LabelsWithTable(pixels, axes=axes), temporary)
        if edited is not None and edited.is_set():
            raise SupersededError
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
