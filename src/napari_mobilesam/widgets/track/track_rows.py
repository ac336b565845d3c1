"""Sortable list of tracks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.widgets.parts.object_list import (
    ObjectListModel,
    ObjectTable,
)

COLUMNS = ('track', 'first', 'last', 'objects', 'parent')
LIST_ROWS = 6


def summary_rows(tracks: Tracks) -> NDArray[np.int64]:
    """Return (N, 5) rows: track, first and last frame, objects, parent."""
    order = np.lexsort((tracks.frames, tracks.ids))
    ids, starts, counts = np.unique(
        tracks.ids[order], return_index=True, return_counts=True
    )
    frames = tracks.frames[order]
    parents = [tracks.parents.get(int(track), 0) for track in ids]
    return np.column_stack(
        [ids, frames[starts], frames[starts + counts - 1], counts, parents]
    ).astype(np.int64)


class _TracksModel(ObjectListModel):
    """Rows of `summary_rows`."""

    def __init__(self) -> None:
        super().__init__(COLUMNS)

    def text(self, row: list[int], column: int) -> str:
        """Text of a cell; empty for no parent."""
        no_parent = COLUMNS[column] == 'parent' and not row[column]
        return '' if no_parent else str(row[column])


class TrackRows(ObjectTable):
    """List of tracks, chosen by number."""

    def __init__(self) -> None:
        super().__init__()
        self._model = _TracksModel()
        self.list_objects(self._model, 0, LIST_ROWS)
        header: Any = self.horizontalHeader()
        header.setSectionResizeMode(header.ResizeMode.Stretch)

    @property
    def tracks(self) -> list[int]:
        """Numbers of the tracks, in row order."""
        return [row[0] for row in self._model.rows]

    def show_tracks(self, tracks: Tracks | None) -> None:
        """List tracks, or none."""
        rows = [] if tracks is None else summary_rows(tracks).tolist()
        self._current = None
        self._model.show(rows)
