"""Contrast limits that are robust to a few extreme pixels.

Percentiles alone ignore 0.1 % of the pixels at either end. Scale bars,
saturated debris, dead columns and "no data" values cover more than that, and
lie so far from all other values that the image itself would be squeezed into a
few gray levels. A gap in the histogram distinguishes them from bright objects:
objects are blurred, so their edges take on every value between object and
background.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]

# Percentage of the pixels that may saturate at each end: enough to ignore hot
# pixels and dust, while nuclei that cover 0.1 % of the image stay.
SATURATED_PERCENT = 0.1
# Share of pixels that have the smallest value above which that value is taken
# for empty surroundings of the image.
PADDED = 0.9
# Largest share of the pixels treated as extreme at either end.
MOST_EXTREME = 0.05
# Size of the gap, relative to the range of the values below it. None of 540
# images of ten kinds of microscopy has a gap above 0.8. The bundled model
# finds all it should in an image that fills a ninth of its contrast limits,
# and less below that.
GAP = 7.0
# Pixels tolerated in the gap, as a share of those beyond it: the rims of
# debris.
IN_GAP = 0.1
# Correlation of neighbouring pixels above which values are an image, not
# noise. If only noise were left, the extreme values are the image.
IMAGE_CORRELATION = 0.1
# Values of this magnitude mark missing data in every format.
HUGE = 1e18

ContrastRange = tuple[float, float]


def robust_limits(
    values: Values, nodata: float | None = None
) -> ContrastRange:
    """Return the contrast limits of image values.

    Parameters
    ----------
    values : ndarray
        Finite values of any shape and real type, with neighbouring pixels
        adjacent along the last axis.
    nodata : float, optional
        Value of pixels that were not recorded; ignored.

    Returns
    -------
    low, high : float
        The 0.1 and 99.9 percentiles of all values that are not extreme, or the
        minimum and maximum if these are equal. If more than 90 % of the pixels
        have the smallest value, as around a mosaic, the 99.9 percentile of the
        others.
    """
    kept = without_extremes(values, nodata)
    low, high = np.percentile(
        kept.astype(np.float64), [SATURATED_PERCENT, 100 - SATURATED_PERCENT]
    )
    beyond = kept[kept > kept.min()] if kept.size else kept
    if 0 < beyond.size < (1 - PADDED) * kept.size:
        # only the few image pixels count, not the zeros around them
        high = np.percentile(
            beyond.astype(np.float64), 100 - SATURATED_PERCENT
        )
    if low == high:
        # A few bright pixels on a constant background are still a signal.
        low, high = float(kept.min()), float(kept.max())
    return float(low), float(high)


def without_extremes(values: Values, nodata: float | None = None) -> Values:
    """Return image values without those far from all others.

    Up to 5 % of the values at either end are left out if a gap of seven times
    the range of all others separates them; so are values that mark missing
    data, whatever their share, and ``nodata``. All values are kept if only
    noise or a single value would remain.

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
    """Return the smallest and largest value that is not extreme, or None."""
    ordered = np.sort(values).astype(np.float64)
    whole = ordered
    ordered = _without_fill(ordered)
    low = -_top(-ordered[::-1])
    high = _top(ordered)
    if (low, high) == (whole[0], whole[-1]):
        return None
    return low, high


def _without_fill(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out a single fill value far below or above all others.

    Negative fill values such as -9999, and values larger than any detector
    gives, may cover most of a mosaic.
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
    """Return the value near the upper end above which all are extreme."""
    count = len(ordered)
    least = max(1, int(count * SATURATED_PERCENT / 100))
    most = int(count * MOST_EXTREME)
    if most <= least:
        return float(ordered[-1])
    beyond = np.unique(np.geomspace(least, most, 200).astype(int))
    in_gap = (IN_GAP * beyond).astype(int)
    last = count - 1 - beyond - in_gap  # of the values kept
    start = ordered[int(count * MOST_EXTREME)]
    inner = ordered[last] - start
    gaps = ordered[count - beyond] - ordered[last]
    wide = (inner > 0) & (gaps > GAP * inner)
    if not wide.any():
        return float(ordered[-1])
    cut = int(last[wide].min())
    # values counted as in the gap may be the brightest of the image
    return float(2 * ordered[cut] - start)


def _is_image(values: Values) -> bool:
    """Return whether neighbouring pixels are correlated but not constant."""
    if len(values) < 3:
        return False
    line = values.astype(np.float64)
    # outliers must not decide
    line = np.clip(line, *np.percentile(line, (1, 99)))
    line -= line.mean()
    shared = float(np.dot(line[1:], line[:-1]))
    return shared > IMAGE_CORRELATION * float(np.dot(line, line))
