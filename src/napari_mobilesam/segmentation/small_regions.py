"""Small holes and islands of masks (Segment Anything, appendix B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected_components

from napari_mobilesam.segmentation.nms import suppress_cleaned
from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import Mask


def remove_small_regions(
    mask: Mask, min_area: int, image_shape: tuple[int, int]
) -> tuple[Mask, bool]:
    """Fill small holes and drop small islands (Segment Anything, B).

    Regions are 8-connected. If all islands of a mask are small, the largest
    stays.

    Parameters
    ----------
    mask : Mask
        Mask to clean.
    min_area : int
        Holes and islands with fewer pixels are removed.
    image_shape : tuple of int
        (H, W); background enclosed by the mask and the border of the image is
        a hole.

    Returns
    -------
    mask : Mask
        The cleaned mask, with a tight box.
    changed : bool
        Whether anything was removed.
    """
    data = _fill_holes(mask, min_area, image_shape)
    islands, count = connected_components(
        data, connectivity=2, return_num=True
    )
    sizes = np.bincount(islands.ravel(), minlength=count + 1)
    stays = sizes >= min_area
    if not stays[1:].any():
        stays[1 + int(np.argmax(sizes[1:]))] = True
    stays[0] = False
    data = stays[islands]
    if np.array_equal(data, mask.data):
        return mask, False
    data, box = crop_to_mask(data, mask.box[:2])
    return replace(mask, data=data, box=box), True


def _fill_holes(
    mask: Mask, min_area: int, image_shape: tuple[int, int]
) -> NDArray[np.bool_]:
    row0, column0, row1, column1 = mask.box
    # Padding by one pixel connects the background around the box, except where
    # the image ends.
    pad = (
        (int(row0 > 0), int(row1 < image_shape[0])),
        (int(column0 > 0), int(column1 < image_shape[1])),
    )
    padded = np.pad(mask.data, pad)
    regions, count = connected_components(
        ~padded, connectivity=2, return_num=True
    )
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    fill = sizes < min_area
    fill[0] = False
    beyond = np.pad(np.zeros_like(mask.data), pad, constant_values=True)
    fill[regions[beyond]] = False
    filled = padded | fill[regions]
    rows = slice(pad[0][0], pad[0][0] + mask.data.shape[0])
    columns = slice(pad[1][0], pad[1][0] + mask.data.shape[1])
    return np.asarray(filled[rows, columns])


def clean(
    masks: Sequence[Mask],
    min_area: int,
    image_shape: tuple[int, int],
    threshold: float,
) -> list[Mask]:
    """Remove small regions of all masks, then any duplicates this creates.

    Parameters
    ----------
    masks : sequence of Mask
        Masks to clean.
    min_area, image_shape
        As for `remove_small_regions`.
    threshold : float
        Box IoU above which two cleaned masks are duplicates, see
        `suppress_cleaned`.
    """
    return suppress_cleaned(
        [
            (mask, remove_small_regions(mask, min_area, image_shape)[0])
            for mask in masks
        ],
        threshold,
    )
