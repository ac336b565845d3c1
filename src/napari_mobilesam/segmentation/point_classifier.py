"""Classifier of points at which prompts are likely to find objects.

A prompt on the background costs as much as one on an object and brings
nothing. What the model took for objects in this image, and what it did not,
tells which of the other points look like one or the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

# Widths of the smoothing, in object diameters: gray values of a spot and of
# its surroundings.
FINE = 1 / 8
WIDE = 1 / 3
# Points that are most alike say what a point is like.
NEIGHBOURS = 7
# So many are known before anything is concluded.
LEAST_KNOWN = 20
# Of more the newest are looked at.
MOST_KNOWN = 5000
# Distance, in standard deviations, at which a neighbour's word counts half
# of that of one that is the same.
SOFTNESS = 0.05
# Distance beyond which a point is like none that is known: where the first
# points all miss, a few objects would be taken for what surrounds them.
UNLIKE = 1.0


class PointClassifier:
    """Tells points like those that gave masks from points like the others.

    Parameters
    ----------
    features : ndarray
        (..., F) float32 of the points of a lattice, see `describe`.
    """

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._features = features
        self._known = np.zeros((0, features.shape[-1]), dtype=np.float32)
        self._hits = np.zeros(0, dtype=bool)

    def learn(self, index: NDArray[np.intp], hits: NDArray[np.bool_]) -> None:
        """Remember which points, (N, 2) indices, gave masks."""
        values = self._features[index[:, 0], index[:, 1]]
        self._known = np.concatenate([self._known, values])[-MOST_KNOWN:]
        self._hits = np.concatenate([self._hits, hits])[-MOST_KNOWN:]

    def likelihood(self, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """(N,) how likely points give masks; 1 where too little is known."""
        if len(self._known) < LEAST_KNOWN or not len(index):
            return np.ones(len(index))
        values = self._features[index[:, 0], index[:, 1]]
        distances, nearest = KDTree(self._known).query(values, k=NEIGHBOURS)
        weights = 1 / (distances + SOFTNESS)
        said = (weights * self._hits[nearest]).sum(axis=1)
        likelihood: NDArray[np.float64] = said / weights.sum(axis=1)
        likelihood[distances[:, 0] > UNLIKE] = 1.0
        return likelihood


def describe(
    rgb: NDArray[np.uint8],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    diameter: float,
) -> NDArray[np.float32]:
    """Image features at the points of a lattice.

    Parameters
    ----------
    rgb : ndarray
        (H, W, 3) uint8.
    rows, columns : ndarray
        (I,) and (J,) coordinates of the lattice in data pixels.
    diameter : float
        Typical object diameter in data pixels.

    Returns
    -------
    ndarray
        (I, J, F) float32: per channel the smoothed value at two scales and
        the steepness, in common units.
    """
    places = np.ix_(
        np.minimum(rows.astype(np.intp), rgb.shape[0] - 1),
        np.minimum(columns.astype(np.intp), rgb.shape[1] - 1),
    )
    gray = (rgb == rgb[..., :1]).all()
    features = []
    for channel in range(1 if gray else 3):
        plane = rgb[..., channel].astype(np.float32)
        fine = gaussian_filter(plane, FINE * diameter)
        wide = gaussian_filter(plane, WIDE * diameter)
        down, right = (
            np.gradient(fine, axis=axis) if length > 1 else np.zeros_like(fine)
            for axis, length in enumerate(fine.shape)
        )
        steep = np.hypot(down, right) * (diameter / 4)
        features += [fine[places], wide[places], steep[places]]
    described = np.stack(features, axis=-1)
    spread = float(described.std(axis=(0, 1)).mean())
    return np.asarray(described / max(spread, 1e-6), dtype=np.float32)
