"""The points of the full grid of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.crops import Region


@dataclass(frozen=True, eq=False)
class Lattice:
    """The points of the full grid.

    Attributes
    ----------
    rows, columns : ndarray
        (I,) and (J,) float64 coordinates in data pixels, ascending.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]

    @classmethod
    def of(cls, regions: Sequence[Region]) -> Lattice:
        """The lattice that the points of regions lie on."""
        points = np.concatenate([region.points for region in regions])
        return cls(np.unique(points[:, 0]), np.unique(points[:, 1]))

    def index(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        """(N, 2) indices of (N, 2) points of the lattice."""
        return np.stack(
            [
                np.searchsorted(self.rows, points[:, 0]),
                np.searchsorted(self.columns, points[:, 1]),
            ],
            axis=1,
        )

    @property
    def spacing(self) -> float:
        """Distance of neighbours in pixels; 1 if there are none."""
        steps = np.concatenate([np.diff(self.rows), np.diff(self.columns)])
        return float(steps.max()) if len(steps) else 1.0
