"""Features of objects: the image embedding, and intensities.

The features of an embedding cell also describe its surroundings. Their mean
over the cells of an object, at a scale that suits its size, gives similar
vectors for objects that look alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from napari_mobilesam.segmentation.embedding_grid import BlockKey
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.label_masks import equivalent_diameter
from napari_mobilesam.types import Mask

# Width of the surroundings of an object, relative to its diameter.
AROUND = 0.25
# Interquartile range of a normal distribution, in standard deviations.
IQR = 1.349


def pooled_features(
    image: ImageEmbedding,
    masks: Sequence[Mask],
    pitch: int,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Compute the mean image-embedding features within each mask.

    Parameters
    ----------
    image : ImageEmbedding
        Missing parts are embedded in large blocks.
    masks : sequence of Mask
        Masks, none of them empty.
    pitch : int
        Scale of the embedding, common to all masks so that they are
        comparable.
    progress : callable, optional
        Called with the number of masks done; an exception stops the
        computation.

    Returns
    -------
    ndarray
        (N, C) float32; cells are weighted by the share that the mask covers.
    """
    order: dict[BlockKey, list[int]] = {}
    for number, mask in enumerate(masks):
        order.setdefault(block_of(image, mask, pitch), []).append(number)
    rows: dict[int, NDArray[np.float32]] = {}
    for key, members in order.items():
        features = image.block(key).float().cpu().numpy()
        for number in members:
            rows[number] = _pooled(features, key, masks[number])
        if progress is not None:
            progress(len(rows))
    if not rows:
        return np.zeros((0, 0), np.float32)
    return np.stack([rows[number] for number in range(len(masks))])


def block_of(image: ImageEmbedding, mask: Mask, pitch: int) -> BlockKey:
    """Return the large block that holds the middle of a mask."""
    row0, column0, row1, column1 = mask.box
    center = (row0 + row1) / 2, (column0 + column1) / 2
    return image.grid.large_block(center, pitch)


def _pooled(
    features: NDArray[np.float32], key: BlockKey, mask: Mask
) -> NDArray[np.float32]:
    row, column, shares = cell_shares(mask, key.pitch)
    top, left = row - key.row, column - key.column
    low = max(0, top), max(0, left)
    high = (
        min(features.shape[1], top + shares.shape[0]),
        min(features.shape[2], left + shares.shape[1]),
    )
    part = features[:, low[0] : high[0], low[1] : high[1]]
    weights = shares[
        low[0] - top : high[0] - top, low[1] - left : high[1] - left
    ]
    total = weights.sum()
    if not total:  # such as a ring larger than the block
        return np.asarray(features.mean(axis=(1, 2)), np.float32)
    mean = np.tensordot(part, weights, axes=([1, 2], [0, 1])) / total
    return np.asarray(mean, np.float32)


def cell_shares(
    mask: Mask, pitch: int
) -> tuple[int, int, NDArray[np.float32]]:
    """Return the share of each cell that a mask covers.

    Returns
    -------
    row, column : int
        First cell.
    shares : ndarray
        (h, w) float32 from 0 to 1.
    """
    row0, column0, row1, column1 = mask.box
    first = row0 // pitch, column0 // pitch
    last = -(-row1 // pitch), -(-column1 // pitch)
    padded = np.pad(
        mask.data.astype(np.float32),
        [
            (row0 - first[0] * pitch, last[0] * pitch - row1),
            (column0 - first[1] * pitch, last[1] * pitch - column1),
        ],
    )
    cells = padded.reshape(
        last[0] - first[0], pitch, last[1] - first[1], pitch
    )
    return *first, np.asarray(cells.mean(axis=(1, 3)), np.float32)


def intensities(rgb: NDArray[np.uint8], mask: Mask) -> NDArray[np.float64]:
    """Measure intensities inside and around a mask.

    Parameters
    ----------
    rgb : ndarray
        (H, W, 3) uint8.
    mask : Mask
        Not empty.

    Returns
    -------
    ndarray
        (9,): for each colour the median inside, the interquartile range inside
        scaled to a standard deviation, and the median inside minus that of the
        surroundings. All are robust to a few misplaced edge pixels.
    """
    row0, column0, row1, column1 = mask.box
    width = max(2.0, AROUND * equivalent_diameter(mask))
    reach = math.ceil(width)
    low = max(0, row0 - reach), max(0, column0 - reach)
    high = (
        min(rgb.shape[0], row1 + reach),
        min(rgb.shape[1], column1 + reach),
    )
    inside = np.zeros((high[0] - low[0], high[1] - low[1]), bool)
    inside[
        row0 - low[0] : row1 - low[0], column0 - low[1] : column1 - low[1]
    ] = mask.data
    pixels = rgb[low[0] : high[0], low[1] : high[1]].astype(np.float64)
    around = (distance_transform_edt(~inside) <= width) & ~inside
    low_level, middle, high_level = np.percentile(
        pixels[inside], (25, 50, 75), axis=0
    )
    near = np.median(pixels[around], axis=0) if around.any() else middle
    spread = (high_level - low_level) / IQR
    return np.concatenate([middle, spread, middle - near])
