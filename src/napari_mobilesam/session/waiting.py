"""Blocking commands: wait for an answer, or raise the reported error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_mobilesam.types import SegmentationError

# topic of errors from saving in the background
SAVING = 'saving'

if TYPE_CHECKING:
    from psygnal import SignalInstance


class Waiter:
    """Wait for the answers of a session.

    Parameters
    ----------
    failed : SignalInstance
        Signal ``(message, topic)`` of errors.
    finish : callable
        Blocks until all requests are answered.
    """

    def __init__(
        self, failed: SignalInstance, finish: Callable[[], bool]
    ) -> None:
        self._failed = failed
        self._finish = finish

    def finish(self) -> None:
        """Wait for all answers.

        Raises
        ------
        SegmentationError
            The first error reported while waiting. Errors from saving in the
            background belong to no command.
        """
        problems: list[str] = []

        def note(text: str, topic: str) -> None:
            if topic != SAVING:
                problems.append(text)

        self._failed.connect(note)
        try:
            self._finish()
        finally:
            self._failed.disconnect(note)
        if problems:
            raise SegmentationError(problems[0])

    def answer(self, signal: SignalInstance, start: Callable[[], None]) -> Any:
        """Start a job and return the result emitted by a signal.

        Parameters
        ----------
        signal : SignalInstance
            Emitted with the result when the job is finished.
        start : callable
            Starts the job.

        Raises
        ------
        SegmentationError
            The job failed.
        """
        answers: list[Any] = []
        signal.connect(answers.append)
        try:
            start()
            self.finish()
        finally:
            signal.disconnect(answers.append)
        return answers[0]
