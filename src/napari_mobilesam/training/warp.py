"""Rotated, stretched and elastically warped crops, for augmentation.

A long training cuts thousands of crops out of each image; when these are
turned and warped, no two show an object in the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CELLS = 4  # cells along a side of the mesh
STRETCH = 0.12  # standard deviation of the logarithm of the aspect ratio
JITTER = 0.025  # standard deviation of the inner nodes, per crop side
# A long window cannot be turned far without leaving it.
SQUARE = 0.75


@dataclass(frozen=True, eq=False)
class Warp:
    """Smooth map from the pixels of the result to those of a crop.

    It only reads inside the crop, so objects are enlarged.

    Attributes
    ----------
    angle : float
        Rotation in radians.
    stretch : float
        Factor for rows; columns are stretched by its inverse.
    jitter : ndarray
        (N + 1, N + 1, 2) offsets of the nodes, relative to the side of the
        crop.
    """

    angle: float = 0.0
    stretch: float = 1.0
    jitter: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros((CELLS + 1, CELLS + 1, 2))
    )

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Warp:
        """Draw a warp; with mirroring and 90° turns, any direction occurs."""
        jitter = np.zeros((CELLS + 1, CELLS + 1, 2))
        jitter[1:-1, 1:-1] = rng.normal(
            0, JITTER, (CELLS - 1, CELLS - 1, 2)
        ).clip(-2 * JITTER, 2 * JITTER)
        return cls(
            float(rng.uniform(-np.pi / 4, np.pi / 4)),
            float(np.exp(rng.normal(0, STRETCH))),
            jitter,
        )

    @property
    def enlargement(self) -> float:
        """Factor by which objects of a square crop are enlarged."""
        turned = abs(np.cos(self.angle)) + abs(np.sin(self.angle))
        return float(turned * max(self.stretch, 1 / self.stretch))

    def nodes(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return the (N + 1, N + 1, 2) node positions in a crop of a shape.

        They are fractions of its rows and columns; all lie inside.
        """
        size = np.array(shape, dtype=float)
        angle = self.angle if size.min() >= SQUARE * size.max() else 0.0
        turn = np.array(
            [
                [np.cos(angle), -np.sin(angle)],
                [np.sin(angle), np.cos(angle)],
            ]
        )
        scale = np.array([1 / self.stretch, self.stretch])
        fractions = np.linspace(-0.5, 0.5, CELLS + 1)
        grid = np.stack(
            np.meshgrid(fractions, fractions, indexing='ij'), axis=-1
        )
        places = ((grid + self.jitter) * size * scale) @ turn.T / size
        reach = np.abs(places).max()
        places *= 0.5 / max(reach, 0.5)
        return places + 0.5

    def image(
        self, picture: Image.Image, shape: tuple[int, int]
    ) -> Image.Image:
        """Return a warped picture of the same shape (rows, columns)."""
        rows, columns = shape
        nodes = self.nodes(shape) * np.array(shape)
        lines = np.linspace(0, 1, CELLS + 1)
        down = np.rint(lines * rows).astype(int)
        right = np.rint(lines * columns).astype(int)
        mesh = []
        for i in range(CELLS):
            for j in range(CELLS):
                box = (right[j], down[i], right[j + 1], down[i + 1])
                corners = (
                    nodes[i, j],
                    nodes[i + 1, j],
                    nodes[i + 1, j + 1],
                    nodes[i, j + 1],
                )
                mesh.append((box, [v for c in corners for v in c[::-1]]))
        return picture.transform(
            (columns, rows),
            Image.Transform.MESH,
            mesh,
            Image.Resampling.BILINEAR,
        )

    def places(
        self,
        rows: NDArray[np.float64],
        columns: NDArray[np.float64],
        shape: tuple[int, int],
    ) -> NDArray[np.float64]:
        """Return the places in the crop that places of the result come from.

        Parameters
        ----------
        rows, columns : ndarray
            (h,) and (w,) fractions of the result, 0 … 1.
        shape : tuple of int
            Shape of the crop.

        Returns
        -------
        ndarray
            (h, w, 2) fractions of the crop.
        """
        nodes = self.nodes(shape)
        for axis, at in enumerate((rows, columns)):
            cell = np.clip((at * CELLS).astype(int), 0, CELLS - 1)
            part = at * CELLS - cell
            part = part[:, None, None] if axis == 0 else part[None, :, None]
            nodes = (1 - part) * nodes.take(cell, axis) + part * nodes.take(
                cell + 1, axis
            )
        return nodes
