"""Qt and napari: the only part of the package that imports them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_mobilesam.background_imports import import_beside

if TYPE_CHECKING:
    from napari_mobilesam.widgets.dock import MobileSamDock as MobileSamDock
    from napari_mobilesam.widgets.dock import open_form as open_form
    from napari_mobilesam.widgets.refine.refine_widget import (
        RefineWidget as RefineWidget,
    )
    from napari_mobilesam.widgets.series.series_widget import (
        SeriesWidget as SeriesWidget,
    )
    from napari_mobilesam.widgets.table.table_widget import (
        TableWidget as TableWidget,
    )
    from napari_mobilesam.widgets.track.track_widget import (
        TrackWidget as TrackWidget,
    )
    from napari_mobilesam.widgets.viewer.viewer_session import (
        get_session as get_session,
    )

_MODULE_OF = {
    'MobileSamDock': 'dock',
    'RefineWidget': 'refine.refine_widget',
    'SeriesWidget': 'series.series_widget',
    'TableWidget': 'table.table_widget',
    'TrackWidget': 'track.track_widget',
    'get_session': 'viewer.viewer_session',
    'open_form': 'dock',
}

__all__ = [
    'MobileSamDock',
    'RefineWidget',
    'SeriesWidget',
    'TableWidget',
    'TrackWidget',
    'get_session',
    'open_form',
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_beside(f'{__name__}.{_MODULE_OF[name]}'), name)
