"""Segment everything in the background, one run at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mobilesam.segmentation.cost_history import CostHistory
from napari_mobilesam.session.everything.everything_messages import (
    EverythingRequest,
    EverythingResult,
    PlaneTask,
)
from napari_mobilesam.session.everything.pace import (
    EmbeddingWatch,
    PlaneWork,
)
from napari_mobilesam.session.everything.plane_jobs import PlaneJobs
from napari_mobilesam.session.everything.sorting import Sorter, extent_of
from napari_mobilesam.session.everything.state import EverythingRun
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.text import explain
from napari_mobilesam.types import EverythingParameters, Mask

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.candidates import Selection

# How far below its thresholds a run keeps masks, to lower them later:
# predicted IoU, which costs drawing more masks, and stability, which does not.
FLOOR = (0.1, 0.3)


class EverythingRuns:
    """Runs of segment everything; a new one cancels the one before.

    Masks are found on the session's worker thread and sorted out on a thread
    of their own. Sorting out therefore never waits for the model: a run that
    is cancelled ends at once, with what was found, while the model finishes
    its step unheard.

    Parameters
    ----------
    shared : Services
        What is used of the session.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Steps done, steps in all, and a line for people.
    found : Signal(int, list)
        Index of a plane and new masks on it, duplicates among them.
    finished : Signal(EverythingResult)
        Objects of a finished or cancelled run.
    selected : Signal(EverythingResult)
        The same run with another selection.
    jobs : PlaneJobs
        Estimates, edges, boxes.
    """

    progress = Signal(int, int, str)
    found = Signal(int, list)
    finished = Signal(object)
    selected = Signal(object)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._experience = CostHistory()
        self.jobs = PlaneJobs(services, self._experience)
        services.engine.on_embedded = EmbeddingWatch(self._experience)
        self._sorting = LatestWorker('napari-mobilesam-sorting')
        self._run: EverythingRun | None = None
        self._generation = 0
        self._asked = 0

    def start(
        self,
        tasks: Sequence[PlaneTask],
        parameters: EverythingParameters | None,
        model_name: str,
        linked: bool = False,
        outlined: bool = False,
    ) -> int:
        """Find every object of planes; `finished` brings the answer.

        Parameters
        ----------
        tasks : sequence of PlaneTask
            At least one.
        parameters : EverythingParameters or None
            The defaults if None.
        model_name : str
            Model that answers.
        linked : bool
            Whether objects that overlap from plane to plane become one.
        outlined : bool
            Whether outlines are wanted.

        Returns
        -------
        generation : int
            Number of the run; only the newest is answered.
        """
        self.abandon()
        self._generation += 1
        request = EverythingRequest(
            self._generation,
            tuple(tasks),
            parameters or EverythingParameters(),
            model_name,
            linked,
            outlined,
        )
        run = self._run = EverythingRun(request, Sorter(linked))
        self._services.worker.submit('everything', lambda: self._work(run))
        return self._generation

    def cancel(self) -> None:
        """End the run now, keeping what was found."""
        if self._run is not None:
            self._run.cancelled.set()
            self._settle(self._run)

    def abandon(self) -> None:
        """Stop the run and drop its answer."""
        self._services.worker.discard('everything')
        if self._run is not None:
            self._run.cancelled.set()
            self._run = None

    def select(self, selection: Selection) -> None:
        """Sort out anew what the last run found; `selected` tells.

        Parameters
        ----------
        selection : Selection
            Which masks are objects.
        """
        run, asked = self._run, self._asked
        if run is not None and run.settled:

            def answer(result: EverythingResult) -> None:
                if asked == self._asked:
                    self.selected.emit(result)

            self._sorting.submit(
                'select', lambda: self._sort(run, selection, answer)
            )

    def forget_selection(self) -> None:
        """Drop the answer to `select`, wherever it is."""
        self._asked += 1
        self._sorting.discard('select')

    def apart(self, job: Callable[[], None], then: Callable[[], None]) -> None:
        """Do something with the last run on the thread that sorts out.

        Parameters
        ----------
        job : callable
            What takes long.
        then : callable
            Called on the viewer's thread when it is done, unless another
            run has begun or it has failed.
        """
        run = self._run
        if run is not None:
            self._sorting.submit('job', lambda: self._apart(run, job, then))

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all is sorted out; False on time-out."""
        return self._sorting.wait(timeout)

    def close(self) -> None:
        """Forget the run and end the thread that sorts out."""
        self.abandon()
        self.jobs.abandon()
        self._sorting.close()

    # below: on the worker thread

    def _work(self, run: EverythingRun) -> None:
        from napari_mobilesam.segmentation.parameters import (
            Thresholds,
            thresholds_for,
        )

        request = run.request
        run.started = time.perf_counter()
        model = self._services.load(request.model_name, 'everything')
        if model is None:
            run.settle()
            return
        wanted = thresholds_for(request.parameters, model.record)
        run.record = model.record
        run.floor = Thresholds(
            max(0.0, wanted.predicted_iou - FLOOR[0]),
            max(0.0, wanted.stability - FLOOR[1]),
        )
        try:
            for number in range(len(request.tasks)):
                if run.cancelled.is_set():
                    break
                self._plane(run, number, model)
        except Exception as error:  # noqa: BLE001
            if not run.planes:
                run.settle()
                self._tell(run, self._failer(error))
                return
            run.problem = explain(error)
        self._settle(run)

    def _failer(self, error: BaseException) -> Callable[[], None]:
        return lambda: self._services.fail(error, 'everything')

    def _plane(self, run: EverythingRun, number: int, model: Sam) -> None:
        from napari_mobilesam.segmentation.candidates import Candidates
        from napari_mobilesam.segmentation.mask_generator import (
            generate_candidates,
        )
        from napari_mobilesam.segmentation.scope import Scope

        request = run.request
        task, count = request.tasks[number], len(request.tasks)
        plane = task.plane
        rgb = self._services.engine.rgb(plane)
        skip = None if task.skip is None else task.skip()
        template = Candidates(
            (),
            plane.shape,
            model.record,
            False,
            0,
            request.parameters,
            Scope(task.region, skip),
            plane.read(),
            plane.channels,
        )
        run.begin(template)
        work = PlaneWork(
            self._experience,
            task,
            skip,
            request.parameters,
            model,
            self._services.engine.diameter(plane),
        )

        def cancelled() -> bool:
            self._services.worker.serve('prompts')
            return run.cancelled.is_set()

        def progress(done: int, total: int, message: str) -> None:
            # in equal parts of the time, not of the prompts
            share = 1.0 if done >= total else work.share
            step = (number + share, count, message)
            if count > 1:
                step = (*step[:2], f'{plane.name}: {message}')
            self._tell(run, lambda: self._show_progress(*step))

        def on_masks(masks: list[Mask]) -> None:
            run.fresh.extend(masks)
            self._tell(run, lambda: self.found.emit(number, masks))

        started = time.perf_counter()
        candidates = generate_candidates(
            rgb,
            model,
            region=task.region,
            skip=skip,
            parameters=request.parameters,
            floor=run.floor,
            progress=progress,
            cancelled=cancelled,
            on_masks=on_masks,
            on_work=work.note,
        )
        work.learn(time.perf_counter() - started, candidates.complete)
        run.end(
            replace(
                candidates, image=template.image, channels=template.channels
            )
        )

    def _show_progress(self, done: float, count: int, message: str) -> None:
        self.progress.emit(round(1000 * done), 1000 * count, message)

    def _settle(self, run: EverythingRun) -> None:
        from napari_mobilesam.segmentation.candidates import Selection
        from napari_mobilesam.segmentation.parameters import thresholds_for

        if not run.settle():
            return
        selection = Selection.of(run.request.parameters)
        if run.record is not None:
            least = thresholds_for(run.request.parameters, run.record)
            selection = replace(
                selection,
                predicted_iou=least.predicted_iou,
                stability=least.stability,
            )
        self._sorting.submit(
            'finish', lambda: self._sort(run, selection, self.finished.emit)
        )

    # below: on the thread that sorts out

    def _sort(
        self,
        run: EverythingRun,
        selection: Selection,
        answer: Callable[[EverythingResult], None],
    ) -> None:
        from napari_mobilesam.segmentation.outlines import mask_outlines

        try:
            objects = run.sorter.sort(run.planes, selection)
            outlines = tuple(
                mask_outlines(picture)
                for picture in objects.pictures
                if run.request.outlined
            )
            result = EverythingResult(
                run.request,
                *objects,
                selection,
                extent_of(run.planes, run.floor),
                sum(len(plane.masks) for plane in run.planes),
                not (run.cancelled.is_set() or run.problem),
                run.seconds,
                run.problem,
                outlines,
            )
        except Exception as error:  # noqa: BLE001
            self._tell(run, self._failer(error))
            return
        self._tell(run, lambda: answer(result))

    def _apart(
        self,
        run: EverythingRun,
        job: Callable[[], None],
        then: Callable[[], None],
    ) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001
            self._tell(run, self._failer(error))
            return
        self._tell(run, then)

    def _tell(self, run: EverythingRun, tell: Callable[[], None]) -> None:
        """Tell something of a run on the viewer's thread, if it is news."""

        def tell_if_current() -> None:
            if run is self._run:
                tell()

        self._services.deliver(tell_if_current)
