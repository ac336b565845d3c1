"""Keep napari from crashing when layers are removed.

napari frees what the card holds of a removed layer in whatever OpenGL context
is current. Where Mesa draws without a card (remote desktops, virtual
machines, CI), the next picture may then end the process.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel


def keep_context(viewer: ViewerModel) -> None:
    """Make the context of the canvas current before layers are freed.

    Does nothing for a viewer without a window.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy; not kept alive.
    """
    find_viewer = weakref.ref(viewer)

    def make_current(event: Any) -> None:
        # the window may have been closed
        with contextlib.suppress(RuntimeError):
            canvas = _canvas_of(find_viewer())
            if canvas is not None:
                canvas.set_current()

    # `remove` frees a layer before other listeners hear of `removed`; `clear`
    # frees all of them after the last one
    viewer.layers.events.removing.connect(make_current)
    viewer.layers.events.removed.connect(make_current)


def _canvas_of(viewer: Any) -> Any:
    """Canvas of vispy, None if there is none."""
    # napari offers no public way to it
    for name in ('window', '_qt_viewer', 'canvas', '_scene_canvas'):
        viewer = getattr(viewer, name, None)
    return viewer
