"""Work about which napari asks before its window is closed."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel

from napari_mobilesam.session import Session
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.viewer.window_closing import (
    WindowClosing,
    main_window,
)

PROVIDER = 'MobileSAM'
# time for running work to write its results when a window or dock is closed
CLOSING_SECONDS = 10.0


def end_soon(session: Session, running: Callable[[], bool]) -> None:
    """Wait for cancelled work, and for saving its results.

    Parameters
    ----------
    session : Session
        Session that delivers the last answers.
    running : callable
        Returns whether the work is still running.
    """
    end = time.monotonic() + CLOSING_SECONDS
    # the model may be in the middle of a long step, which is not needed
    while running() and time.monotonic() < end:
        session.finish(0.05)
    # the window may be deleted before anything else is done
    session.files.rest()


class RunningTask:
    """Tell napari that work is in progress.

    The user is asked when closing the window; before it closes, `end` is
    called. It does nothing for a viewer without a window.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy); not kept alive.
    end : method, optional
        Ends the work and keeps its results. Its object is not kept alive,
        since napari keeps all tasks of a window.
    """

    def __init__(
        self, viewer: ViewerModel, end: Callable[[], None] | None = None
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self._end = None if end is None else weakref.WeakMethod(end)
        self._number: Any = None

    def begin(self, text: str) -> None:
        """Note that work has started.

        Parameters
        ----------
        text : str
            Text in the dialog, such as ``'Segment everything'``.
        """
        self._tell('BUSY', text)

    def done(self) -> None:
        """Note that work has ended."""
        if self._number is not None:
            self._tell('COMPLETED', '')

    def _tell(self, status: str, text: str) -> None:
        window: Any = getattr(self._viewer(), 'window', None)
        # napari has no public way to do this yet; the window may be closed
        with contextlib.suppress(AttributeError, ImportError, RuntimeError):
            from napari.utils.task_status import Status

            if self._number is None:
                self._number = window._register_task_status(
                    PROVIDER, Status[status], text, self._closing
                )
            else:
                window._update_task_status(self._number, Status[status], text)

    def _closing(self) -> bool:
        """End the work; napari calls this for each task it knows."""
        end = None if self._end is None else self._end()
        if end is not None:
            end()
        return True


class UnfinishedWork:
    """Make napari ask before its window closes, and keep results.

    Of objects that were accepted before their mask was there, and of objects
    that are segmented in the background. Tracks are lost, and so are objects
    that cannot be saved.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    session : Session
        Session of the viewer.
    """

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        self._session = session
        self._task = RunningTask(viewer, self._keep)
        window = main_window(viewer)
        if window is not None:
            WindowClosing(window, window, self._tell)

    def _tell(self) -> None:
        session = self._session
        waiting = len(session.editor.queue)
        texts = []
        if session.background.running:
            texts.append('Objects are being segmented')
        if waiting:
            texts.append(
                f'{counted(waiting, "accepted object")} to be written, lost '
                f'if that takes longer than {CLOSING_SECONDS:.0f} s'
            )
        if session.tracking.running:
            texts.append('Track; the tracks are lost')
        texts.extend(
            f'Objects are lost: {path} cannot be written'
            for path in session.files.unsaved()
        )
        if texts:
            self._task.begin('. '.join(texts))
        else:
            self._task.done()

    def _keep(self) -> None:
        background = self._session.background
        queue = self._session.editor.queue
        background.cancel()
        end_soon(self._session, lambda: background.running or len(queue) > 0)
