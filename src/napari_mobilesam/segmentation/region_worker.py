"""One region of an image: embed it, ask points or boxes, keep good masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mobilesam.model.mask_decoder import mask_slice
from napari_mobilesam.segmentation.crops import Region
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.segmentation.upscaling import as_mask, upscale_mask
from napari_mobilesam.types import (
    Embedding,
    EverythingParameters,
    Frame,
    Mask,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


class RegionWorker:
    """One embedded region and the floor its masks have to reach.

    Parameters
    ----------
    model : Sam
        Model.
    parameters : EverythingParameters
        Stability offset and largest area.
    floor : Thresholds
        Predicted IoU and stability below which masks are not kept.
    region : Region
        Window and edge.
    rgb : ndarray
        (H, W, 3) uint8, the whole image.
    """

    def __init__(
        self,
        model: Sam,
        parameters: EverythingParameters,
        floor: Thresholds,
        region: Region,
        rgb: NDArray[np.uint8],
    ) -> None:
        self.model = model
        self.parameters = parameters
        self.floor = floor
        self.region = region
        self.shape = (rgb.shape[0], rgb.shape[1])
        row0, column0, row1, column1 = region.window
        frame = Frame.of(self.shape, region.window, model.input_size)
        self.embedding: Embedding = Predictor(model).embed_rgb(
            rgb[row0:row1, column0:column1], frame
        )

    @torch.no_grad()
    def propose(self, points: NDArray[np.float64]) -> list[Mask]:
        """Masks of (N, 2) points (row, column): up to three for each."""
        coordinates = self._to_input(points)
        labels = torch.ones((len(points), 1), dtype=torch.long)
        sparse, dense = self.model.embed_prompts(
            points=coordinates.unsqueeze(1),
            labels=labels.to(self.model.device),
        )
        return self._answer(sparse, dense, points, multimask=True)

    @torch.no_grad()
    def propose_boxes(self, boxes: NDArray[np.float64]) -> list[Mask]:
        """Masks of (N, 4) boxes (row0, column0, row1, column1): one each.

        The point of the mask is the centre of its box.
        """
        corners = self._to_input(boxes.reshape(-1, 2, 2))
        sparse, dense = self.model.embed_prompts(boxes=corners.flatten(1))
        centers = boxes.reshape(-1, 2, 2).mean(axis=1)
        return self._answer(sparse, dense, centers, multimask=False)

    def _to_input(self, points: NDArray[np.float64]) -> Tensor:
        """(..., 2) x-y on the model's input."""
        coordinates = self.embedding.frame.to_input_xy(points)
        tensor = torch.from_numpy(coordinates.astype(np.float32))
        return tensor.to(self.model.device)

    def _answer(
        self,
        sparse: Tensor,
        dense: Tensor,
        points: NDArray[np.float64],
        multimask: bool,
    ) -> list[Mask]:
        """Decode prompts; ``points`` say where they were."""
        tokens, image = self.model.attend(
            self.embedding.features, sparse, dense
        )
        decoder = self.model.mask_decoder
        chosen = mask_slice(multimask)
        iou = decoder.predict_iou(tokens)[:, chosen]
        # Most prompts fail here; masks are drawn for the others alone.
        good = iou > self.floor.predicted_iou
        prompts = torch.nonzero(good.any(dim=1)).flatten()
        if not len(prompts):
            return []
        drawn = decoder.draw(tokens[prompts], image[prompts], chosen)
        logits = drawn.float().cpu().numpy()
        scores = iou.float().cpu().numpy()
        passed = good.cpu().numpy()
        masks = []
        for row, prompt in enumerate(prompts.tolist()):
            for token in np.flatnonzero(passed[prompt]):
                mask = self._finish(
                    logits[row, token],
                    float(scores[prompt, token]),
                    points[prompt],
                )
                if mask is not None:
                    masks.append(mask)
        return masks

    def _finish(
        self,
        logits: NDArray[np.float32],
        score: float,
        point: NDArray[np.float64],
    ) -> Mask | None:
        """Upscale a mask; None if a filter drops it."""
        upscaled = upscale_mask(
            logits,
            self.embedding.frame,
            self.model.mask_threshold,
            self.parameters.stability_offset,
        )
        mask = as_mask(
            upscaled,
            score,
            (float(point[0]), float(point[1])),
            self.region.window,
        )
        if not mask.data.size or mask.stability < self.floor.stability:
            return None
        if self.region.cuts(mask, self.shape):
            return None
        most = self.parameters.max_area_fraction * np.prod(self.shape)
        return None if mask.area > most else mask
