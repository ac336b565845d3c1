"""Background runs, of which only the newest reports its result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from napari_mobilesam.types import Deliver


class StoppedError(Exception):
    """The run was cancelled, or has reported itself why it stopped."""


@dataclass(eq=False)
class BackgroundRun:
    """A run in the background.

    Attributes
    ----------
    cancelled : threading.Event
        Set when the run should end early.
    """

    cancelled: threading.Event = field(
        default_factory=threading.Event, kw_only=True
    )


Run = TypeVar('Run', bound=BackgroundRun)


class LatestRun(Generic[Run]):
    """The newest run of a controller; results of older runs are dropped.

    Parameters
    ----------
    deliver : callable
        Runs a function on the thread that owns the viewer.

    Attributes
    ----------
    current : BackgroundRun or None
        The newest run; None before the first one, and after `drop` and
        `finish`.
    """

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self.current: Run | None = None

    def start(self, run: Run) -> Run:
        """Make a run the current one, cancelling the previous one."""
        self.drop()
        self.current = run
        return run

    def cancel(self) -> None:
        """Ask the current run to end early; its result is still used."""
        if self.current is not None:
            self.current.cancelled.set()

    def drop(self) -> None:
        """Cancel the current run and drop its results."""
        self.cancel()
        self.current = None

    def tell(
        self, run: Run, function: Callable[..., object], *args: object
    ) -> None:
        """Call a function on the viewer's thread if a run is current then.

        May be called from any thread.
        """

        def tell_if_current() -> None:
            if run is self.current:
                function(*args)

        self._deliver(tell_if_current)

    def finish(
        self, run: Run, function: Callable[..., object], *args: object
    ) -> None:
        """As `tell`; no run is current when the function is called."""

        def end() -> None:
            self.current = None
            function(*args)

        self.tell(run, end)
