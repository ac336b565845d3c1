"""Answer of a model to the prompts of one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.upscaling import (
    as_mask,
    upscale_mask,
    upscale_plane,
)
from napari_mobilesam.types import Frame, Mask, Prompts, Ranking


@dataclass(frozen=True, eq=False)
class Prediction:
    """Answer to the prompts of one object.

    Attributes
    ----------
    scores : ndarray
        (M,) float32 predicted IoU.
    logits : ndarray
        (M, s, s) float32 low-res logits on the model's input, ``s = input_size
        // 4``; one of them can serve as ``mask_input``.
    frame : Frame
        Position of the embedded window.
    prompts : Prompts
        Prompts answered.
    threshold : float
        Logit above which a pixel is in the mask.
    ranking : {'predicted_iou', 'agreement'}
        How the best mask is chosen; see `ModelRecord`.
    """

    scores: NDArray[np.float32]
    logits: NDArray[np.float32] = field(repr=False)
    frame: Frame
    prompts: Prompts
    threshold: float = 0.0
    ranking: Ranking = 'predicted_iou'

    @cached_property
    def best(self) -> int:
        """Index of the mask most likely to be meant."""
        if self.ranking == 'predicted_iou':
            return int(np.argmax(self.scores))
        return int(np.argmax(agreement(self.low_res_masks)))

    @cached_property
    def low_res_masks(self) -> NDArray[np.bool_]:
        """(M, s, s) bool masks on the model's input."""
        return self.logits > self.threshold

    @cached_property
    def low_res_areas(self) -> NDArray[np.int64]:
        """(M,) pixels of each low-res mask."""
        return np.array(
            [np.count_nonzero(mask) for mask in self.low_res_masks]
        )

    @cached_property
    def masks(self) -> NDArray[np.bool_]:
        """(M, H, W) bool masks of the whole image, computed when asked for."""
        return np.stack(
            [
                upscale_plane(logits, self.frame, self.threshold)
                for logits in self.logits
            ]
        )

    def mask(self, index: int | None = None) -> Mask:
        """Return one mask cropped to its box, by default the best."""
        if index is None:
            index = self.best
        upscaled = upscale_mask(self.logits[index], self.frame, self.threshold)
        point = (float('nan'), float('nan'))
        positive = self.prompts.points[self.prompts.labels == 1]
        if len(positive):
            point = (float(positive[0, 0]), float(positive[0, 1]))
        return as_mask(
            upscaled, float(self.scores[index]), point, self.frame.window
        )


def agreement(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean IoU of each mask with all masks.

    If all M masks are equally likely to be right, this is the expected IoU of
    each.

    Parameters
    ----------
    masks : ndarray
        (M, h, w) bool.

    Returns
    -------
    ndarray
        (M,); 0 for an empty mask.
    """
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    shared = (flat @ flat.T).astype(np.float64)
    areas = np.diagonal(shared)
    union = areas[:, None] + areas - shared
    return (shared / np.maximum(union, 1)).mean(axis=1)
