"""Box of an object in the feature table of its layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def measured_box(
    table: pd.DataFrame, label: int, ndim: int
) -> tuple[list[float], list[float]] | None:
    """Return first and last pixel of an object, None if it is unknown."""
    if 'index' not in table or 'row0' not in table:
        return None
    rows = table[table['index'] == label]
    if not len(rows):
        return None
    row = rows.iloc[0]
    axes = (
        ['z', 'row', 'column']
        if 'z0' in table and ndim > 2
        else ['row', 'column']
    )
    low = [float(row[f'{axis}0']) for axis in axes]
    high = [float(row[f'{axis}1']) - 1 for axis in axes]
    if any(math.isnan(value) for value in (*low, *high)):
        return None
    missing = ndim - len(axes)
    return [0.0] * missing + low, [0.0] * missing + high
