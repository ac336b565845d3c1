"""Tables with a row per object, saved with the labels of a series."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.series.series_files import SeriesError

if TYPE_CHECKING:
    import pandas as pd


def known_scores(table: pd.DataFrame) -> list[tuple[float, int, float]]:
    """Return score, label and stability of each object of a table.

    Unknown values are infinite.
    """
    rows = table[table['label'].notna()]
    columns = (
        _known_values(rows, 'score'),
        rows['label'].astype(int).tolist(),
        _known_values(rows, 'stability'),
    )
    return list(zip(*columns, strict=True))


def _known_values(rows: pd.DataFrame, name: str) -> list[float]:
    """Return the values of a column; infinite where they are unknown."""
    import pandas as pd

    if name not in rows:
        return [math.inf] * len(rows)
    values = pd.to_numeric(rows[name], errors='coerce').fillna(math.inf)
    return [float(value) for value in values]


def check_table(table: pd.DataFrame | None) -> None:
    """Raise `SeriesError` if rows have no valid labels."""
    if table is not None and len(table) and 'label' not in table:
        raise SeriesError(
            'The table has no column “label”, so the object of a row is '
            f'unknown; there are: {", ".join(map(str, table.columns))}.'
        )


def complete_table(
    table: pd.DataFrame | None, used: NDArray[Any]
) -> pd.DataFrame:
    """Return a table with a row for each label in use, and no others."""
    import pandas as pd

    labels = used[used != 0].astype(np.int64)
    if table is None or not len(table):
        return pd.DataFrame({'label': labels})
    known = table[table['label'].isin(labels)]
    missing = np.setdiff1d(labels, known['label'].to_numpy(np.int64))
    if not len(missing):
        return known
    rows = pd.DataFrame({'label': missing}).reindex(columns=known.columns)
    return pd.concat([known, rows], ignore_index=True) if len(known) else rows
