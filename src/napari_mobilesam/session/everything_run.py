"""Segment everything in the background, one run at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mobilesam.session.engine import Engine, ImagePlane
from napari_mobilesam.session.messages import (
    EverythingRequest,
    EverythingResult,
)
from napari_mobilesam.session.worker import LatestWorker
from napari_mobilesam.types import EverythingParameters

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

Deliver = Callable[[Callable[[], None]], None]


@dataclass(frozen=True)
class Shared:
    """What a run uses of the session that it belongs to.

    Attributes
    ----------
    worker : LatestWorker
        Thread that the runs are done on.
    engine : Engine
        Models and planes; to be used on that thread only.
    load : callable
        ``load(name, whom)`` returns the model, or None after it has told
        why there is none.
    deliver : callable
        Runs a function on the thread that owns the viewer.
    fail : callable
        ``fail(error, whom)`` tells what went wrong.
    """

    worker: LatestWorker
    engine: Engine
    load: Callable[[str, str], Sam | None]
    deliver: Deliver
    fail: Callable[[BaseException, str], None]


@dataclass
class _Run:
    """The running segment everything, to be cancelled."""

    generation: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)


class EverythingRuns:
    """Runs of segment everything; a new one cancels the one before.

    Parameters
    ----------
    shared : Shared
        What is used of the session.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Prompts done, prompts in all, and a line for people.
    finished : Signal(EverythingResult)
        Labels of a finished or cancelled run.
    """

    progress = Signal(int, int, str)
    finished = Signal(object)

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._run = _Run()

    def start(
        self,
        plane: ImagePlane,
        parameters: EverythingParameters | None,
        model_name: str,
    ) -> int:
        """Find every object of a plane; `finished` brings the answer.

        Returns
        -------
        generation : int
            Number of the run; only the newest is answered.
        """
        self.cancel()
        run = self._run = _Run(self._run.generation + 1)
        request = EverythingRequest(
            run.generation,
            plane,
            parameters or EverythingParameters(),
            model_name,
        )
        self._shared.worker.submit(
            'everything', lambda: self._work(request, run)
        )
        return run.generation

    def cancel(self) -> None:
        """Stop the run after its current step, keeping masks."""
        self._run.cancelled.set()

    def abandon(self) -> None:
        """Stop the run and drop its answer."""
        self.cancel()
        self._run = _Run(self._run.generation + 1)

    # below: on the worker thread

    def _work(self, request: EverythingRequest, run: _Run) -> None:
        from napari_mobilesam.segmentation.everything import (
            segment_everything,
        )

        start = time.perf_counter()
        model = self._shared.load(request.model_name, 'everything')
        if model is None:
            return

        def cancelled() -> bool:
            self._shared.worker.serve('prompts')
            return run.cancelled.is_set()

        def progress(done: int, total: int, message: str) -> None:
            self._tell(run, lambda: self.progress.emit(done, total, message))

        try:
            labels, table = segment_everything(
                self._shared.engine.rgb(request.plane),
                model,
                progress=progress,
                cancelled=cancelled,
                parameters=request.parameters,
            )
        except Exception as error:  # noqa: BLE001
            self._shared.fail(error, 'everything')
            return
        result = EverythingResult(
            request,
            labels,
            table,
            not run.cancelled.is_set(),
            time.perf_counter() - start,
        )
        self._tell(run, lambda: self.finished.emit(result))

    def _tell(self, run: _Run, tell: Callable[[], None]) -> None:
        """Tell something of a run on the viewer's thread, if it is news."""

        def tell_if_current() -> None:
            if run is self._run:
                tell()

        self._shared.deliver(tell_if_current)
