"""Replace the objects of a run without blocking the viewer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from psygnal import Signal

from napari_mobilesam.session.everything.everything_messages import (
    EverythingResult,
)
from napari_mobilesam.session.everything.everything_output import (
    EverythingOutput,
    PreparedWrite,
)
from napari_mobilesam.text import explain

Job = Callable[[], None]


@dataclass(eq=False)
class _Attempt:
    result: EverythingResult
    key: Hashable
    prepared: PreparedWrite
    error: Exception | None = None

    def work(self) -> None:
        try:
            self.prepared.work()
        except Exception as error:  # noqa: BLE001 - reported on the other thread
            self.error = error


class Rewriter:
    """Write results to labels one after the other; the newest wins.

    Changes are computed on another thread and written on the viewer's thread.
    If the labels have changed in the meantime, they are computed again, until
    a job that is writing leaves enough time or ends.

    Parameters
    ----------
    output : EverythingOutput
        Output of the run.
    apart : callable
        ``apart(job, then)`` runs ``job`` on another thread, then ``then`` on
        the viewer's thread; see `EverythingRuns.apart`.

    Attributes
    ----------
    written : Signal(EverythingResult)
        Emitted after a result was written.
    failed : Signal(str)
        Error message if writing failed.
    """

    written = Signal(object)
    failed = Signal(str)

    def __init__(
        self, output: EverythingOutput, apart: Callable[[Job, Job], None]
    ) -> None:
        self._output = output
        self._apart = apart
        self._attempt: _Attempt | None = None
        self._next: tuple[EverythingResult, Hashable] | None = None

    @property
    def pending(self) -> bool:
        """True if a write is pending."""
        return self._attempt is not None

    def write(self, result: EverythingResult, key: Hashable = None) -> None:
        """Write a result soon, replacing a waiting one.

        Parameters
        ----------
        result : EverythingResult
            Result to write.
        key : hashable
            Consecutive steps of the same key are merged.
        """
        self._next = result, key
        if self._attempt is None:
            self._begin_next()

    def drop(self) -> None:
        """Drop pending writes."""
        self._attempt = self._next = None

    def _begin_next(self) -> None:
        if self._next is not None:
            (result, key), self._next = self._next, None
            self._begin(result, key)

    def _begin(self, result: EverythingResult, key: Hashable) -> None:
        prepared = self._output.prepare(result, key)
        attempt = self._attempt = _Attempt(result, key, prepared)
        self._apart(attempt.work, lambda: self._finish(attempt))

    def _finish(self, attempt: _Attempt) -> None:
        if attempt is not self._attempt:
            return
        self._attempt = None
        try:
            done = self._done(attempt)
        except Exception as error:  # noqa: BLE001 - every failure is reported
            self.failed.emit(explain(error))
        else:
            if done:
                self.written.emit(attempt.result)
            elif self._next is None:
                self._begin(attempt.result, attempt.key)
                return
        # listeners may have requested another write, or dropped it
        if self._attempt is None:
            self._begin_next()

    def _done(self, attempt: _Attempt) -> bool:
        """Write; return False if the changes must be computed again."""
        if attempt.error is not None:
            raise attempt.error
        return self._output.finish(attempt.prepared)
