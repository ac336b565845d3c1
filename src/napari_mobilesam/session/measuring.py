"""Measurement of the objects of labels in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from psygnal import Signal

from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
)
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import Deliver, Progress


@dataclass(frozen=True, eq=False)
class MeasureRequest:
    """Request of a measurement; see `measure_objects`.

    Attributes
    ----------
    labels, image : array
        Labels, and intensities or None.
    scale : tuple of float or None
        Size of a pixel along each axis of the labels.
    units : str or None
        Unit of the scale.
    channels : sequence of str or None
        Names of the channels of the image.
    volumes : bool
        Whether objects of a stack are measured in 3-D.
    owner : object
        Handed back with the table.
    """

    labels: Any
    image: Any = None
    scale: tuple[float, ...] | None = None
    units: str | None = None
    channels: Sequence[str] | None = None
    volumes: bool = False
    owner: Any = None


class Measuring:
    """Measures objects on a thread of its own; the newest request wins.

    Parameters
    ----------
    deliver : callable
        Runs a function on the thread that owns the viewer.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Parts done, parts in all, and a message.
    finished : Signal(MeasureRequest, DataFrame)
        The table of the newest request.
    stopped : Signal()
        The newest request was cancelled.
    failed : Signal(str)
        Error message of the newest request.
    """

    progress = Signal(int, int, str)
    finished = Signal(object, object)
    stopped = Signal()
    failed = Signal(str)

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._worker = LatestWorker('napari-mobilesam-measuring')
        self._runs: LatestRun[BackgroundRun] = LatestRun(deliver)

    @property
    def running(self) -> bool:
        """True if objects are being measured."""
        return self._runs.current is not None

    def start(self, request: MeasureRequest) -> None:
        """Measure objects; `finished` brings the table."""
        run = self._runs.start(BackgroundRun())
        self._worker.submit('measure', lambda: self._work(run, request))

    def cancel(self) -> None:
        """Stop after the current part."""
        self._runs.cancel()

    def apart(self, job: Callable[[], Callable[[], None]]) -> None:
        """Run a function on the thread, and what it returns on the viewer's.

        The newest function replaces one that waits.
        """
        self._worker.submit('apart', lambda: self._deliver(job()))

    def save(self, job: Callable[[], Callable[[], None]]) -> None:
        """Do the same with a function that writes a file: each is run."""
        self._worker.keep(lambda: self._deliver(job()))

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is measured; False on time-out."""
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Stop, drop the answer, and end the thread after files are saved."""
        self._runs.drop()
        self._worker.close()

    # below: on the thread

    def _work(self, run: BackgroundRun, request: MeasureRequest) -> None:
        from napari_mobilesam.measure.object_table import measure_objects

        def job(progress: Progress) -> Any:
            return measure_objects(
                request.labels,
                request.image,
                scale=request.scale,
                units=request.units,
                channels=request.channels,
                volumes=request.volumes,
                progress=progress,
            )

        self._runs.attempt(
            run,
            job,
            progress=self.progress.emit,
            finished=lambda table: self.finished.emit(request, table),
            stopped=self.stopped.emit,
            failed=self.failed.emit,
        )
