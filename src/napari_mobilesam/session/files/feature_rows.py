"""Rows of the feature table in session files, column by column."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_mobilesam.schema import SchemaError

if TYPE_CHECKING:
    import pandas as pd

INDEX = 'index'
# Integer range that can be read back.
MOST_WHOLE = 2**63 - 1


def rows_to_json(rows: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the values of each column; None for values that are not plain.

    Parameters
    ----------
    rows : DataFrame
        One row per object, with the label in a column ``index``.
    """
    rows = rows.drop_duplicates(INDEX)
    rows = rows.loc[:, ~rows.columns.duplicated()]
    # a column that once lacked a value holds floats
    rows = rows.astype({INDEX: np.int64})
    return {
        name: [_plain(value) for value in rows[name].tolist()]
        for name in rows.columns
        if isinstance(name, str)
    }


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if type(value) is int and abs(value) > MOST_WHOLE:
        return None
    return value if type(value) in (bool, int, float, str) else None


def rows_from_json(
    columns: dict[str, list[Any]], labels: Collection[int]
) -> pd.DataFrame | None:
    """Return the rows of labels; None if the file has no rows.

    Raises
    ------
    SchemaError
        Columns differ in length, or labels are not numbers or not unique.
    """
    import pandas as pd

    if not columns:
        return None
    if len({len(values) for values in columns.values()}) > 1:
        raise SchemaError('the columns of its features differ in length')
    known = columns.get(INDEX, [None])
    if any(type(label) is not int for label in known):
        raise SchemaError('its features have no label')
    if len(set(known)) < len(known):
        raise SchemaError('its features have a label twice')
    rows = pd.DataFrame(columns)
    return rows[rows[INDEX].isin(list(labels))].reset_index(drop=True)
