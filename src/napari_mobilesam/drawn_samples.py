"""Synthetic samples: nuclei in 3-D and over time, cells in two channels.

They are generated deterministically, which saves large files and licences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# (planes, rows, columns) of the stack; the plane spacing is four times the
# pixel size
STACK_SHAPE = (24, 256, 256)
SPACING = (2.0, 0.5, 0.5)
# (frames, rows, columns) of the series
SERIES_SHAPE = (16, 256, 256)
NUCLEI, CELLS = 40, 14
# (channels, rows, columns) of the cells: nuclei, cell bodies
CHANNELS_SHAPE = (2, 256, 256)
BACKGROUND, LEVELS = 18.0, (90.0, 180.0)


def draw_stack() -> NDArray[np.uint8]:
    """Draw nuclei in a stack of confocal planes.

    Returns
    -------
    ndarray
        (24, 256, 256) uint8: z, y, x.
    """
    rng = np.random.default_rng(3)
    depth, height, width = STACK_SHAPE
    spacing = SPACING[0] / SPACING[1]
    centers: list[NDArray[np.float64]] = []
    image = np.full(STACK_SHAPE, BACKGROUND)
    while len(centers) < NUCLEI:
        center = rng.uniform((3, 14, 14), (depth - 3, height - 14, width - 14))
        apart = [(spacing, 1, 1) * (center - other) for other in centers]
        if any(np.linalg.norm(each) < 30 for each in apart):
            continue
        centers.append(center)
        radii = rng.uniform((9, 10, 13), (12, 14, 17)) / (spacing, 1, 1)
        _add_ellipsoid(image, center, radii, rng.uniform(*LEVELS), rng)
    return _as_seen(image, (0.6, 1.0, 1.0), rng)


def draw_series() -> NDArray[np.uint8]:
    """Draw moving nuclei, some of which divide, over time.

    Returns
    -------
    ndarray
        (16, 256, 256) uint8: t, y, x.
    """
    rng = np.random.default_rng(5)
    frames, height, width = SERIES_SHAPE
    image = np.full(SERIES_SHAPE, BACKGROUND)
    grid = np.indices((4, 4)).reshape(2, -1).T
    places = (grid[rng.permutation(16)[:CELLS]] + 0.5) * 64
    places = places + rng.uniform(-8, 8, places.shape)
    steps = rng.uniform(-1.4, 1.4, places.shape)
    radii = rng.uniform(10, 14, places.shape)
    levels = rng.uniform(*LEVELS, CELLS)
    divides = np.where(np.arange(CELLS) % 4 == 0, rng.integers(6, 11), frames)
    for frame in range(frames):
        cells = zip(places, steps, radii, levels, divides, strict=True)
        for place, step, radius, level, division in cells:
            center = place + frame * step
            since = frame - division
            if since < 0:
                _add_ellipsoid(image[frame], center, radius, level, rng)
                continue
            away = np.array([0.6, 1.0]) * min(9 + 1.2 * since, 18)
            for side in (-1, 1):
                where = center + side * away
                _add_ellipsoid(image[frame], where, 0.72 * radius, level, rng)
    return _as_seen(image, (0, 1.0, 1.0), rng)


def draw_channels() -> NDArray[np.uint8]:
    """Draw cells in two channels: nuclei and cell bodies.

    Returns
    -------
    ndarray
        (2, 256, 256) uint8: c, y, x; the nuclei are the first channel.
    """
    rng = np.random.default_rng(7)
    nuclei, bodies = image = np.full(CHANNELS_SHAPE, BACKGROUND)
    grid = np.indices((4, 4)).reshape(2, -1).T
    for place in (grid[rng.permutation(16)[:CELLS]] + 0.5) * 64:
        center = place + rng.uniform(-4, 4, 2)
        radii = rng.uniform(20, 27, 2)
        _add_ellipsoid(bodies, center, radii, rng.uniform(*LEVELS), rng)
        aside = center + rng.uniform(-4, 4, 2)
        nucleus = rng.uniform(0.4, 0.5, 2) * radii
        _add_ellipsoid(nuclei, aside, nucleus, rng.uniform(*LEVELS), rng)
    return _as_seen(image, (0, 1.0, 1.0), rng)


def _add_ellipsoid(
    image: NDArray[np.float64],
    center: NDArray[np.float64],
    radii: NDArray[np.float64],
    level: float,
    rng: np.random.Generator,
) -> None:
    """Fill an ellipsoid (in 2-D an ellipse) with texture."""
    axes = [
        (np.arange(size) - middle) / radius
        for size, middle, radius in zip(
            image.shape, center, radii, strict=True
        )
    ]
    grid = np.meshgrid(*axes, indexing='ij', sparse=True)
    inside = sum(axis**2 for axis in grid) < 1
    image[inside] = level * rng.uniform(0.85, 1.15, np.count_nonzero(inside))


def _as_seen(
    image: NDArray[np.float64],
    blur: tuple[float, float, float],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Add the blur of a microscope, shot noise and read noise."""
    from scipy.ndimage import gaussian_filter

    seen = rng.poisson(gaussian_filter(image, blur)) + rng.normal(
        0, 3, image.shape
    )
    return np.asarray(np.clip(seen, 0, 255), np.uint8)
