"""Maps of the instance head over an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.model.instance_head import MAP_PIXELS, MAPS
from napari_mobilesam.segmentation.embedding_grid import BlockKey
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.instances import (
    FoundInstances,
    find_instances,
)
from napari_mobilesam.types import Box

# Cells at the edge of a block in which features suffer; large blocks overlap
# by twice as many.
MARGIN = 4
# Maps of so many bytes are kept: those that told the size of the objects serve
# the run that follows.
KEPT_BYTES = 1 << 23


@dataclass(frozen=True, eq=False)
class InstanceMaps:
    """Maps of the instance head over an image at one scale.

    Attributes
    ----------
    values : ndarray
        (3, h, w) float32, see `InstanceHead.forward`; 0 where the image was
        not looked at.
    pitch : int
        Data pixels along a cell, which is 4 pixels of the maps.
    image_shape : tuple of int
        (H, W) of the image.
    """

    values: NDArray[np.float32]
    pitch: int
    image_shape: tuple[int, int]

    @cached_property
    def instances(self) -> FoundInstances:
        """Instances in the maps."""
        return find_instances(self.values)

    def to_data(self, pixels: NDArray[np.intp]) -> NDArray[np.float64]:
        """Centres of (N, 2) pixels of the maps, in data pixels."""
        scale = self.pitch / MAP_PIXELS
        last = np.subtract(self.image_shape, 1)
        return np.clip((pixels + 0.5) * scale - 0.5, 0.0, last)

    def pixels_of(self, box: Box) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pixels of the maps under the data pixels of a box, as an index."""
        rows, columns = (
            np.minimum(
                ((np.arange(start, stop) + 0.5) * MAP_PIXELS / self.pitch),
                length - 1,
            ).astype(np.intp)
            for start, stop, length in zip(
                box[:2], box[2:], self.values.shape[1:], strict=True
            )
        )
        return rows[:, None], columns


def maps_of(
    image: ImageEmbedding, pitch: int, keys: Sequence[BlockKey]
) -> InstanceMaps:
    """Maps of large blocks of an image, joined.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding of the image.
    pitch : int
        Scale.
    keys : sequence of BlockKey
        Blocks of this scale.
    """
    wanted = pitch, frozenset(keys)
    return image.kept_maps.get(
        wanted,
        lambda: _join(image, pitch, keys),
        lambda maps: maps.values.nbytes <= KEPT_BYTES,
    )


def _join(
    image: ImageEmbedding, pitch: int, keys: Sequence[BlockKey]
) -> InstanceMaps:
    rows, columns = image.grid.shape(pitch)
    values = np.zeros(
        (MAPS, rows * MAP_PIXELS, columns * MAP_PIXELS), np.float32
    )
    # what is embedded first: if not all blocks can be kept, these are not
    # dropped for those that are embedded anew
    looked_at = {
        key: _maps_of_block(image, key)
        for key in sorted(keys, key=lambda key: not image.knows(key))
    }
    for key in keys:
        maps = looked_at[key]
        cells = image.grid.canvas(key).cells
        own = [
            (
                0 if first == 0 else MARGIN,
                min(
                    length - (MARGIN if first + length < count else 0),
                    count - first,
                ),
            )
            for first, length, count in zip(
                (key.row, key.column), cells, (rows, columns), strict=True
            )
        ]
        inner = tuple(
            slice(start * MAP_PIXELS, stop * MAP_PIXELS) for start, stop in own
        )
        place = tuple(
            slice((first + start) * MAP_PIXELS, (first + stop) * MAP_PIXELS)
            for first, (start, stop) in zip(
                (key.row, key.column), own, strict=True
            )
        )
        values[:, *place] = maps[:, *inner]
    return InstanceMaps(values, pitch, image.image_shape)


def _maps_of_block(
    image: ImageEmbedding, key: BlockKey
) -> NDArray[np.float32]:
    """(3, h, w) maps of one large block."""
    features = image.block(key)[None].float()
    with image.model.threads(long=True):
        return image.model.instance_maps(features)[0].cpu().numpy()
