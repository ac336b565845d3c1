"""Contrast limits that a few extreme pixels do not move.

Percentiles alone ignore a thousandth of the pixels at either end. Scale
bars, saturated debris, dead columns and values for "no data" cover more, and
lie so far from all else that nothing of an image is left between the limits.
They are told from bright objects by the gap: objects are blurred, and their
edges take on every value between theirs and the background's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]

# Share of the pixels that may saturate at each end, in percent: ignores hot
# pixels and dust, keeps nuclei that cover a thousandth of the image.
SATURATED_PERCENT = 0.1
# Share of pixels of one and the same smallest value above which they are taken
# for what is around the image.
PADDED = 0.9
# Largest share of the pixels that is taken for extreme at either end.
MOST_EXTREME = 0.05
# The gap, in ranges of the values below it. Of 540 images of ten kinds of
# microscopy none has one above 0.8; the bundled model finds what it should
# in an image that fills a ninth of its contrast limits, and less below.
GAP = 7.0
# Pixels in the gap, as a share of those beyond it: the rims of debris.
IN_GAP = 0.1
# Correlation of neighbouring pixels above which values are an image and not
# noise; beside noise alone, what is extreme is the image.
IMAGE_CORRELATION = 0.1
# Values of this size stand for missing ones in every format.
HUGE = 1e18

ContrastRange = tuple[float, float]


def robust_limits(
    values: Values, nodata: float | None = None
) -> ContrastRange:
    """Contrast limits of the values of an image.

    Parameters
    ----------
    values : ndarray
        Finite values of any shape and real type, neighbours beside each other
        along the last axis.
    nodata : float, optional
        Value of pixels that were not recorded; not looked at.

    Returns
    -------
    low, high : float
        The 0.1 and the 99.9 percentile of all values that are not extreme;
        the smallest and the largest one where these are equal. Where more
        than 90 % have the smallest value, as around a mosaic, the 99.9
        percentile of the others.
    """
    kept = without_extremes(values, nodata)
    low, high = np.percentile(
        kept.astype(np.float64), [SATURATED_PERCENT, 100 - SATURATED_PERCENT]
    )
    beyond = kept[kept > kept.min()] if kept.size else kept
    if 0 < beyond.size < (1 - PADDED) * kept.size:
        # what little image there is counts, not the zeros around it
        high = np.percentile(
            beyond.astype(np.float64), 100 - SATURATED_PERCENT
        )
    if low == high:
        # A few bright pixels on a constant background are still a signal.
        low, high = float(kept.min()), float(kept.max())
    return float(low), float(high)


def without_extremes(values: Values, nodata: float | None = None) -> Values:
    """Values of an image without those that lie far from all others.

    Left out are up to 5 % of the values at either end that a gap of seven
    times the range of all others separates from them; values that stand for
    missing ones, whatever their share; and ``nodata``. If nothing but noise
    or a single value were left, all are kept.

    Parameters
    ----------
    values, nodata
        As for `robust_limits`.

    Returns
    -------
    ndarray
        (n,) values in their order.
    """
    kept = values.ravel()
    if nodata is not None:
        recorded = kept != nodata
        kept = kept[recorded] if recorded.any() else kept
    # differences of values near the ends of a type may overflow
    with np.errstate(over='ignore', invalid='ignore'):
        bounds = _bounds(kept)
        if bounds is None:
            return kept
        body = kept[(kept >= bounds[0]) & (kept <= bounds[1])]
        return body if _is_image(body) else kept


def _bounds(values: Values) -> ContrastRange | None:
    """Smallest and largest value that is not extreme; None if none is."""
    ordered = np.sort(values).astype(np.float64)
    whole = ordered
    ordered = _without_fill(ordered)
    low = -_top(-ordered[::-1])
    high = _top(ordered)
    if (low, high) == (whole[0], whole[-1]):
        return None
    return low, high


def _without_fill(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out one value far below or above all others, if it is no pixel's.

    Negative ones such as -9999 below an image, and those of a size that no
    detector gives, may cover most of a mosaic.
    """
    first = int(np.searchsorted(ordered, ordered[0], 'right'))
    rest = ordered[first:]
    if len(rest) and ordered[0] < 0 and _is_gap(rest[0] - ordered[0], rest):
        ordered = rest
    last = int(np.searchsorted(ordered, ordered[-1], 'left'))
    rest = ordered[:last]
    if (
        len(rest)
        and ordered[-1] > HUGE
        and _is_gap(ordered[-1] - rest[-1], rest)
    ):
        ordered = rest
    return ordered


def _is_gap(size: float, ordered: NDArray[np.float64]) -> bool:
    margin = int(len(ordered) * MOST_EXTREME)
    inner = ordered[len(ordered) - 1 - margin] - ordered[margin]
    return inner > 0 and size > GAP * inner


def _top(ordered: NDArray[np.float64]) -> float:
    """Value near the upper end above which all are extreme."""
    count = len(ordered)
    least = max(1, int(count * SATURATED_PERCENT / 100))
    most = int(count * MOST_EXTREME)
    if most <= least:
        return float(ordered[-1])
    beyond = np.unique(np.geomspace(least, most, 200).astype(int))
    in_gap = (IN_GAP * beyond).astype(int)
    last = count - 1 - beyond - in_gap  # of what is kept
    start = ordered[int(count * MOST_EXTREME)]
    inner = ordered[last] - start
    gaps = ordered[count - beyond] - ordered[last]
    wide = (inner > 0) & (gaps > GAP * inner)
    if not wide.any():
        return float(ordered[-1])
    cut = int(last[wide].min())
    # what was counted as lying in the gap may be the brightest of the image
    return float(2 * ordered[cut] - start)


def _is_image(values: Values) -> bool:
    """Return whether neighbouring pixels are alike but not constant."""
    if len(values) < 3:
        return False
    line = values.astype(np.float64)
    # what is far out of the rest must not decide
    line = np.clip(line, *np.percentile(line, (1, 99)))
    line -= line.mean()
    power = float(np.dot(line, line))
    return power > 0 and (
        float(np.dot(line[1:], line[:-1])) > IMAGE_CORRELATION * power
    )
