"""The session of a viewer, with answers delivered on the Qt thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_mobilesam.session import Session
from napari_mobilesam.session.runtime.settings import load_settings
from napari_mobilesam.widgets.viewer.layer_plane import unwrap
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

if TYPE_CHECKING:
    from napari.components import ViewerModel

# sessions live and die with their viewers
_sessions: WeakKeyDictionary[ViewerModel, Session] = WeakKeyDictionary()


def get_session(viewer: Any) -> Session:
    """Return the session of a viewer, made when first asked for.

    Parameters
    ----------
    viewer : napari.Viewer or napari.components.ViewerModel
        Also the proxy that plugins are given.

    Returns
    -------
    Session
        Always the same for the same viewer; that of another viewer is
        independent.
    """
    viewer = unwrap(viewer)
    session = _sessions.get(viewer)
    if session is None:
        scene = ViewerScene(viewer)
        session = _sessions[viewer] = Session(
            deliver=_deliverer(viewer), scene=scene
        )
        settings = load_settings()
        session.use_cache(settings.cache_mb)
        session.classes.restore(settings.classes, settings.class_colors)
        scene.paint_classes(session.classes, session.tell)
        session.color_by_class(settings.color_by_class)
    return session


def _deliverer(viewer: Any) -> Callable[[Callable[[], None]], None] | None:
    if not hasattr(viewer, 'window'):
        # a viewer model without a window has no event loop to wait for
        return None
    from napari_mobilesam.widgets.viewer.main_thread import MainThread

    main_thread = MainThread()

    def deliver(function: Callable[[], None]) -> None:
        # Qt may already be gone when a worker ends after the last window
        with contextlib.suppress(RuntimeError):
            main_thread.run.emit(function)

    return deliver
