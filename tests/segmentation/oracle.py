"""A model that knows the answer: what moves with the image, it moves with.

It sees bright objects on black. Asked about a point it answers with the
connected bright region there, three times; background gets a predicted IoU
of zero. What it returns depends on the pixels around a point alone, so that
windows and the whole image have to agree.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.measure import label
from torch import Tensor
from torch.nn import functional

from napari_mobilesam.types import ModelRecord, ObjectDiameter

PATCH = 16


class Oracle:
    """Stands in for `Sam` with the calls that segmentation makes."""

    mask_threshold = 0.0
    key = 'oracle'
    device = torch.device('cpu')

    def __init__(self, input_size: int = 256, best: float = 48) -> None:
        self.input_size = input_size
        self.record = ModelRecord(
            'oracle',
            input_size=input_size,
            object_diameter=ObjectDiameter(best / 2, best, 4 * best),
        )
        self.mask_decoder = self
        self.encoded = 0

    def preprocess(self, rgb: Tensor) -> Tensor:
        right = self.input_size - rgb.shape[-1]
        bottom = self.input_size - rgb.shape[-2]
        return functional.pad(rgb, (0, right, 0, bottom))

    def encode(self, x: Tensor) -> Tensor:
        self.encoded += 1
        return functional.pixel_unshuffle(x[:, :1], PATCH)

    def embed_prompts(
        self, points: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        return points, labels

    def attend(
        self, features: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        gray = functional.pixel_shuffle(features, PATCH)
        quarter = functional.avg_pool2d(gray, 4)[0, 0]
        regions = label(gray[0, 0].numpy() > 128)
        soft = quarter / 255 * 20 - 10
        tokens, images = [], []
        for x, y in sparse[:, 0].tolist():
            last = self.input_size - 1
            number = regions[min(int(y), last), min(int(x), last)]
            own = functional.max_pool2d(
                torch.from_numpy((regions == number).astype(np.float32))[
                    None, None
                ],
                12,
                4,
                4,
            )[0, 0]
            images.append(torch.where(own > 0, soft, torch.tensor(-10.0)))
            tokens.append(torch.full((4,), 0.97 if number else 0.0))
        return torch.stack(tokens), torch.stack(images)

    def predict_iou(self, tokens: Tensor) -> Tensor:
        return tokens

    def draw(self, tokens: Tensor, image: Tensor, masks: slice) -> Tensor:
        return image[:, None].expand(-1, 3, -1, -1)
