"""A stand-in for a model that answers with the bright blob at a prompt.

It has the interface of `napari_mobilesam.model.sam.Sam` that the segmentation
code uses, needs no weights, and its answers are known beforehand.
"""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor
from torch.nn import functional

from napari_mobilesam.model.mask_decoder import mask_slice
from napari_mobilesam.model.threads import ThreadTeam
from napari_mobilesam.types import ModelRecord, ObjectDiameter

SIZE = 128


class OracleSam:
    """Bright connected components, cut by boxes and negative points."""

    input_size = SIZE
    embedding_size = SIZE // 16
    mask_threshold = 0.0
    device = torch.device('cpu')
    batch_size = 16
    threads = staticmethod(lambda long=False: contextlib.nullcontext())
    giving_way = staticmethod(contextlib.nullcontext)

    def __init__(self, name: str = 'oracle') -> None:
        self.key = name
        self.record = ModelRecord(
            name, input_size=SIZE, object_diameter=ObjectDiameter(1, 40, 128)
        )
        self.encoded = 0
        # predicted IoU of what it finds
        self.score = 0.97
        # a test clears it to hold the worker inside the model
        self.go = threading.Event()
        self.go.set()

    def preprocess(
        self, rgb: Tensor, canvas: tuple[int, int] | None = None
    ) -> Tensor:
        padded = torch.zeros(rgb.shape[0], 3, *(canvas or (SIZE, SIZE)))
        padded[:, :, : rgb.shape[2], : rgb.shape[3]] = rgb
        return padded

    def encode(self, x: Tensor) -> Tensor:
        """Gray values, sixteen in the 256 channels of each cell."""
        self.go.wait(20)
        self.encoded += 1
        gray = x.mean(dim=1, keepdim=True)[:, :, 2::4, 2::4]
        cells = functional.pixel_unshuffle(gray, 4)
        return functional.pad(cells, (0, 0, 0, 0, 0, 240))

    def workers(self):
        return ThreadTeam(1, contextlib.nullcontext)

    def image_decoder(self, features):
        return OracleDecoder(features, self)

    def answer(self, features, prompts, multimask):
        """See `Sam.answer`."""
        answers = [
            self.image_decoder(features[i : i + 1]).decode(
                **{kind: given[i : i + 1] for kind, given in prompts.items()},
                multimask=multimask,
            )
            for i in range(len(features))
        ]
        return map(torch.cat, zip(*answers, strict=True))


class OracleDecoder:
    """Stands in for `ImageDecoder`."""

    def __init__(self, features, model):
        self.features = features
        self.model = model

    def attend(self, points=None, labels=None, boxes=None, masks=None):
        """Scores and logits."""
        self.model.go.wait(20)
        gray = functional.pixel_shuffle(self.features[:, :16], 4)
        bright = gray[0, 0].numpy() > 100
        count = len(points) if points is not None else len(boxes)
        found = [
            self._blob(
                bright,
                None if points is None else points[i].numpy() / 4,
                None if labels is None else labels[i].numpy(),
                None if boxes is None else boxes[i].numpy() / 4,
            )
            for i in range(count)
        ]
        # the second of the masks is the best
        scores = torch.full((len(found), 4), min(0.5, self.model.score))
        score = self.model.score
        scores[:, 1] = torch.tensor([score * blob.any() for blob in found])
        logits = torch.from_numpy(np.where(np.stack(found), 40.0, -40.0))
        return scores, logits.float()

    def predict_iou(self, attended):
        return attended[0]

    def draw(self, attended, masks, prompts=None):
        logits = attended[1] if prompts is None else attended[1][prompts]
        return logits[:, None].repeat(1, 4, 1, 1)[:, masks]

    def decode(self, *args, multimask, **prompts):
        attended = self.attend(*args, **prompts)
        chosen = mask_slice(multimask=multimask)
        scores = attended[0]
        scores[:, 0] = scores[:, 1]
        return self.draw(attended, chosen), scores[:, chosen]

    @staticmethod
    def _blob(bright, points, labels, box):
        keep = bright
        if box is not None:
            x0, y0, x1, y1 = np.round(box).astype(int)
            inside = np.zeros_like(bright)
            inside[y0:y1, x0:x1] = True
            keep = keep & inside
        blobs, _ = label(keep)
        rows, columns = np.indices(bright.shape)
        blob = np.zeros_like(bright) if points is not None else keep.copy()
        if points is None:
            return blob
        for (x, y), positive in zip(points, labels, strict=True):
            row, column = (int(np.clip(v, 0, SIZE // 4 - 1)) for v in (y, x))
            if positive == 1 and blobs[row, column]:
                blob |= blobs == blobs[row, column]
        for (x, y), positive in zip(points, labels, strict=True):
            if positive == 0:
                blob &= (rows - y) ** 2 + (columns - x) ** 2 > 3**2
        return blob
