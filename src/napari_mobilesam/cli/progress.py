"""Progress on stderr: one updated line on a terminal, few lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from napari_mobilesam.types import Progress

MANY = 99_999


class ProgressLine:
    """Callable ``progress(done, total, message)`` that writes to a stream.

    On a terminal, a single line is rewritten; in a log file, one line is
    written per message and per tenth of the work.

    Parameters
    ----------
    stream : file, optional
        Output stream; by default stderr.
    quiet : bool
        Write nothing.
    """

    def __init__(
        self, stream: TextIO | None = None, quiet: bool = False
    ) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.quiet = quiet
        self._shown: tuple[str, int] | None = None
        self._logged = ''
        # total of the first call of a phase, and the largest share reported
        self._phase: tuple[str, int] = ('', 0)
        self._percent = 0

    def __call__(self, done: int, total: int, message: str) -> None:
        """Show that ``done`` of ``total`` steps are done."""
        if self.quiet:
            return
        text = self._text(done, total, message)
        if self.stream.isatty():
            self.stream.write(f'\r\x1b[K{text}')
            self.stream.flush()
            self._shown = (message, done)
            return
        tenth = 10 * done // total if total > 0 else 0
        # in a log, each tenth of a phase appears once, whatever the message
        phase = f'{total} steps' if total > 1 else message
        if self._shown != (phase, tenth):
            self._shown = (phase, tenth)
            # while the total grows, the per cent may stay the same
            if text != self._logged:
                print(text, file=self.stream, flush=True)
            self._logged = text

    def _text(self, done: int, total: int, message: str) -> str:
        """Return steps done, or per cent once the total moves."""
        phase, first = self._phase
        if message != phase:
            self._phase, self._percent = (message, total), 0
            return describe(done, total, message)
        self._percent = max(self._percent, 100 * done // max(total, 1))
        if total == first or total <= 1:
            return describe(done, total, message)
        return f'{message} {self._percent} %'

    def say(self, text: str) -> None:
        """Write a permanent line."""
        if not self.quiet:
            self.close()
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """End the updated line of a terminal."""
        if self._shown is not None and self.stream.isatty():
            self.stream.write('\r\x1b[K')
            self.stream.flush()
            self._shown = None

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def with_time_left(progress: ProgressLine) -> Progress:
    """Add the time left to the messages of equal steps, such as tiles."""
    from napari_mobilesam.time_left import TimeLeft

    time_left = TimeLeft()

    def tell(done: int, total: int, message: str) -> None:
        progress(done, total, f'{message}{time_left.text(done, total)}')

    return tell


def describe(done: int, total: int, message: str) -> str:
    """Return one line: steps if they can be counted, per cent for bytes."""
    if total <= 1 or f'{done} of {total}' in message:
        return message
    if total > MANY:
        return f'{message} {100 * done // total} %'
    return f'{message} {done}/{total}'
