"""Images that are computed where they are read, and models for workers."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from segmentation.oracle import Oracle, SeeingOracle

from napari_mobilesam.large.io.interfaces import Level
from napari_mobilesam.types import Window

Disc = tuple[int, int, int]

INPUT_SIZE = 128
DIAMETER = 30


@dataclass(frozen=True)
class Discs:
    """White discs (row, column, radius) on black, of any size and pyramid."""

    shape: tuple[int, int]
    discs: tuple[Disc, ...]
    planes: int = 1
    depth: int = 1
    rgb: bool = False
    dtype: Any = np.dtype(np.uint8)

    @property
    def levels(self) -> tuple[Level, ...]:
        return tuple(
            Level(
                (2.0**n, 2.0**n),
                (-(-self.shape[0] // 2**n), -(-self.shape[1] // 2**n)),
            )
            for n in range(self.depth)
        )

    def fingerprint(self) -> str:
        return repr((self.shape, hash(self.discs), self.planes, self.depth))

    def read(self, plane: int, level: int, window: Window) -> np.ndarray:
        row0, column0, row1, column1 = window
        height, width = self.levels[level].shape
        assert 0 <= row0 < row1 <= height
        assert 0 <= column0 < column1 <= width
        step = 2**level
        rows = np.arange(row0, row1)[:, None] * step
        columns = np.arange(column0, column1)[None] * step
        pixels = np.zeros((row1 - row0, column1 - column0), bool)
        for row, column, radius in self.discs:
            if (
                rows[0, 0] - radius < row < rows[-1, 0] + radius
                and columns[0, 0] - radius < column < columns[0, -1] + radius
            ):
                away = (rows - row) ** 2 + (columns - column) ** 2
                pixels |= away < radius**2
        return pixels.astype(np.uint8) * 255


def field_of_discs(
    shape: tuple[int, int], seed: int = 0, pitch: int = 42
) -> tuple[Disc, ...]:
    """Discs that do not touch, on a grid that the tiles do not know of."""
    random = np.random.default_rng(seed)
    return tuple(
        (
            row + int(random.integers(-2, 3)),
            column + int(random.integers(-2, 3)),
            int(random.integers(9, 17)),
        )
        for row in range(19, shape[0] - 18, pitch)
        for column in range(19, shape[1] - 18, pitch)
    )


def drawn(shape: tuple[int, int], *discs: Disc) -> np.ndarray:
    """The image of some discs, in memory."""
    return Discs(shape, discs).read(0, 0, (0, 0, *shape))


def small_model() -> Oracle:
    """Sees objects of DIAMETER pixel for pixel, a tile at a time."""
    return Oracle(INPUT_SIZE, best=DIAMETER)


def seeing_model() -> SeeingOracle:
    """A small model with an instance head."""
    return SeeingOracle(INPUT_SIZE, best=DIAMETER)


def whole_model() -> Oracle:
    """Sees 272 pixels at once, at the same scale."""
    return Oracle(272, best=DIAMETER)


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


@dataclass(frozen=True)
class DyingModel:
    """A small model whose process is killed as it embeds, the first time.

    Attributes
    ----------
    mark : Path
        Is made before the process dies.
    times : int
        So many processes die.
    """

    mark: Path
    times: int = 1

    def __call__(self) -> Oracle:
        return _Dying(self)


class _Dying(Oracle):
    def __init__(self, how: DyingModel) -> None:
        super().__init__(INPUT_SIZE, best=DIAMETER)
        self._how = how

    def encode(self, x: Any) -> Any:
        self._how.mark.parent.mkdir(exist_ok=True)
        for number in range(self._how.times):
            mark = self._how.mark.with_suffix(f'.{number}')
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(x)
