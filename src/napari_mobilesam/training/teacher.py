"""Embeddings of a teacher, computed once and kept on disk (float16).

MobileSAM, section 3.2: as the teacher's encoder is frozen, its embeddings can
be saved, and training the student needs no forward pass of the teacher.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mobilesam.files import write_text_atomic
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.samples import Sample, SampleSource
from napari_mobilesam.training.tensor_batch import collate, normalise
from napari_mobilesam.training.train import TrainingError
from napari_mobilesam.types import Progress

CHANNELS = 256
SPARE_BYTES = 200 << 20  # left free on the disk
FLUSH_EVERY = 16


class TeacherCache:
    """Teacher embeddings of a fixed number of crops.

    Parameters
    ----------
    folder : Path
        ``embeddings.npy`` (N, 256, s, s) float16, ``done.npy`` (N,) bool and
        ``cache.json``; what is done there already is not computed again.
    teacher : Sam
        In inference mode.
    source : SampleSource
        Crops number 0 … N - 1 are embedded.
    crops : int
        N.
    max_bytes : int, optional
        Largest size on disk; fewer crops have to be chosen if N need more.

    Raises
    ------
    TrainingError
        If the disk is too small, or the folder is of another teacher or
        other crops.
    """

    def __init__(
        self,
        folder: Path,
        teacher: Sam,
        source: SampleSource,
        crops: int,
        max_bytes: int | None = None,
    ) -> None:
        self.folder, self.teacher = folder, teacher
        self.source, self.crops = source, crops
        side = teacher.embedding_size
        self.shape = (crops, CHANNELS, side, side)
        self._check_room(max_bytes)
        self._check_identity()
        self.embeddings = self._open('embeddings.npy', np.float16, self.shape)
        self.done = self._open('done.npy', np.bool_, (crops,))

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return 2 * int(np.prod(self.shape))

    def _check_room(self, max_bytes: int | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        there = (self.folder / 'embeddings.npy').exists()
        free = shutil.disk_usage(self.folder).free - SPARE_BYTES
        room = min(free, max_bytes or free) if not there else self.size_bytes
        if max_bytes is not None:
            room = min(room, max_bytes)
        if self.size_bytes > room:
            each = self.size_bytes // self.crops
            raise TrainingError(
                f'{self.crops} teacher embeddings take '
                f'{self.size_bytes / 1e9:.2f} GB, but {room / 1e9:.2f} GB may '
                f'be used in {self.folder}; choose {max(0, room // each)} '
                'crops or fewer'
            )

    def _check_identity(self) -> None:
        path = self.folder / 'cache.json'
        identity = {
            'teacher': self.teacher.key,
            'crops': self.crops,
            'seed': self.source.seed,
            'procedural': self.source.procedural,
            'images': sorted(image.digest for image in self.source.images),
        }
        if path.exists():
            if json.loads(path.read_text('utf-8')) != identity:
                raise TrainingError(
                    f'{self.folder} holds embeddings of another teacher or '
                    'of other crops; use another folder'
                )
            return
        write_text_atomic(path, json.dumps(identity))

    def _open(
        self, name: str, dtype: type[np.generic], shape: tuple[int, ...]
    ) -> NDArray[np.generic]:
        path = self.folder / name
        try:
            # A new file is sparse: all zero, which means not done.
            return np.lib.format.open_memmap(
                path,
                mode='r+' if path.exists() else 'w+',
                dtype=dtype,
                shape=shape,
            )
        except (OSError, ValueError) as error:
            raise TrainingError(
                f'{path} cannot be opened: {error}; delete the folder to '
                'compute the embeddings again'
            ) from error

    def fill(
        self,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> bool:
        """Compute what is missing; return whether all is there."""
        for count, number in enumerate(np.flatnonzero(self.done == 0)):
            if cancelled is not None and cancelled():
                break
            features = embed_sample(self.teacher, self.source[int(number)])
            self.embeddings[number] = features.float().cpu().numpy()
            if count % FLUSH_EVERY == FLUSH_EVERY - 1:
                self._commit(int(number) + 1)
            if progress is not None:
                progress(int(number) + 1, self.crops, 'teacher embeddings')
        else:
            self._commit(self.crops)
        return bool(self.done.all())

    def _commit(self, count: int) -> None:
        """Flush embeddings to disk, and mark them as done afterwards."""
        for array, change in ((self.embeddings, None), (self.done, count)):
            if change is not None:
                array[:change] = True
            assert isinstance(array, np.memmap)
            array.flush()

    def __getitem__(self, number: int) -> Tensor:
        """Embedding (256, s, s) float32 of one crop."""
        return torch.from_numpy(self.embeddings[number].astype(np.float32))


@torch.no_grad()
def embed_sample(sam: Sam, sample: Sample) -> Tensor:
    """Embedding (256, s, s) of one crop."""
    batch = collate([sample], sam.input_size).to(sam.device)
    return sam.encode(normalise(sam, batch))[0]
