"""Queue of functions for the thread that owns the viewer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

Function = Callable[[], None]


class Inbox:
    """Functions to run on the viewer's thread, first in, first out.

    The event loop runs them one by one. A script that blocks the event loop
    while waiting for an answer calls `empty`.

    Parameters
    ----------
    deliver : callable
        Runs a function on the viewer's thread, immediately or later.
    """

    def __init__(self, deliver: Callable[[Function], None]) -> None:
        self._deliver = deliver
        self._waiting: deque[Function] = deque()

    def __call__(self, function: Function) -> None:
        """Run a function on the viewer's thread."""
        self._waiting.append(function)
        self._deliver(self._run_next)

    @property
    def pending(self) -> bool:
        """True while functions are waiting to run."""
        return bool(self._waiting)

    def empty(self) -> bool:
        """Run all waiting functions now; return whether there were any."""
        found = bool(self._waiting)
        while self._waiting:
            self._run_next()
        return found

    def _run_next(self) -> None:
        if self._waiting:
            self._waiting.popleft()()
