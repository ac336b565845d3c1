"""Distillation of an image encoder (MobileSAM, section 3).

*Decoupled*: the student's encoder learns the teacher's embeddings; prompt
encoder and decoder are copied from the teacher and frozen. *Semi-coupled*: the
encoder learns from the teacher's masks, through the frozen decoder. *Coupled*:
the decoder is trained, too. The last two are the paper's baselines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.training.interactive import StepResult
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.losses import (
    iou_of,
    mask_loss,
    pixel_weights,
)
from napari_mobilesam.training.procedural import make_scene
from napari_mobilesam.training.samples import SampleSource
from napari_mobilesam.training.step_tasks import Turn, choose_trained
from napari_mobilesam.training.teacher import TeacherCache, embed_sample
from napari_mobilesam.training.tensor_batch import collate, normalise
from napari_mobilesam.training.train import TrainingRun
from napari_mobilesam.training.train_job import digest_of, training_record
from napari_mobilesam.training.training_parameters import DistillConfig
from napari_mobilesam.types import Progress


@dataclass(frozen=True)
class Distilled:
    """Result of a distillation.

    Attributes
    ----------
    student : Sam
        Student, in inference mode.
    error : float
        Mean squared error of the embedding on the validation crops.
    agreement : float
        Mean IoU of student and teacher masks for one click.
    curve : list of dict
        Validation over time: ``error``, ``agreement``.
    """

    student: Sam
    error: float
    agreement: float
    curve: list[dict[str, float]]


def make_student(teacher: Sam, seed: int = 0) -> Sam:
    """Create a TinyViT student with the teacher's prompt parts and decoder."""
    torch.manual_seed(seed)
    record = teacher.record.of_new_weights(
        name=f'{teacher.record.name}_student',
        architecture='vit_t',
        instance_head=False,
    )
    student = build_sam(record=record)
    student.prompt_encoder.load_state_dict(teacher.prompt_encoder.state_dict())
    student.mask_decoder.load_state_dict(teacher.mask_decoder.state_dict())
    return student.to(teacher.device)


class EmbeddingTask:
    """Decoupled distillation: the encoder learns embeddings by MSE."""

    def __init__(self, sam: Sam, cache: TeacherCache) -> None:
        self.sam, self.cache = sam, cache
        self.helper: nn.Module = nn.Identity()
        choose_trained(sam, 'encoder')

    def prepare(self) -> None:
        """Train the encoder and freeze the rest."""
        self.sam.eval()
        self.sam.image_encoder.train()

    def step(self, turn: Turn) -> StepResult:
        """Compute the MSE on crops drawn from the cache."""
        numbers = turn.chance().integers(0, self.cache.crops, turn.images)
        samples = [self.cache.source[int(number)] for number in numbers]
        batch = collate(samples, self.sam.input_size).to(self.sam.device)
        target = torch.stack([self.cache[int(n)] for n in numbers])
        with torch.autocast(
            self.sam.device.type, dtype=torch.bfloat16, enabled=turn.half
        ):
            features = self.sam.encode(normalise(self.sam, batch))
        loss = functional.mse_loss(
            features.float(), target.to(features.device)
        )
        loss.backward()
        return StepResult(float(loss.detach()))


class MaskTask:
    """Coupled and semi-coupled distillation, from the teacher's masks."""

    def __init__(
        self, sam: Sam, cache: TeacherCache, train_decoder: bool
    ) -> None:
        self.sam, self.cache = sam, cache
        self.helper: nn.Module = nn.Identity()
        self.train_decoder = train_decoder
        choose_trained(sam, 'all' if train_decoder else 'encoder')

    def prepare(self) -> None:
        """Set which parts are trained."""
        self.sam.eval()
        self.sam.image_encoder.train()
        self.sam.mask_decoder.train(self.train_decoder)

    def step(self, turn: Turn) -> StepResult:
        """Compute the mask loss towards the teacher's preferred masks."""
        sam = self.sam
        numbers = turn.chance().integers(0, self.cache.crops, turn.images)
        samples = [self.cache.source[int(number)] for number in numbers]
        batch = collate(samples, sam.input_size).to(sam.device)
        taught = torch.stack([self.cache[int(n)] for n in numbers])
        points, index = batch.points, batch.image_index
        with torch.no_grad():
            logits, chosen = preferred(
                self.cache.teacher, taught.to(sam.device), points, index
            )
            truth = (logits > 0).float()
        features = sam.encode(normalise(sam, batch))
        own, _ = preferred(sam, features, points, index, chosen)
        weights = pixel_weights(truth, torch.zeros_like(truth))
        loss = mask_loss(own, truth, weights).mean()
        loss.backward()
        agreement = iou_of(own.detach()[:, None], truth).mean()
        return StepResult(float(loss.detach()), float(agreement))


