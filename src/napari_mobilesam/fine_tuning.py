"""Controller of fine-tuning on a user's labels, on a worker of its own.

Like a session it knows neither Qt nor napari: it is given labelled planes and
answers with signals. Clicks go on being answered by the session meanwhile.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.engine import ImagePlane
from napari_mobilesam.messages import explain
from napari_mobilesam.model.registry import list_models, user_models_folder
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.worker import LatestWorker

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.training.dataset import LabelledImage
    from napari_mobilesam.training.finetune import FineTuneConfig, FineTuned
    from napari_mobilesam.training.interactive import StepResult

Deliver = Callable[[Callable[[], None]], None]

SMALLEST = 4  # pixels; smaller objects are neither trained on nor counted
HELD_BACK = 0.2  # share of the objects
TELL_SECONDS = 0.2  # between two reports of the loss


@dataclass(frozen=True, eq=False)
class LabelledPlane:
    """One plane of an image and the labels drawn on it.

    Attributes
    ----------
    image : ImagePlane
        The plane; its pixels are read when they are needed.
    labels : ndarray
        (H, W) integer ids, 0 is background.
    """

    image: ImagePlane
    labels: NDArray[Any]


Planes = Callable[[], Iterable[LabelledPlane]]


@dataclass(frozen=True)
class Survey:
    """What there is to learn from.

    Attributes
    ----------
    objects, planes : int
        Objects that are large enough, and planes that hold some.
    small : int
        Objects of fewer than `SMALLEST` pixels, which are left out.
    """

    objects: int
    planes: int
    small: int = 0

    @property
    def held_back(self) -> int:
        """How many objects will be kept for validation; 0 if too few."""
        if self.objects < 2:
            return 0
        return min(self.objects - 1, max(1, round(HELD_BACK * self.objects)))

    @property
    def text(self) -> str:
        """One or two sentences on it."""
        left_out = (
            f' {self.small} smaller than {SMALLEST} pixels left out.'
            if self.small
            else ''
        )
        if self.objects == 0:
            return f'No object is labelled yet: label about ten.{left_out}'
        if self.objects == 1:
            return f'1 object: label at least two, better ten.{left_out}'
        where = f' on {self.planes} planes' if self.planes > 1 else ''
        return (
            f'{self.objects} objects{where}, of which {self.held_back} will '
            f'be held back for validation.{left_out}'
        )


@dataclass(frozen=True, eq=False)
class FineTuneRequest:
    """What to train on, from what, and how long.

    Attributes
    ----------
    planes : callable
        Returns the labelled planes; called on the worker thread.
    base : str
        Name or path of the model to start from.
    name : str
        Name of the new model.
    minutes : float
        Budget.
    decoder_only : bool
        Train the mask decoder alone.
    complete : bool
        Every object of the planes is labelled.
    """

    planes: Planes
    base: str
    name: str
    minutes: float = 4
    decoder_only: bool = True
    complete: bool = False


@dataclass(frozen=True, eq=False)
class FineTuneResult:
    """Outcome of a run.

    Attributes
    ----------
    request : FineTuneRequest
        What was asked.
    base_score, score : float
        Mean IoU on the objects held back, before and after.
    held_back : int
        Number of these objects.
    complete : bool
        False if it was cancelled: the best until then is kept.
    path : Path or None
        File of the new model; None if it is not better than the base, and
        was not written therefore.
    """

    request: FineTuneRequest
    base_score: float
    score: float
    held_back: int
    complete: bool
    path: Path | None

    @property
    def text(self) -> str:
        """One or two sentences on it."""
        objects = 'object' if self.held_back == 1 else 'objects'
        digits = 2 if abs(self.score - self.base_score) >= 0.01 else 3
        base = Path(self.request.base).name
        stopped = '' if self.complete else 'Stopped. '
        if self.path is None:
            return (
                f'{stopped}Not better than {base}, which stays: validation '
                f'IoU {self.base_score:.2f} on {self.held_back} {objects} '
                'held back. Label more objects, above all those it gets '
                'wrong, or train longer.'
            )
        return (
            f'{stopped}Validation IoU {self.base_score:.{digits}f} → '
            f'{self.score:.{digits}f} on {self.held_back} {objects} held '
            f'back. {self.request.name} is selected now.'
        )


@dataclass
class _Run:
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
        self._run: _Run | None = None
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
        run = self._run = _Run()
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
        run = self._run = _Run()
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

    def _tell(self, run: _Run, signal: Any, *values: Any) -> None:
        def tell() -> None:
            if run is self._run:
                signal.emit(*values)

        self._deliver(tell)

    def _end(self, run: _Run, signal: Any, value: Any) -> None:
        def end() -> None:
            if run is self._run:
                self._run = None
                signal.emit(value)

        self._deliver(end)

    def _guard(self, job: Callable[..., None], run: _Run, *args: Any) -> None:
        try:
            job(run, *args)
        except _Abandoned:
            pass
        except Exception as error:  # noqa: BLE001
            self._end(run, self.failed, sentence(error))

    def _train(self, request: FineTuneRequest, run: _Run) -> None:
        self._guard(self._fine_tune, run, request)

    def _fine_tune(self, run: _Run, request: FineTuneRequest) -> None:
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

    def _step(self, run: _Run, minutes: float, step: StepResult) -> None:
        run.losses.append(step.loss)
        now = time.monotonic()
        if now - run.told < TELL_SECONDS:
            return
        loss = float(np.mean(run.losses))
        run.told, run.losses = now, []
        self._tell(run, self.stepped, minutes, loss)

    def _keep(
        self,
        run: _Run,
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


def survey(planes: Iterable[LabelledPlane]) -> Survey:
    """Count the objects of planes."""
    objects = small = holding = 0
    for plane in planes:
        ids = plane.labels[plane.labels != 0]
        areas = np.unique(ids, return_counts=True)[1]
        large = int(np.count_nonzero(areas >= SMALLEST))
        objects += large
        small += len(areas) - large
        holding += large > 0
    return Survey(objects, holding, small)


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


def free_name(base: str) -> str:
    """Return a name for a model made from another that no model has.

    Parameters
    ----------
    base : str
        Name or path of the other.
    """
    stem = re.sub(r'_tuned\d*$', '', Path(base).stem)
    taken = _taken()
    number = 1
    while f'{stem}_tuned{number}'.lower() in taken:
        number += 1
    return f'{stem}_tuned{number}'


def check_name(name: str) -> None:
    """Raise `SegmentationError` if a new model cannot have this name."""
    if not re.fullmatch(r'\w[\w .\-]*', name):
        raise SegmentationError(
            f'“{name}” cannot be the name of a model: use letters, digits, '
            '_ and -.'
            if name
            else 'The new model has no name: enter one.'
        )
    if name.lower() in _taken():
        raise SegmentationError(
            f'There is a model named {name} already: choose another name. '
            'Models are never overwritten.'
        )


def check_folder() -> None:
    """Raise `SegmentationError` if no model can be written."""
    folder = user_models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SegmentationError(
            f'The new model could not be written to {folder} '
            f'({error.strerror or error}): make it writable or free disk '
            'space. Nothing was trained.'
        ) from error


def check_space(model: Sam) -> None:
    """Raise `SegmentationError` if the disk is too full for a model."""
    needed = 2 * sum(value.numel() for value in model.state_dict().values())
    folder = user_models_folder()
    free = shutil.disk_usage(folder).free
    if free < needed + 2**20:
        raise SegmentationError(
            f'The new model needs {needed / 2**20:.0f} MB in {folder}, where '
            f'{free / 2**20:.0f} MB are free: free disk space. Nothing was '
            'trained.'
        )


def sentence(error: BaseException) -> str:
    """Return one sentence for people about an error, as a sentence."""
    from napari_mobilesam.training.train import TrainingError

    text = str(error) if isinstance(error, TrainingError) else explain(error)
    text = text[:1].upper() + text[1:]
    return text if text.endswith(('.', '!', '?')) else f'{text}.'


def _taken() -> set[str]:
    """Names of models and files, without case: some disks have none."""
    names = {record.name.lower() for record in list_models()}
    files = user_models_folder().glob('*.safetensors')
    return names | {path.stem.lower() for path in files}


def _write(tuned: FineTuned, path: Path) -> None:
    from napari_mobilesam.training.jobs import write_result

    record = replace(tuned.model.record, name=path.stem)
    tuned.model.record = record
    write_result(tuned.model, path, record)


def _load_model(name: str) -> Sam:
    from napari_mobilesam.model.checkpoints import load_model

    return load_model(name)
