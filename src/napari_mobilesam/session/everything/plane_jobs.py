"""What else can be made of all prompts: estimates, edges, boxes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from psygnal import Signal

from napari_mobilesam.segmentation.cost_history import CostHistory
from napari_mobilesam.session.everything.everything_messages import PlaneTask
from napari_mobilesam.session.everything.pace import what_of
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.types import EverythingParameters, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.estimate import Estimate


@dataclass(frozen=True, eq=False)
class JobResult:
    """Answer to a job.

    Attributes
    ----------
    number : int
        Number of the job.
    value : object
        What was asked for: an array or a table, see `PlaneJobs`.
    complete : bool
        False if it was cancelled: what was found until then is kept.
    seconds : float
        How long it took.
    """

    number: int
    value: Any
    complete: bool
    seconds: float


class _Work(Protocol):
    """What a job does on the worker thread."""

    def __call__(
        self,
        rgb: NDArray[np.uint8],
        model: Sam,
        *,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> Any: ...


class PlaneJobs:
    """Jobs on one plane, one at a time; a new one cancels the one before.

    Parameters
    ----------
    shared : Services
        What is used of the session.
    experience : CostHistory
        What earlier runs have cost.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Steps done, steps in all, and a line for people.
    finished : Signal(JobResult)
        Answer to the newest job.
    estimated : Signal(Estimate)
        Answer to the newest `estimate`.
    """

    progress = Signal(int, int, str)
    finished = Signal(object)
    estimated = Signal(object)

    def __init__(self, services: Services, experience: CostHistory) -> None:
        self._services = services
        self._experience = experience
        self._number = 0
        self._asked = 0
        self._cancelled = threading.Event()

    def estimate(
        self,
        tasks: Sequence[PlaneTask],
        parameters: EverythingParameters,
        model_name: str,
    ) -> None:
        """Ask what a run would cost; `estimated` tells.

        The speed of this machine is measured once and remembered; runs since
        then tell how busy it is, and how many prompts are needed.

        Parameters
        ----------
        tasks : sequence of PlaneTask
            Planes of the run; the first one stands for all that have the
            same region.
        parameters : EverythingParameters
            Parameters of the run.
        model_name : str
            Model of the run.
        """
        self._asked += 1
        asked, planes = self._asked, tuple(tasks)
        self._services.worker.submit(
            'estimate',
            lambda: self._estimate(asked, planes, parameters, model_name),
            rank=1,
        )

    def forget_estimate(self) -> None:
        """Drop the answer to the newest `estimate`."""
        self._asked += 1
        self._services.worker.discard('estimate')

    def edges(
        self,
        task: PlaneTask,
        parameters: EverythingParameters,
        model_name: str,
    ) -> int:
        """Find the edges of a plane: (H, W) float32; see `edge_map`."""

        def work(rgb: Any, model: Sam, **hooks: Any) -> Any:
            from napari_mobilesam.segmentation.edges import edge_map

            return edge_map(
                rgb, model, region=task.region, parameters=parameters, **hooks
            )

        return self._start(task, model_name, work)

    def proposals(
        self,
        task: PlaneTask,
        parameters: EverythingParameters,
        model_name: str,
    ) -> int:
        """Find boxes that may hold objects; see `object_proposals`."""

        def work(rgb: Any, model: Sam, **hooks: Any) -> Any:
            from napari_mobilesam.segmentation.proposals import (
                object_proposals,
            )

            return object_proposals(
                rgb,
                model,
                points_per_side=2 * parameters.points_per_side,
                parameters=parameters,
                region=task.region,
                **hooks,
            )

        return self._start(task, model_name, work)

    def boxes(self, task: PlaneTask, boxes: Any, model_name: str) -> int:
        """Segment the object in each box; see `segment_boxes`.

        Parameters
        ----------
        task : PlaneTask
            The plane.
        boxes : ndarray
            (N, 4) row0, column0, row1, column1 in data pixels.
        model_name : str
            Model that answers.
        """

        def work(rgb: Any, model: Sam, **hooks: Any) -> Any:
            from napari_mobilesam.segmentation.proposals import segment_boxes

            return segment_boxes(rgb, model, boxes, **hooks)

        return self._start(task, model_name, work)

    def cancel(self) -> None:
        """Stop the job after its current step, keeping what was found."""
        self._cancelled.set()

    def abandon(self) -> None:
        """Stop the job and drop its answer."""
        self.cancel()
        self._number += 1
        self._services.worker.discard('job')
        self.forget_estimate()

    def _start(self, task: PlaneTask, model_name: str, work: _Work) -> int:
        self.cancel()
        self._number += 1
        number = self._number
        cancelled = self._cancelled = threading.Event()
        self._services.worker.submit(
            'job', lambda: self._do(number, task, model_name, work, cancelled)
        )
        return number

    # below: on the worker thread

    def _estimate(
        self,
        asked: int,
        tasks: Sequence[PlaneTask],
        parameters: EverythingParameters,
        model_name: str,
    ) -> None:
        from napari_mobilesam.segmentation.estimate import (
            estimate_run,
            measure_speed,
        )

        model = self._services.load(model_name, 'everything')
        if model is None or asked != self._asked:
            return
        try:
            speed = measure_speed(model)
            first = tasks[0]
            one = estimate_run(
                first.plane.shape,
                model.record,
                parameters,
                speed,
                first.region,
                skip=None if first.skip is None else first.skip(),
                diameter=self._services.engine.diameter(first.plane),
                experience=self._experience,
                what=what_of(first, parameters),
            )
        except Exception as error:  # noqa: BLE001 - every failure is told
            self._services.fail(error, 'everything')
            return
        estimate = _times(one, len(tasks))
        self._services.deliver(lambda: self._show_estimate(asked, estimate))

    def _show_estimate(self, asked: int, estimate: Estimate) -> None:
        if asked == self._asked:
            self.estimated.emit(estimate)

    def _do(
        self,
        number: int,
        task: PlaneTask,
        model_name: str,
        work: _Work,
        cancelled: threading.Event,
    ) -> None:
        start = time.perf_counter()
        model = self._services.load(model_name, 'everything')
        if model is None:
            return

        def stop() -> bool:
            self._services.worker.serve('prompts')
            return cancelled.is_set()

        def progress(done: int, total: int, message: str) -> None:
            self._tell(
                number, lambda: self.progress.emit(done, total, message)
            )

        try:
            rgb = self._services.engine.rgb(task.plane)
            value = work(rgb, model, progress=progress, cancelled=stop)
        except Exception as error:  # noqa: BLE001 - every failure is told
            failure = error
            self._tell(
                number, lambda: self._services.fail(failure, 'everything')
            )
            return
        result = JobResult(
            number, value, not cancelled.is_set(), time.perf_counter() - start
        )
        self._tell(number, lambda: self.finished.emit(result))

    def _tell(self, number: int, tell: Callable[[], None]) -> None:
        def tell_if_current() -> None:
            if number == self._number:
                tell()

        self._services.deliver(tell_if_current)


def _times(estimate: Estimate, count: int) -> Estimate:
    return replace(
        estimate,
        prompts=count * estimate.prompts,
        windows=count * estimate.windows,
        seconds=count * estimate.seconds,
    )
