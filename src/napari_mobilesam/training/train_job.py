"""Train a model on a folder of images, from start to checkpoint file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from napari_mobilesam.model.checkpoints import (
    choose_device,
    load_model,
    save_checkpoint,
)
from napari_mobilesam.model.registry import read_record
from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.training.dataset import (
    file_of,
    manifest_splits,
    read_folder,
)
from napari_mobilesam.training.head_targets import (
    HeadCrop,
    head_crop_source,
    validation_crops,
)
from napari_mobilesam.training.head_training import HeadScore
from napari_mobilesam.training.instance_maps import KnownMaps
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    TrainingDataError,
)
from napari_mobilesam.training.procedural import make_scene
from napari_mobilesam.training.quick_score import (
    quick_score,
    validation_samples,
)
from napari_mobilesam.training.samples import Sample, SampleSource
from napari_mobilesam.training.step_tasks import InteractiveTask, Score
from napari_mobilesam.training.thresholds import choose_thresholds
from napari_mobilesam.training.train import (
    STATE,
    TrainingError,
    TrainingRun,
)
from napari_mobilesam.training.training_parameters import (
    TrainConfig,
    ZoomRange,
)
from napari_mobilesam.types import (
    Architecture,
    ModelRecord,
    ObjectDiameter,
    Progress,
    Ranking,
    SegmentationError,
)

# File in a run's folder with the model trained on small inputs.
SMALL = 'small.safetensors'
# Subfolder of that training.
FIRST = 'small'


@dataclass(frozen=True)
class FolderJob:
    """Training on a folder, from start to checkpoint file.

    Attributes
    ----------
    data : Path
        Folder of images and labels, see `read_folder`.
    folder : Path
        Folder for checkpoints and log; an interrupted run in it is resumed.
    output : Path
        Checkpoint file to write at the end.
    base : str or Path, optional
        Model to start from.
    incomplete : collection of str
        Data sets in which not every object is labelled; only background next
        to an object is used for training.
    procedural : float
        Share of procedural images.
    config : TrainConfig
        Budget and optimiser.
    validation_crops : int
        Number of crops for validation during training.
    device : str
        As in `load_model`.
    channel : int, optional
        As in `read_folder`.
    """

    data: Path
    folder: Path
    output: Path
    base: str | Path | None = None
    incomplete: Collection[str] = ()
    procedural: float = 0.15
    config: TrainConfig = field(default_factory=TrainConfig)
    validation_crops: int = 60
    device: str = 'auto'
    channel: int | None = None


@dataclass(frozen=True)
class TrainJob(FolderJob):
    """Training of a whole model; picklable, so that processes can share it.

    Without a base, it starts from random weights.

    Attributes
    ----------
    input_size : int
        Side of the model's input.
    zoom : ZoomRange
        Object sizes at the input.
    first_size : int
        Side of a smaller, cheaper input to start with; 0 starts with
        ``input_size``.
    first_share : float
        Share of the budget spent on small inputs.
    compiled : bool
        Compile the image encoder (`torch.compile`); requires CUDA or a C++
        compiler.
    threshold_images : int
        Number of images used to choose the thresholds of segment everything;
        with 0, those of ``base`` are kept.
    decoder : str or Path, optional
        Model from which prompt encoder and mask decoder are taken; by default
        ``base``.
    instance_head : bool
        Also train an instance head.
    warped : float
        Share of crops that are rotated, stretched and warped.
    loaders : int
        Number of processes that prepare samples during training, for a GPU.
    purpose, licence : str
        Purpose and licence, for the record of the checkpoint.
    """

    input_size: int = 256
    zoom: ZoomRange = field(default_factory=ZoomRange)
    first_size: int = 0
    first_share: float = 0.4
    compiled: bool = False
    threshold_images: int = 12
    decoder: str | Path | None = None
    instance_head: bool = True
    warped: float = 0.5
    loaders: int = 0
    purpose: str = 'trained with napari-mobilesam'
    licence: str = ''

    def run(
        self,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Path:
        """Train, or continue training, and write the checkpoint."""
        self._check_begun()
        images = read_split(self.data, 'train', self.channel)
        check_data_sets(self.incomplete, images)
        checked = read_split(self.data, 'val', self.channel)
        job = self
        if self.first_size:
            first, job = self._phases()
            if not first.output.is_file():
                first._train(images, checked, progress, cancelled)
                if cancelled is not None and cancelled():
                    # resume with the small inputs
                    first.output.replace(self.output)
                    return self.output
            if dist.is_initialized():
                # only one process has written it
                dist.barrier()
        run = job._train(images, checked, progress, cancelled)
        if run.exchange.rank == 0:
            sam = run.sam
            if checked:
                sam.record = replace(sam.record, ranking=best_ranking(run))
            # unlabelled objects would count as falsely found
            whole = [i for i in checked if i.dataset not in self.incomplete]
            thresholds = choose_thresholds(sam, whole, self.threshold_images)
            sam.record = replace(sam.record, **thresholds._asdict())
            write_result(sam, self.output, sam.record)
        return self.output

    def _check_begun(self) -> None:
        """Refuse a folder with a run started on inputs of another size."""
        found = wanted = _first_inputs(self.first_size)
        if (self.folder / SMALL).is_file():
            size = read_record(self.folder / SMALL).input_size
            found = _first_inputs(size)
        elif (self.folder / STATE).is_file():
            found = _first_inputs(0)
        elif (self.folder / FIRST / STATE).is_file() and not self.first_size:
            found = 'smaller inputs'
        if found != wanted:
            raise SegmentationError(
                f'{self.folder} is of a run that began on {found}, not '
                f'{wanted}: use the same first size, or another folder'
            )

    def _phases(self) -> tuple[TrainJob, TrainJob]:
        """Return the jobs of the two phases: small inputs, then full size."""
        config, share = self.config, self.first_share
        if not 0 < share < 1:
            raise SegmentationError(
                f'small inputs cannot take {share:g} of the budget; choose a '
                'share between 0 and 1'
            )
        if self.first_size >= self.input_size:
            raise SegmentationError(
                f'{self.first_size} is not smaller than the input size '
                f'{self.input_size}; begin with less, or not at all'
            )
        steps = round(share * config.steps)
        small = replace(
            self,
            folder=self.folder / FIRST,
            output=self.folder / SMALL,
            input_size=self.first_size,
            zoom=self.zoom.within(self.first_size),
            config=replace(
                config, steps=steps, minutes=share * config.minutes
            ),
            first_size=0,
        )
        rest = replace(
            config,
            steps=config.steps - steps,
            minutes=(1 - share) * config.minutes,
        )
        return small, replace(
            self, base=small.output, decoder=None, config=rest
        )

    def _train(
        self,
        images: list[LabelledImage],
        checked: list[LabelledImage],
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
    ) -> TrainingRun:
        """Train at one input size and write the result."""
        torch.manual_seed(self.config.seed)
        sam = self._start()
        task = InteractiveTask(
            sam,
            self._source(images),
            warmup=2 * self.config.warmup,
            loaders=self.loaders,
            compiled=self.compiled,
        )
        run = TrainingRun(
            task,
            self.config,
            self.folder,
            self._score(checked, sam.record.architecture),
            self._made_of(sam, images),
        )
        run.resume()
        run.run(progress, cancelled)
        if run.exchange.rank == 0:
            sam.record = self._record(run, images)
            write_result(sam, self.output, sam.record)
        return run

    def _made_of(
        self, sam: Sam, images: list[LabelledImage]
    ) -> dict[str, str]:
        """Return the values that must agree for a run to be resumed."""
        return {
            'images': digest_of(images),
            'base': sam.key,
            'input size': str(self.input_size),
            'instance head': str(self.instance_head),
            'incomplete': str(sorted(self.incomplete)),
            'procedural': str(self.procedural),
            'warped': str(self.warped),
            'zoom': str(self.zoom),
        }

    def _start(self) -> Sam:
        if self.base is None:
            sam = build_sam('vit_t', self.input_size)
            sam.to(choose_device(self.device))
        else:
            sam = resized(load_model(self.base, self.device), self.input_size)
        if self.decoder is not None:
            other = resized(
                load_model(self.decoder, self.device), self.input_size
            )
            sam.prompt_encoder.load_state_dict(
                other.prompt_encoder.state_dict()
            )
            sam.mask_decoder.load_state_dict(other.mask_decoder.state_dict())
        if not self.instance_head:
            # an existing one suits the encoder as it was
            sam.remove_instance_head()
        elif sam.instance_head is None:
            sam.add_instance_head()
        return sam

    def _source(self, images: list[LabelledImage]) -> SampleSource:
        known_maps = None
        if self.instance_head:
            known_maps = KnownMaps(images, tuple(self.incomplete))
            if self.loaders:
                known_maps.prepare(self.loaders)
        return SampleSource(
            images,
            self.input_size,
            self.procedural,
            make_scene if self.procedural else None,
            zoom=self.zoom,
            seed=self.config.seed,
            incomplete=tuple(self.incomplete),
            warped=self.warped,
            known_maps=known_maps,
        )

    def _score(
        self, images: list[LabelledImage], architecture: Architecture
    ) -> Score | None:
        if not images or (dist.is_initialized() and dist.get_rank()):
            return None
        samples = validation_samples(
            images, self.input_size, self.zoom.best, self.validation_crops
        )
        if not self.instance_head:
            return lambda sam: quick_score(sam, samples)
        record = ModelRecord(
            'untrained',
            architecture,
            input_size=self.input_size,
            object_diameter=self._diameters(),
        )
        crops = validation_crops(
            head_crop_source(record, images, self.incomplete),
            self.zoom.best,
            max(1, self.validation_crops // 2),
        )
        return lambda sam: joint_score(sam, samples, crops)

    def _diameters(self) -> ObjectDiameter:
        zoom = self.zoom
        return ObjectDiameter(zoom.smallest, zoom.best, zoom.largest)

    def _record(
        self, run: TrainingRun, images: list[LabelledImage]
    ) -> ModelRecord:
        return run.sam.record.of_new_weights(
            name=self.output.stem,
            input_size=self.input_size,
            object_diameter=self._diameters(),
            purpose=self.purpose,
            licence=self.licence or run.sam.record.licence,
            training=training_record(
                run,
                images,
                base=str(self.base or 'random weights'),
                decoder=str(self.decoder or ''),
                incomplete=sorted(self.incomplete),
                warped=self.warped,
                procedural=self.procedural,
                zoom=asdict(self.zoom),
            ),
        )


def joint_score(
    sam: Sam, samples: list[Sample], crops: list[HeadCrop]
) -> dict[str, float]:
    """Score prompts and the instance head with `quick_score` and F1.

    Returns
    -------
    dict
        As from `quick_score`; ``score`` is the mean over points, boxes and
        ``F1``, the F1 of the watershed instances.
    """
    scores = quick_score(sam, samples)
    found = HeadScore(sam, crops)(sam)
    joint = (2 * scores['score'] + found['score']) / 3
    return scores | {'F1': found['score'], 'score': joint}


def read_split(
    folder: Path, split: str, channel: int | None = None
) -> list[LabelledImage]:
    """Read the images of a split; without a manifest, validate on every tenth.

    All planes of a stack are on the same side, as neighbours are nearly equal.
    Of a single stack, the last tenth of the planes is for validation. The
    result is empty if the manifest names no images of the split.
    """
    if (folder / 'MANIFEST.csv').exists():
        if split == 'val' and split not in manifest_splits(folder):
            return []
        return read_folder(folder, split=split, channel=channel)
    images = read_folder(folder, channel=channel)
    if len(images) < 2:
        return images if split == 'train' else []
    files = list(dict.fromkeys(file_of(image) for image in images))
    if len(files) > 1:
        held = {file for n, file in enumerate(files) if n % 10 == 9}
        held = held or {files[-1]}
        kept = [file_of(image) not in held for image in images]
    else:
        last = len(images) - max(1, len(images) // 10)
        kept = [number < last for number in range(len(images))]
    return [
        image
        for image, is_kept in zip(images, kept, strict=True)
        if is_kept == (split != 'val')
    ]


def check_data_sets(
    names: Collection[str], images: Sequence[LabelledImage]
) -> None:
    """Raise `TrainingDataError` if a named data set does not exist."""
    known = {image.dataset for image in images}
    unknown = sorted(set(names) - known)
    if unknown:
        raise TrainingDataError(
            f'There is no data set {unknown[0]!r} among the images: '
            f'{", ".join(sorted(known - {""})) or "they have no names"}.'
        )


def resized(sam: Sam, input_size: int) -> Sam:
    """Return the same weights for another input size (TinyViT only).

    Raises
    ------
    TrainingDataError
        For SAM's ViT, whose positional embeddings belong to one input size.
    """
    if sam.input_size == input_size:
        return sam
    if sam.record.absolute_positions:
        raise TrainingDataError(
            f'{sam.record.name} works at input size {sam.input_size} only; '
            f'{input_size} was asked for'
        )
    other = build_sam(record=replace(sam.record, input_size=input_size))
    other.load_state_dict(sam.state_dict())
    return other.to(sam.device)


def best_ranking(run: TrainingRun) -> Ranking:
    """Return the ranking of masks that suits the kept weights."""
    kept = max(run.curve, key=lambda entry: entry.get('score', float('-inf')))
    agreed = kept.get('agreement', 0) > kept.get('point', 0)
    return 'agreement' if agreed else 'predicted_iou'


def digest_of(images: Collection[LabelledImage]) -> str:
    """Return the SHA-256 of images and labels, in any order."""
    data = sha256()
    for digest in sorted(image.digest for image in images):
        data.update(digest.encode())
    return data.hexdigest()


def training_record(
    run: TrainingRun, images: list[LabelledImage], **more: Any
) -> dict[str, Any]:
    """Return the training record for a checkpoint."""
    groups: dict[str, int] = {}
    for image in images:
        groups[image.group] = groups.get(image.group, 0) + 1
    return {
        'date': datetime.now(UTC).isoformat(timespec='seconds'),
        'data_sha256': digest_of(images),
        'images': groups,
        'objects': sum(len(image.objects) for image in images),
        'steps': run.step,
        'minutes': round(run.seconds / 60, 1),
        'config': asdict(run.config),
        'processes': run.exchange.size,
        'best_score': run.best_score,
        'curve': run.curve,
    } | more


def write_result(sam: Sam, path: Path, record: ModelRecord) -> None:
    """Write a checkpoint file.

    Raises
    ------
    TrainingError
        If the file cannot be written.
    """
    try:
        save_checkpoint(sam, path, record)
    except OSError as error:
        raise TrainingError(
            f'the model could not be written to {path}: '
            f'{error.strerror or error}; choose another place or free disk '
            'space'
        ) from error


def _first_inputs(size: int) -> str:
    return f'inputs of {size} pixels' if size else 'inputs of the full size'
