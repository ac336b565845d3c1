"""Segment images of any size in the background, kept in a folder."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.worker import LatestWorker

if TYPE_CHECKING:
    from napari_mobilesam.large.io.interfaces import Source
    from napari_mobilesam.large.large_plan import LargeParameters, LargePlan
    from napari_mobilesam.large.results import LargeResult, TileFound
    from napari_mobilesam.model.sam import Sam


@dataclass(frozen=True, eq=False)
class LargeRequest:
    """One run on a large image.

    Attributes
    ----------
    source : Source
        The image.
    planes_shape : tuple of int
        Sizes of its axes before rows and columns.
    output : Path
        OME-Zarr for the labels; tiles are kept beside it until it is
        complete.
    parameters : LargeParameters
        Of the run.
    model_name : str
        Model that is to answer.
    """

    source: Source
    planes_shape: tuple[int, ...]
    output: Path
    parameters: LargeParameters
    model_name: str


@dataclass(frozen=True, eq=False)
class LargeAnswer:
    """What became of a run.

    Attributes
    ----------
    request : LargeRequest
        What was asked.
    result : LargeResult
        Labels on disk, table, and what failed.
    seconds : float
        How long it took.
    """

    request: LargeRequest
    result: LargeResult
    seconds: float


@dataclass(eq=False)
class _LargeRun:
    request: LargeRequest
    cancelled: threading.Event = field(default_factory=threading.Event)


class LargeRuns:
    """Runs on large images, one at a time, on a thread of their own.

    Prompts are answered meanwhile.

    Parameters
    ----------
    shared : Services
        What is used of the session.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Tiles done, tiles in all, and a line for people.
    began : Signal(list)
        Levels of the picture that shows what is found, finest first.
    changed : Signal()
        The picture shows more.
    finished : Signal(LargeAnswer)
        The run is complete, or was cancelled.
    """

    progress = Signal(int, int, str)
    began = Signal(list)
    changed = Signal()
    finished = Signal(object)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._worker = LatestWorker('napari-mobilesam-large')
        self._run: _LargeRun | None = None

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    def start(self, request: LargeRequest) -> None:
        """Begin a run, or go on with the one whose tiles are kept."""
        self.abandon()
        run = self._run = _LargeRun(request)
        # the session's models belong to its worker thread
        self._services.worker.submit('large', lambda: self._load(run))

    def cancel(self) -> None:
        """End after the tiles at work; what is done is kept and labelled."""
        if self._run is not None:
            self._run.cancelled.set()

    def abandon(self) -> None:
        """End after the tiles at work, and tell nobody."""
        self._services.worker.discard('large')
        self.cancel()
        self._run = None

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing runs; False on time-out."""
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Abandon the run and end the thread."""
        self.abandon()
        self._worker.close()

    # below: on the session's worker thread, then on that of the run

    def _load(self, run: _LargeRun) -> None:
        if run is not self._run:
            return
        model = self._services.load(run.request.model_name, 'everything')
        if model is None:
            self._tell(run, self._forget)
            return
        self._worker.submit('run', lambda: self._work(run, model))

    def _work(self, run: _LargeRun, model: Sam) -> None:
        if run is not self._run:
            return
        start = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory(
                prefix='napari-mobilesam-', ignore_cleanup_errors=True
            ) as folder:
                result = self._segment(run, model, Path(folder))
        except Exception as error:  # noqa: BLE001 - every failure is told
            failure = error

            def fail() -> None:
                self._forget()
                self._services.fail(failure, 'everything')

            self._tell(run, fail)
            return
        answer = LargeAnswer(run.request, result, time.perf_counter() - start)

        def finish() -> None:
            self._forget()
            self.finished.emit(answer)

        self._tell(run, finish)

    def _segment(
        self, run: _LargeRun, model: Sam, folder: Path
    ) -> LargeResult:
        from napari_mobilesam.large.live import LivePicture
        from napari_mobilesam.large.pipeline import segment_large
        from napari_mobilesam.large.time_left import TimeLeft
        from napari_mobilesam.segmentation.estimate import duration

        request = run.request
        picture = LivePicture(
            folder, request.planes_shape, request.source.shape
        )
        time_left = TimeLeft()

        def on_plan(plan: LargePlan) -> None:
            self._tell(run, lambda: self.began.emit(picture.levels))

        def on_tile(found: TileFound) -> None:
            if found.masks and not run.cancelled.is_set():
                picture.paint(found)
                self._tell(run, self.changed.emit)

        def progress(done: int, total: int, message: str) -> None:
            seconds = time_left(done, total)
            if seconds is not None and done < total:
                message = f'{message}, about {duration(seconds)} left'
            self._tell(run, lambda: self.progress.emit(done, total, message))

        return segment_large(
            request.source,
            request.output,
            model,
            parameters=request.parameters,
            progress=progress,
            cancelled=run.cancelled.is_set,
            on_plan=on_plan,
            on_tile=on_tile,
        )

    def _forget(self) -> None:
        self._run = None

    def _tell(self, run: _LargeRun, tell: Callable[[], Any]) -> None:
        def tell_if_current() -> None:
            if run is self._run:
                tell()

        self._services.deliver(tell_if_current)
