"""Results of a run on a large image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.mask_table import MaskTable
from napari_mobilesam.large.render import Painted
from napari_mobilesam.segmentation.painting import TABLE_COLUMNS as COLUMNS
from napari_mobilesam.types import Mask, Window

if TYPE_CHECKING:
    import pandas as pd

# Columns of `label_table`, and those added by a run.
TABLE_COLUMNS = {
    'label': 'uint32',
    'plane': 'int64',
    **{name: kind for name, kind in COLUMNS.items() if name != 'label'},
    'tile_row': 'int64',
    'tile_column': 'int64',
}


class FailedTile(NamedTuple):
    """A tile that failed.

    Attributes
    ----------
    plane : int
        Its plane.
    window : tuple of int
        (row0, column0, row1, column1) at level 0.
    error : str
        Last error.
    """

    plane: int
    window: Window
    error: str


class CutObject(NamedTuple):
    """An object too large for the tiles, which has no label.

    Attributes
    ----------
    plane : int
        Its plane.
    box : tuple of int
        (row0, column0, row1, column1) at level 0 around the visible part.
    """

    plane: int
    box: Window


class TileFound(NamedTuple):
    """Masks of neighbouring tiles, as soon as they are done.

    Attributes
    ----------
    plane : int
        Its plane.
    window : tuple of int
        (row0, column0, row1, column1) at level 0.
    masks : list of Mask
        Complete masks at level 0. Neighbouring tiles may find the same object;
        duplicates are dropped at the end.
    """

    plane: int
    window: Window
    masks: list[Mask]


@dataclass(frozen=True, eq=False)
class LargeResult:
    """Labels of a large image.

    Attributes
    ----------
    labels : ndarray or Path
        (H, W) uint32, or (planes, H, W) if there are several planes; the path
        of the output if there is one.
    table : pandas.DataFrame
        One row per label and plane: label, plane, score (predicted IoU),
        stability, area (pixels), row and column (centroid), row0, column0,
        row1, column1 (box, half open), tile_row and tile_column (first pixel
        of the tile that found it); all at level 0.
    failed : tuple of FailedTile
        Tiles that failed three times; all others were finished.
    cut : tuple of CutObject
        Objects too large for the largest tiles.
    complete : bool
        True if all tiles are done: none failed, and the run was not cancelled.
    tiles, skipped : int
        Number of tiles in the grid, and of empty ones among them.
    """

    labels: NDArray[np.uint32] | Path
    table: pd.DataFrame
    failed: tuple[FailedTile, ...]
    cut: tuple[CutObject, ...]
    complete: bool
    tiles: int
    skipped: int


class TableBuilder:
    """Builder of the table: objects first, then their visible pixels."""

    def __init__(self, factor: tuple[float, float]) -> None:
        self._factor = np.array(factor)
        self._planes: dict[int, _PlaneRows] = {}

    def add(
        self, plane: int, found: MaskTable, labels: NDArray[np.uint32]
    ) -> None:
        """Add the rows of the labels of a plane."""
        self._planes[plane] = _PlaneRows(found, labels, self._factor)

    def see(self, painted: Painted) -> None:
        """Add the visible pixels of a chunk."""
        self._planes[painted.plane].see(painted)

    def table(self) -> pd.DataFrame:
        """Return one row per label and plane, in this order."""
        import pandas as pd

        parts = [
            pd.DataFrame(dict(rows.columns(plane)))
            for plane, rows in sorted(self._planes.items())
        ]
        empty = pd.DataFrame({name: [] for name in TABLE_COLUMNS})
        kept = [part for part in parts if len(part)] or [empty]
        table = pd.concat(kept, ignore_index=True).astype(TABLE_COLUMNS)
        return table[table['area'] > 0].reset_index(drop=True)


class _PlaneRows:
    """Rows of one plane, sorted by label."""

    def __init__(
        self,
        found: MaskTable,
        labels: NDArray[np.uint32],
        factor: NDArray[np.float64],
    ) -> None:
        order = np.argsort(labels, kind='stable')
        self._labels = labels[order]
        self._scores = found.scores[order]
        self._stabilities = found.stabilities[order]
        self._tiles = (found.windows[order, :2] * factor).astype(np.int64)
        count = len(labels)
        self._areas = np.zeros(count, np.int64)
        self._sums = np.zeros((count, 2))
        self._low = np.full((count, 2), np.iinfo(np.int64).max)
        self._high = np.zeros((count, 2), np.int64)

    def see(self, painted: Painted) -> None:
        rows = np.searchsorted(self._labels, painted.labels)
        self._areas[rows] += painted.areas
        self._sums[rows] += painted.sums
        self._low[rows] = np.minimum(self._low[rows], painted.boxes[:, :2])
        self._high[rows] = np.maximum(self._high[rows], painted.boxes[:, 2:])

    def columns(self, plane: int) -> Iterator[tuple[str, Any]]:
        centres = self._sums / np.maximum(self._areas, 1)[:, None]
        yield 'label', self._labels
        yield 'plane', np.full(len(self._labels), plane)
        yield 'score', self._scores
        yield 'stability', self._stabilities
        yield 'area', self._areas
        yield from (
            ('row', centres[:, 0]),
            ('column', centres[:, 1]),
            ('row0', self._low[:, 0]),
            ('column0', self._low[:, 1]),
            ('row1', self._high[:, 0]),
            ('column1', self._high[:, 1]),
            ('tile_row', self._tiles[:, 0]),
            ('tile_column', self._tiles[:, 1]),
        )
