"""Training the instance head of a model, from start to checkpoint file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from napari_mobilesam.model.checkpoints import load_model
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.head_targets import (
    HeadCropSource,
    head_crop_source,
    validation_crops,
)
from napari_mobilesam.training.head_training import (
    EmbeddedCrops,
    HeadScore,
    HeadTask,
)
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.procedural import make_scene
from napari_mobilesam.training.train import TrainingError, TrainingRun
from napari_mobilesam.training.train_job import (
    FolderJob,
    check_data_sets,
    digest_of,
    read_split,
    training_record,
    write_result,
)
from napari_mobilesam.types import ModelRecord, Progress


@dataclass(frozen=True)
class HeadJob(FolderJob):
    """Training of only the instance head, on ``crops`` embedded once.

    The rest of the model, by default the default one, stays unchanged. An
    existing head is trained further.
    """

    crops: int = 2000

    def run(
        self,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Path:
        """Train, or continue training, and write the checkpoint."""
        sam = load_model(self.base, self.device)
        start = sam.key
        images = read_split(self.data, 'train', self.channel)
        check_data_sets(self.incomplete, images)
        source = self._source(sam, images)
        # check now, before hours of training
        score = self._score(sam)
        crops = EmbeddedCrops(self.folder / 'crops', sam, source, self.crops)
        torch.manual_seed(self.config.seed)
        if sam.instance_head is None:
            sam.add_instance_head()
        run = TrainingRun(
            HeadTask(sam, crops),
            self.config,
            self.folder,
            score,
            {'images': digest_of(images), 'base': start, 'head only': 'True'},
        )
        run.resume()
        if not crops.store.fill(progress, cancelled):
            raise TrainingError(
                'cancelled while crops were embedded: the same command '
                'continues from there'
            )
        run.run(progress, cancelled)
        write_result(sam, self.output, self._record(run, source))
        return self.output

    def _source(self, sam: Sam, images: list[LabelledImage]) -> HeadCropSource:
        return replace(
            head_crop_source(sam.record, images, self.incomplete),
            procedural=self.procedural,
            scene=make_scene if self.procedural else None,
            seed=self.config.seed,
        )

    def _score(self, sam: Sam) -> HeadScore | None:
        images = read_split(self.data, 'val', self.channel)
        if not images:
            return None
        source = replace(self._source(sam, images), procedural=0.0)
        best = sam.record.object_diameter.best
        return HeadScore(
            sam, validation_crops(source, best, self.validation_crops)
        )

    def _record(self, run: TrainingRun, source: HeadCropSource) -> ModelRecord:
        record = run.sam.record
        training = training_record(
            run,
            list(source.images),
            crops=self.crops,
            incomplete=sorted(self.incomplete),
            procedural=self.procedural,
            zoom=asdict(source.zoom),
        )
        return record.of_new_weights(
            name=self.output.stem,
            training=record.training | {'instance_head': training},
        )
