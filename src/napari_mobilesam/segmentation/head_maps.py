"""Maps of the instance head over an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.model.instance_head import (
    FOREGROUND,
    MAP_PIXELS,
    MAPS,
)
from napari_mobilesam.model.versions import LatestOnly
from napari_mobilesam.segmentation.embedding_grid import (
    BlockKey,
    EmbeddingGrid,
)
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.instances import (
    LIKELY,
    FoundInstances,
    find_instances,
)
from napari_mobilesam.types import Box

# Cells at the edge of a block whose features are degraded; large blocks
# overlap by twice as many.
MARGIN = 4
# Map pixels with a foreground in this range are unclear.
UNCLEAR = 0.15, 0.85
# Bytes of maps to keep: those made to find the object size serve the run that
# follows.
KEPT_BYTES = 1 << 23


@dataclass(frozen=True, eq=False)
class InstanceMaps:
    """Maps of the instance head over an image at one scale.

    Attributes
    ----------
    values : ndarray
        (3, h, w) float32, see `InstanceHead.forward`; 0 where the image was
        not analysed.
    pitch : int
        Data pixels along a cell, which is 4 map pixels.
    image_shape : tuple of int
        (H, W) of the image.
    first : tuple of int
        Row and column of the image at which the maps begin, in map pixels.
    """

    values: NDArray[np.float32]
    pitch: int
    image_shape: tuple[int, int]
    first: tuple[int, int] = (0, 0)

    @cached_property
    def instances(self) -> FoundInstances:
        """Instances in the maps."""
        return find_instances(self.values)

    @property
    def likely(self) -> int:
        """Number of foreground pixels."""
        return int(np.count_nonzero(self.values[FOREGROUND] >= LIKELY))

    @property
    def unclear(self) -> int:
        """Number of unclear pixels; if many, the head is unsure."""
        low, high = UNCLEAR
        foreground = self.values[FOREGROUND]
        return int(np.count_nonzero((foreground > low) & (foreground < high)))

    def to_data(self, pixels: NDArray[np.intp]) -> NDArray[np.float64]:
        """Convert (N, 2) map pixels to their centres in data pixels."""
        scale = self.pitch / MAP_PIXELS
        last = np.subtract(self.image_shape, 1)
        return np.clip((pixels + self.first + 0.5) * scale - 0.5, 0.0, last)

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        """Convert (N, 2) points in data pixels to map pixels."""
        return np.stack(
            [self._pixels(points[:, axis], axis) for axis in (0, 1)], axis=1
        )

    def pixels_of(self, box: Box) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the index of the map pixels under a box of data pixels."""
        row0, column0, row1, column1 = box
        rows = self._pixels(np.arange(row0, row1), 0)
        return rows[:, None], self._pixels(np.arange(column0, column1), 1)

    def _pixels(self, places: NDArray[Any], axis: int) -> NDArray[np.intp]:
        """Return the map pixels at places along an axis of the image."""
        pixels = (places + 0.5) * MAP_PIXELS / self.pitch - self.first[axis]
        last = self.values.shape[1 + axis] - 1
        return np.clip(pixels, 0, last).astype(np.intp)


def maps_of(
    image: ImageEmbedding,
    pitch: int,
    keys: Sequence[BlockKey],
    window: Box | None = None,
    of_blocks: LatestOnly[NDArray[np.float32]] | None = None,
) -> InstanceMaps:
    """Compute the maps of large blocks of an image, joined.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding of the image.
    pitch : int
        Scale.
    keys : sequence of BlockKey
        Blocks of this scale.
    window : tuple of int, optional
        (row0, column0, row1, column1) in cells, half open: only these.
    of_blocks : LatestOnly, optional
        Cache of the maps of single blocks.
    """
    wanted = pitch, frozenset(keys), window
    return image.kept_maps.get(
        wanted,
        lambda: _join(image, pitch, keys, window, of_blocks or LatestOnly(0)),
        lambda maps: maps.values.nbytes <= KEPT_BYTES,
    )


def _join(
    image: ImageEmbedding,
    pitch: int,
    keys: Sequence[BlockKey],
    window: Box | None,
    of_blocks: LatestOnly[NDArray[np.float32]],
) -> InstanceMaps:
    # known blocks first: if not all fit in memory, they are not evicted for
    # those embedded anew
    looked_at = {
        key: of_blocks.get(key, partial(_maps_of_block, image, key))
        for key in sorted(keys, key=lambda key: not image.knows(key))
    }
    filled = {key: _filled(image.grid, key) for key in keys}
    row0, column0, row1, column1 = window or _around(
        [*filled.values()], image.grid.shape(pitch)
    )
    rows, columns = row1 - row0, column1 - column0
    values = np.zeros(
        (MAPS, rows * MAP_PIXELS, columns * MAP_PIXELS), np.float32
    )
    for key, (top, left, bottom, right) in filled.items():
        shared = (
            max(top, row0),
            max(left, column0),
            min(bottom, row1),
            min(right, column1),
        )
        if shared[0] < shared[2] and shared[1] < shared[3]:
            place = _pixels(shared, (row0, column0))
            source = _pixels(shared, (key.row, key.column))
            values[:, *place] = looked_at[key][:, *source]
    first = row0 * MAP_PIXELS, column0 * MAP_PIXELS
    return InstanceMaps(values, pitch, image.image_shape, first)


def _filled(grid: EmbeddingGrid, key: BlockKey) -> Box:
    """Return the usable cells of a block, without its inner margins."""
    low = key.row, key.column
    ends = (
        start + length - MARGIN if start + length < count else count
        for start, length, count in zip(
            low, grid.canvas(key).cells, grid.shape(key.pitch), strict=True
        )
    )
    row0, column0 = (start + MARGIN if start else 0 for start in low)
    row1, column1 = ends
    return row0, column0, row1, column1


def _around(boxes: Sequence[Box], shape: tuple[int, int]) -> Box:
    """Return the box around boxes, plus a cell so cut objects end there."""
    if not boxes:
        return 0, 0, 0, 0
    ends = np.array(boxes)
    low = np.maximum(ends[:, :2].min(axis=0) - 1, 0)
    high = np.minimum(ends[:, 2:].max(axis=0) + 1, shape)
    (row0, column0), (row1, column1) = low.tolist(), high.tolist()
    return row0, column0, row1, column1


def _pixels(box: Box, first: tuple[int, int]) -> tuple[slice, slice]:
    """Pixels of maps that begin at a cell, under cells of a box."""
    rows, columns = (
        slice((low - start) * MAP_PIXELS, (high - start) * MAP_PIXELS)
        for low, high, start in zip(box[:2], box[2:], first, strict=True)
    )
    return rows, columns


def _maps_of_block(
    image: ImageEmbedding, key: BlockKey
) -> NDArray[np.float32]:
    """Compute the (3, h, w) maps of one large block."""
    features = image.block(key)[None].float()
    with image.model.threads(long=True):
        return image.model.instance_maps(features)[0].cpu().numpy()
