"""Contrast limits and object size of a large image, from a few windows.

The same image gives the same values wherever it is measured, so that all tiles
share one contrast and one object size.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.image_view import to_rgb
from napari_mobilesam.large.io.interfaces import Source
from napari_mobilesam.segmentation.diameter import LOOK, estimate_diameter
from napari_mobilesam.segmentation.image import Limits, contrast_limits_of
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.object_size import (
    find_diameters,
    nothing,
)
from napari_mobilesam.segmentation.sampling import (
    BLOCK,
    BLOCKS_PER_SIDE,
    varies,
)
from napari_mobilesam.types import BlankImageError, Window, window_at

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

# Number of pixels up to which a level is read entirely, not in windows.
WHOLE_PIXELS = 1 << 22
MOST_PLANES = 5
MOST_LOOKS = 6
# Number of looks that suffice if their sizes differ by no more than this
# factor.
ENOUGH_LOOKS, CLOSE = 3, 1.5
# Largest diameter that a look can measure.
LARGEST_LOOK = LOOK / 4


def contrast_of(
    source: Source, between: Callable[[], None] = nothing
) -> tuple[Limits, ...]:
    """Return contrast limits common to all planes of an image.

    Parameters
    ----------
    source : Source
        The image; the finest level small enough to be read entirely is used,
        or else windows spread over the image.
    between : callable
        Called before each window is read; may raise to stop.

    Returns
    -------
    tuple of (low, high)
        One pair, or one per channel, as from `contrast_limits_of`.

    Raises
    ------
    ImageError
        If no pixel that was looked at is finite.
    """
    if source.rgb and source.dtype == np.uint8:
        return ((0.0, 255.0),)
    sample = _sample(source, BLOCKS_PER_SIDE, between)
    nodata = getattr(source, 'nodata', None)
    if source.rgb or sample.shape[2] == 1:
        image = sample if source.rgb else sample[..., 0]
        return contrast_limits_of(image, nodata=nodata)
    return tuple(
        limits
        for channel in np.moveaxis(sample, -1, 0)
        for limits in contrast_limits_of(channel, nodata=nodata)
    )


def percentiles_of(
    source: Source, low: float, high: float
) -> tuple[Limits, ...]:
    """Return percentiles of the pixels of an image as contrast limits.

    Parameters
    ----------
    source : Source
        The image, sampled as for `contrast_of`.
    low, high : float
        Percentiles, 0 to 100.

    Returns
    -------
    tuple of (low, high)
        One pair, or one per channel that is not a colour.

    Raises
    ------
    ImageError
        If no pixel that was looked at is finite.
    """
    sample = _sample(source, BLOCKS_PER_SIDE[1:])
    nodata = getattr(source, 'nodata', None)
    channels = [sample] if source.rgb else np.moveaxis(sample, -1, 0)
    limits = []
    for values in channels:
        known = values[np.isfinite(values)]
        recorded = known if nodata is None else known[known != nodata]
        if not recorded.size:
            raise BlankImageError(
                'None of the sampled pixels of the image is finite: give '
                'contrast limits as values.'
            )
        first, last = np.percentile(recorded, (low, high))
        limits.append((float(first), float(last)))
    return tuple(limits)


def _sample(
    source: Source,
    numbers: Iterable[int],
    between: Callable[[], None] = nothing,
) -> NDArray[Any]:
    """Return (n, BLOCK, channels) pixels of several planes, concatenated.

    The number of windows per side increases until the values differ.
    """
    for per_side in numbers:
        level, windows = _sample_windows(source, per_side)
        rows = []
        for plane in _spread(source.planes, MOST_PLANES):
            for window in windows:
                between()
                pixels = np.atleast_3d(source.read(plane, level, window))
                rows.append(pixels.reshape(-1, pixels.shape[2]))
        values = np.concatenate(rows)
        if varies(values):
            break
    # The plane may have any shape that is not mistaken for channels.
    width = min(len(values), BLOCK)
    whole = len(values) // width * width
    return values[:whole].reshape(-1, width, values.shape[1])


def _sample_windows(source: Source, per_side: int) -> tuple[int, list[Window]]:
    sizes = [int(np.prod(level.shape)) for level in source.levels]
    small = [i for i, size in enumerate(sizes) if size <= WHOLE_PIXELS]
    level = small[0] if small else len(sizes) - 1
    shape = source.levels[level].shape
    if small:
        return level, [(0, 0, *shape)]
    return level, list(_windows(shape, BLOCK, per_side))


def _windows(
    shape: tuple[int, int], side: int, per_side: int
) -> Iterator[Window]:
    """Return evenly spread windows; fewer if they would overlap."""
    starts = [
        [
            int(start)
            for start in np.linspace(
                0,
                max(0, length - side),
                max(1, min(per_side, length // side)),
            )
        ]
        for length in shape
    ]
    for row, column in itertools.product(*starts):
        yield window_at(row, column, (side, side), shape)


def _spread(count: int, most: int) -> list[int]:
    places = np.linspace(0, count - 1, min(count, most)).round().astype(int)
    return sorted({int(place) for place in places})


def diameter_of(
    source: Source,
    limits: tuple[Limits, ...],
    gamma: float,
    model: Sam,
    between: Callable[[], None] = nothing,
) -> float | None:
    """Return the typical object diameter in level-0 pixels.

    The model looks at the places with most contrast, at the finest level where
    objects are small enough to be measured; see `find_diameters`. ``between``
    is called before each step, of up to a few seconds, and may raise to stop.

    Returns
    -------
    float or None
        None if there is only noise.
    """
    planes = _spread(source.planes, MOST_PLANES)
    places = _lively_places(source, planes, limits, gamma, between)
    for level, described in enumerate(source.levels):
        windows = (
            (plane, _look_at(place, described.shape))
            for plane, place in places
        )
        looks = (
            to_rgb(source.read(plane, level, window), limits, gamma)
            for plane, window in windows
        )
        found = _diameters(looks, model, between)
        if found and (
            np.median(found) <= LARGEST_LOOK
            or level == len(source.levels) - 1
            or max(described.shape) <= 2 * LOOK
        ):
            return float(np.median(found) * described.factor[0])
    return None


def _diameters(
    looks: Iterable[NDArray[np.uint8]],
    model: Sam,
    between: Callable[[], None],
) -> list[float]:
    """Return the typical diameters in windows, until enough agree."""
    found: list[float] = []
    for rgb in looks:
        image = ImageEmbedding.of_rgb(model, rgb)
        found += find_diameters(image, estimate_diameter(rgb), between)[:1]
        if len(found) >= ENOUGH_LOOKS and max(found) <= CLOSE * min(found):
            break
        between()
    return found


def _lively_places(
    source: Source,
    planes: Sequence[int],
    limits: tuple[Limits, ...],
    gamma: float,
    between: Callable[[], None],
) -> list[tuple[int, tuple[float, float]]]:
    """Return planes and relative positions with most contrast."""
    ranked = []
    for plane in planes:
        for per_side in BLOCKS_PER_SIDE:
            level, windows = _sample_windows(source, per_side)
            shape = source.levels[level].shape
            if windows == [(0, 0, *shape)]:
                windows = list(_windows(shape, BLOCK, BLOCKS_PER_SIDE[0]))
            seen = []
            for window in windows:
                between()
                pixels = source.read(plane, level, window)
                row, column = (
                    (window[axis] + window[axis + 2]) / 2 / shape[axis]
                    for axis in (0, 1)
                )
                contrast = float(to_rgb(pixels, limits, gamma).std())
                seen.append((contrast, plane, (row, column)))
            if max(seen)[0] > 0:
                break
        ranked += seen
    ranked.sort(key=lambda place: (-place[0], place[1:]))
    return [(plane, place) for _, plane, place in ranked[:MOST_LOOKS]]


def _look_at(place: tuple[float, float], shape: tuple[int, int]) -> Window:
    edges = []
    for fraction, length in zip(place, shape, strict=True):
        side = min(LOOK, length)
        start = int(np.clip(fraction * length - side / 2, 0, length - side))
        edges.append((start, start + side))
    (row0, row1), (column0, column1) = edges
    return row0, column0, row1, column1
