"""Training of only the instance head, on a set of embedded crops.

The image encoder does not change, so its output for a crop is computed once
and kept on disk; a step costs no more than the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mobilesam.model.instance_head import MAP_PIXELS, MAPS
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.image_embedding import encode_canvas
from napari_mobilesam.segmentation.instances import find_instances
from napari_mobilesam.training.crop_store import CropStore
from napari_mobilesam.training.head_targets import HeadCrop, HeadCropSource
from napari_mobilesam.training.interactive import CHANNELS, StepResult
from napari_mobilesam.training.losses import head_loss
from napari_mobilesam.training.metrics import iou_matrix, match
from napari_mobilesam.training.step_tasks import Turn
from napari_mobilesam.types import STRIDE

# A found object of which a smaller share is known is not counted.
KNOWN = 0.5


class EmbeddedCrops:
    """Embeddings and maps of a fixed number of crops, on disk.

    The first crops of a source are embedded, in a `CropStore`.
    """

    def __init__(
        self, folder: Path, sam: Sam, source: HeadCropSource, crops: int
    ) -> None:
        self.sam, self.source, self.crops = sam, source, crops
        cells = source.canvas // STRIDE
        side = MAP_PIXELS * cells
        self.store = CropStore(
            folder,
            crops,
            {
                'embeddings': (np.float16, (CHANNELS, cells, cells)),
                'maps': (np.uint8, (MAPS + 1, side, side)),
            },
            {
                'encoder': encoder_key(sam),
                'seed': source.seed,
                'procedural': source.procedural,
                'incomplete': sorted(source.incomplete),
                'zoom': asdict(source.zoom),
                'images': sorted(image.digest for image in source.images),
            },
            'embedded crops',
            self._entry,
        )

    def _entry(self, number: int) -> dict[str, NDArray[Any]]:
        crop = self.source[number]
        embedding = embed_crop(self.sam, crop).cpu().numpy()
        return {'embeddings': embedding, 'maps': crop.maps}

    def batch(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return embeddings (B, C, h, w) and maps (B, 4, 4h, 4w), float32."""
        arrays, device = self.store.arrays, self.sam.device
        order = np.sort(np.asarray(numbers))
        features = torch.from_numpy(arrays['embeddings'][order])
        maps = torch.from_numpy(arrays['maps'][order])
        return features.to(device).float(), maps.to(device).float() / 255


def encoder_key(sam: Sam) -> str:
    """Return the identity of the weights of the image encoder."""
    total = sum(
        float(value.double().abs().sum())
        for value in sam.image_encoder.state_dict().values()
        if value.is_floating_point()
    )
    return f'{total:.9g}'


def embed_crop(sam: Sam, crop: HeadCrop) -> Tensor:
    """Return the embedding (C, h, w) of a crop on its square canvas."""
    side = crop.ids.shape[0] * STRIDE // MAP_PIXELS
    return encode_canvas(sam, crop.image, (side, side))[0]


class HeadTask:
    """Training of the instance head on embedded crops.

    Parameters
    ----------
    sam : Sam
        Model with an instance head; nothing else is trained.
    crops : EmbeddedCrops
        Crops, with all entries computed.
    """

    def __init__(self, sam: Sam, crops: EmbeddedCrops) -> None:
        self.sam, self.crops = sam, crops
        self.helper: nn.Module = nn.Identity()
        sam.requires_grad_(False)
        self._head.requires_grad_(True)

    @property
    def _head(self) -> nn.Module:
        assert self.sam.instance_head is not None
        return self.sam.instance_head

    def prepare(self) -> None:
        """Freeze the statistics of the encoder."""
        self.sam.eval()
        self._head.train()

    def step(self, turn: Turn) -> StepResult:
        """Take one step on random crops."""
        numbers = turn.chance().integers(0, self.crops.crops, turn.images)
        features, maps = self.crops.batch(numbers.tolist())
        autocast = torch.autocast(
            features.device.type, dtype=torch.bfloat16, enabled=turn.half
        )
        with autocast:
            logits = self._head(features)
        loss = head_loss(logits.float(), maps)
        loss.backward()
        return StepResult(float(loss.detach()))


class HeadScore:
    """Score of an instance head on fixed crops, by watershed instances.

    Parameters
    ----------
    sam : Sam
        Model; its encoder embeds the crops once.
    crops : sequence of HeadCrop
        Validation crops.
    """

    def __init__(self, sam: Sam, crops: Sequence[HeadCrop]) -> None:
        self.crops = crops
        self.features = [embed_crop(sam, crop).half() for crop in crops]

    def __call__(self, sam: Sam) -> dict[str, float]:
        """Return the scores of the head of a model.

        Returns
        -------
        dict
            F1 at an IoU of 0.5 per group, and ``score``, their mean.
        """
        groups: dict[str, list[float]] = {}
        for crop, features in zip(self.crops, self.features, strict=True):
            maps = sam.instance_maps(features[None].float())[0].cpu().numpy()
            groups.setdefault(crop.group, []).append(instance_f1(maps, crop))
        scores = {
            f'{group} F1': float(np.mean(values))
            for group, values in groups.items()
        }
        return scores | {'score': float(np.mean(list(scores.values())))}


def instance_f1(maps: NDArray[np.float32], crop: HeadCrop) -> float:
    """Return the F1 of instances in maps, where a crop is known."""
    labels = find_instances(maps).labels
    known = crop.maps[MAPS] > 127
    areas = np.bincount(labels.ravel())
    seen = np.bincount(labels.ravel(), known.ravel())
    judged = seen >= KNOWN * np.maximum(areas, 1)
    labels = np.where(judged[labels] & known, labels, 0)
    ids = np.where(known, crop.ids, 0).astype(np.int32)
    return match(iou_matrix(ids, labels)).f1
