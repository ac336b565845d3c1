"""Optional cleaning of the mask of one object."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import Mask

# Standard deviation in data pixels of the blur that rounds corners off.
SIGMA = 1.5


@dataclass(frozen=True)
class CleanUp:
    """What is done to a mask before it is shown and written.

    Attributes
    ----------
    min_area : int
        Holes and islands of fewer pixels are removed; of islands that are
        all smaller the largest stays (Segment Anything, appendix B).
    smooth : bool
        Round off corners and fringes smaller than a pixel or two.
    """

    min_area: int = 0
    smooth: bool = False

    def __call__(self, mask: Mask, image_shape: tuple[int, int]) -> Mask:
        """Return the cleaned mask, never an empty one.

        Parameters
        ----------
        mask : Mask
            Mask with at least one pixel.
        image_shape : tuple of int
            (H, W) of its plane.
        """
        # imported here: opening a window must not wait for scikit-image
        from napari_mobilesam.segmentation.masks import remove_small_regions

        if self.smooth:
            mask = _smoothed(mask, image_shape)
        if self.min_area > 1:
            mask, _ = remove_small_regions(mask, self.min_area, image_shape)
        return mask


def _smoothed(mask: Mask, image_shape: tuple[int, int]) -> Mask:
    from scipy.ndimage import gaussian_filter

    pad = int(np.ceil(3 * SIGMA))
    padded = np.pad(mask.data, pad).astype(np.float32)
    # what ends at the border of the image is not round there
    inner = slice(pad, -pad)
    if mask.box[0] == 0:
        padded[:pad, inner] = mask.data[:1]
    if mask.box[1] == 0:
        padded[inner, :pad] = mask.data[:, :1]
    if mask.box[2] == image_shape[0]:
        padded[-pad:, inner] = mask.data[-1:]
    if mask.box[3] == image_shape[1]:
        padded[inner, -pad:] = mask.data[:, -1:]
    round_ = gaussian_filter(padded, SIGMA)[inner, inner] > 0.5
    data, box = crop_to_mask(round_, (mask.box[0], mask.box[1]))
    # a hair that the blur takes away is better than nothing
    return replace(mask, data=data, box=box) if data.size else mask
