"""Keep napari from crashing when layers are removed.

napari frees the graphics memory of a removed layer in whatever OpenGL context
is current. With Mesa's software rendering (remote desktops, virtual machines,
CI), the next frame may then crash the process.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from napari.components import ViewerModel


class CanvasContext:
    """Make the context of the canvas current before layers are freed.

    It works as long as it is kept alive, and does nothing for a viewer without
    a window.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy); not kept alive.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        # `remove` frees a layer before other listeners hear of `removed`;
        # `clear` frees all of them after the last one
        viewer.layers.events.removing.connect(self._make_current)
        viewer.layers.events.removed.connect(self._make_current)

    def _make_current(self, event: Any) -> None:
        # the window may have been closed
        with contextlib.suppress(RuntimeError):
            canvas: Any = self._viewer()
            # napari offers no public way to it
            for name in ('window', '_qt_viewer', 'canvas', '_scene_canvas'):
                canvas = getattr(canvas, name, None)
            if canvas is not None:
                canvas.set_current()
