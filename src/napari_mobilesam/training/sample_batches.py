"""Batches of samples, optionally prepared in separate processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from napari_mobilesam.training.samples import SampleSource
from napari_mobilesam.training.tensor_batch import SampleBatch, collate

AHEAD = 4  # batches prepared by each process
LAST = 2**62


@dataclass(eq=False)
class _Batches(Dataset[SampleBatch]):
    """Batches by the number of their first sample."""

    source: SampleSource
    input_size: int
    images: int

    def __getitem__(self, first: int) -> SampleBatch:
        samples = [self.source[first + i] for i in range(self.images)]
        return collate(samples, self.input_size)


class SampleBatches:
    """Batches of samples, independent of the number of processes.

    A GPU trains faster than one process prepares samples.

    Parameters
    ----------
    source : SampleSource
        Samples by number.
    input_size : int
        Side of the model's input.
    loaders : int
        Number of processes that prepare batches; 0 to prepare each on request.
    """

    def __init__(
        self, source: SampleSource, input_size: int, loaders: int = 0
    ) -> None:
        self.source, self.input_size = source, input_size
        self.loaders = loaders
        self._ahead: Iterator[SampleBatch] = iter(())
        self._next: tuple[int, int] | None = None

    def get(self, first: int, images: int) -> SampleBatch:
        """Return samples ``first`` … ``first + images - 1``.

        They are prepared in advance if batches are requested in order.
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
