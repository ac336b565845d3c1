"""Intensity augmentation, which leaves objects in place.

Images here are (h, w, 3) float32 in 0 … 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from napari_mobilesam.training.labelled_images import LabelledImage

Image = NDArray[np.float32]
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def scale_intensities(
    window: NDArray[np.generic],
    source: LabelledImage,
    rng: np.random.Generator | None,
) -> Image:
    """Scale a window of an image to 0 … 1 RGB.

    By default as `segmentation.image.contrast_limits_of`; with ``rng``, the
    limits vary like limits set by hand.
    """
    colour = window.ndim == 3
    values = np.asarray(window, dtype=np.float32)
    values = values[..., :3] if colour else values
    low, high = source.limits['product']
    if rng is not None and not colour and rng.random() < 0.4:
        low, high = source.limits['full' if rng.random() < 0.5 else 'robust']
        width = high - low
        low -= width * rng.uniform(-0.03, 0.15)
        high += width * rng.uniform(-0.15, 0.6)
    values = np.clip((values - low) / ((high - low) or 1), 0, 1)
    values = np.nan_to_num(values, copy=False)
    return values if colour else np.repeat(values[..., None], 3, axis=2)


def augment(image: Image, rng: np.random.Generator) -> Image:
    """Vary contrast, colour, light, sharpness and noise."""
    colour = bool((image[::4, ::4, 0] != image[::4, ::4, 1]).any())
    image = _colour(image, rng) if colour else _tint(image, rng)
    if rng.random() < (0.1 if colour else 0.2):
        image = 1 - image
    if rng.random() < 0.6:
        image = np.clip(image, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.4:
        contrast = np.float32(np.exp(rng.normal(0, 0.25)))
        offset = np.float32(rng.normal(0, 0.08))
        image = (image - 0.5) * contrast + 0.5 + offset
    if rng.random() < 0.25:
        image = image * _uneven_light(image.shape[:2], rng)
    if rng.random() < 0.2:
        sigma = rng.uniform(0.4, 1.8)
        image = gaussian_filter(image, (sigma, sigma, 0))
    if rng.random() < 0.35:
        image = image + _noise(image.shape, rng)
    return np.clip(image, 0, 1).astype(np.float32, copy=False)


def _noise(
    shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add gray sensor noise, sometimes correlated over a few pixels."""
    noise = rng.standard_normal(shape[:2], dtype=np.float32)
    if rng.random() < 0.4:
        noise = gaussian_filter(noise, 0.8) * 2
    return np.float32(rng.uniform(0.01, 0.08)) * noise[..., None]


def _uneven_light(
    shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float32]:
    coarse = rng.uniform(0.5, 1.3, (3, 3)).astype(np.float32)
    factors = ((shape[0] + 2) / 3, (shape[1] + 2) / 3)
    field = zoom(coarse, factors, order=1)[: shape[0], : shape[1]]
    return np.asarray(field[..., None], dtype=np.float32)


def _colour(image: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.25:
        return np.repeat((image @ _LUMA)[..., None], 3, axis=2)
    if rng.random() < 0.15:
        image = image[..., rng.permutation(3)]
    mix = np.eye(3) + rng.normal(0, 0.08, (3, 3))
    gain = np.exp(rng.normal(0, 0.12, 3))
    mixed = image @ (mix * gain).astype(np.float32)
    return mixed + rng.normal(0, 0.03, 3).astype(np.float32)


def _tint(image: Image, rng: np.random.Generator) -> Image:
    """Show a gray image in one colour now and then, as viewers do."""
    if rng.random() > 0.1:
        return image
    dark, bright = rng.uniform(0, 0.3, 3), rng.uniform(0.1, 1, 3)
    bright[rng.integers(3)] = 1
    return (dark + image * (bright - dark)).astype(np.float32)
