"""Images that tests train on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def discs(
    seed: int = 0, side: int = 96, count: int = 6
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Bright discs on a dark, noisy ground, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), dtype=np.int32)
    row, column = np.mgrid[:side, :side]
    label = 0
    while label < count:
        radius = rng.uniform(7, 11)
        centre = rng.uniform(radius, side - radius, 2)
        disc = np.hypot(row - centre[0], column - centre[1]) < radius
        if labels[disc].any():
            continue
        label += 1
        labels[disc] = label
    image = 40 + 150 * (labels > 0) + rng.normal(0, 8, labels.shape)
    return np.clip(image, 0, 255).astype(np.uint8), labels
