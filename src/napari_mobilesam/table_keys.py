"""Table columns that identify the object of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_mobilesam.argument_checks import quoted
from napari_mobilesam.types import SegmentationError

if TYPE_CHECKING:
    import pandas as pd

LABEL_NAMES = ('label', 'index')
# in tables of many images
IMAGE = 'image'


def label_column(
    table: Any, error: type[SegmentationError] = SegmentationError
) -> str | None:
    """Return the name of the column that holds the labels.

    Parameters
    ----------
    table : DataFrame or None
        Table of objects.
    error : type
        Type of the error to raise.

    Returns
    -------
    str or None
        None if there is no table or it has no columns.

    Raises
    ------
    SegmentationError
        If there is no such column, it does not hold whole numbers, or the
        table is of several images; of type ``error``.
    """
    if table is None:
        return None
    if not hasattr(table, 'columns'):
        raise error(
            f'table is {quoted(table)}; it has to be a pandas DataFrame.'
        )
    if not len(table.columns):
        return None
    for name in LABEL_NAMES:
        if name in table:
            whole_numbers(table, name, error)
            _refuse_several_images(table, name, error)
            return name
    raise error(
        'The table has no column “label” to say which object each row '
        f'describes; it has: {", ".join(map(str, table.columns))}.'
    )


def _refuse_several_images(
    table: pd.DataFrame, column: str, error: type[SegmentationError]
) -> None:
    """Refuse the table of a series, in which a label is an object of each."""
    if IMAGE not in table or not table[column].duplicated().any():
        return
    count = int(table[IMAGE].nunique())
    if count > 1:
        raise error(
            f'The table has the objects of {count} images, with the same '
            f'labels: keep the rows of one, by the column “{IMAGE}”.'
        )


def whole_numbers(
    table: pd.DataFrame,
    column: str,
    error: type[SegmentationError] = SegmentationError,
) -> pd.Series[float]:
    """Return a column of whole numbers as float64, with NaN where empty.

    Raises
    ------
    SegmentationError
        If the column holds anything else; of type ``error``.
    """
    import pandas as pd

    given = table[column]
    values = pd.to_numeric(given, errors='coerce').astype(np.float64)
    wrong = given.notna() & ~(values == np.floor(values))
    wrong |= given.map(lambda value: isinstance(value, bool | np.bool_))
    wrong |= values.abs() > 2**53  # also infinity
    if wrong.any():
        raise error(
            f'The column “{column}” of the table holds '
            f'{quoted(given[wrong].iloc[0])}; it has to hold whole numbers.'
        )
    return values
