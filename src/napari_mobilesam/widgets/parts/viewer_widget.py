"""Base class of all docked forms, attached while the dock is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_mobilesam.session import Session
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.dock_tabs import show_as_tab
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.viewer.layers import unwrap
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene
from napari_mobilesam.widgets.viewer.viewer_session import get_session
from napari_mobilesam.widgets.viewer.window_closing import main_window

Connection = tuple[Any, Callable[..., None]]


class Worker(Protocol):
    """Something with a thread."""

    def close(self) -> None:
        """End the thread."""


def _let_go(
    connections: list[Connection], session: Session, now: bool = False
) -> None:
    for signal, callback in connections:
        signal.disconnect(callback)
    if connections:
        connections.clear()
        session.release(now)


def _lose(
    workers: list[Worker], connections: list[Connection], session: Session
) -> None:
    for worker in workers:
        worker.close()
    _let_go(connections, session, now=True)


class ViewerWidget(QWidget):
    """Widget that listens to its viewer only while it is docked.

    Closing a dock in napari sends no close event: the widget only loses its
    parent. A widget that is docked again resumes listening.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer or its proxy.

    Attributes
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    session : Session
        Its session.
    scene : ViewerScene
        Image, plane and labels that are worked on.
    status : StatusLine
        Status line of a form.
    """

    status: StatusLine

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer: ViewerModel = unwrap(viewer)
        self.session = get_session(self.viewer)
        scene = self.session.scene
        assert isinstance(scene, ViewerScene)
        self.scene = scene
        self._connections: list[Connection] = []
        # the window arranges a new dock first
        self._placing = DelayedCall(
            partial(show_as_tab, self, ViewerWidget), parent=self
        )
        self._placed = False
        self._workers: list[Worker] = []
        # Qt disconnects bound methods of an object that it destroys
        self._lose = partial(
            _lose, self._workers, self._connections, self.session
        )

    def close_with_dock(self, worker: Worker) -> None:
        """Close a worker, too, if the dock is destroyed without closing."""
        self._workers.append(worker)

    def listen(self, signal: Any, callback: Callable[..., None]) -> None:
        """Connect to a napari or psygnal signal until the dock closes."""
        signal.connect(callback)
        self._connections.append((signal, callback))

    def listen_all(self, *connections: Connection) -> None:
        """Connect several signals until the dock closes."""
        for signal, callback in connections:
            self.listen(signal, callback)

    def deafen(self, signal: Any, callback: Callable[..., None]) -> None:
        """Disconnect what `listen` connected, if it is connected still."""
        if (signal, callback) in self._connections:
            signal.disconnect(callback)
            self._connections.remove((signal, callback))

    def listen_instead(
        self,
        before: Layer | None,
        layer: Layer | None,
        callbacks: Mapping[str, Callable[..., None]],
    ) -> None:
        """Listen to events of a layer instead of those of another one."""
        for each, act in ((before, self.deafen), (layer, self.listen)):
            if each is not None:
                for name, callback in callbacks.items():
                    act(getattr(each.events, name), callback)

    def attach(self) -> None:
        """Start listening; subclasses connect their signals here."""
        self.session.acquire()
        self.destroyed.connect(self._lose)

    def follow_layers(
        self,
        changed: Callable[..., None],
        active_changed: Callable[..., None] | None = None,
    ) -> None:
        """Listen to changes of the layer list, and of the active layer."""
        layers = self.viewer.layers
        for event in ('inserted', 'removed', 'reordered', 'renamed'):
            self.listen(getattr(layers.events, event), changed)
        if active_changed is not None:
            self.listen(layers.selection.events.active, active_changed)

    def undo(self) -> None:
        """Undo the last step."""
        with self.status.errors():
            self.session.navigation.undo()

    def detach(self) -> None:
        """Stop listening; subclasses clean up the viewer here."""
        # Python clears a callback before the object, if it collects both, and
        # PyQt crashes when it calls that
        self.destroyed.disconnect(self._lose)
        _let_go(self._connections, self.session)

    @property
    def main_window(self) -> QWidget | None:
        """Window of the viewer, if it has one."""
        return main_window(self.viewer)

    @property
    def attached(self) -> bool:
        """True while the widget listens to its viewer."""
        return bool(self._connections)

    def follow_dock(self, docked: bool) -> None:
        """Attach to the viewer in a dock, and detach outside.

        Parameters
        ----------
        docked : bool
            True in a dock.
        """
        if not docked:
            self._placed = False
        if docked and not self.attached:
            self.attach()
        elif self.attached and not docked:
            self.detach()

    def event(self, event: QEvent | None) -> bool:
        """Attach or detach when the parent changes: a dock opens or closes."""
        kind = None if event is None else event.type()
        if kind == QEvent.Type.Show and not self._placed:
            self._placed = True
            self._placing.restart()
        if kind == QEvent.Type.ParentChange:
            self.follow_dock(self.parent() is not None)
        return bool(super().event(event))
