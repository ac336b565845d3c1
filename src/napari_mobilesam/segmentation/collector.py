"""Masks of a run as they come in."""

from __future__ import annotations

from collections.abc import Sequence

from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.run import Hooks
from napari_mobilesam.segmentation.scope import Scope
from napari_mobilesam.types import Mask


class Collector:
    """Gathers the masks of a run and shows the good ones."""

    def __init__(
        self, scope: Scope, thresholds: Thresholds, hooks: Hooks
    ) -> None:
        self.scope = scope
        self.thresholds = thresholds
        self.hooks = hooks
        self.masks: list[Mask] = []
        self.cut: list[Mask] = []

    def add(
        self, proposed: Sequence[Mask], cut: Sequence[Mask] = ()
    ) -> list[Mask]:
        """Take masks; return those that the run is looking for.

        Good masks that a window cuts off are kept apart.
        """
        self.cut += self.good(cut)
        trimmed = [self.scope.trim(mask) for mask in proposed]
        masks = [mask for mask in trimmed if mask is not None]
        self.masks += masks
        good = self.good(masks)
        if good:
            self.hooks.on_masks(good)
        return good

    def good(self, masks: Sequence[Mask]) -> list[Mask]:
        """Those of some masks that reach the thresholds of the run."""
        return [
            mask
            for mask in masks
            if mask.score > self.thresholds.predicted_iou
            and mask.stability >= self.thresholds.stability
        ]
