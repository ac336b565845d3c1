"""The image that the golden outputs were computed on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def golden_image(height: int = 600, width: int = 800) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB: coloured discs on a wavy background."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [
        100 + 40 * np.sin(2 * np.pi * x / 160) * np.cos(2 * np.pi * y / 120),
        110 + 35 * np.sin(2 * np.pi * (x + y) / 230),
        90 + 30 * np.cos(2 * np.pi * (x - 2 * y) / 310),
    ]
    image = np.stack(waves, axis=-1)
    index = 0
    for center_y in range(60, height, 120):
        for center_x in range(70, width, 130):
            radius = 18 + (index * 7) % 29
            distance = (x - center_x) ** 2
            distance += (y - center_y - (index % 3) * 8) ** 2
            image[distance <= radius * radius] = [
                (60 + 53 * index) % 256,
                (200 - 37 * index) % 256,
                (30 + 91 * index) % 256,
            ]
            index += 1
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)
