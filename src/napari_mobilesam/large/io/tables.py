"""Instance tables: one row per object, as CSV or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_mobilesam.extra import need
from napari_mobilesam.files import atomic_path
from napari_mobilesam.types import ImageError

if TYPE_CHECKING:
    import pandas as pd

PARQUET_SUFFIXES = ('.parquet', '.pq')
SUFFIXES = ('.csv', *PARQUET_SUFFIXES)


def check_table_path(path: str | Path) -> None:
    """Refuse a table that cannot be written, before the long part.

    Raises
    ------
    ImageError
        If the suffix is neither .csv nor .parquet.
    ImportError
        If Parquet is asked for and pyarrow is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(
            f'The table {path} must end in {", ".join(SUFFIXES)}.'
        )
    if suffix in PARQUET_SUFFIXES:
        need('pyarrow', extra='pyarrow')


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write an instance table; a file of the final name is always whole.

    Parameters
    ----------
    table : DataFrame
        One row per object.
    path : path
        Ends in .csv or .parquet, which needs pyarrow.

    Raises
    ------
    ImageError, ImportError
        As `check_table_path`.
    OSError
        If it cannot be written.
    """
    path = Path(path)
    check_table_path(path)
    with atomic_path(path, keep_suffix=True) as temporary:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote."""
    import pandas as pd

    path = Path(path)
    if path.suffix.lower() in PARQUET_SUFFIXES:
        need('pyarrow', extra='pyarrow')
        return pd.read_parquet(path)
    return pd.read_csv(path)
