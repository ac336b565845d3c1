"""Runs on images of any size, with results on disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mobilesam.large.journal import JournalError
from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
    StoppedError,
)
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.text import explain
from napari_mobilesam.types import SegmentationError

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
        Sizes of the axes before rows and columns.
    output : Path
        OME-Zarr for the labels; tiles are kept next to it until the run is
        complete.
    parameters : LargeParameters
        Parameters of the run.
    model_name : str
        Name of the model.
    resume : bool
        Continue from the tiles of an unfinished run; False removes them.
    """

    source: Source
    planes_shape: tuple[int, ...]
    output: Path
    parameters: LargeParameters
    model_name: str
    resume: bool = True


@dataclass(frozen=True, eq=False)
class LargeAnswer:
    """Outcome of a run on a large image.

    Attributes
    ----------
    request : LargeRequest
        The request.
    result : LargeResult
        Labels on disk, table, and failed tiles.
    seconds : float
        Duration.
    """

    request: LargeRequest
    result: LargeResult
    seconds: float


@dataclass(eq=False)
class _LargeRun(BackgroundRun):
    request: LargeRequest

    def check(self) -> None:
        """Raise `StoppedError` if the run was cancelled."""
        if self.cancelled.is_set():
            raise StoppedError


class LargeRuns:
    """Runs on large images, one at a time, on a separate thread.

    Prompts are answered meanwhile. Estimates have a thread of their own: one
    that waits for a slow image does not keep a run waiting.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Tiles done, tiles in total, and a message.
    began : Signal(list)
        Pyramid levels of the picture of objects so far, finest first.
    changed : Signal()
        Emitted when the picture has more objects.
    finished : Signal(LargeAnswer)
        The run is complete or was cancelled.
    stopped : Signal()
        The run was cancelled while it was planned.
    conflicting : Signal(LargeRequest, JournalError)
        The unfinished run in the folder is a different one; nothing was done.
    estimated : Signal(str)
        Tiles and time: the answer to the newest `estimate`, or of a run.
    table_read : Signal(Path, DataFrame)
        The answer to `ask_table`: an output, and a row per object.
    """

    progress = Signal(int, int, str)
    began = Signal(list)
    changed = Signal()
    finished = Signal(object)
    stopped = Signal()
    conflicting = Signal(object, object)
    estimated = Signal(str)
    table_read = Signal(object, object)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._models = services.models
        self._worker = LatestWorker('napari-mobilesam-large')
        self._estimator = LatestWorker('napari-mobilesam-large-estimate')
        self._runs = LatestRun[_LargeRun](services.deliver)
        self._estimates = LatestRun[_LargeRun](services.deliver)
        # what the diameter was measured for last, and the diameter
        self._measured: tuple[Hashable, float | None] = (None, None)
        # what was described last, and the description
        self._text: tuple[Hashable, str] = (None, '')

    @property
    def running(self) -> bool:
        """True if a run is in progress."""
        return self._runs.current is not None

    def start(self, request: LargeRequest) -> None:
        """Start a run, or resume one whose tiles were kept."""
        self.abandon()
        self.forget_estimate()
        run = self._runs.start(_LargeRun(request))
        # models of the session are loaded on its worker thread
        self._services.worker.submit('large', lambda: self._load(run))

    def estimate(self, request: LargeRequest) -> None:
        """Plan a run in the background; `estimated` describes it."""
        run = self._estimates.start(_LargeRun(request))
        self._services.worker.submit(
            'large estimate', lambda: self._prepare_estimate(run), rank=1
        )

    def forget_estimate(self) -> None:
        """Stop the newest `estimate` at its next step, without an answer."""
        self._services.worker.discard('large estimate')
        self._estimator.discard('estimate')
        self._estimates.drop()

    def ask_table(self, output: Path) -> None:
        """Read the table of finished labels; `table_read` emits it.

        Nothing is emitted if there is none, as in those of old versions.
        """

        def work() -> None:
            from napari_mobilesam.large.erase import finish_interrupted
            from napari_mobilesam.large.io.object_columns import (
                first_rows,
                read_objects,
            )

            try:
                finish_interrupted(output)
            except (OSError, SegmentationError) as error:
                fail = partial(self._models.fail, error, 'everything')
                # they can be shown, if perhaps without parts of some objects
                self._services.deliver(fail)
            table = read_objects(output)
            if table is not None:
                rows = first_rows(table)
                self._services.deliver(
                    lambda: self.table_read.emit(output, rows)
                )

        self._worker.submit('table', work)

    def cancel(self) -> None:
        """Stop after the current tiles; finished ones are kept and painted."""
        self._runs.cancel()

    def abandon(self) -> None:
        """Stop after the current tiles and drop the result."""
        self._services.worker.discard('large')
        self._runs.drop()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing runs; return False on timeout."""
        return self._worker.wait(timeout) and self._estimator.wait(timeout)

    def close(self) -> None:
        """Abandon the run and end the thread."""
        self.abandon()
        self.forget_estimate()
        self._worker.close()
        self._estimator.close()

    # below: on the session's worker thread, then on that of estimate or run

    def _prepare_estimate(self, run: _LargeRun) -> None:
        if run is not self._estimates.current:
            return
        model = self._models.load(run.request.model_name, 'everything')
        if model is not None:
            self._estimator.submit(
                'estimate', lambda: self._estimate(run, model)
            )

    def _estimate(self, run: _LargeRun, model: Sam) -> None:
        if run is not self._estimates.current:
            return
        try:
            key, plan = self._plan(run, model)
            text = self._described(run, key, plan, model)
        except StoppedError:
            return
        except Exception as error:  # noqa: BLE001 - shown where it would be
            text = explain(error)
        self._estimates.finish(run, self.estimated.emit, text)

    def _plan(self, run: _LargeRun, model: Sam) -> tuple[Hashable, LargePlan]:
        """Return a plan and its key; its diameter is measured only once."""
        from napari_mobilesam.large.large_plan import make_plan

        source, parameters = run.request.source, run.request.parameters
        key = (source.fingerprint(), parameters, model.key)
        known, diameter = self._measured
        diameter = diameter if known == key else None
        plan = make_plan(source, model, parameters, diameter, run.check)
        self._measured = key, plan.diameter
        return key, plan

    def _described(
        self, run: _LargeRun, key: Hashable, plan: LargePlan, model: Sam
    ) -> str:
        """Describe a plan; a run does not read the sample again."""
        from napari_mobilesam.large.executors import available_cores
        from napari_mobilesam.large.large_estimate import describe_run

        known, text = self._text
        if known != key:
            text = describe_run(plan, model, available_cores(), run.check)
            self._text = key, text
        return text

    def _load(self, run: _LargeRun) -> None:
        if run is not self._runs.current:
            return
        model = self._models.load(run.request.model_name, 'everything')
        if model is None:
            self._runs.finish(run, lambda: None)
            return
        self._worker.submit('run', lambda: self._work(run, model))

    def _work(self, run: _LargeRun, model: Sam) -> None:
        if run is not self._runs.current:
            return
        start = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory(
                prefix='napari-mobilesam-', ignore_cleanup_errors=True
            ) as folder:
                result = self._segment(run, model, Path(folder))
        except StoppedError:
            self._runs.finish(run, self.stopped.emit)
            return
        except JournalError as error:
            self._runs.finish(run, self.conflicting.emit, run.request, error)
            return
        except BaseException as error:  # noqa: BLE001 - SystemExit, too
            self._runs.finish(run, self._models.fail, error, 'everything')
            return
        answer = LargeAnswer(run.request, result, time.perf_counter() - start)
        self._runs.finish(run, self.finished.emit, answer)

    def _segment(
        self, run: _LargeRun, model: Sam, folder: Path
    ) -> LargeResult:
        from napari_mobilesam.large.live import LivePicture
        from napari_mobilesam.large.pipeline import segment_large
        from napari_mobilesam.time_left import TimeLeft

        request = run.request
        picture = LivePicture(
            folder, request.planes_shape, request.source.shape
        )
        time_left = TimeLeft()

        def on_plan(plan: LargePlan) -> None:
            self._runs.tell(run, self.began.emit, picture.levels)

        def on_tile(found: TileFound) -> None:
            if found.masks and not run.cancelled.is_set():
                picture.paint(found)
                self._runs.tell(run, self.changed.emit)

        def progress(done: int, total: int, message: str) -> None:
            message = f'{message}{time_left.text(done, total)}'
            self._runs.tell(run, self.progress.emit, done, total, message)

        key, plan = self._plan(run, model)
        # an estimate that was still under way was stopped
        text = self._described(run, key, plan, model)
        self._runs.tell(run, self.estimated.emit, text)
        return segment_large(
            request.source,
            request.output,
            model,
            parameters=request.parameters,
            progress=progress,
            cancelled=run.cancelled.is_set,
            on_plan=on_plan,
            on_tile=on_tile,
            resume=request.resume,
            plan=plan,
        )
