"""A model that knows the answer: what moves with the image, it moves with.

It sees bright objects on black. Asked about a point it answers with the
connected bright region there, three times; background gets a predicted IoU
of zero. What it returns depends on the pixels around a point alone, so that
windows and the whole image have to agree.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from skimage.measure import label
from torch import Tensor
from torch.nn import functional

from napari_mobilesam.model.threads import ThreadTeam
from napari_mobilesam.types import ModelRecord, ObjectDiameter

PATCH = 16
# Logits rise this far from black to white: a sharp edge, hence stable masks.
CONTRAST = 100.0


class Oracle:
    """Stands in for `Sam` with the calls that segmentation makes."""

    mask_threshold = 0.0
    batch_size = 16
    key = 'oracle'
    device = torch.device('cpu')

    def __init__(self, input_size: int = 256, best: float = 48) -> None:
        self.input_size = input_size
        self.record = ModelRecord(
            'oracle',
            input_size=input_size,
            object_diameter=ObjectDiameter(best / 2, best, 4 * best),
        )
        self.encoded = 0

    def threads(self, long: bool = False) -> AbstractContextManager[None]:
        return nullcontext()

    def preprocess(
        self, rgb: Tensor, canvas: tuple[int, int] | None = None
    ) -> Tensor:
        height, width = canvas or (self.input_size, self.input_size)
        right = width - rgb.shape[-1]
        bottom = height - rgb.shape[-2]
        return functional.pad(rgb, (0, right, 0, bottom))

    def encode(self, x: Tensor) -> Tensor:
        self.encoded += 1
        return functional.pixel_unshuffle(x[:, :1], PATCH)

    def workers(self) -> ThreadTeam:
        return ThreadTeam(1, nullcontext)

    def image_decoder(self, features: Tensor) -> OracleDecoder:
        return OracleDecoder(features, self.input_size)

    def answer(
        self, features: Tensor, prompts: dict[str, Tensor], multimask: bool
    ) -> tuple[Tensor, Tensor]:
        assert multimask
        scores, logits = [], []
        for i in range(len(features)):
            one = slice(i, i + 1)
            decoder = self.image_decoder(features[one])
            attended = decoder.attend(
                prompts['points'][one], prompts['labels'][one]
            )
            scores.append(decoder.predict_iou(attended)[:, 1:])
            logits.append(decoder.draw(attended, slice(1, None), [0]))
        return torch.cat(logits), torch.cat(scores)


class OracleDecoder:
    """Stands in for `ImageDecoder`."""

    def __init__(self, features: Tensor, input_size: int) -> None:
        self.features = features
        self.input_size = input_size

    def attend(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        gray = functional.pixel_shuffle(self.features, PATCH)
        soft = functional.avg_pool2d(gray, 4)[0, 0] / 255 - 0.5
        regions = label(gray[0, 0].numpy() > 128)
        last = self.input_size - 1
        numbers = [
            int(regions[min(int(y), last), min(int(x), last)])
            for x, y in points[:, 0].tolist()
        ]
        answers = {
            number: self._answer(regions == number, soft)
            for number in set(numbers)
        }
        scores = [[0.97 if number else 0.0] * 4 for number in numbers]
        return torch.tensor(scores), torch.stack(
            [answers[number] for number in numbers]
        )

    def _answer(self, region: np.ndarray, soft: Tensor) -> Tensor:
        """Logits of one region: its soft edge, and nothing of the others."""
        own = torch.from_numpy(region.astype(np.float32))[None, None]
        near = functional.max_pool2d(own, 12, 4, 4)[0, 0] > 0
        return CONTRAST * torch.where(near, soft, torch.tensor(-0.5))

    def predict_iou(self, attended: tuple[Tensor, Tensor]) -> Tensor:
        return attended[0]

    def draw(
        self, attended: tuple[Tensor, Tensor], masks: slice, prompts: Tensor
    ) -> Tensor:
        return attended[1][prompts, None].expand(-1, 3, -1, -1)


class SpecklingOracle(Oracle):
    """An oracle whose masks have a speck in the corner of their window."""

    key = 'speckling oracle'

    def image_decoder(self, features: Tensor) -> OracleDecoder:
        return SpecklingDecoder(features, self.input_size)


class SpecklingDecoder(OracleDecoder):
    def _answer(self, region: np.ndarray, soft: Tensor) -> Tensor:
        logits = super()._answer(region, soft)
        logits[1, 1] = CONTRAST
        return logits


class SeeingOracle(Oracle):
    """An oracle with an instance head: it sees bright objects, too."""

    key = 'seeing oracle'

    def __init__(self, input_size: int = 256, best: float = 48) -> None:
        super().__init__(input_size, best)
        # as of a model whose head sees objects in pixels of 4
        self.record = replace(
            self.record, instance_head=True, predicted_iou=0.6
        )
        # Objects no wider, in pixels of the maps, have no peak.
        self.shown = 0.0

    def instance_maps(self, features: Tensor) -> Tensor:
        gray = functional.pixel_shuffle(features, PATCH)
        inside = functional.avg_pool2d(gray, 4)[0, 0].numpy() > 128
        height = np.zeros(inside.shape, np.float32)
        regions = label(inside)
        for number in range(1, regions.max() + 1):
            one = regions == number
            depth = distance_transform_edt(one)
            if depth.max() > self.shown:
                height[one] = (depth / depth.max())[one]
        maps = np.stack([inside.astype(np.float32), height, height])
        return torch.from_numpy(maps)[None]
