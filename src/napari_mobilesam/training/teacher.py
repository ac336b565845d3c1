"""Embeddings of a teacher, computed once and kept on disk (float16).

MobileSAM, section 3.2: since the teacher's encoder is frozen, its embeddings
can be saved, and training the student needs no forward pass of the teacher.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.crop_store import CropStore
from napari_mobilesam.training.interactive import CHANNELS
from napari_mobilesam.training.samples import Sample, SampleSource
from napari_mobilesam.training.tensor_batch import collate, normalise


class TeacherCache:
    """Teacher embeddings of a fixed number of crops.

    The first crops of a source are embedded, in a `CropStore`.
    """

    def __init__(
        self,
        folder: Path,
        teacher: Sam,
        source: SampleSource,
        crops: int,
        max_bytes: int | None = None,
    ) -> None:
        self.teacher, self.source, self.crops = teacher, source, crops
        side = teacher.embedding_size
        self.store = CropStore(
            folder,
            crops,
            {'embeddings': (np.float16, (CHANNELS, side, side))},
            {
                'teacher': teacher.key,
                'seed': source.seed,
                'procedural': source.procedural,
                'zoom': asdict(source.zoom),
                'images': sorted(image.digest for image in source.images),
            },
            'teacher embeddings',
            self._entry,
            max_bytes,
        )

    @property
    def embeddings(self) -> NDArray[Any]:
        """(N, 256, s, s) float16."""
        return self.store.arrays['embeddings']

    def _entry(self, number: int) -> dict[str, NDArray[Any]]:
        features = embed_sample(self.teacher, self.source[number])
        return {'embeddings': features.float().cpu().numpy()}

    def __getitem__(self, number: int) -> Tensor:
        """Return the embedding (256, s, s) float32 of one crop."""
        return torch.from_numpy(self.embeddings[number].astype(np.float32))


@torch.no_grad()
def embed_sample(sam: Sam, sample: Sample) -> Tensor:
    """Return the embedding (256, s, s) of one crop."""
    batch = collate([sample], sam.input_size).to(sam.device)
    return sam.encode(normalise(sam, batch))[0]
