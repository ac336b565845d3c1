"""Layer to data coordinates: the one place that knows transforms.

Everything is mapped through world coordinates with homogeneous matrices, so
that scale, translation, rotation, shear and affine of any layer, and layers of
fewer dimensions than the viewer, need no special case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.layers import Layer

Matrix = NDArray[np.float64]


def data_to_world_matrix(layer: Layer, ndim: int) -> Matrix:
    """Return the affine map of a layer's data to a world of ``ndim`` axes.

    Parameters
    ----------
    layer : napari.layers.Layer
        Layer of at most ``ndim`` dimensions; napari aligns its axes with
        the last axes of the world.
    ndim : int
        Number of world axes.

    Returns
    -------
    ndarray
        (ndim + 1, ndim + 1) float64 homogeneous matrix; identity on the
        axes that the layer does not have.
    """
    n = layer.ndim
    origin = np.asarray(layer.data_to_world(np.zeros(n)), dtype=float)
    matrix = np.eye(ndim + 1)
    for axis in range(n):
        corner = np.asarray(layer.data_to_world(np.eye(n)[axis]), float)
        matrix[ndim - n : ndim, ndim - n + axis] = corner - origin
    matrix[ndim - n : ndim, ndim] = origin
    return matrix


def apply(matrix: NDArray[Any], points: NDArray[Any]) -> Matrix:
    """Map (N, ndim) points with a homogeneous matrix."""
    return np.asarray(points) @ matrix[:-1, :-1].T + matrix[:-1, -1]
