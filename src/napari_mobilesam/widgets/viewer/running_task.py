"""Work that napari asks about before its window is closed."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel

from napari_mobilesam.session import Session

PROVIDER = 'MobileSAM'
# when a window or dock is closed, what runs has this long to write what it
# has found
CLOSING_SECONDS = 10.0


def end_soon(session: Session, running: Callable[[], bool]) -> None:
    """Wait for work that was cancelled, and for what is saved then.

    Parameters
    ----------
    session : Session
        Delivers the last answers.
    running : callable
        Tells whether the work goes on.
    """
    end = time.monotonic() + CLOSING_SECONDS
    # the model may be in the middle of a long step, which is not needed
    while running() and time.monotonic() < end:
        session.finish(0.05)
    # the window may be deleted before anything else is done
    session.files.rest()


class RunningTask:
    """Tells napari that something runs.

    A user who closes the window is asked; before it is closed, `end` is
    called. Does nothing for a viewer without a window.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy; not kept alive.
    end : method, optional
        Ends what runs, and keeps what it has found. Its object is not kept
        alive: napari keeps all tasks of a window.
    """

    def __init__(
        self, viewer: ViewerModel, end: Callable[[], None] | None = None
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self._end = None if end is None else weakref.WeakMethod(end)
        self._number: Any = None

    def begin(self, text: str) -> None:
        """Note that it runs.

        Parameters
        ----------
        text : str
            What the dialog says, such as ``'Segment everything'``.
        """
        self._tell('BUSY', text)

    def done(self) -> None:
        """Note that it has ended."""
        if self._number is not None:
            self._tell('COMPLETED', '')

    def _tell(self, status: str, text: str) -> None:
        window: Any = getattr(self._viewer(), 'window', None)
        # napari offers no public way to it yet; the window may be closed
        with contextlib.suppress(AttributeError, ImportError, RuntimeError):
            from napari.utils.task_status import Status

            if self._number is None:
                self._number = window._register_task_status(
                    PROVIDER, Status[status], text, self._closing
                )
            else:
                window._update_task_status(self._number, Status[status], text)

    def _closing(self) -> bool:
        """End what runs; napari calls this for each task it knows."""
        end = None if self._end is None else self._end()
        if end is not None:
            end()
        return True
