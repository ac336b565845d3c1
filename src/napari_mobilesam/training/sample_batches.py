"""Batches of samples, made ahead in processes of their own where asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from napari_mobilesam.training.samples import SampleSource
from napari_mobilesam.training.tensor_batch import SampleBatch, collate

AHEAD = 4  # batches that each process makes ahead
LAST = 2**62


@dataclass(eq=False)
class _Batches(Dataset[SampleBatch]):
    """Batch that begins with sample ``first``."""

    source: SampleSource
    input_size: int
    images: int

    def __getitem__(self, first: int) -> SampleBatch:
        samples = [self.source[first + i] for i in range(self.images)]
        return collate(samples, self.input_size)


class SampleBatches:
    """Batches of samples, the same however many processes make them.

    A GPU trains faster than one process makes samples.

    Parameters
    ----------
    source : SampleSource
        Samples by number.
    input_size : int
        Side of the model's input.
    loaders : int
        Processes that make batches ahead; 0 makes each when asked for.
    """

    def __init__(
        self, source: SampleSource, input_size: int, loaders: int = 0
    ) -> None:
        self.source, self.input_size = source, input_size
        self.loaders = loaders
        self._ahead: Iterator[SampleBatch] = iter(())
        self._next: tuple[int, int] | None = None

    def get(self, first: int, images: int) -> SampleBatch:
        """Samples ``first`` … ``first + images - 1``.

        Made ahead if batches are asked for in their order.
        """
        batches = _Batches(self.source, self.input_size, images)
        if not self.loaders:
            return batches[first]
        if self._next != (first, images):
            self._ahead = iter(
                DataLoader(
                    batches,
                    batch_size=None,
                    sampler=range(first, LAST, images),
                    num_workers=self.loaders,
                    prefetch_factor=AHEAD,
                    pin_memory=torch.cuda.is_available(),
                )
            )
        self._next = first + images, images
        return next(self._ahead)
