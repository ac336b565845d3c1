"""One region of an image: embed it, prompt it, keep good masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mobilesam.model.batches import in_batches
from napari_mobilesam.model.mask_decoder import mask_slice
from napari_mobilesam.segmentation.cleanup import without_specks
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.segmentation.upscaling import as_mask, upscale_mask
from napari_mobilesam.types import (
    EverythingParameters,
    Mask,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.image_decoder import ImageDecoder


class PromptMask(NamedTuple):
    """One mask of the answer to one prompt.

    Attributes
    ----------
    prompt : int
        Index of the prompt.
    logits : ndarray
        (s, s) float32 low-res logits.
    score : float
        Predicted IoU.
    """

    prompt: int
    logits: NDArray[np.float32]
    score: float


class Divided(NamedTuple):
    """Masks within their window, and masks cut off by it."""

    whole: list[Mask]
    cut: list[Mask]


class RegionWorker:
    """One embedded region, and the floor its masks must reach.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding of the image.
    parameters : EverythingParameters
        Stability offset and largest area.
    floor : Thresholds
        Predicted IoU and stability below which masks are not kept.
    region : Region
        Decoder block or window, and edge.
    """

    def __init__(
        self,
        image: ImageEmbedding,
        parameters: EverythingParameters,
        floor: Thresholds,
        region: Region,
    ) -> None:
        self.model = image.model
        self.parameters = parameters
        self.floor = floor
        self.region = region
        self.shape = image.image_shape
        self.embedding = (
            image.window(region.window)
            if region.decoder_block is None
            else image.decoder_block(*region.decoder_block)
        )

    @cached_property
    def _decoder(self) -> ImageDecoder:
        """Decoder with the part shared by all prompts of the region."""
        return self.model.image_decoder(self.embedding.features)

    def divide(self, points: NDArray[np.float64]) -> Divided:
        """Return the masks of (N, 2) points (row, column), up to three each.

        Masks that the window cuts off are returned separately.
        """
        divided = Divided([], [])
        for answer in self.ask_points(points):
            self.sort_in(answer, points, divided)
        return divided

    def sort_in(
        self,
        answer: PromptMask,
        points: NDArray[np.float64],
        divided: Divided,
    ) -> None:
        """Add the mask of one of (N, 2) points, if no filter drops it."""
        mask = self._finish(answer, points)
        if mask is not None:
            cut = self.region.cuts(mask, self.shape)
            (divided.cut if cut else divided.whole).append(mask)

    def segment_boxes(
        self, boxes: NDArray[np.float64]
    ) -> list[tuple[int, Mask]]:
        """Return the masks of (N, 4) boxes (row0, column0, row1, column1).

        At most one per box, with the index of the box; the point of the mask
        is the centre of its box.
        """
        centers = boxes.reshape(-1, 2, 2).mean(axis=1)
        return [
            (answer.prompt, mask)
            for answer in self.ask_boxes(boxes)
            if (mask := self._finish(answer, centers)) is not None
        ]

    def ask_points(self, points: NDArray[np.float64]) -> list[PromptMask]:
        """Return answers to (N, 2) points above the predicted-IoU floor."""
        labels = torch.ones((len(points), 1), dtype=torch.long)
        return self._decode(
            multimask=True,
            points=self.to_input(points).unsqueeze(1),
            labels=labels.to(self.model.device),
        )

    def ask_boxes(self, boxes: NDArray[np.float64]) -> list[PromptMask]:
        """Return answers to (N, 4) boxes above the predicted-IoU floor."""
        corners = self.to_input(boxes.reshape(-1, 2, 2))
        return self._decode(multimask=False, boxes=corners.flatten(1))

    def to_input(self, points: NDArray[np.float64]) -> Tensor:
        """Return (..., 2) x-y coordinates on the model's input."""
        coordinates = self.embedding.frame.to_input_xy(points)
        tensor = torch.from_numpy(coordinates.astype(np.float32))
        return tensor.to(self.model.device)

    def _decode(self, multimask: bool, **prompts: Tensor) -> list[PromptMask]:
        def ask(part: slice) -> list[PromptMask]:
            some = {name: given[part] for name, given in prompts.items()}
            return self._decode_batch(multimask, part.start, some)

        count = len(next(iter(prompts.values())))
        batches = in_batches(ask, count, self.model.batch_size)
        return [answer for batch in batches for answer in batch]

    def _decode_batch(
        self, multimask: bool, first: int, prompts: Mapping[str, Tensor]
    ) -> list[PromptMask]:
        """Decode prompts that are numbered from ``first``."""
        decoder = self._decoder
        attended = decoder.attend(**prompts)
        chosen = mask_slice(multimask)
        iou = decoder.predict_iou(attended)[:, chosen]
        # Most prompts fail here; masks are only drawn for the others.
        good = iou > self.floor.predicted_iou
        drawn = torch.nonzero(good.any(dim=1)).flatten()
        if not len(drawn):
            return []
        logits = decoder.draw(attended, chosen, drawn).float().cpu().numpy()
        scores = iou.float().cpu().numpy()
        passed = good.cpu().numpy()
        return [
            PromptMask(first + i, logits[row, token], float(scores[i, token]))
            for row, i in enumerate(drawn.tolist())
            for token in np.flatnonzero(passed[i])
        ]

    def _finish(
        self, answer: PromptMask, points: NDArray[np.float64]
    ) -> Mask | None:
        """Upscale a mask; None if a filter drops it."""
        upscaled = upscale_mask(
            answer.logits,
            self.embedding.frame,
            self.model.mask_threshold,
            self.parameters.stability_offset,
        )
        row, column = points[answer.prompt].tolist()
        mask = as_mask(
            upscaled, answer.score, (row, column), self.region.window
        )
        if not mask.data.size or mask.stability < self.floor.stability:
            return None
        most = self.parameters.max_area_fraction * np.prod(self.shape)
        if mask.area > most:
            return None
        if self.parameters.as_in_paper:
            return mask
        return without_specks(mask, self.embedding.frame)


def divide_together(
    workers: Sequence[RegionWorker], points: NDArray[np.float64]
) -> Divided:
    """Return masks of one point per region, predicted in one call.

    Faster than `RegionWorker.divide` if regions have few points.

    Parameters
    ----------
    workers : sequence of RegionWorker
        Region of each point; all with the same model and floor.
    points : ndarray
        (N, 2) row and column in data pixels.
    """
    divided = Divided([], [])

    def ask(part: slice) -> None:
        for answer in _answers(workers[part], points[part]):
            number = part.start + answer.prompt
            answer = answer._replace(prompt=number)
            workers[number].sort_in(answer, points, divided)

    for _ in in_batches(ask, len(points), max(1, len(points))):
        pass
    return divided


@torch.no_grad()
def _answers(
    workers: Sequence[RegionWorker], points: NDArray[np.float64]
) -> list[PromptMask]:
    """Return masks above the predicted-IoU floor, up to three per point."""
    model, least = workers[0].model, workers[0].floor.predicted_iou
    on_input = [
        worker.to_input(point[None])
        for worker, point in zip(workers, points, strict=True)
    ]
    prompts = {
        'points': torch.stack(on_input),
        'labels': torch.ones((len(points), 1), device=model.device),
    }
    features = torch.cat([worker.embedding.features for worker in workers])
    answer = model.answer(features, prompts, multimask=True)
    logits, scores = (x.float().cpu().numpy() for x in answer)
    return [
        PromptMask(int(i), logits[i, token], float(scores[i, token]))
        for i, token in np.argwhere(scores > least)
    ]
