"""Run functions on the thread of the windows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]


class MainThread(QObject):
    """Call functions on the thread that created it; see `Session`.

    Call it, or emit ``run``, from any thread.
    """

    run = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.run.connect(self._run)

    def __call__(self, function: Callable[[], None]) -> None:
        """Schedule a function call on the thread of the windows."""
        # Qt may be gone when a worker ends after the last window
        with contextlib.suppress(RuntimeError):
            self.run.emit(function)

    def _run(self, function: Callable[[], None]) -> None:
        function()
