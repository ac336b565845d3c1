"""Callbacks before the window of a viewer closes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


def main_window(viewer: Any) -> QWidget | None:
    """Return the window of a viewer, if it has one.

    napari has no public name for it.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    """
    window: QWidget | None = getattr(
        getattr(viewer, 'window', None), '_qt_window', None
    )
    return window


class WindowClosing(QObject):
    """Call a function when a window is asked to close.

    The user may still cancel. Widgets of the window are deleted with it
    without prior notice.

    Parameters
    ----------
    window : QWidget
        Main window.
    parent : QWidget
        Nothing is called once this is destroyed.
    call : method
        Function to call; its object is not kept alive.
    """

    def __init__(
        self, window: QWidget, parent: QWidget, call: Callable[[], None]
    ) -> None:
        super().__init__(parent)
        self._call = weakref.WeakMethod(call)
        window.installEventFilter(self)

    def eventFilter(  # noqa: N802
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Call the function; the window gets the event as usual."""
        if event is not None and event.type() == QEvent.Type.Close:
            call = self._call()
            if call is not None:
                call()
        return False
