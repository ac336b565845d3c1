"""Table of the objects of a label image, kept with it in its OME-Zarr.

It is a group with one array per column. The ``properties`` of OME-NGFF are
text, which every program reads whenever it opens the labels: too much for a
million objects.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mobilesam.extra import need

if TYPE_CHECKING:
    import pandas as pd

GROUP, COLUMNS = 'objects', 'columns'
CHUNK = 1 << 16


def write_objects(labels: Any, table: pd.DataFrame) -> None:
    """Write a table, replacing an earlier one.

    Parameters
    ----------
    labels : zarr.Group
        Group of the labels.
    table : DataFrame
        One row per object and plane, with columns of numbers.
    """
    group = labels.create_group(
        GROUP, overwrite=True, attributes={COLUMNS: list(table.columns)}
    )
    for name, column in table.items():
        values = column.to_numpy()
        group.create_array(
            name, data=values, chunks=(min(CHUNK, max(1, len(values))),)
        )


def read_objects(path: str | Path) -> pd.DataFrame | None:
    """Read the table of a label image.

    Parameters
    ----------
    path : path
        Folder of the labels.

    Returns
    -------
    DataFrame or None
        One row per object and plane, as in `LargeResult`. None if there is no
        table, or it is damaged: the labels can be shown without it.
    """
    import pandas as pd

    zarr = need('zarr')
    try:
        group = zarr.open_group(str(path), mode='r')[GROUP]
        names = group.attrs[COLUMNS]
        table = pd.DataFrame({name: group[name][:] for name in names})
    # decompression raises RuntimeError
    except (OSError, LookupError, ValueError, TypeError, RuntimeError):
        return None
    return table if 'label' in table else None


def first_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per object: that of its first plane."""
    return table.drop_duplicates('label').reset_index(drop=True)
