"""Ctrl-C during training, which keeps the result so far."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_noted() -> Iterator[Callable[[], bool]]:
    """Only note Ctrl-C within this context; a second one leaves it at once.

    It has no effect outside the main thread, or if the signal is already
    handled.

    Yields
    ------
    callable
        Returns True once Ctrl-C was pressed.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if not main or before is not signal.default_int_handler:
        yield lambda: False
        return
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupt_at_end(keep: Callable[[], None]) -> Iterator[None]:
    """Delay Ctrl-C to the end of this context, after ``keep()``.

    Raises
    ------
    KeyboardInterrupt
        At the end, if Ctrl-C was pressed within; see `interrupt_noted`.
    """
    with interrupt_noted() as pressed:
        yield
        if pressed():
            keep()
    if pressed():
        raise KeyboardInterrupt
