"""Instance tables: one row per object, as CSV or Parquet."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mobilesam.extra import need
from napari_mobilesam.files import atomic_path
from napari_mobilesam.types import ImageError

if TYPE_CHECKING:
    import pandas as pd

PARQUET_SUFFIXES = ('.parquet', '.pq')
SUFFIXES = ('.csv', *PARQUET_SUFFIXES)
NO_TABLE = (
    '{} is not a table: save it as CSV, with one line per object and a name '
    'for each column in the first line.'
)
# as spreadsheets write numbers in many countries
NUMBER = r'[+-]?\d+(,\d+)?([eE][+-]?\d+)?'
CLASS = 'class'
EMPTY = 'The table {} is empty: not even the names of its columns are in it.'


def check_table_path(path: str | Path) -> None:
    """Refuse a table that cannot be written, before the long part.

    Raises
    ------
    ImageError
        If the suffix is neither .csv nor .parquet.
    ImportError
        If Parquet is requested but pyarrow is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(
            f'The table {path} must end in {", ".join(SUFFIXES[:-1])} or '
            f'{SUFFIXES[-1]}.'
        )
    if suffix in PARQUET_SUFFIXES:
        need('pyarrow', extra='pyarrow')


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write an instance table atomically.

    Parameters
    ----------
    table : DataFrame
        One row per object.
    path : path
        File that ends in .csv, or in .parquet, which needs pyarrow.

    Raises
    ------
    ImageError, ImportError
        As `check_table_path`.
    OSError
        If the table cannot be written.
    """
    path = Path(path)
    check_table_path(path)
    with atomic_path(path, keep_suffix=True) as temporary:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)


def read_table(path: str | Path, separator: str | None = ',') -> pd.DataFrame:
    """Read a table written by `write_table` or another program.

    Parameters
    ----------
    path : path
        File; Parquet by its suffix, else text.
    separator : str or None
        Column separator of a text file; None to detect it.

    Returns
    -------
    DataFrame
        Table with columns, but possibly without rows.

    Raises
    ------
    ImageError
        If the file does not exist, is empty, or is not a table.
    ImportError
        If it is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    parquet = path.suffix.lower() in PARQUET_SUFFIXES
    if parquet:
        need('pyarrow', extra='pyarrow')
    if not path.is_file():
        raise ImageError(f'There is no file {path}.')
    try:
        if not path.stat().st_size:
            raise ImageError(EMPTY.format(path))
        table = _read_parquet(path) if parquet else _read_text(path, separator)
    except OSError as error:
        raise ImageError(
            f'{path} cannot be read: {error.strerror or error}.'
        ) from error
    if not len(table.columns):
        raise ImageError(EMPTY.format(path))
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    # pyarrow also raises OSError for files that are not Parquet
    except (ValueError, OSError) as error:
        raise ImageError(
            f'{path} is not a Parquet file, or is damaged.'
        ) from error


def _with_decimal_points(table: pd.DataFrame) -> pd.DataFrame:
    """Convert columns of numbers with decimal commas to numbers."""
    for name in table.columns:
        texts = table[name].dropna().astype(str)
        if texts.str.contains(',').any() and texts.str.fullmatch(NUMBER).all():
            table[name] = (
                table[name].astype(str).str.replace(',', '.').astype(float)
            )
    return table


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read columns as pandas does, but classes as text."""
    import pandas as pd

    table = pd.read_csv(path, **options)
    if CLASS in table:
        # pandas takes classes such as "NA" and "None" for missing values
        options |= {'keep_default_na': False, 'na_values': ['']}
        names = pd.read_csv(path, usecols=[CLASS], dtype=str, **options)[CLASS]
        if table[CLASS].dtype == float:
            # integers in a column with gaps
            names = names.str.removesuffix('.0')
        table[CLASS] = names
    return table


def _read_text(path: Path, separator: str | None) -> pd.DataFrame:
    import pandas as pd

    engine: Any = {} if separator else {'engine': 'python'}
    try:
        table = _read_csv(path, sep=separator, **engine)
        others = [mark for mark in ';\t' if mark in str(table.columns[0])]
        if len(table.columns) == 1 and others:
            # as spreadsheets save them in many countries
            table = _with_decimal_points(_read_csv(path, sep=others[0]))
    except pd.errors.EmptyDataError as error:
        raise ImageError(EMPTY.format(path)) from error
    except UnicodeDecodeError as error:
        raise ImageError(
            f'{path} is not text in UTF-8: save the table as CSV in UTF-8.'
        ) from error
    except (ValueError, csv.Error) as error:
        raise ImageError(NO_TABLE.format(path)) from error
    index, lines = table.index, pd.RangeIndex(len(table))
    if not isinstance(index, pd.RangeIndex) or not index.equals(lines):
        # pandas takes values without a column name for an index, and those
        # at equal distances for a range
        raise ImageError(NO_TABLE.format(path))
    return table
