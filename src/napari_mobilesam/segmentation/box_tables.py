"""Boxes in tables: one per row, or as napari saves a Shapes layer."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_mobilesam.types import PromptError

if TYPE_CHECKING:
    import pandas as pd

BOX_COLUMNS = ('row0', 'column0', 'row1', 'column1')


def corners_of_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a table that describe boxes, as numbers.

    Raises
    ------
    PromptError
        If a column is missing or holds something else.
    """
    missing = [name for name in BOX_COLUMNS if name not in table.columns]
    if missing:
        raise PromptError(
            f'The table of boxes has no column {", ".join(missing)}; it '
            f'has: {", ".join(map(str, table.columns))}.'
        )
    return _numbers(table[list(BOX_COLUMNS)])


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with numeric columns."""
    with contextlib.suppress(TypeError, ValueError):
        return table.astype(float)
    for name in table.columns:
        for row, value in enumerate(table[name]):
            try:
                float(value)
            except (TypeError, ValueError):
                raise PromptError(
                    f'{name} is {value!r} in row {row} of the table, counted '
                    'from 0; give a number.'
                ) from None
    return table.astype(float)


def boxes_of_table(
    table: pd.DataFrame, plane: Sequence[int] | None = None
) -> pd.DataFrame:
    """Read boxes from a table, as `segment_boxes` takes them.

    Parameters
    ----------
    table : DataFrame
        Table with the columns row0, column0, row1, column1; or as napari saves
        a Shapes layer: index, axis-0, axis-1, … of each vertex, the last two
        axes being rows and columns. Paths and lines are left out, as they
        enclose nothing.
    plane : sequence of int, optional
        Index along the axes before rows and columns; shapes on other planes
        are left out. Required if there are shapes on several planes.

    Returns
    -------
    DataFrame
        row0, column0, row1, column1.

    Raises
    ------
    PromptError
        If the table has neither form, no rows, or no box on the plane.

    Warns
    -----
    UserWarning
        If there are paths or lines.
    """
    axes = [name for name in table.columns if str(name).startswith('axis-')]
    corners_given = set(BOX_COLUMNS) <= set(table.columns)
    if not corners_given and ('index' not in table.columns or len(axes) < 2):
        raise PromptError(
            'The table has neither the columns row0, column0, row1, column1 '
            'nor those of a Shapes layer: index, axis-0, axis-1. It has '
            f'{", ".join(map(str, table.columns))}.'
        )
    if not len(table):
        raise PromptError('The table of boxes has no rows.')
    if corners_given:
        return corners_of_table(table)
    table = _on_plane(_areas(table), axes[:-2], plane)
    corners = table.groupby('index')[axes[-2:]]
    # vertices refer to pixel centres, boxes to pixel edges
    low, high = corners.min() + 0.5, corners.max() + 0.5
    low.columns, high.columns = BOX_COLUMNS[:2], BOX_COLUMNS[2:]
    return low.join(high)


def _areas(table: pd.DataFrame) -> pd.DataFrame:
    """Return the vertices of shapes that enclose an area."""
    if 'shape-type' not in table.columns:
        return table
    kinds = table['shape-type'].astype(str).str.lower()
    open_shapes = kinds.isin(('path', 'line'))
    count = int(table.loc[open_shapes, 'index'].nunique())
    if open_shapes.all():
        raise PromptError(
            f'The {count} shapes of the table are paths or lines, which '
            'enclose nothing: draw rectangles, ellipses or polygons.'
        )
    if count:
        warnings.warn(
            f'{count} shapes are paths or lines, which enclose nothing, and '
            'are left out.',
            UserWarning,
            stacklevel=3,
        )
    return table[~open_shapes]


def _on_plane(
    table: pd.DataFrame, leading: list[str], plane: Sequence[int] | None
) -> pd.DataFrame:
    """Return the vertices of shapes on one plane."""
    if not leading:
        return table
    places = table[leading].round().astype(int)
    there = sorted(set(map(tuple, places.to_numpy().tolist())))
    named = '; '.join(','.join(map(str, place)) for place in there[:5])
    more = ' …' if len(there) > 5 else ''
    if plane is None:
        if len(there) > 1:
            raise PromptError(
                f'The shapes lie on {len(there)} planes ({named}{more}): '
                'choose one with plane (--plane).'
            )
        return table
    if len(plane) != len(leading):
        raise PromptError(
            f'The shapes have {len(leading)} axes before rows and columns, '
            f'but the plane {tuple(plane)} has {len(plane)}.'
        )
    chosen = (places == list(plane)).all(axis=1)
    if not chosen.any():
        raise PromptError(
            f'No shape lies on the plane {tuple(plane)}: they are on '
            f'{named}{more}.'
        )
    return table[chosen]
