"""Runs of segment everything, one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_mobilesam.segmentation.cost_history import CostHistory
from napari_mobilesam.session.everything.everything_messages import (
    EverythingRequest,
    EverythingResult,
    ExampleObjects,
    PlaneTask,
    TextQuery,
)
from napari_mobilesam.session.everything.object_selector import (
    ObjectSelector,
    extent_of,
)
from napari_mobilesam.session.everything.pace import (
    EmbeddingWatch,
    PlaneWork,
)
from napari_mobilesam.session.everything.plane_jobs import PlaneJobs
from napari_mobilesam.session.everything.state import EverythingRun
from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
)
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.worker import (
    LatestWorker,
    SupersededError,
    serve_between,
)
from napari_mobilesam.text import explain
from napari_mobilesam.types import BlankImageError, EverythingParameters, Mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.box_detectors import BoxDetector
    from napari_mobilesam.segmentation.candidates import (
        Candidates,
        Selection,
    )
    from napari_mobilesam.session.objects.objects import Objects

# Margin below the thresholds within which a run keeps masks, so that the
# thresholds can be lowered later: predicted IoU and stability.
FLOOR = (0.1, 0.3)


class EverythingRuns:
    """Runs of segment everything; a new run cancels the previous one.

    Masks are generated on the worker thread of the session. Objects are
    selected and labelled on a separate thread that never waits for the model:
    a cancelled run ends at once, with the masks so far.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Steps done, steps in total, and a message.
    found : Signal(int, list)
        Index of a plane and new masks on it, including duplicates.
    finished : Signal(EverythingResult)
        Objects of a finished or cancelled run.
    selected : Signal(EverythingResult)
        The same run with another selection.
    written : Signal()
        Nothing of a run remains to be written.
    jobs : PlaneJobs
        Jobs for estimates, edges and boxes.
    writes_to : Objects or None
        Objects of the labels that the run in progress will write to.
    """

    progress = Signal(int, int, str)
    found = Signal(int, list)
    finished = Signal(object)
    selected = Signal(object)
    written = Signal()

    def __init__(self, services: Services) -> None:
        self._services = services
        self._models = services.models
        self._experience = CostHistory()
        self.jobs = PlaneJobs(services, self._experience)
        services.engine.blocks.on_embedded = EmbeddingWatch(self._experience)
        # by name and device; loaded on the worker thread
        self._detectors: dict[tuple[str, str], BoxDetector] = {}
        self._selecting = LatestWorker('napari-mobilesam-selecting')
        self._runs = LatestRun[EverythingRun](services.deliver)
        self._selections = LatestRun[BackgroundRun](services.deliver)
        self._generation = 0
        self.writes_to: Objects | None = None

    @property
    def generation(self) -> int:
        """Number of the newest run; 0 if there was none."""
        return self._generation

    def start(
        self,
        tasks: Sequence[PlaneTask],
        parameters: EverythingParameters | None,
        linked: bool = False,
        outlined: bool = False,
        examples: ExampleObjects | None = None,
        query: TextQuery | None = None,
    ) -> int:
        """Find all objects of planes; `finished` emits the result.

        Parameters
        ----------
        tasks : sequence of PlaneTask
            At least one.
        parameters : EverythingParameters or None
            Parameters of the run; by default the standard ones.
        linked : bool
            Whether objects that overlap from plane to plane become one.
        outlined : bool
            Whether to compute outlines.
        examples : ExampleObjects, optional
            Find only objects similar to these, at their scale.
        query : TextQuery, optional
            Find only what a text names.

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
            self._models.name,
            linked,
            outlined,
            examples,
            query,
        )
        run = self._runs.start(EverythingRun(request, ObjectSelector(linked)))
        self._services.worker.submit('everything', lambda: self._work(run))
        return self._generation

    def cancel(self) -> None:
        """End the run now, keeping all masks so far."""
        run = self._runs.current
        if run is not None:
            run.cancelled.set()
            self._settle(run)

    def write_to(self, objects: Objects | None) -> None:
        """Set `writes_to`; None once everything is written or given up."""
        self.writes_to = objects
        if objects is None:
            self.written.emit()

    def abandon(self) -> None:
        """Stop the run and drop its answer."""
        self._services.worker.discard('everything')
        self._runs.drop()

    def select(self, selection: Selection) -> None:
        """Select objects of the last run again; `selected` emits them.

        Parameters
        ----------
        selection : Selection
            Criteria of objects.
        """
        run = self._runs.current
        if run is not None and run.settled:
            question = self._selections.start(BackgroundRun())

            def answer(result: EverythingResult) -> None:
                if question is self._selections.current:
                    self.selected.emit(result)

            self._selecting.submit(
                'select', lambda: self._select(run, selection, answer)
            )

    def forget_selection(self) -> None:
        """Drop the answer to `select`."""
        self._selections.drop()
        self._selecting.discard('select')

    def apart(self, job: Callable[[], None], then: Callable[[], None]) -> None:
        """Run a function on the thread that selects objects.

        Parameters
        ----------
        job : callable
            The slow part.
        then : callable
            Called on the viewer's thread afterwards, unless the job failed or
            another run was started.
        """
        run = self._runs.current
        if run is not None:
            self._selecting.submit('job', lambda: self._apart(run, job, then))

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all selections are done; return False on timeout."""
        return self._selecting.wait(timeout)

    def close(self) -> None:
        """Drop the run and end the thread."""
        self.abandon()
        self.jobs.abandon()
        self._selecting.close()

    # below: on the worker thread

    def _work(self, run: EverythingRun) -> None:
        run.started = time.perf_counter()
        model = self._models.load(run.request.model_name, 'everything')
        if model is None:
            run.settle()
            return
        try:
            self._set_floor(run, model)
            self._look_at_examples(run, model)
            self._load_detector(run, model)
            for number in range(len(run.request.tasks)):
                if run.cancelled.is_set():
                    break
                self._plane(run, number, model)
        except BaseException as error:  # noqa: BLE001 - SystemExit, too
            if not (run.planes or run.fresh):
                run.settle()
                self._runs.tell(run, self._models.fail, error, 'everything')
                return
            run.problem = explain(error)
        self._settle(run)

    def _set_floor(self, run: EverythingRun, model: Sam) -> None:
        """Set the lowest scores to keep, given the examples."""
        from napari_mobilesam.segmentation.parameters import (
            Thresholds,
            thresholds_for,
        )
        from napari_mobilesam.segmentation.similar import (
            parameters_for_examples,
        )

        request = run.request
        if request.examples is not None:
            parameters = parameters_for_examples(
                request.parameters, request.examples.masks, model.record
            )
            run.request = replace(request, parameters=parameters)
        wanted = thresholds_for(run.request.parameters, model.record)
        run.record = model.record
        run.floor = Thresholds(
            max(0.0, wanted.predicted_iou - FLOOR[0]),
            max(0.0, wanted.stability - FLOOR[1]),
        )

    def _look_at_examples(self, run: EverythingRun, model: Sam) -> None:
        from napari_mobilesam.segmentation.similar import Examples

        given = run.request.examples
        if given is not None:
            self._runs.tell(
                run, self.progress.emit, 0, 1000, 'Reading the examples'
            )
            engine = self._services.engine
            run.examples = Examples.of(
                engine.image(given.plane, model),
                engine.rgb(given.plane),
                given.masks,
            )

    def _load_detector(self, run: EverythingRun, model: Sam) -> None:
        from napari_mobilesam.segmentation.box_detectors import (
            checked_detector,
            load_detector,
        )

        query = run.request.query
        if query is None:
            return
        if not isinstance(query.detector, str):
            run.detector = checked_detector(query.detector)
            return
        key = query.detector, str(model.device)
        if key not in self._detectors:
            self._runs.tell(
                run, self.progress.emit, 0, 1000, 'Loading the detector'
            )
            self._detectors[key] = load_detector(*key)
        run.detector = self._detectors[key]

    def _plane(self, run: EverythingRun, number: int, model: Sam) -> None:
        from napari_mobilesam.segmentation.candidates import Candidates
        from napari_mobilesam.segmentation.scope import Scope

        request = run.request
        task = request.tasks[number]
        plane = task.plane
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
        try:
            rgb = self._services.engine.rgb(plane)
        except BlankImageError:
            if len(request.tasks) == 1:
                raise
            # a plane without an image has no objects
            run.end(replace(template, complete=True))
            return
        try:
            candidates = self._generate(run, number, model, rgb, skip)
        except SupersededError:
            # cancelled before the first prompt
            run.end(template)
            return
        run.end(
            replace(
                candidates, image=template.image, channels=template.channels
            )
        )

    def _generate(
        self,
        run: EverythingRun,
        number: int,
        model: Sam,
        rgb: NDArray[np.uint8],
        skip: NDArray[Any] | None,
    ) -> Candidates:
        """Find the masks of a plane, reporting progress and new masks."""
        request = run.request
        task, count = request.tasks[number], len(request.tasks)
        plane = task.plane
        image = self._services.engine.image(plane, model)
        named = f'{plane.name}: ' if count > 1 else ''
        if not request.parameters.scale_given:
            # takes seconds if the plane is almost empty
            step = (number, count, f'{named}Measuring the size of the objects')
            self._runs.tell(run, self._show_progress, *step)
        between = serve_between(self._services.worker, run.cancelled.is_set)
        work = PlaneWork(
            self._experience,
            task,
            skip,
            request.parameters,
            image,
            self._services.engine.working_diameter(
                plane, request.parameters, model, between
            ),
        )

        def progress(done: int, total: int, message: str) -> None:
            # proportional to time, not to prompts
            share = 1.0 if done >= total else work.share
            step = (number + share, count, f'{named}{message}')
            self._runs.tell(run, self._show_progress, *step)

        def on_masks(masks: list[Mask]) -> None:
            run.fresh.extend(masks)
            self._runs.tell(run, self.found.emit, number, masks)

        started = time.perf_counter()
        candidates = self._search(run)(
            rgb,
            model,
            region=task.region,
            skip=skip,
            parameters=request.parameters,
            embedding=image,
            progress=progress,
            cancelled=self._services.between_steps(run),
            on_masks=on_masks,
            on_work=work.note,
        )
        if run.examples is None and run.detector is None:
            # prompts near examples or in boxes are not representative of other
            # runs
            work.learn(time.perf_counter() - started, candidates.complete)
        return candidates

    def _search(self, run: EverythingRun) -> Callable[..., Candidates]:
        """Return the function that finds candidates."""
        from napari_mobilesam.segmentation.mask_generator import (
            generate_candidates,
        )
        from napari_mobilesam.segmentation.similar import similar_candidates
        from napari_mobilesam.segmentation.text_prompts import text_candidates

        given, query = run.request.examples, run.request.query
        if query is not None and run.detector is not None:
            # a box is an object, whatever the model thinks of its mask
            return partial(
                text_candidates, text=query.text, detector=run.detector
            )
        if given is None or run.examples is None:
            return partial(generate_candidates, floor=run.floor)
        return partial(
            similar_candidates,
            examples=run.examples,
            similarity=given.similarity,
            floor=run.floor,
        )

    def _show_progress(self, done: float, count: int, message: str) -> None:
        self.progress.emit(round(1000 * done), 1000 * count, message)

    def _settle(self, run: EverythingRun) -> None:
        from napari_mobilesam.segmentation.candidates import Selection
        from napari_mobilesam.segmentation.parameters import thresholds_for

        if not run.settle() or run is not self._runs.current:
            return
        selection = Selection.of(run.request.parameters)
        if run.record is not None:
            least = thresholds_for(run.request.parameters, run.record)
            selection = replace(
                selection,
                predicted_iou=least.predicted_iou,
                stability=least.stability,
            )
        if run.request.examples is not None:
            selection = replace(
                selection, similarity=run.request.examples.similarity
            )
        if run.request.query is not None:
            from napari_mobilesam.segmentation.text_prompts import (
                text_selection,
            )

            selection = text_selection(
                run.request.parameters, run.request.query.score
            )
        self._selecting.submit(
            'finish', lambda: self._select(run, selection, self.finished.emit)
        )

    # below: on the thread that selects objects

    def _select(
        self,
        run: EverythingRun,
        selection: Selection,
        answer: Callable[[EverythingResult], None],
    ) -> None:
        from napari_mobilesam.segmentation.outlines import mask_outlines

        try:
            objects = run.selector.select(run.planes, selection)
            outlines = tuple(
                mask_outlines(picture)
                for picture in objects.pictures
                if run.request.outlined
            )
            result = EverythingResult(
                run.request,
                *objects,
                selection,
                extent_of(run.planes, run.floor, run.request),
                sum(len(plane.masks) for plane in run.planes),
                not (run.cancelled.is_set() or run.problem),
                run.seconds,
                run.problem,
                outlines,
            )
        except Exception as error:  # noqa: BLE001
            self._runs.tell(run, self._models.fail, error, 'everything')
            return
        self._runs.tell(run, answer, result)

    def _apart(
        self,
        run: EverythingRun,
        job: Callable[[], None],
        then: Callable[[], None],
    ) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001
            self._runs.tell(run, self._models.fail, error, 'everything')
            return
        self._runs.tell(run, then)
