"""Cleaning of the mask of one object."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_number
from napari_mobilesam.segmentation.shapes import part_of
from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import LOW_RES_STRIDE, Frame, Mask, Prompts

# Standard deviation in data pixels of the blur that rounds corners off.
SIGMA = 1.5
# Islands smaller than this share of the largest part of a mask, or than this
# many low-res logits, are specks. In 1,616 masks of images of 13 data sets, by
# the default and a fine-tuned model, 22 of 44 such islands lie on the object
# of the mask, but 11 of 12 larger ones.
SPECK_SHARE = 0.01
SPECK_LOGITS = 4


@dataclass(frozen=True)
class CleanUp:
    """Cleaning of a mask before it is shown and written.

    Attributes
    ----------
    min_area : int
        Holes and islands of fewer pixels are removed. If all islands are
        smaller, the largest stays (Segment Anything, appendix B).
    smooth : bool
        Round off corners and fringes smaller than a pixel or two.
    keep_islands : bool
        Keep parts that are disconnected from the prompted part; see
        `prompted_part`.
    """

    min_area: int = 0
    smooth: bool = False
    keep_islands: bool = False

    def __post_init__(self) -> None:
        check_number('min_area', self.min_area, 0, whole=True)

    def __call__(
        self,
        mask: Mask,
        image_shape: tuple[int, int],
        prompts: Prompts | None = None,
    ) -> Mask:
        """Return the cleaned mask, never an empty one.

        Parameters
        ----------
        mask : Mask
            Mask with at least one pixel.
        image_shape : tuple of int
            (H, W) of its plane.
        prompts : Prompts, optional
            Prompts of the object, which select its part.
        """
        # imported here: opening a window must not wait for scikit-image
        from napari_mobilesam.segmentation.small_regions import (
            remove_small_regions,
        )

        if self.smooth:
            mask = _smoothed(mask, image_shape)
        if self.min_area > 1:
            mask, _ = remove_small_regions(mask, self.min_area, image_shape)
        return mask if self.keep_islands else prompted_part(mask, prompts)


def prompted_part(mask: Mask, prompts: Prompts | None = None) -> Mask:
    """Remove the islands of a mask that no prompt points at.

    An object is one connected part, as in the removal of small spurious
    components (Segment Anything, appendix B), unless prompts say otherwise.

    Parameters
    ----------
    mask : Mask
        Mask with at least one pixel.
    prompts : Prompts, optional
        Parts with a positive point, or that overlap the region, stay.

    Returns
    -------
    Mask
        The largest part if no prompt lies on any; the input mask if there are
        no islands.
    """
    parts, areas = _parts(mask)
    if len(areas) < 2:
        return mask
    kept = _prompted(parts, mask, prompts or Prompts())
    if not len(kept):
        kept = np.array([areas.argmax() + 1])
    return _with_parts(mask, parts, kept)


def without_specks(mask: Mask, frame: Frame) -> Mask:
    """Remove islands that are too small to be parts of an object.

    A decoder, in particular a fine-tuned one, may draw single pixels far from
    the object, which stretch its box.

    Parameters
    ----------
    mask : Mask
        Mask with at least one pixel.
    frame : Frame
        Geometry of the window in which it was drawn.

    Returns
    -------
    Mask
        The largest part and islands of at least 1 % of it and 4 low-res
        logits; the input mask if there are no smaller ones.
    """
    parts, areas = _parts(mask)
    pixels = math.prod(frame.window_shape) / math.prod(frame.input_shape)
    logits = SPECK_LOGITS * LOW_RES_STRIDE**2 * pixels
    largest = areas.max()
    least = min(largest, max(SPECK_SHARE * largest, logits))
    return _with_parts(mask, parts, 1 + np.flatnonzero(areas >= least))


def _parts(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return 8-connected parts, numbered from 1, and the area of each."""
    from scipy.ndimage import label

    parts, count = label(mask.data, np.ones((3, 3)))
    return parts, np.bincount(parts.ravel(), minlength=count + 1)[1:]


def _with_parts(
    mask: Mask, parts: NDArray[np.int32], kept: NDArray[np.integer]
) -> Mask:
    """Return a mask with only some of its numbered parts."""
    if len(kept) == parts.max():
        return mask
    data, box = crop_to_mask(np.isin(parts, kept), (mask.box[0], mask.box[1]))
    return replace(mask, data=data, box=box)


def _prompted(
    parts: NDArray[np.int32], mask: Mask, prompts: Prompts
) -> NDArray[np.int32]:
    """Return the numbers of the parts that prompts lie on."""
    places = np.round(prompts.points[prompts.labels == 1]).astype(int)
    places = places - np.array(mask.box[:2])
    inside = np.all((places >= 0) & (places < parts.shape), axis=1)
    found = [parts[tuple(places[inside].T)]]
    if prompts.region is not None:
        found.append(parts[part_of(prompts.region, mask.box)])
    numbers = np.unique(np.concatenate(found))
    return numbers[numbers > 0]


def _smoothed(mask: Mask, image_shape: tuple[int, int]) -> Mask:
    from scipy.ndimage import gaussian_filter

    pad = int(np.ceil(3 * SIGMA))
    padded = np.pad(mask.data, pad).astype(np.float32)
    # do not round off objects cut by the image border
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
    # keep a thin object that the blur would erase
    return replace(mask, data=data, box=box) if data.size else mask
