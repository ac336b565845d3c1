"""Samples as tensors: images, objects and first prompts of one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.samples import Sample


@dataclass
class SampleBatch:
    """Samples as tensors: P prompts on B images.

    Attributes
    ----------
    images : Tensor
        (B, 3, S, S) uint8.
    valid : Tensor
        (B, 1, S, S) bool, False in the padding.
    ids : Tensor
        (B, L, g, g) int32.
    image_index, layer, label : Tensor
        (P,), of each prompted object.
    points, boxes : Tensor
        (P, 2) and (P, 4) float in input pixels.
    background, background_index : Tensor
        (N, 2) clicks outside all objects, and (N,) their images.
    maps : Tensor
        (B, 4, m, m) uint8 maps for the instance head, or (0,) without maps.
    """

    images: Tensor
    valid: Tensor
    ids: Tensor
    image_index: Tensor
    layer: Tensor
    label: Tensor
    points: Tensor
    boxes: Tensor
    background: Tensor
    background_index: Tensor
    maps: Tensor

    def to(self, device: torch.device) -> SampleBatch:
        """Copy to a device."""
        return SampleBatch(
            *(
                value.to(device, non_blocking=True)
                for value in vars(self).values()
            )
        )

    def pin_memory(self) -> SampleBatch:
        """Copy to memory from which a GPU can read directly."""
        return SampleBatch(
            *(value.pin_memory() for value in vars(self).values())
        )

    def truth(self) -> tuple[Tensor, Tensor]:
        """Return masks of objects and of their neighbours, (P, g, g) float."""
        ids = self.ids[self.image_index, self.layer]
        mask = ids == self.label[:, None, None]
        return mask.float(), ((ids > 0) & ~mask).float()


def collate(samples: Sequence[Sample], input_size: int) -> SampleBatch:
    """Stack samples, padding images at the bottom and right."""
    count = len(samples)
    layers = max(len(sample.labels) for sample in samples)
    grid = samples[0].labels.shape[-1]
    images = np.zeros((count, input_size, input_size, 3), dtype=np.uint8)
    valid = np.zeros((count, 1, input_size, input_size), dtype=bool)
    ids = np.zeros((count, layers, grid, grid), dtype=np.int32)
    for index, sample in enumerate(samples):
        rows, columns = sample.image.shape[:2]
        images[index, :rows, :columns] = sample.image
        valid[index, :, :rows, :columns] = True
        ids[index, : len(sample.labels)] = sample.labels
    targets = np.concatenate([sample.targets for sample in samples])

    def index_of(lengths: list[int]) -> Tensor:
        return torch.from_numpy(np.repeat(np.arange(count), lengths))

    return SampleBatch(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        torch.from_numpy(valid),
        torch.from_numpy(ids),
        index_of([len(sample.targets) for sample in samples]),
        torch.from_numpy(targets[:, 0]),
        torch.from_numpy(targets[:, 1]),
        torch.from_numpy(np.concatenate([s.points for s in samples])),
        torch.from_numpy(np.concatenate([s.boxes for s in samples])),
        torch.from_numpy(np.concatenate([s.background for s in samples])),
        index_of([len(sample.background) for sample in samples]),
        _stack_maps(samples),
    )


def _stack_maps(samples: Sequence[Sample]) -> Tensor:
    maps = [sample.maps for sample in samples if sample.maps is not None]
    if len(maps) < len(samples):
        return torch.zeros(0, dtype=torch.uint8)
    return torch.from_numpy(np.stack(maps))


def normalise(sam: Sam, batch: SampleBatch) -> Tensor:
    """Preprocess a batch: (B, 3, S, S) float, zero in the padding."""
    x = (batch.images.float() - sam.pixel_mean) / sam.pixel_std
    return x * batch.valid
