"""Instances in the maps of an instance head.

The peaks of the distance maps are the seeds of a watershed, as in Segment
Anything for Microscopy (Archit et al. 2025, "Automatic instance
segmentation").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_mobilesam.model.instance_head import (
    BOUNDARY,
    CENTRE,
    FOREGROUND,
)

# Minimum foreground probability of an object.
LIKELY = 0.5
# Sigma of the smoothing of the distances, in map pixels.
SMOOTHING = 1.0
# A peak is a seed if it has at least this height and this prominence (height
# above the saddle to a higher peak). On validation images, lower peaks are
# hardly ever objects, and higher limits miss some.
HEIGHT = 0.45
PROMINENCE = 0.08


def seed_height(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smoothed mean of centre closeness and boundary distance.

    Parameters
    ----------
    maps : ndarray
        (3, h, w) float32, see `InstanceHead.forward`.

    Returns
    -------
    ndarray
        (h, w) float32, 0 outside the foreground.
    """
    mean = (maps[CENTRE] + maps[BOUNDARY]) / 2
    height: NDArray[np.float32] = gaussian_filter(mean, SMOOTHING)
    return np.where(maps[FOREGROUND] >= LIKELY, height, np.float32(0))


class FoundInstances(NamedTuple):
    """Instances in maps.

    Attributes
    ----------
    seeds : ndarray
        (N, 2) row and column in map pixels, highest peak first.
    heights : ndarray
        (N,) float32 heights of these peaks, from 0 to 1.
    labels : ndarray
        (h, w) int32: 0 is background, i the object of seed i - 1; higher
        numbers are connected foreground without a seed.
    """

    seeds: NDArray[np.intp]
    heights: NDArray[np.float32]
    labels: NDArray[np.int32]


def find_instances(maps: NDArray[np.float32]) -> FoundInstances:
    """Divide the foreground of maps among the peaks of their distances.

    Parameters
    ----------
    maps : ndarray
        (3, h, w) float32, see `InstanceHead.forward`.

    Returns
    -------
    FoundInstances
        Seeds, and the instance that a watershed assigns to each.
    """
    from scipy.ndimage import label
    from skimage.segmentation import watershed

    height = seed_height(maps)
    seeds = local_peaks(height, PROMINENCE, HEIGHT)
    markers = np.zeros(maps.shape[1:], np.int32)
    markers[tuple(seeds.T)] = np.arange(1, len(seeds) + 1)
    inside = maps[FOREGROUND] >= LIKELY
    labels: NDArray[np.int32] = watershed(-height, markers, mask=inside)
    rest, _ = label(inside & (labels == 0))
    labels = np.where(rest > 0, rest + len(seeds), labels).astype(np.int32)
    return FoundInstances(seeds, height[tuple(seeds.T)], labels)


def local_peaks(
    height: NDArray[Any], prominence: float, least: float
) -> NDArray[np.intp]:
    """Find peaks that stand out (h-maxima), highest first.

    Parameters
    ----------
    height : ndarray
        (h, w), not negative.
    prominence : float
        Minimum height above the saddle to a higher peak.
    least : float
        Minimum height.

    Returns
    -------
    ndarray
        (N, 2) row and column.
    """
    from skimage.morphology import reconstruction

    height = np.asarray(height, np.float64)
    if not (height >= least).any():
        return np.zeros((0, 2), np.intp)
    lower = np.maximum(height - prominence, 0)
    rise = height - reconstruction(lower, height)
    tops = (rise >= prominence - 1e-6) & (height >= least)
    found = _one_of_each(tops)
    order = np.argsort(-height[tuple(found.T)], kind='stable')
    return found[order]


def _one_of_each(tops: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the (N, 2) first pixel of each connected part."""
    from scipy.ndimage import label

    parts, _ = label(tops, np.ones((3, 3)))
    _, first = np.unique(parts[tops], return_index=True)
    return np.argwhere(tops)[first]
