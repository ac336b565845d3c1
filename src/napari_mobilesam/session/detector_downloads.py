"""Downloads of the weights of detectors, on a thread of their own."""

from __future__ import annotations

from psygnal import Signal

from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
)
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import Deliver, Progress


class DetectorDownloads:
    """Downloads detectors on request, one at a time.

    Parameters
    ----------
    deliver : callable
        Runs a function on the thread that owns the viewer.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Bytes done, bytes in total, and a message.
    finished : Signal(str)
        Name of a detector that was downloaded.
    stopped : Signal()
        The download was cancelled; finished files are kept.
    failed : Signal(str)
        Error message.
    """

    progress = Signal(int, int, str)
    finished = Signal(str)
    stopped = Signal()
    failed = Signal(str)

    def __init__(self, deliver: Deliver) -> None:
        self._worker = LatestWorker('napari-mobilesam-detectors')
        self._runs: LatestRun[BackgroundRun] = LatestRun(deliver)

    @property
    def running(self) -> bool:
        """True while a detector is being downloaded."""
        return self._runs.current is not None

    def start(self, name: str) -> None:
        """Download a detector; `finished` or `failed` follows."""
        run = self._runs.start(BackgroundRun())
        self._worker.submit('download', lambda: self._work(run, name))

    def cancel(self) -> None:
        """Stop the download."""
        self._runs.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is downloaded; False on time-out."""
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Stop, drop the answer and end the thread."""
        self._runs.drop()
        self._worker.close()

    # below: on the thread

    def _work(self, run: BackgroundRun, name: str) -> None:
        from napari_mobilesam.model.text_detectors import download_detector

        def job(progress: Progress) -> str:
            download_detector(name, progress)
            return name

        self._runs.attempt(
            run,
            job,
            progress=self.progress.emit,
            finished=self.finished.emit,
            stopped=self.stopped.emit,
            failed=self.failed.emit,
        )
