"""Measurement columns of a table, their histograms and ranges."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.units import SYMBOLS

if TYPE_CHECKING:
    import pandas as pd

BINS = 40
# names of the channels of colours
RGB = ('red', 'green', 'blue')
# number of frames over which measurements are means
TIMES = 'times'
# names of measurement columns; a unit or a channel may follow
UNIT = '|'.join(map(re.escape, [*SYMBOLS.values(), 'units']))
MEASURED = re.compile(
    rf'{TIMES}|(row|column|z|t)[01]|eccentricity|solidity'
    r'|(row|column|z|area|axis_(major|minor)_length'
    r'|equivalent_diameter_area|perimeter)'
    rf'( ({UNIT})[²³]?)?'
    r'|intensity_(mean|min|max|sd)( .*)?',
    re.DOTALL,
)


class Histogram(NamedTuple):
    """Counts of the values of a column.

    Attributes
    ----------
    edges : ndarray
        (N + 1,) float64 edges of the bins.
    counts : ndarray
        (N,) int64 number of values per bin.
    extremes : tuple of float
        Smallest and largest value.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    extremes: tuple[float, float]

    @property
    def span(self) -> tuple[float, float]:
        """First and last edge."""
        return float(self.edges[0]), float(self.edges[-1])


def numbers_of(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return a column as numbers, with NaN for other values."""
    import pandas as pd

    values = pd.to_numeric(table[column], errors='coerce')
    return values.to_numpy(np.float64, na_value=math.nan)


def histogram_columns(table: pd.DataFrame) -> list[str]:
    """Return the names of columns for which a histogram can be drawn."""
    return [
        name
        for name in table.columns
        if isinstance(name, str)
        and table[name].dtype.kind in 'iuf'
        and np.isfinite(numbers_of(table, name)).any()
    ]


def histogram(values: NDArray[Any], bins: int = BINS) -> Histogram | None:
    """Count values in bins of equal width.

    Parameters
    ----------
    values : ndarray
        (N,) numbers; values that are not finite are ignored.
    bins : int
        Maximum number of bins; integers get bins of integer width.

    Returns
    -------
    Histogram or None
        None if no value is finite.
    """
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    if np.array_equal(finite, np.round(finite)):
        width = max(1, math.ceil((high - low + 1) / bins))
        count = max(1, math.ceil((high - low + 1) / width))
        edges = low - 0.5 + width * np.arange(count + 1)
    elif low == high:
        edges = np.array([low - 0.5, low + 0.5])
    else:
        edges = np.linspace(low, high, bins + 1)
    counts, _ = np.histogram(finite, edges)
    return Histogram(
        np.asarray(edges, np.float64), counts.astype(np.int64), (low, high)
    )


def within(values: NDArray[Any], low: float, high: float) -> NDArray[np.bool_]:
    """Return which values lie in a closed range; NaN never does."""
    with np.errstate(invalid='ignore'):
        return np.asarray((values >= low) & (values <= high))


def class_counts(table: pd.DataFrame) -> str:
    """Return the number of objects of each class, largest first.

    Parameters
    ----------
    table : DataFrame
        One row per object.

    Returns
    -------
    str
        Such as ``'tumour 12, stroma 3, no class 1'``; empty if no object has a
        class.
    """
    if 'class' not in table:
        return ''
    counts = table['class'].astype(object).fillna('').value_counts()
    named = [f'{name} {n:,}' for name, n in counts.items() if str(name) != '']
    if named and '' in counts:
        named.append(f'no class {counts[""]:,}')
    return ', '.join(named)
