"""Ctrl-C during training: the step that has begun is finished and kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_at_end(keep: Callable[[], None]) -> Iterator[None]:
    """Context that Ctrl-C leaves only at its end, after ``keep()``.

    A second Ctrl-C leaves it at once. Elsewhere than in the main thread, or
    where others handle the signal, it changes nothing.

    Raises
    ------
    KeyboardInterrupt
        At the end, if Ctrl-C was pressed within.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if not main or before is not signal.default_int_handler:
        yield
        return
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
        if pressed:
            keep()
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
