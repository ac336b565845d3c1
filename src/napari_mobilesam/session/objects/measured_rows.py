"""Measurements in rows of the feature table whose pixels have changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from napari_mobilesam.measure.table_columns import MEASURED, TIMES

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.session.objects.patch import Patch


def pixel_changes(patch: Patch) -> dict[int, int]:
    """Return by how many pixels each label has grown.

    Less than 0 if it has shrunk, 0 if its shape alone has changed. Pixels that
    are the same in several channels count once.
    """
    values = np.concatenate([patch.before, patch.after])
    lengths = np.concatenate([-patch.lengths, patch.lengths])
    labels, place = np.unique(values, return_inverse=True)
    grown = np.bincount(place, lengths, len(labels)) / patch.copies
    counts = np.rint(grown).astype(int).tolist()
    found = dict(zip(labels.tolist(), counts, strict=True))
    found.pop(0, None)
    return found


def changed_rows(
    rows: pd.DataFrame, changes: Mapping[int, int]
) -> pd.DataFrame:
    """Return rows updated for changed pixels.

    Areas are updated, but for means over times; other measurements of changed
    labels are no longer valid and are emptied.

    Parameters
    ----------
    rows : DataFrame
        Previous rows, with the label in a column ``index``.
    changes : mapping of int to int
        See `pixel_changes`.
    """
    changed = rows['index'].isin(list(changes))
    found = _emptied(rows, changed)
    if _has_areas(rows):
        grown = rows['index'].map(changes).fillna(0).astype(int)
        area = rows['area'] + grown
        if TIMES in rows:
            area = area.mask(changed & rows[TIMES].notna())
        found = found.assign(area=area)
    return found


def described_rows(
    rows: pd.DataFrame, before: pd.DataFrame, changes: Mapping[int, int]
) -> pd.DataFrame:
    """Return rows that describe objects, with the areas of their pixels.

    Objects may be written only in part, where other labels are kept;
    measurements of the whole objects are then emptied.

    Parameters
    ----------
    rows : DataFrame
        New rows, with the label in a column ``index``.
    before : DataFrame
        Previous rows of the same labels.
    changes : mapping of int to int
        See `pixel_changes`.
    """
    if not _has_areas(rows):
        return rows
    areas = rows['index'].map(changes)
    if _has_areas(before):
        changed = changed_rows(before, changes).drop_duplicates('index')
        known = changed.set_index('index')['area']
        # the changes of these are not all of their pixels
        areas = areas.mask(rows['index'].isin(known.index))
        areas = rows['index'].map(known).fillna(areas)
    areas = areas.fillna(rows['area']).astype(rows['area'].dtype)
    return _emptied(rows, areas != rows['area']).assign(area=areas)


def _has_areas(rows: pd.DataFrame) -> bool:
    return 'area' in rows and rows['area'].dtype.kind in 'iuf'


def _emptied(rows: pd.DataFrame, chosen: pd.Series) -> pd.DataFrame:
    """Return rows, some of them without measurements except the area."""
    measured = [
        name != 'area' and MEASURED.fullmatch(str(name)) is not None
        for name in rows.columns
    ]
    return rows.where(~np.outer(chosen, measured))
