"""Background jobs that report progress; only the newest counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psygnal import Signal

from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
    StoppedError,
)
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.text import explain
from napari_mobilesam.time_left import TimeLeft
from napari_mobilesam.types import Deliver, Progress

# Share of a job before the time left is shown.
LEAST_SHARE = 0.05


class WatchedJobs:
    """Run one job after another; a new job cancels the previous one.

    Parameters
    ----------
    deliver : callable
        Runs a function on the thread that owns the viewer.
    worker : LatestWorker
        Thread of the jobs; `close` ends it.
    kind : str
        Kind of the jobs on the worker.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Parts done, total parts, and a message with the time left.
    finished : Signal(object)
        Result of the newest job.
    stopped : Signal()
        The newest job was cancelled.
    failed : Signal(str)
        Error message of the newest job.
    """

    progress = Signal(int, int, str)
    finished = Signal(object)
    stopped = Signal()
    failed = Signal(str)

    def __init__(
        self, deliver: Deliver, worker: LatestWorker, kind: str
    ) -> None:
        self._deliver = deliver
        self._worker = worker
        self._kind = kind
        self._runs = LatestRun[BackgroundRun](deliver)

    @property
    def running(self) -> bool:
        """True while a job is running."""
        return self._runs.current is not None

    def do(
        self,
        job: Callable[[Progress], Any],
        then: Callable[[Any], None] | None = None,
        run: BackgroundRun | None = None,
    ) -> None:
        """Start a job; one of the signals follows.

        Parameters
        ----------
        job : callable
            ``job(progress)`` returns the result. A cancelled job ends at its
            next progress report, or with any error.
        then : callable, optional
            Takes the result on the viewer's thread, instead of `finished`.
        run : BackgroundRun, optional
            Run of a job that itself checks for cancellation.
        """
        current = self._runs.start(run or BackgroundRun())
        self._worker.submit(
            self._kind,
            lambda: self._work(current, job, then or self.finished.emit),
        )

    def cancel(self) -> None:
        """Stop after the current part."""
        self._runs.cancel()

    def abandon(self) -> None:
        """Stop and drop the result."""
        self._runs.drop()
        self._worker.discard(self._kind)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all work is done; return False on timeout."""
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Abandon the job, and end the thread after files are saved."""
        self.abandon()
        self._worker.close()

    # below: on the thread

    def _work(
        self,
        run: BackgroundRun,
        job: Callable[[Progress], Any],
        then: Callable[[Any], None],
    ) -> None:
        # the steps are small, and of unequal cost
        time_left = TimeLeft(recent=None, least_share=LEAST_SHARE)

        def tell(done: int, total: int, message: str) -> None:
            if run.cancelled.is_set():
                raise StoppedError
            text = f'{message}{time_left.text(done, total)}'
            self._runs.tell(run, self.progress.emit, done, total, text)

        try:
            result = job(tell)
        except BaseException as error:  # noqa: BLE001 - SystemExit, too
            if run.cancelled.is_set() or isinstance(error, StoppedError):
                self._runs.finish(run, self.stopped.emit)
                return
            self._runs.finish(run, self.failed.emit, explain(error))
        else:
            self._runs.finish(run, then, result)
