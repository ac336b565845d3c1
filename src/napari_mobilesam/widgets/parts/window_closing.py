"""What is to be done before the window of a viewer closes."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


class WindowClosing(QObject):
    """Calls a function when a window is asked to close.

    The user may still decide against it. Widgets of the window are deleted
    with it, and are told nothing before.

    Parameters
    ----------
    window : QWidget
        Main window.
    parent : QWidget
        Nothing is called once it is destroyed.
    call : callable
        The function.
    """

    def __init__(
        self, window: QWidget, parent: QWidget, call: Callable[[], None]
    ) -> None:
        super().__init__(parent)
        self._call = call
        window.installEventFilter(self)

    def eventFilter(  # noqa: N802
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Call the function; the window gets the event as usual."""
        if event is not None and event.type() == QEvent.Type.Close:
            self._call()
        return False
