"""Answers on their way to the thread that owns the viewer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

Function = Callable[[], None]


class Inbox:
    """Functions to run on the viewer's thread, in the order they came.

    The event loop runs each when its turn comes; a script that waits for an
    answer, and so keeps the event loop from running, calls `empty`.

    Parameters
    ----------
    deliver : callable
        Runs a function on the viewer's thread, soon or at once.
    """

    def __init__(self, deliver: Callable[[Function], None]) -> None:
        self._deliver = deliver
        self._waiting: deque[Function] = deque()

    def __call__(self, function: Function) -> None:
        """Run a function on the viewer's thread."""
        self._waiting.append(function)
        self._deliver(self._run_next)

    def empty(self) -> bool:
        """Run all that waits, here; whether there was anything."""
        found = bool(self._waiting)
        while self._waiting:
            self._run_next()
        return found

    def _run_next(self) -> None:
        if self._waiting:
            self._waiting.popleft()()
