"""Jobs on one plane: estimates, edges, object proposals, boxes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_mobilesam.segmentation.cost_history import CostHistory
from napari_mobilesam.session.everything.everything_messages import PlaneTask
from napari_mobilesam.session.everything.pace import what_of
from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
)
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.worker import (
    SupersededError,
    serve_between,
)
from napari_mobilesam.types import (
    MOST_POINTS_PER_SIDE,
    BlankImageError,
    EverythingParameters,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.estimate import Estimate


@dataclass(frozen=True, eq=False)
class JobResult:
    """Result of a job.

    Attributes
    ----------
    number : int
        Number of the job.
    value : object
        An array or a table, see `PlaneJobs`.
    complete : bool
        False if cancelled; the value is the partial result.
    seconds : float
        Duration.
    """

    number: int
    value: Any
    complete: bool
    seconds: float


class PlaneJobs:
    """Jobs on one plane, one at a time; a new job cancels the previous one.

    Parameters
    ----------
    services : Services
        Worker, engine and messages of the session.
    experience : CostHistory
        Measured cost of earlier runs.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Steps done, steps in total, and a message.
    finished : Signal(JobResult)
        Result of the newest job.
    estimated : Signal(Estimate)
        Answer to the newest `estimate`.
    """

    progress = Signal(int, int, str)
    finished = Signal(object)
    estimated = Signal(object)

    def __init__(self, services: Services, experience: CostHistory) -> None:
        self._services = services
        self._models = services.models
        self._experience = experience
        self._number = 0
        self._jobs = LatestRun[BackgroundRun](services.deliver)
        self._estimates = LatestRun[BackgroundRun](services.deliver)
        # plane whose size was looked for last, and the seconds that took
        self._looked: tuple[Hashable, float] = (None, 0.0)

    def estimate(
        self, tasks: Sequence[PlaneTask], parameters: EverythingParameters
    ) -> None:
        """Estimate the cost of a run; `estimated` emits the result.

        The speed of the machine is measured once. Later runs correct the
        estimate for load and number of prompts.

        Parameters
        ----------
        tasks : sequence of PlaneTask
            Planes of the run; the first one represents all of them.
        parameters : EverythingParameters
            Parameters of the run.
        """
        run, planes = self._estimates.start(BackgroundRun()), tuple(tasks)
        model_name = self._models.name
        self._services.worker.submit(
            'estimate',
            lambda: self._estimate(run, planes, parameters, model_name),
            rank=1,
        )

    def forget_estimate(self) -> None:
        """Drop the answer to the newest `estimate`."""
        self._estimates.drop()
        self._services.worker.discard('estimate')

    def edges(self, task: PlaneTask, parameters: EverythingParameters) -> int:
        """Compute the edges of a plane, (H, W) float32; see `edge_map`."""

        def work(rgb: Any, model: Sam, **hooks: Any) -> Any:
            from napari_mobilesam.segmentation.edges import edge_map

            return edge_map(
                rgb,
                model,
                # half as many as for labels, as in the paper
                points_per_side=max(1, parameters.points_per_side // 2),
                parameters=parameters,
                region=task.region,
                **hooks,
            )

        return self._start(task, work)

    def proposals(
        self, task: PlaneTask, parameters: EverythingParameters
    ) -> int:
        """Compute boxes that may hold objects; see `object_proposals`."""

        def work(rgb: Any, model: Sam, **hooks: Any) -> Any:
            from napari_mobilesam.segmentation.proposals import (
                object_proposals,
            )

            return object_proposals(
                rgb,
                model,
                # twice as many as for labels, as in the paper
                points_per_side=min(
                    2 * parameters.points_per_side, MOST_POINTS_PER_SIDE
                ),
                parameters=parameters,
                region=task.region,
                **hooks,
            )

        return self._start(task, work)

    def boxes(self, task: PlaneTask, boxes: Any) -> int:
        """Segment the object in each box; see `segment_boxes`.

        Parameters
        ----------
        task : PlaneTask
            The plane.
        boxes : ndarray
            (N, 4) row0, column0, row1, column1 in data pixels.
        """

        def work(rgb: Any, model: Sam, **hooks: Any) -> Any:
            from napari_mobilesam.segmentation.box_prompts import segment_boxes

            return segment_boxes(rgb, model, boxes, **hooks)

        return self._start(task, work)

    def cancel(self) -> None:
        """Stop the job after its current step, keeping its result so far."""
        self._jobs.cancel()

    def abandon(self) -> None:
        """Stop the job and drop its result."""
        self._jobs.drop()
        self._services.worker.discard('job')
        self.forget_estimate()

    def _start(self, task: PlaneTask, work: Callable[..., Any]) -> int:
        """Start ``work(rgb, model, *, embedding, progress, cancelled)``."""
        run = self._jobs.start(BackgroundRun())
        self._number += 1
        number, model_name = self._number, self._models.name
        self._services.worker.submit(
            'job', lambda: self._do(run, number, task, model_name, work)
        )
        return number

    # below: on the worker thread

    def _estimate(
        self,
        run: BackgroundRun,
        tasks: Sequence[PlaneTask],
        parameters: EverythingParameters,
        model_name: str,
    ) -> None:
        from napari_mobilesam.segmentation.estimate import estimate_run
        from napari_mobilesam.segmentation.head_sizes import seen_density
        from napari_mobilesam.segmentation.machine_speed import measure_speed

        model = self._models.load(model_name, 'everything')
        if model is None or run is not self._estimates.current:
            return
        try:
            speed = measure_speed(model)
            first = tasks[0]
            # finding sizes embeds what the run will need
            diameter, search = self._timed_diameter(
                run, first, parameters, model
            )
            image = self._services.engine.image(first.plane, model)
            one = estimate_run(
                first.plane.shape,
                model.record,
                parameters,
                speed,
                first.region,
                skip=None if first.skip is None else first.skip(),
                diameter=diameter,
                density=seen_density(image),
                experience=self._experience,
                what=what_of(first, parameters),
                # the first plane represents a stack
                embedded=image.knows if len(tasks) == 1 else None,
            )
        except SupersededError:
            return
        except Exception as error:  # noqa: BLE001 - every failure is reported
            self._models.fail(error, 'everything')
            return
        estimate = _times(one, len(tasks), search)
        self._estimates.tell(run, self.estimated.emit, estimate)

    def _timed_diameter(
        self,
        run: BackgroundRun,
        task: PlaneTask,
        parameters: EverythingParameters,
        model: Sam,
    ) -> tuple[float | None, float]:
        """Diameter for a plane, and the seconds that looking for it takes."""
        if parameters.scale_given:
            return parameters.diameter, 0.0
        between = serve_between(
            self._services.worker, lambda: run is not self._estimates.current
        )
        start, diameter = time.perf_counter(), None
        with contextlib.suppress(BlankImageError):
            diameter = self._services.engine.working_diameter(
                task.plane, parameters, model, between
            )
        seconds = time.perf_counter() - start
        place, before = self._looked
        # immediate if the size is known
        if place == task.plane.place:
            seconds = max(seconds, before)
        self._looked = task.plane.place, seconds
        return diameter, seconds

    def _do(
        self,
        run: BackgroundRun,
        number: int,
        task: PlaneTask,
        model_name: str,
        work: Callable[..., Any],
    ) -> None:
        start = time.perf_counter()
        model = self._models.load(model_name, 'everything')
        if model is None:
            return

        def progress(done: int, total: int, message: str) -> None:
            self._jobs.tell(run, self.progress.emit, done, total, message)

        try:
            engine = self._services.engine
            value = work(
                engine.rgb(task.plane),
                model,
                embedding=engine.image(task.plane, model),
                progress=progress,
                cancelled=self._services.between_steps(run),
            )
        except BaseException as error:  # noqa: BLE001 - SystemExit, too
            self._jobs.finish(run, self._models.fail, error, 'everything')
            return
        result = JobResult(
            number,
            value,
            not run.cancelled.is_set(),
            time.perf_counter() - start,
        )
        self._jobs.finish(run, self.finished.emit, result)


def _times(estimate: Estimate, count: int, search: float) -> Estimate:
    """Scale the estimate of the first plane to planes of known size."""
    return replace(
        estimate,
        prompts=count * estimate.prompts,
        windows=count * estimate.windows,
        seconds=count * estimate.seconds + (count - 1) * search,
    )
