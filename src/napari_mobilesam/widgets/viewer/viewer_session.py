"""One session per viewer, whose results are delivered on the Qt thread."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from napari.components import ViewerModel
from napari.layers import Labels

from napari_mobilesam.argument_checks import quoted
from napari_mobilesam.session import Session
from napari_mobilesam.settings import load_settings
from napari_mobilesam.types import ImageError, SegmentationError
from napari_mobilesam.widgets.viewer.class_colors import ClassPainter
from napari_mobilesam.widgets.viewer.gl_context import CanvasContext
from napari_mobilesam.widgets.viewer.layers import unwrap
from napari_mobilesam.widgets.viewer.napari_preferences import read_settings
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

if TYPE_CHECKING:
    from napari_mobilesam.widgets.viewer.running_task import UnfinishedWork


class _ViewerState(NamedTuple):
    """Session of a viewer, and associated objects kept alive."""

    session: Session
    painter: ClassPainter
    context: CanvasContext
    unfinished: UnfinishedWork | None


# removed with their viewers
_states: WeakKeyDictionary[ViewerModel, _ViewerState] = WeakKeyDictionary()


def get_session(viewer: Any) -> Session:
    """Return the session of a viewer; the first call creates it.

    Parameters
    ----------
    viewer : napari.Viewer or napari.components.ViewerModel
        Viewer, or the proxy that plugins receive.

    Returns
    -------
    Session
        Always the same for one viewer, and independent of other viewers.

    Raises
    ------
    SegmentationError
        If `viewer` is not a viewer.
    """
    viewer = unwrap(viewer)
    if not hasattr(viewer, 'layers'):
        raise SegmentationError(
            f'viewer is {quoted(viewer)}; give a napari.Viewer.'
        )
    state = _states.get(viewer)
    if state is None:
        state = _states[viewer] = _new_state(viewer)
    return state.session


def known_session(viewer: Any) -> Session | None:
    """Return the session of a viewer; None if no widget has been opened."""
    state = _states.get(unwrap(viewer))
    return None if state is None else state.session


def _new_state(viewer: ViewerModel) -> _ViewerState:
    context = CanvasContext(viewer)
    scene = ViewerScene(viewer)
    # without a window there is no event loop to wait for, and Qt is not needed
    windowed = hasattr(viewer, 'window')
    deliver = None
    if windowed:
        from napari_mobilesam.widgets.viewer.main_thread import MainThread

        deliver = MainThread()
    session = Session(deliver=deliver, scene=scene)
    session.tracking.scene = scene.tracks
    scene.labels_removed.connect(session.editor.release)
    scene.labels_removed.connect(session.refining.release)
    scene.planes_gone.connect(session.forget_planes)
    # napari's settings are for its windows
    settings = read_settings() if windowed else load_settings()
    session.use_cache(settings.cache_mb)
    session.classes.restore(settings.classes, settings.class_colors)

    def find_labels() -> Sequence[Labels]:
        # the session may outlive its viewer for a moment
        with contextlib.suppress(ImageError):
            return scene.labels_layers()
        return ()

    painter = ClassPainter(session.classes, find_labels, session.tell)
    scene.labels_changed.connect(painter.follow)
    session.color_by_class(settings.color_by_class)
    unfinished = None
    if windowed:
        from napari_mobilesam.widgets.viewer.running_task import UnfinishedWork

        unfinished = UnfinishedWork(viewer, session)
    return _ViewerState(session, painter, context, unfinished)
