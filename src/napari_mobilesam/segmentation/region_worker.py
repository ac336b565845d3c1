"""One region of an image: embed it, ask points, keep the masks that pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mobilesam.model.mask_decoder import mask_slice
from napari_mobilesam.segmentation.crops import Region
from napari_mobilesam.segmentation.parameters import thresholds_for
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
    """One embedded region and the filters its masks have to pass."""

    def __init__(
        self,
        model: Sam,
        parameters: EverythingParameters,
        region: Region,
        rgb: NDArray[np.uint8],
    ) -> None:
        self.model = model
        self.parameters = parameters
        self.thresholds = thresholds_for(parameters, model.record)
        self.region = region
        self.shape = (rgb.shape[0], rgb.shape[1])
        row0, column0, row1, column1 = region.window
        frame = Frame.of(self.shape, region.window, model.input_size)
        self.embedding: Embedding = Predictor(model).embed_rgb(
            rgb[row0:row1, column0:column1], frame
        )

    @torch.no_grad()
    def propose(self, points: NDArray[np.float64]) -> list[Mask]:
        """Masks of (N, 2) points (row, column) that pass all filters."""
        coordinates = self.embedding.frame.to_input_xy(points)
        device = self.model.device
        sparse, dense = self.model.embed_prompts(
            points=torch.from_numpy(coordinates.astype(np.float32))
            .to(device)
            .unsqueeze(1),
            labels=torch.ones((len(points), 1), dtype=torch.long).to(device),
        )
        tokens, image = self.model.attend(
            self.embedding.features, sparse, dense
        )
        decoder = self.model.mask_decoder
        chosen = mask_slice(multimask=True)
        iou = decoder.predict_iou(tokens)[:, chosen]
        # Most prompts fail here; masks are drawn for the others alone.
        good = iou > self.thresholds.predicted_iou
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
        if not mask.data.size or mask.stability < self.thresholds.stability:
            return None
        if self.region.cuts(mask, self.shape):
            return None
        most = self.parameters.max_area_fraction * np.prod(self.shape)
        return None if mask.area > most else mask
