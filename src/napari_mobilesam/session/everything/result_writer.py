"""Write the objects of a run without blocking the viewer."""

from __future__ import annotations

from collections.abc import Callable, Hashable

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


class ResultWriter:
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
        self._current: PreparedWrite | None = None
        self._next: tuple[EverythingResult, Hashable] | None = None

    @property
    def pending(self) -> bool:
        """True if a write is pending."""
        return self._current is not None

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
        if self._current is None:
            self._begin_next()

    def drop(self) -> None:
        """Drop pending writes."""
        self._current = self._next = None

    def _begin_next(self) -> None:
        following, self._next = self._next, None
        if following is not None:
            prepared = self._current = self._output.prepare(*following)
            self._apart(prepared.work, lambda: self._finish(prepared))

    def _finish(self, prepared: PreparedWrite) -> None:
        if prepared is not self._current:
            return
        self._current = None
        try:
            done = self._output.finish(prepared)
        except Exception as error:  # noqa: BLE001 - every failure is reported
            self.failed.emit(explain(error))
        else:
            if done:
                self.written.emit(prepared.result)
            elif self._next is None:
                # the labels have changed: the changes are computed again
                self._next = prepared.result, prepared.key
        # listeners may have requested another write, or dropped it
        if self._current is None:
            self._begin_next()
