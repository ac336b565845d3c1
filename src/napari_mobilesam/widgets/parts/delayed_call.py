"""Single-shot timer around a function."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer


class DelayedCall:
    """Call a function once, after a pause.

    Parameters
    ----------
    function : callable
        Function called without arguments, on the UI thread.
    pause_ms : int
        Pause in milliseconds; 0 for the next turn of the event loop.
    parent : QObject, optional
        The call is dropped when this object is destroyed.
    """

    def __init__(
        self,
        function: Callable[[], object],
        pause_ms: int = 0,
        parent: QObject | None = None,
    ) -> None:
        self._function = function
        self._pause_ms = pause_ms
        self._timer = QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._call)

    @property
    def _alive(self) -> bool:
        return bool(isalive(self._timer))  # type: ignore[no-untyped-call]

    @property
    def pending(self) -> bool:
        """True from a request to its call."""
        return self._alive and bool(self._timer.isActive())

    def restart(self, *args: object, pause_ms: int | None = None) -> None:
        """Request a call; the pause of an earlier request starts again.

        Nothing happens once the parent is destroyed, since a thread may report
        to a dock that was closed in the meantime.

        Parameters
        ----------
        *args
            Arguments of a signal, ignored.
        pause_ms : int, optional
            Pause of this call, in milliseconds.
        """
        if self._alive:
            pause = self._pause_ms if pause_ms is None else pause_ms
            self._timer.start(pause)

    def start(self, pause_ms: int | None = None) -> None:
        """Request a call, unless one is pending.

        Parameters
        ----------
        pause_ms : int, optional
            Pause of this call, in milliseconds.
        """
        if not self.pending:
            self.restart(pause_ms=pause_ms)

    def cancel(self) -> None:
        """Drop the request."""
        if self._alive:
            self._timer.stop()

    def _call(self) -> None:
        self._function()
