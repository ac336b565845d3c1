"""Open a series in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from psygnal import Signal

from napari_mobilesam.series.series import Series
from napari_mobilesam.session.runtime.watched_jobs import WatchedJobs
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.session.series.last_series import LastSeries
from napari_mobilesam.text import counted
from napari_mobilesam.types import Deliver, Progress

THREAD = 'napari-mobilesam-opening'


@dataclass(frozen=True)
class OpenedSeries:
    """A series, and what it was opened with.

    Attributes
    ----------
    series : Series
        The series.
    source : LastSeries
        Files and folders, and the image to open first.
    missing : tuple of str
        Files of a resumed series that are not there any more.
    """

    series: Series
    source: LastSeries
    missing: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """End of a sentence about missing files; empty if there are none."""
        if not self.missing:
            return ''
        count = counted(len(self.missing), 'file')
        return (
            f'. {count} of the last session not found: {self.missing[0]} is '
            'missing.'
        )


class SeriesOpening(WatchedJobs):
    """Open series on a separate thread; the newest request wins.

    Parameters
    ----------
    deliver : callable
        Runs a function on the thread that owns the viewer.

    Attributes
    ----------
    started : Signal()
        A request was made, perhaps instead of another one.
    """

    started = Signal()

    def __init__(self, deliver: Deliver) -> None:
        super().__init__(deliver, LatestWorker(THREAD), 'open')

    def start(
        self,
        source: LastSeries,
        then: Callable[[OpenedSeries], None],
        resume: bool = False,
    ) -> None:
        """Open a series.

        Parameters
        ----------
        source : LastSeries
            What to open.
        then : callable
            Takes the series on the viewer's thread.
        resume : bool
            Whether to leave out files that are not there any more.
        """
        # a disk that does not answer must not delay another folder
        self.close()
        self._worker = LatestWorker(THREAD)
        self.do(lambda progress: _open(source, resume, progress), then)
        self.started.emit()


def _open(
    source: LastSeries, resume: bool, progress: Progress
) -> OpenedSeries:
    missing: tuple[str, ...] = ()
    if resume:
        exists = [Path(path).exists() for path in source.images]
        # a moved file must not keep the others closed
        if any(exists):
            pairs = list(zip(source.images, exists, strict=True))
            missing = tuple(path for path, there in pairs if not there)
            source = replace(
                source, images=tuple(path for path, there in pairs if there)
            )
    series = Series.open(
        source.images, source.output or None, source.names, progress
    )
    return OpenedSeries(series, source, missing)
