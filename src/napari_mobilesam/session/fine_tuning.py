"""Controller of fine-tuning on a user's labels, on a worker of its own.

Like a session it knows neither Qt nor napari: it is given labelled planes and
answers with signals. Clicks go on being answered by the session meanwhile.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_mobilesam.model.registry import user_models_folder
from napari_mobilesam.model.user_models import (
    check_folder,
    check_name,
    check_space,
)
from napari_mobilesam.session.fine_tuning_messages import (
    HELD_BACK,
    FineTuneRequest,
    FineTuneResult,
    LabelledPlane,
    Planes,
    Survey,
    survey,
)
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.text import explain
from napari_mobilesam.types import Deliver, SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.training.dataset import LabelledImage
    from napari_mobilesam.training.finetune import FineTuneConfig, FineTuned
    from napari_mobilesam.training.interactive import StepResult

TELL_SECONDS = 0.2  # between two reports of the loss


@dataclass
class _FineTuningRun:
    """A run that is going on, to be cancelled or given up."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    abandoned: bool = False
    losses: list[float] = field(default_factory=list)
    told: float = -math.inf


class _Abandoned(Exception):
    """Nobody waits for the run any more."""


class FineTuning:
    """Counts labelled objects and fine-tunes a model on them.

    Parameters
    ----------
    deliver : callable, optional
        As in `Session`.
    load_model : callable, optional
        ``load_model(name) -> Sam``; by default the package's `load_model`.

    Attributes
    ----------
    surveyed : Signal(Survey)
        What the labels hold that were asked about last.
    status : Signal(str)
        One sentence on what happens.
    progress : Signal(int, int)
        Share of the budget used, and the whole.
    stepped : Signal(float, float)
        Minutes trained and mean loss since the signal before.
    validated : Signal(float, float)
        Minutes trained and mean IoU on the objects held back.
    finished : Signal(FineTuneResult)
        A run ended, or was cancelled.
    failed : Signal(str)
        One sentence on why a run came to nothing.
    uncountable : Signal(str)
        One sentence on why a survey did.
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
        self._load_model = load_model or _load_model
        self._worker = LatestWorker('napari-mobilesam-fine-tuning')
        self._run: _FineTuningRun | None = None
        self._asked = 0
        self._unsaved: tuple[FineTuneRequest, FineTuned, bool] | None = None

    @property
    def running(self) -> bool:
        """Whether a run goes on."""
        return self._run is not None

    @property
    def unsaved(self) -> bool:
        """Whether a better model waits for a place to be written to."""
        return self._unsaved is not None

    def survey(self, planes: Planes) -> None:
        """Count the objects of planes; `surveyed` brings the answer."""
        self._asked += 1
        number = self._asked
        self._worker.submit('survey', lambda: self._survey(planes, number))

    def forget_survey(self) -> None:
        """Drop the answer to the last survey."""
        self._asked += 1
        self._worker.discard('survey')

    def start(self, request: FineTuneRequest) -> None:
        """Train; `finished` or `failed` tells when it is over.

        Raises
        ------
        SegmentationError
            If a run goes on, or the name or the folder cannot be used.
        """
        if self.running:
            raise SegmentationError(
                'A model is being trained: wait, or cancel it first.'
            )
        check_name(request.name)
        check_folder()
        self._unsaved = None
        run = self._run = _FineTuningRun()
        self._worker.submit('train', lambda: self._train(request, run))

    def save(self, name: str) -> None:
        """Write a model that could not be written, under this name.

        Raises
        ------
        SegmentationError
            If there is none, or the name or the folder cannot be used.
        """
        if self._unsaved is None or self.running:
            raise SegmentationError('There is no model waiting to be saved.')
        check_name(name)
        check_folder()
        request, tuned, complete = self._unsaved
        request = replace(request, name=name)
        run = self._run = _FineTuningRun()
        self._worker.submit(
            'train',
            lambda: self._guard(self._keep, run, request, tuned, complete),
        )

    def cancel(self) -> None:
        """Stop after the current step and keep the best so far."""
        if self._run is not None:
            self._run.cancelled.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all that was asked is done; False on time-out."""
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Give a run up and end the thread; it can be used again."""
        if self._run is not None:
            self._run.abandoned = True
            self._run = None
        self.forget_survey()
        self._unsaved = None
        self._worker.close()

    # below: on the worker thread

    def _survey(self, planes: Planes, number: int) -> None:
        signal: Any = self.surveyed
        try:
            answer: Any = survey(planes())
        except Exception as error:  # noqa: BLE001 - every failure is told
            signal, answer = self.uncountable, sentence(error)

        def show() -> None:
            if number == self._asked:
                signal.emit(answer)

        self._deliver(show)

    def _tell(self, run: _FineTuningRun, signal: Any, *values: Any) -> None:
        def tell() -> None:
            if run is self._run:
                signal.emit(*values)

        self._deliver(tell)

    def _end(self, run: _FineTuningRun, signal: Any, value: Any) -> None:
        def end() -> None:
            if run is self._run:
                self._run = None
                signal.emit(value)

        self._deliver(end)

    def _guard(
        self, job: Callable[..., None], run: _FineTuningRun, *args: Any
    ) -> None:
        try:
            job(run, *args)
        except _Abandoned:
            pass
        except Exception as error:  # noqa: BLE001
            self._end(run, self.failed, sentence(error))

    def _train(self, request: FineTuneRequest, run: _FineTuningRun) -> None:
        self._guard(self._fine_tune, run, request)

    def _fine_tune(
        self, run: _FineTuningRun, request: FineTuneRequest
    ) -> None:
        self._tell(run, self.status, 'Reading image and labels …')
        images = list(labelled_images(request.planes()))
        if not images:
            raise SegmentationError(Survey(0, 0).text)
        self._tell(run, self.status, f'Loading {request.base} …')
        from napari_mobilesam.training.finetune import finetune

        model = self._load_model(request.base)
        check_space(model)
        self._tell(
            run,
            self.status,
            'Measuring the model on the objects held back …',
        )

        def cancelled() -> bool:
            # objects are counted between steps, as prompts are answered
            self._worker.serve('survey')
            if run.abandoned:
                raise _Abandoned
            return run.cancelled.is_set()

        tuned = finetune(
            model,
            images,
            options(request),
            save=False,
            progress=lambda done, total, _: self._tell(
                run, self.progress, done, total
            ),
            cancelled=cancelled,
            on_validation=lambda entry: self._tell(
                run, self.validated, entry['minutes'], entry['score']
            ),
            on_step=lambda minutes, step: self._step(run, minutes, step),
        )
        if run.abandoned:
            raise _Abandoned
        self._keep(run, request, tuned, not run.cancelled.is_set())

    def _step(
        self, run: _FineTuningRun, minutes: float, step: StepResult
    ) -> None:
        run.losses.append(step.loss)
        now = time.monotonic()
        if now - run.told < TELL_SECONDS:
            return
        loss = float(np.mean(run.losses))
        run.told, run.losses = now, []
        self._tell(run, self.stepped, minutes, loss)

    def _keep(
        self,
        run: _FineTuningRun,
        request: FineTuneRequest,
        tuned: FineTuned,
        complete: bool,
    ) -> None:
        """Write the model if it is better, and tell the outcome."""
        path = None
        if tuned.improved:
            path = user_models_folder() / f'{request.name}.safetensors'
            self._unsaved = request, tuned, complete
            _write(tuned, path)
            self._unsaved = None
        result = FineTuneResult(
            request,
            tuned.base_score,
            tuned.score,
            tuned.validation_objects,
            complete,
            path,
        )
        self._end(run, self.finished, result)


def labelled_images(
    planes: Iterable[LabelledPlane],
) -> Iterator[LabelledImage]:
    """Read the planes that hold labels, with the contrast they are shown at.

    Yields
    ------
    LabelledImage
        With an (H, W, 3) uint8 image.
    """
    from napari_mobilesam.segmentation.image import as_rgb_plane
    from napari_mobilesam.training.dataset import labelled_image

    for plane in planes:
        if not plane.labels.any():
            continue
        image = plane.image
        rgb = as_rgb_plane(
            image.read(),
            channels=image.channels,
            contrast_limits=image.contrast_limits,
            gamma=image.gamma,
        )
        yield labelled_image(rgb, plane.labels, name=image.name)


def options(request: FineTuneRequest) -> FineTuneConfig:
    """Parameters of training for a request."""
    from napari_mobilesam.training.finetune import FineTuneConfig

    standard = FineTuneConfig(
        decoder_only=request.decoder_only,
        complete=request.complete,
        held_back=HELD_BACK,
    )
    return replace(
        standard, config=replace(standard.config, minutes=request.minutes)
    )


def sentence(error: BaseException) -> str:
    """Return one sentence for people about an error, as a sentence."""
    from napari_mobilesam.training.train import TrainingError

    text = str(error) if isinstance(error, TrainingError) else explain(error)
    text = text[:1].upper() + text[1:]
    return text if text.endswith(('.', '!', '?')) else f'{text}.'


def _write(tuned: FineTuned, path: Path) -> None:
    from napari_mobilesam.training.train_job import write_result

    record = replace(tuned.model.record, name=path.stem)
    tuned.model.record = record
    write_result(tuned.model, path, record)


def _load_model(name: str) -> Sam:
    from napari_mobilesam.model.checkpoints import load_model

    return load_model(name)