def preferred(
    sam: Sam,
    features: Tensor,
    points: Tensor,
    index: Tensor,
    chosen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return low-res logits (P, h, w) of preferred or chosen mask tokens.

    Parameters
    ----------
    sam : Sam
        Model.
    features : Tensor
        (K, 256, s, s).
    points : Tensor
        (P, 2) x-y, one click each.
    index : Tensor
        (P,) image index of each click.
    chosen : Tensor, optional
        (P,) mask tokens; by default those with the highest predicted IoU.
    """
    ones = torch.ones(len(points), 1, device=points.device)
    sparse, dense = sam.embed_prompts(points[:, None], ones)
    logits, iou = sam.decode(
        features, sparse, dense, multimask=True, image_index=index
    )
    if chosen is None:
        chosen = iou.argmax(1)
    rows = torch.arange(len(points), device=points.device)
    return logits[rows, chosen], chosen


class AgreementScore:
    """Validation against the teacher on separate crops."""

    def __init__(
        self, teacher: Sam, source: SampleSource, first: int, count: int
    ) -> None:
        self.teacher = teacher
        self.samples = [source[first + i] for i in range(count)]
        self.targets = [embed_sample(teacher, s) for s in self.samples]

    @torch.no_grad()
    def __call__(self, student: Sam) -> dict[str, float]:
        """Return ``error`` (MSE), ``agreement`` (mIoU) and ``score``."""
        errors, agreements = [], []
        for sample, target in zip(self.samples, self.targets, strict=True):
            features = embed_sample(student, sample)
            errors.append(float(functional.mse_loss(features, target)))
            batch = collate([sample], student.input_size).to(student.device)
            masks = [
                preferred(model, x[None], batch.points, batch.image_index)[0]
                for model, x in ((student, features), (self.teacher, target))
            ]
            iou = iou_of(masks[0][:, None], (masks[1] > 0).float())
            agreements.append(float(iou.mean()))
        agreement = sum(agreements) / len(agreements)
        error = sum(errors) / len(errors)
        # Agreement stays zero for a long time; until then, a lower error is
        # better.
        score = agreement + 1e-3 / (1 + error)
        return {'error': error, 'agreement': agreement, 'score': score}


def distill(
    teacher: Sam,
    images: Sequence[LabelledImage],
    folder: Path,
    options: DistillConfig | None = None,
    *,
    student: Sam | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Distilled:
    """Distil a teacher's image encoder into a TinyViT.

    Parameters
    ----------
    teacher : Sam
        Any SAM, in inference mode.
    images : sequence of LabelledImage
        Images from which crops and clicks are drawn; labels only place the
        clicks.
    folder : Path
        Folder for the teacher's embeddings and the state of the run; an
        interrupted distillation in it is resumed.
    options : DistillConfig, optional
        Parameters.
    student : Sam, optional
        Starting point with the teacher's input size; by default from
        `make_student`.
    progress, cancelled : callable, optional
        ``progress(done, total, message)`` reports progress; ``cancelled()``
        returns True to stop.

    Returns
    -------
    Distilled
        The student and its agreement with the teacher.

    Raises
    ------
    SegmentationError
        If the folder belongs to another teacher, or to other crops.
    TrainingError
        If the disk is too small.
    """
    options = options or DistillConfig()
    source = SampleSource(
        images,
        teacher.input_size,
        options.procedural,
        make_scene if options.procedural else None,
        zoom=options.zoom,
        seed=options.config.seed,
    )
    cache = TeacherCache(
        folder / 'teacher',
        teacher,
        source,
        options.crops,
        options.max_bytes,
    )
    sam = student or make_student(teacher, options.config.seed)
    complete = cache.store.fill(progress, cancelled)
    score = AgreementScore(teacher, source, options.crops, options.check_crops)
    task = (
        EmbeddingTask(sam, cache)
        if options.mode == 'decoupled'
        else MaskTask(sam, cache, options.mode == 'coupled')
    )
    run = TrainingRun(
        task,
        options.config,
        folder / options.mode,
        score,
        {'images': digest_of(images), 'teacher': teacher.key},
    )
    run.resume()
    # Nothing is trained without all embeddings; the folder resumes later.
    run.run(progress, cancelled if complete else lambda: True)
    sam.record = replace(
        sam.record,
        training=training_record(
            run,
            list(images),
            teacher=teacher.record.name,
            mode=options.mode,
            crops=options.crops,
            zoom=asdict(options.zoom),
        ),
    )
    final = score(sam)
    return Distilled(sam, final['error'], final['agreement'], run.curve)
