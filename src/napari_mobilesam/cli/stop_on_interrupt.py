"""Ctrl-C during ``segment``: what is at work is finished and kept."""

from __future__ import annotations

import signal
import threading
from typing import Any

from napari_mobilesam.cli.progress import ProgressLine


class StopOnInterrupt:
    """Stop gracefully on the first Ctrl-C, once there is work to keep.

    Parameters
    ----------
    progress : ProgressLine
        Progress line that announces the stop.
    work : str
        What is finished before that, such as ``'tiles'``.

    Attributes
    ----------
    stopped : threading.Event
        Set by Ctrl-C.
    """

    def __init__(self, progress: ProgressLine, work: str) -> None:
        self.stopped = threading.Event()
        self._progress = progress
        self._work = work
        self._before: Any = None

    def __enter__(self) -> StopOnInterrupt:
        return self

    def keep_work(self) -> None:
        """Start keeping work; until then, Ctrl-C ends the program at once."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._stop)

    def __exit__(self, *raised: object) -> None:
        self._restore()

    def _stop(self, number: int, frame: object) -> None:
        self.stopped.set()
        self._restore()
        self._progress.say(
            f'stopping after the current {self._work}, which are kept: the '
            'same command continues; press Ctrl-C again to stop at once'
        )

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
