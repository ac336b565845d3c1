"""Predict at which points prompts are likely to find objects.

A prompt on the background costs as much as one on an object and finds nothing.
The points that did or did not give objects in this image tell which of the
other points are worth prompting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

# Sigmas of the smoothing, in object diameters: gray values of a spot and of
# its surroundings.
FINE = 1 / 8
WIDE = 1 / 3
# Number of nearest neighbours that are consulted.
NEIGHBOURS = 7
# Minimum number of known points before anything is predicted.
LEAST_KNOWN = 20
# Beyond this number, only the newest are used.
MOST_KNOWN = 5000
# Distance, in standard deviations, at which a neighbour has half the weight of
# an identical one.
SOFTNESS = 0.05
# Distance beyond which a point resembles no known one. Without it, if the
# first points all miss, a few objects would be mistaken for their
# surroundings.
UNLIKE = 1.0


class PointClassifier:
    """Nearest-neighbour classifier of points that give masks.

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
        """Remember which points, as (N, 2) indices, gave masks."""
        values = self._features[index[:, 0], index[:, 1]]
        self._known = np.concatenate([self._known, values])[-MOST_KNOWN:]
        self._hits = np.concatenate([self._hits, hits])[-MOST_KNOWN:]

    def likelihood(self, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return (N,) likelihoods of masks; 1 if too little is known."""
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
    """Compute image features at the points of a lattice.

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
        (I, J, F) float32: per channel the smoothed value at two scales and the
        gradient, in common units.
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
