"""A viewer that serves many tests, emptied and checked after each.

Making and closing a window takes longer than most tests do with it.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from types import MappingProxyType
from unittest.mock import patch

import pytest
from app_model import Application
from napari import Viewer
from napari._app_model._app import NapariApplication, _napari_names
from napari._qt._qapp_model.qactions import init_qactions
from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari._qt.qt_main_window import _QtMainWindow
from napari._qt.qt_viewer import QtViewer
from napari._vispy.canvas import VispyCanvas
from napari.plugins import _initialize_plugins
from napari.utils.events import EventEmitter
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtWidgets import QApplication, QDockWidget

from napari_mobilesam.widgets.viewer.viewer_session import _states

from .undrawn import leave_drawing_out

# models of a viewer whose values are put back
MODELS = ('dims', 'camera', 'cursor', 'grid', 'tooltip')
OVERLAYS = ('axes', 'scale_bar', 'text_overlay')
VALUES = ('title', 'help', 'theme', 'mouse_over_canvas')
MOUSE = ('drag', 'move', 'wheel', 'double_click')
# a canvas that is drawn keeps every program of its visuals
MAX_USES = {False: 300, True: 30}
USES_PER_FREEZE = 20


class SharedViewer:
    """Viewer that is lent to one test after the other.

    Parameters
    ----------
    show : bool
        Whether its window is shown while it is lent.
    """

    def __init__(self, show: bool) -> None:
        self.show, self.uses = show, 0
        self.app = NapariApplication(f'shared_{show}_{id(self)}')
        self.app.injection_store.namespace = _napari_names
        _initialize_plugins.cache_clear()
        init_qactions.cache_clear()
        with self.in_use():
            self.viewer = Viewer(show=False, show_welcome_screen=False)
        if not show:
            self._draw_offscreen()
        self.put_aside()
        self.docks = set(self._docks())
        self.layout = self.window.saveState()
        self.callbacks = self._callbacks()
        self.keymap = dict(self.viewer.keymap)
        self.nodes = self._nodes()
        self.values = self._values()

    def _draw_offscreen(self) -> None:
        """Give a window that is never shown a context to draw in.

        A click asks vispy what is under the cursor, which is drawn in
        whatever context is there.
        """
        surface, context = QOffscreenSurface(), QOpenGLContext()
        surface.create()
        context.setShareContext(QOpenGLContext.globalShareContext())
        context.create()
        native = self.canvas.native
        native._vispy_set_current = lambda: context.makeCurrent(surface)

    @property
    def window(self) -> _QtMainWindow:
        """Main window, which is not kept alive."""
        return self.viewer.window._qt_window

    @property
    def canvas(self) -> VispyCanvas:
        """Canvas of the window."""
        return self.viewer.window._qt_viewer.canvas

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Have the commands of napari be those of the window."""
        with (
            patch.object(
                NapariApplication, 'get_app_model', return_value=self.app
            ),
            pytest.MonkeyPatch.context() as monkeypatch,
        ):
            if not self.show:
                leave_drawing_out(monkeypatch)
            yield

    def lend(self, qtbot) -> Viewer:
        """Return the viewer, the newest one of the process."""
        self.uses += 1
        _QtMainWindow._instances.append(self.window)
        QApplication.instance().installEventFilter(self.window)
        if self.show:
            self.window.show()
            qtbot.wait_exposed(self.window, timeout=5000)
        return self.viewer

    def put_aside(self) -> None:
        """Keep napari from taking the window for one that was left open."""
        QtViewer._instances.discard(self.viewer.window._qt_viewer)
        if self.window in _QtMainWindow._instances:
            _QtMainWindow._instances.remove(self.window)
        # it sees each event of the whole application
        QApplication.instance().removeEventFilter(self.window)
        self.canvas.native.doneCurrent()

    @property
    def closed(self) -> bool:
        """True if a test closed the window."""
        return not hasattr(self.viewer.window, '_qt_window')

    @property
    def worn(self) -> bool:
        """True if the viewer is to be replaced by a new one."""
        return self.closed or self.uses >= MAX_USES[self.show]

    def take_back(self, last: bool = False) -> list[str]:
        """Empty the viewer; return what the test or the plugin left in it.

        Parameters
        ----------
        last : bool
            Whether it is to be closed now.
        """
        if self.closed:
            return []
        self.window.hide()
        self._deafen_test()
        self._remove_docks()
        self.viewer.layers.clear()
        self._end_session()
        for note in self.window.findChildren(NapariQtNotification):
            note.close()
            note.deleteLater()
        self._put_back()
        self.put_aside()
        self._process_events()
        if not last:
            # here, and not while another thread is running
            gc.collect()
            if self.uses % USES_PER_FREEZE == 1:
                # what lives on is not to be walked through again
                gc.freeze()
        return self.left_over()

    def close(self) -> None:
        """Close the window and forget its commands."""
        if not self.closed:
            with (
                self.in_use(),
                patch.object(self.window, '_save_current_window_settings'),
            ):
                self.viewer.close()
        Application.destroy(self.app.name)
        self._process_events()
        del self.viewer
        # what of it was frozen stays until the end: looking through all that
        # is frozen takes a second
        gc.collect()

    def _remove_docks(self) -> None:
        # those that the test closed are still to be deleted
        self._process_events()
        for name, dock in self._docks().items():
            if name in self.docks:
                continue
            inner = dock.widget()
            self.viewer.window.remove_dock_widget(dock)
            if inner is not None:
                inner.deleteLater()

    def _end_session(self) -> None:
        """Forget the session, which else lives as long as its viewer."""
        state = _states.pop(self.viewer, None)
        if state is None:
            return
        session, events = state.session, self.viewer.layers.events
        session.close()
        events.removed.disconnect(session.scene._removed)
        events.inserted.disconnect(session.scene._inserted)

    def _put_back(self) -> None:
        """Set what users and plugins can change to what it was."""
        viewer = self.viewer
        for name, values in self.values.items():
            if name in VALUES:
                setattr(viewer, name, values)
            else:
                getattr(viewer, name).update(values)
        self.window.showNormal() if self.window.isMaximized() else None
        self.window.hide()
        self.window.restoreState(self.layout)

    @staticmethod
    def _process_events() -> None:
        for _ in range(2):
            QApplication.processEvents()
            QCoreApplication.sendPostedEvents(
                None, QEvent.Type.DeferredDelete.value
            )

    def left_over(self) -> list[str]:
        """What is in the viewer that was not when it was made."""
        left = [
            f'listener {name}'
            for name, _ in self._callbacks() - self.callbacks
        ]
        left += [f'dock {name}' for name in set(self._docks()) - self.docks]
        left += [
            f'key {key}'
            for key, function in self.viewer.keymap.items()
            if self.keymap.get(key) is not function
        ]
        left += [
            f'visible window {widget}'
            for widget in QApplication.topLevelWidgets()
            if widget.isVisible()
        ]
        if len(self.viewer.layers):
            left.append(f'layers {self.viewer.layers}')
        nodes = self._nodes()
        if nodes != self.nodes:
            left.append(f'nodes on the canvas: {nodes}, not {self.nodes}')
        left += [
            f'{name} is {value}, not {self.values[name]}'
            for name, value in self._values().items()
            if value != self.values[name]
        ]
        return left

    def _docks(self) -> dict[str, QDockWidget]:
        docks = self.window.findChildren(QDockWidget)
        return {dock.objectName(): dock for dock in docks}

    def _nodes(self) -> int:
        """Number of nodes on the canvas."""
        nodes = [self.canvas.view.scene]
        for node in nodes:
            nodes += node.children
        return len(nodes)

    def _emitters(self) -> Iterator[tuple[str, EventEmitter]]:
        """Emitters of the viewer and of its parts, by name."""
        viewer = self.viewer
        groups = {
            'viewer': viewer.events,
            'layers': viewer.layers.events,
            'selection': viewer.layers.selection.events,
            **{name: getattr(viewer, name).events for name in MODELS},
        }
        for group, events in groups.items():
            for name, emitter in events.emitters.items():
                yield f'{group}.events.{name}', emitter

    def _callbacks(self) -> set[tuple[str, int]]:
        """Name and id of each listener to the viewer and its parts."""
        found = set()
        for name, emitter in self._emitters():
            for callback in emitter.callbacks:
                found |= _identity(name, callback)
        for kind in MOUSE:
            for callback in getattr(self.viewer, f'mouse_{kind}_callbacks'):
                found.add((f'mouse_{kind}: {callback}', id(callback)))
        return found

    def _deafen_test(self) -> None:
        """Disconnect functions of the test itself."""
        for _, emitter in self._emitters():
            for callback in emitter.callbacks:
                module = getattr(callback, '__module__', None) or 'napari'
                if not module.startswith('napari'):
                    emitter.disconnect(callback)

    def _values(self) -> MappingProxyType:
        viewer = self.viewer
        values = {name: getattr(viewer, name) for name in VALUES}
        for name in (*MODELS, *OVERLAYS):
            values[name] = getattr(viewer, name).model_dump()
        return MappingProxyType(values)


def _identity(name: str, callback) -> set[tuple[str, int]]:
    """Name and id of a listener that is alive."""
    if not isinstance(callback, tuple):
        return {(f'{name}: {callback}', id(callback))}
    owner = callback[0]()
    if owner is None or type(owner).__module__.startswith('napari.'):
        # napari's own, such as the slider of an axis
        return set()
    return {(f'{name}: {type(owner).__name__}.{callback[1]}', id(owner))}
