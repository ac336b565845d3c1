"""Fine-tuning of a model on a user's labels.

By default, the mask decoder and the instance head are trained on precomputed
embeddings, which takes minutes on a CPU. Some objects are held out; the result
is the state that segments them best, which may be the original model.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.model.user_models import (
    check_folder,
    check_space,
    free_name,
    new_model_path,
)
from napari_mobilesam.segmentation.windows import window_side
from napari_mobilesam.training.everything_check import EverythingCheck
from napari_mobilesam.training.held_back import HeldBackScore, hold_back
from napari_mobilesam.training.instance_maps import KnownMaps
from napari_mobilesam.training.interactive import StepResult
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    TrainingDataError,
)
from napari_mobilesam.training.quick_score import validation_samples
from napari_mobilesam.training.samples import SampleSource
from napari_mobilesam.training.step_tasks import (
    DecoderTask,
    InteractiveTask,
    Task,
)
from napari_mobilesam.training.train import TrainingRun
from napari_mobilesam.training.train_job import (
    training_record,
    write_result,
)
from napari_mobilesam.training.training_parameters import (
    FineTuneConfig,
    ZoomRange,
)
from napari_mobilesam.types import ModelRecord, Progress

# Maximum share of the budget for one validation.
VALIDATION_SHARE = 0.05
# Maximum share for each of the two checks of segment everything.
CHECK_SHARE = 0.08


@dataclass(frozen=True)
class FineTuned:
    """Result of fine-tuning.

    Attributes
    ----------
    model : Sam
        Model in inference mode; its record includes the training record.
    base_score, score : float
        Mean IoU of point and box prompts on held-out objects, before and
        after.
    validation_objects : int
        Number of held-out objects.
    curve : list of dict
        Validation over time.
    path : Path or None
        Checkpoint file, if one was written.
    noise : float
        Change of the score explained by chance; see `HeldBackScore`.
    base_f1, f1 : float
        F1 of segment everything on held-out objects, before and after; NaN if
        not measured. See `EverythingCheck`.
    """

    model: Sam
    base_score: float
    score: float
    validation_objects: int
    curve: list[dict[str, float]]
    path: Path | None = None
    noise: float = 0.0
    base_f1: float = math.nan
    f1: float = math.nan

    @property
    def improved(self) -> bool:
        """True if the score improved by more than the noise."""
        return self.score > self.base_score + self.noise


def product_zoom(
    images: Sequence[LabelledImage], record: ModelRecord
) -> tuple[ZoomRange, float | None]:
    """Return the object sizes for training, and the one for validation.

    Objects are shown as in the application: whole images if that suits the
    model, else windows in which objects have their best size.
    """
    sizes = record.object_diameter
    whole = [
        window_side(
            image.image.shape[:2], float(np.median(image.diameters)), record
        )
        == max(image.image.shape[:2])
        for image in images
    ]
    mostly_whole = float(np.mean(whole)) > 0.5
    zoom = ZoomRange(
        sizes.smallest,
        sizes.best,
        sizes.largest,
        whole=0.6 if mostly_whole else 0.1,
    )
    return zoom, None if mostly_whole else sizes.best


def finetune(
    model: Sam,
    images: Sequence[LabelledImage],
    options: FineTuneConfig | None = None,
    *,
    name: str | None = None,
    save: bool = True,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_validation: Callable[[dict[str, float]], None] | None = None,
    on_step: Callable[[float, StepResult], None] | None = None,
    on_crop: Callable[[int, int], None] | None = None,
) -> FineTuned:
    """Fine-tune a copy of a model on labelled images.

    A budget in minutes covers everything: preparation, training and
    validation.

    Parameters
    ----------
    model : Sam
        Starting point, which is not changed.
    images : sequence of LabelledImage
        Images and labels; see `labelled_image`.
    options : FineTuneConfig, optional
        Parameters.
    name : str, optional
        Name of the new model; by default derived from the base model's name.
    save : bool
        Save the checkpoint with the user's models, where `list_models` finds
        it, unless no state was better than ``model``.
    progress, cancelled : callable, optional
        ``progress(done, total, message)`` reports progress; ``cancelled()``
        returns True to stop with the best state so far.
    on_validation : callable, optional
        Called with each point of the curve (``minutes``, ``step``,
        ``score``, ``point``, ``box``), the first before any training.
    on_step : callable, optional
        Called after each step with the minutes used and its numbers.
    on_crop : callable, optional
        Called during validation with the number of crops done and the total.

    Returns
    -------
    FineTuned
        The new model and its scores.

    Raises
    ------
    TrainingDataError
        If there are too few objects.
    SegmentationError
        If the name is taken or invalid, or the folder of the user's models is
        not writable.
    TrainingError
        If training fails or the checkpoint cannot be written.
    """
    started = time.monotonic()
    options = options or FineTuneConfig()
    path = _place(model, name) if save else None
    training, validation = hold_back(
        images, options.held_back, options.config.seed
    )
    zoom, best = product_zoom(images, model.record)
    tuned = copy.deepcopy(model)
    source = _samples(images, training, options, model.input_size, zoom)
    score = _held_back_score(model, validation, best, options, on_crop)
    check = _everything_check(images, validation, options, cancelled)
    base_f1 = check(tuned.eval())
    task = _task(tuned, source, options)
    run = TrainingRun(task, options.config, score=score)
    validated = partial(_validated, run, score, on_validation)
    # segment everything is checked again at the end
    run.seconds = time.monotonic() - started + check.seconds
    run.run(progress, cancelled, validated, on_step)
    result = FineTuned(
        tuned,
        run.curve[0]['score'],
        run.best_score,
        sum(len(image.objects) for image in validation),
        run.curve,
        noise=score.noise,
        base_f1=base_f1,
        f1=check(tuned),
    )
    tuned.record = _record(model, run, images, result, path)
    if path is None or result.score <= result.base_score:
        # the best state is the original model
        return result
    write_result(tuned, path, tuned.record)
    return replace(result, path=path)


def _place(model: Sam, name: str | None) -> Path:
    """Return the file of the new model, after checking that it is writable."""
    path = new_model_path(name or free_name(model.record.name))
    check_folder()
    check_space(model)
    return path


def _everything_check(
    images: Sequence[LabelledImage],
    validation: Sequence[LabelledImage],
    options: FineTuneConfig,
    cancelled: Callable[[], bool] | None,
) -> EverythingCheck:
    """Return a check of segment everything within its share of the time."""
    budget = 60 * options.config.minutes
    seconds = CHECK_SHARE * budget if budget else math.inf
    return EverythingCheck(
        images, validation, options.complete, seconds, cancelled
    )


def _validated(
    run: TrainingRun,
    score: HeldBackScore,
    on_validation: Callable[[dict[str, float]], None] | None,
    entry: dict[str, float],
) -> None:
    """Account for the time of a validation, and pass it on."""
    run.pending += score.seconds
    run.validation_seconds = score.seconds
    if on_validation is not None:
        on_validation(entry)


def _samples(
    images: Sequence[LabelledImage],
    training: Sequence[LabelledImage],
    options: FineTuneConfig,
    input_size: int,
    zoom: ZoomRange,
) -> SampleSource:
    """Return crops around the training objects."""
    return SampleSource(
        training,
        input_size,
        procedural=0,
        background=2 if options.complete else 0,
        zoom=zoom,
        seed=options.config.seed,
        known_maps=_known_maps(images, training, options),
    )


def _known_maps(
    images: Sequence[LabelledImage],
    training: Sequence[LabelledImage],
    options: FineTuneConfig,
) -> KnownMaps:
    """Return the maps of the training objects; held-out ones are unknown."""
    whole = {id(image.image): image for image in images}
    unknown = [
        (image.labels[0] == 0) & (whole[id(image.image)].labels[0] > 0)
        for image in training
    ]
    datasets = {image.dataset for image in training}
    incomplete = () if options.complete else tuple(datasets)
    return KnownMaps(training, incomplete, unknown)


def _held_back_score(
    model: Sam,
    validation: Sequence[LabelledImage],
    diameter: float | None,
    options: FineTuneConfig,
    on_crop: Callable[[int, int], None] | None,
) -> HeldBackScore:
    """Return the score on held-out objects, within its share of the time."""
    count = sum(len(image.objects) for image in validation)
    samples = validation_samples(
        validation, model.input_size, diameter, count=min(12, max(2, count))
    )
    if not samples:
        raise TrainingDataError(
            'The objects that are held back are too small to be measured: '
            'label larger ones, or more of them.'
        )
    budget = 60 * options.config.minutes
    return HeldBackScore(
        samples, VALIDATION_SHARE * budget if budget else math.inf, on_crop
    )


def _task(sam: Sam, source: SampleSource, options: FineTuneConfig) -> Task:
    if options.decoder_only:
        return DecoderTask(sam, source, options.crops)
    return InteractiveTask(sam, source, warmup=0, head_weight=0)


def _record(
    model: Sam,
    run: TrainingRun,
    images: Sequence[LabelledImage],
    result: FineTuned,
    path: Path | None,
) -> ModelRecord:
    base = model.record
    return base.of_new_weights(
        name=path.stem if path else f'{base.name}_tuned',
        purpose=f'{base.name}, fine-tuned on your labels',
        instance_head=run.sam.instance_head is not None,
        training=training_record(
            run,
            list(images),
            base=base.name,
            base_key=model.key,
            base_score=result.base_score,
            validation_objects=result.validation_objects,
            # JSON has no NaN
            everything_f1=[
                f1 if math.isfinite(f1) else None
                for f1 in (result.base_f1, result.f1)
            ],
        ),
    )
