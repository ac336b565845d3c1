"""Quick estimate of the size of the objects in an image.

The width of the autocorrelation reveals the object size: the radius at which
it falls to one half grows with the objects, however many there are, whether or
not they touch, and whether they are bright or dark. Objects drawn as fine
outlines and texture, as in phase contrast, have a characteristic local
contrast instead, whose autocorrelation is used for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from skimage.filters import gaussian

from napari_mobilesam.types import window_at

Plane = NDArray[np.float32]

# Size of the part that is analysed: large enough for many objects, small
# enough for a quick transform.
LOOK = 640
# Number of parts of an image that is too large to read.
PLACES = 4
# Changes slower than this fraction of the longer side are illumination.
BACKGROUND = 1 / 8
# Equivalent diameter per width of the autocorrelation, and the ratio of the
# widths of contrast and gray values above which objects are outlines. The
# ratio is 1.5 to 2.8 on training images of nuclei, tissue and axons, and above
# 4 in phase contrast.
GRAY_WIDTH = 0.85
CONTRAST_WIDTH = 0.76
OUTLINES = 3.3
# Structure finer than this is noise.
SMALLEST = 3.0
# In a larger image only parts are analysed, in which objects larger than this
# are mistaken for illumination; they are searched at half the resolution.
LARGEST_IN_PART = 20.0
# Objects within a larger structure (nuclei in an embryo or in a sheet of
# cells) are the target if much of the contrast is finer than a tenth of the
# structure, survives a blur, and forms spots. On training images of such
# structures, also at half size, these values are at least 0.072, 0.69 and
# 0.23. Elsewhere, the contrast is at most 0.06, or is noise that a blur
# removes, or comes from borders, whose spot share is at most 0.16.
NESTED_FROM = 30.0
NESTED_CONTRAST = 0.07
NESTED_SMOOTH = 0.65
NESTED_SPOTS = 0.2


def estimate_diameter(image: NDArray[np.uint8]) -> float | None:
    """Estimate the typical diameter of the objects of an image.

    Parameters
    ----------
    image : ndarray
        (H, W) or (H, W, 3) uint8, as shown to a model.

    Returns
    -------
    float or None
        Diameter of a disc with the area of a typical object, in pixels; None
        if there is only noise.
    """
    longest, step = max(image.shape[:2]), 1
    while True:
        size = _median(map(_look, _parts(image, step)))
        whole = longest <= 2 * LOOK * step
        if whole or (size is not None and size <= LARGEST_IN_PART):
            return None if size is None else size * step
        step *= 2


def estimate_from_places(
    places: Iterable[NDArray[np.uint8]],
    overview: NDArray[np.uint8] | None = None,
    step: float = 1.0,
) -> float | None:
    """Estimate the typical object diameter of an image too large to read.

    Parameters
    ----------
    places : iterable of ndarray
        (h, w, 3) uint8 parts of the image at full resolution, see
        `places_to_look_at`.
    overview : ndarray, optional
        (h, w, 3) uint8, the whole image at a coarser level.
    step : float
        Pixels of the image per pixel of the overview.

    Returns
    -------
    float or None
        As `estimate_diameter`.
    """
    size = _median(_look(_gray(place)) for place in places)
    if overview is None or (size is not None and size <= LOOK / 10):
        return size
    # the places hold too few objects of this size: use the overview
    coarse = _look(_gray(overview))
    return None if coarse is None else coarse * step


def places_to_look_at(
    shape: tuple[int, int],
    overview: NDArray[np.uint8] | None = None,
) -> list[tuple[int, int, int, int]]:
    """Choose parts of a large image that are likely to show objects.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the image.
    overview : ndarray, optional
        (h, w, 3) uint8, the whole image at a coarser level. The parts with
        most variance are chosen, as most of a slide may be empty. Without it,
        parts at 1/4 and 3/4 of each axis.

    Returns
    -------
    list of tuple of int
        (row0, column0, row1, column1), half open; at most `PLACES`.
    """
    if overview is None:
        centers = [
            (row * shape[0] / 4, column * shape[1] / 4)
            for row in (1, 3)
            for column in (1, 3)
        ]
    else:
        centers = _lively(overview, shape)
    windows = []
    for center in centers[:PLACES]:
        row, column = (
            max(0, min(round(place - LOOK / 2), length - LOOK))
            for place, length in zip(center, shape, strict=True)
        )
        windows.append(window_at(row, column, (LOOK, LOOK), shape))
    return windows


def _lively(
    overview: NDArray[np.uint8], shape: tuple[int, int]
) -> list[tuple[float, float]]:
    """Return the centres of the parts that vary most, liveliest first."""
    gray = _gray(overview)
    step = max(shape) / max(gray.shape)
    side = max(2, min(round(LOOK / step), *gray.shape))
    mean = shrink(gray, side)
    variance = shrink(gray * gray, side) - mean * mean
    order = np.argsort(-variance, axis=None, kind='stable')
    rows, columns = np.unravel_index(order, variance.shape)
    return [
        ((row + 0.5) * side * step, (column + 0.5) * side * step)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]


def _median(sizes: Iterable[float | None]) -> float | None:
    found = [size for size in sizes if size is not None]
    return float(np.median(found)) if found else None


def _parts(image: NDArray[np.uint8], step: int) -> Iterator[Plane]:
    """Return the resized image, or parts at 1/4 and 3/4 if it is large."""
    side = LOOK * step
    starts = [
        [0]
        if length <= 2 * side
        else [length // 4 - side // 2, 3 * length // 4 - side // 2]
        for length in image.shape[:2]
    ]
    sides = [
        length if length <= 2 * side else side for length in image.shape[:2]
    ]
    for row in starts[0]:
        for column in starts[1]:
            rows = slice(max(0, row), max(0, row) + sides[0])
            columns = slice(max(0, column), max(0, column) + sides[1])
            part = image[rows, columns]
            yield _gray(part if step == 1 else shrink(part, step))


def shrink(image: NDArray[Any], step: int) -> NDArray[np.float32]:
    """Average step x step pixels; an incomplete last step is left out."""
    step = min(step, *image.shape[:2])
    height, width = (n // step for n in image.shape[:2])
    cut = image[: height * step, : width * step].astype(np.float32)
    blocks = cut.reshape(height, step, width, step, *cut.shape[2:])
    return blocks.mean(axis=(1, 3))


def _gray(image: NDArray[Any]) -> Plane:
    """Return gray values; colours are projected on their main direction."""
    values = image.astype(np.float32)
    if values.ndim == 2:
        return values
    if np.array_equal(values[..., 0], values[..., 1]) and np.array_equal(
        values[..., 0], values[..., 2]
    ):
        return values[..., 0]
    colours = values.reshape(-1, values.shape[-1])
    colours = colours - colours.mean(axis=0)
    _, directions = np.linalg.eigh(colours.T @ colours)
    return (colours @ directions[:, -1]).reshape(values.shape[:2])


def _look(gray: Plane) -> float | None:
    """Return the estimate for one part; None if it shows only noise."""
    width = _correlation_width(_flatten(gray))
    if width is None:
        return None
    blur = max(1.0, width / 2)
    outline = _correlation_width(_flatten(_local_contrast(gray, blur)))
    if outline is not None and outline > OUTLINES * width:
        diameter = outline / CONTRAST_WIDTH
    else:
        diameter = _nested(gray, width / GRAY_WIDTH)
    return diameter if diameter >= SMALLEST else None


def _nested(gray: Plane, diameter: float) -> float:
    """Return the diameter of objects within larger structures, if any."""
    if diameter < NESTED_FROM:
        return diameter
    fine = gray - _smooth(gray, diameter / 10)
    contrast = float(fine.var()) / max(float(_flatten(gray).var()), 1e-12)
    smooth = float(_smooth(fine, 1.0).var()) / max(float(fine.var()), 1e-12)
    if contrast < NESTED_CONTRAST or smooth < NESTED_SMOOTH:
        return diameter
    width = _correlation_width(gray - _smooth(gray, diameter / 5))
    if width is None or _spots(gray, width / 3) < NESTED_SPOTS:
        return diameter
    return width / GRAY_WIDTH


def _spots(gray: Plane, sigma: float) -> float:
    """Return the share of curvature due to spots: 1 all, 0 edges only."""
    rows, columns = np.gradient(_smooth(gray, max(1.0, sigma)))
    row_row, row_column = np.gradient(rows)
    column_column = np.gradient(columns, axis=1)
    determinant = row_row * column_column - row_column**2
    squares = row_row**2 + column_column**2 + 2 * row_column**2
    spots = 2 * np.maximum(determinant, 0).sum() / max(squares.sum(), 1e-12)
    return float(spots)


def _flatten(plane: Plane) -> Plane:
    """Subtract slow changes."""
    return plane - _smooth(plane, BACKGROUND * max(plane.shape))


def _smooth(plane: Plane, sigma: float) -> Plane:
    """Apply a Gaussian filter, on a coarser grid if no detail is lost."""
    step = max(1, int(sigma / 4))
    coarse = gaussian(shrink(plane, step), sigma / step, mode='nearest')
    smoothed: Plane = coarse.astype(np.float32)
    if step > 1:
        # bilinear like `skimage.transform.resize`, but eight times as fast
        picture = Image.fromarray(smoothed).resize(
            plane.shape[::-1], Image.Resampling.BILINEAR
        )
        smoothed = np.array(picture)
    return smoothed


def _local_contrast(gray: Plane, sigma: float) -> Plane:
    detail = gray - _smooth(gray, sigma)
    return np.sqrt(np.maximum(_smooth(detail * detail, sigma), 0))


def _correlation_width(plane: Plane) -> float | None:
    """Return twice the half-maximum radius of the autocorrelation.

    None if the plane is constant or the correlation stays above one half.
    """
    height, width = plane.shape
    plane = plane - plane.mean()
    if float(np.abs(plane).max(initial=0)) < 1e-3:
        return None
    reach = min(height, width) // 2
    if reach < 2:
        return None
    # Pad by the reach to avoid wrap-around.
    padded = [fft.next_fast_len(n + reach, real=True) for n in plane.shape]
    spectrum = fft.rfft2(plane, s=padded)
    power = np.square(np.abs(spectrum))
    correlation = fft.irfft2(power, s=padded)
    rows, columns = np.arange(reach), np.arange(-reach + 1, reach)
    pairs = (height - rows)[:, None] * (width - np.abs(columns))[None]
    near = correlation[:reach][:, columns] / pairs
    radius = np.hypot(rows[:, None], columns[None])
    ring = radius.astype(int).ravel()
    inside = ring < reach
    sums = np.bincount(ring[inside], near.ravel()[inside])
    means = sums / np.bincount(ring[inside])
    profile = means / means[0]
    below = np.flatnonzero(profile < 0.5)
    if not len(below):
        return None
    after = int(below[0])
    high, low = profile[after - 1], profile[after]
    return 2 * float(after - 1 + (high - 0.5) / (high - low))
