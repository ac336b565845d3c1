"""Running functions on the thread that owns the windows."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]


class MainThread(QObject):
    """Emit ``run`` from any thread to call a function on this one's."""

    run = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.run.connect(self._run)

    def _run(self, function: Callable[[], None]) -> None:
        function()
