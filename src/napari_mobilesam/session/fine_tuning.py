"""Fine-tuning on the user's labels, on a separate thread.

It takes labelled planes and answers with signals. Meanwhile, the session
answers clicks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_mobilesam.model.user_models import (
    check_folder,
    check_name,
    check_space,
    user_model_path,
)
from napari_mobilesam.session.fine_tuning_messages import (
    FineTuneRequest,
    FineTuneResult,
    LabelledPlane,
    Planes,
    Survey,
    survey,
)
from napari_mobilesam.session.images.plane_reader import PlaneReader
from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
    StoppedError,
)
from napari_mobilesam.session.runtime.models import load_by_name
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.text import explain
from napari_mobilesam.types import Deliver, SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.training.finetune import FineTuned
    from napari_mobilesam.training.interactive import StepResult
    from napari_mobilesam.training.labelled_images import LabelledImage

TELL_SECONDS = 0.2  # between two reports of the loss


@dataclass(eq=False)
class _FineTuningRun(BackgroundRun):
    """A training run, and the losses since the last report."""

    trained: bool = False  # one step at least
    losses: list[float] = field(default_factory=list)
    told: float = -math.inf


class FineTuning:
    """Count labelled objects, and fine-tune a model on them.

    Parameters
    ----------
    deliver : callable, optional
        As in `Session`.
    load_model : callable, optional
        ``load_model(name) -> Sam``; by default the package's `load_model`.

    Attributes
    ----------
    surveyed : Signal(Survey)
        Counts of the newest survey.
    status : Signal(str)
        Message on current work.
    progress : Signal(int, int)
        Used and total budget.
    stepped : Signal(float, float)
        Minutes trained, and mean loss since the previous signal.
    validated : Signal(float, float)
        Minutes trained, and mean IoU on held-out objects.
    finished : Signal(FineTuneResult)
        Result of a run that ended or was cancelled.
    failed : Signal(str)
        Error message of a run.
    uncountable : Signal(str)
        Error message of a survey.
    """

    surveyed = Signal(object)
    status = Signal(str)
    progress = Signal(int, int)
    stepped = Signal(float, float)
    validated = Signal(float, float)
    finished = Signal(object)
    failed = Signal(str)
    uncountable = Signal(str)

    def __init__(
        self,
        deliver: Deliver | None = None,
        load_model: Callable[[str], Sam] | None = None,
    ) -> None:
        self._deliver = deliver or (lambda function: function())
        self._load_model = load_model or load_by_name
        self._worker = LatestWorker('napari-mobilesam-fine-tuning')
        self._runs = LatestRun[_FineTuningRun](self._deliver)
        self._surveys = LatestRun[BackgroundRun](self._deliver)
        self._unsaved: tuple[FineTuneRequest, FineTuned, bool] | None = None

    @property
    def running(self) -> bool:
        """True if a run is in progress."""
        return self._runs.current is not None

    @property
    def unsaved(self) -> bool:
        """True if a better model could not be written yet."""
        return self._unsaved is not None

    def survey(self, planes: Planes) -> None:
        """Count the objects of planes; `surveyed` emits the counts."""
        run = self._surveys.start(BackgroundRun())
        self._worker.submit('survey', lambda: self._survey(planes, run))

    def forget_survey(self) -> None:
        """Drop the answer to the last survey."""
        self._surveys.drop()
        self._worker.discard('survey')

    def start(self, request: FineTuneRequest) -> None:
        """Train; `finished` or `failed` ends the run.

        Raises
        ------
        SegmentationError
            A run is in progress, or the name or the folder cannot be used.
        """
        if self.running:
            raise SegmentationError(
                'A model is being trained: wait, or cancel it first.'
            )
        check_name(request.name)
        check_folder()
        self._unsaved = None
        self._begin(request, lambda run: self._fine_tune(run, request))

    def save(self, name: str) -> None:
        """Write a model that could not be written, under this name.

        Raises
        ------
        SegmentationError
            There is none, or the name or the folder cannot be used.
        """
        if self._unsaved is None or self.running:
            raise SegmentationError('There is no unsaved model.')
        check_name(name)
        check_folder()
        request, tuned, complete = self._unsaved
        named = replace(request, name=name)
        self._begin(named, lambda run: self._keep(run, named, tuned, complete))

    def _begin(
        self, request: FineTuneRequest, job: Callable[[_FineTuningRun], None]
    ) -> None:
        run = self._runs.start(_FineTuningRun())
        self._worker.submit('train', lambda: self._guard(run, request, job))

    def cancel(self) -> None:
        """Stop after the current step and keep the best so far."""
        self._runs.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all work is done; return False on timeout."""
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Abandon a run and end the thread; the object can be used again."""
        self._runs.drop()
        self.forget_survey()
        self._unsaved = None
        self._worker.close()

    # below: on the worker thread

    def _survey(self, planes: Planes, run: BackgroundRun) -> None:
        signal: Any = self.surveyed
        try:
            answer: Any = survey(planes())
        except Exception as error:  # noqa: BLE001 - every failure is reported
            signal, answer = self.uncountable, sentence(error)
        self._surveys.tell(run, signal.emit, answer)

    def _guard(
        self,
        run: _FineTuningRun,
        request: FineTuneRequest,
        job: Callable[[_FineTuningRun], None],
    ) -> None:
        try:
            job(run)
        except StoppedError:
            # before the first step; nobody is told of an abandoned run
            result = FineTuneResult(
                request, math.nan, math.nan, 0, False, None
            )
            self._runs.finish(run, self.finished.emit, result)
        except BaseException as error:  # noqa: BLE001 - SystemExit, too
            self._runs.finish(run, self.failed.emit, sentence(error))

    def _fine_tune(
        self, run: _FineTuningRun, request: FineTuneRequest
    ) -> None:
        tell = partial(self._runs.tell, run)
        tell(self.status.emit, 'Reading image and labels …')
        images = list(labelled_images(request.planes()))
        if not images:
            raise SegmentationError(Survey(0, 0).text)
        tell(self.status.emit, f'Loading {request.base} …')
        from napari_mobilesam.training.finetune import finetune

        model = self._load_model(request.base)
        check_space(model)
        # measuring the model on the objects held back is counted in crops
        tell(self.status.emit, 'Preparing the training …')

        def cancelled() -> bool:
            # surveys are answered between steps
            self._worker.serve('survey')
            if run is not self._runs.current:
                raise StoppedError
            return run.cancelled.is_set()

        tuned = finetune(
            model,
            images,
            request.options,
            save=False,
            progress=lambda done, total, _: tell(
                self.progress.emit, done, total
            ),
            cancelled=cancelled,
            on_validation=lambda entry: tell(
                self.validated.emit, entry['minutes'], entry['score']
            ),
            on_step=lambda minutes, step: self._step(run, minutes, step),
            on_crop=lambda done, total: self._measure(run, done, total),
        )
        if run is not self._runs.current:
            raise StoppedError
        self._check_stopped(run)
        self._keep(run, request, tuned, not run.cancelled.is_set())

    @staticmethod
    def _check_stopped(run: _FineTuningRun) -> None:
        """End a run that was cancelled before its first step."""
        if run.cancelled.is_set() and not run.trained:
            raise StoppedError

    def _measure(self, run: _FineTuningRun, done: int, total: int) -> None:
        self._check_stopped(run)
        self._runs.tell(
            run,
            self.status.emit,
            f'Measuring on the objects held back: {done} of {total} crops …',
        )

    def _step(
        self, run: _FineTuningRun, minutes: float, step: StepResult
    ) -> None:
        run.trained = True
        run.losses.append(step.loss)
        now = time.monotonic()
        if now - run.told < TELL_SECONDS:
            return
        loss = float(np.mean(run.losses))
        run.told, run.losses = now, []
        self._runs.tell(run, self.stepped.emit, minutes, loss)

    def _keep(
        self,
        run: _FineTuningRun,
        request: FineTuneRequest,
        tuned: FineTuned,
        complete: bool,
    ) -> None:
        """Write the model if it is better, and emit the result."""
        from napari_mobilesam.training.train_job import write_result

        path = None
        if tuned.improved:
            path = user_model_path(request.name)
            self._unsaved = request, tuned, complete
            record = replace(tuned.model.record, name=path.stem)
            tuned.model.record = record
            write_result(tuned.model, path, record)
            self._unsaved = None
        result = FineTuneResult(
            request,
            tuned.base_score,
            tuned.score,
            tuned.validation_objects,
            complete,
            path,
            tuned.noise,
            tuned.base_f1,
            tuned.f1,
        )
        self._runs.finish(run, self.finished.emit, result)


def labelled_images(
    planes: Iterable[LabelledPlane],
) -> Iterator[LabelledImage]:
    """Yield the planes with labels, as the model sees them.

    Yields
    ------
    LabelledImage
        Plane with an (H, W, 3) uint8 image.
    """
    from napari_mobilesam.training.labelled_images import labelled_image

    for plane in planes:
        if not plane.labels.any():
            continue
        rgb = PlaneReader(1).rgb(plane.image)
        yield labelled_image(rgb, plane.labels, name=plane.image.name)


def sentence(error: BaseException) -> str:
    """Return the message about an error as a sentence."""
    from napari_mobilesam.training.train import TrainingError

    text = str(error) if isinstance(error, TrainingError) else explain(error)
    text = text[:1].upper() + text[1:]
    return text if text.endswith(('.', '!', '?')) else f'{text}.'
