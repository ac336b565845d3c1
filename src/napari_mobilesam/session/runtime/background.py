"""Long jobs of a session that yield answers until cancelled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from psygnal import Signal

from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
)
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.time_left import TimeLeft

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

Answer = TypeVar('Answer')


class BackgroundJob(ABC, Generic[Answer]):
    """A long job that yields answers one after the other.

    Attributes
    ----------
    title : str
        Name of an answer in messages.
    """

    title: ClassVar[str] = 'Object'

    @property
    @abstractmethod
    def total(self) -> int:
        """Maximum number of answers, for progress."""

    @abstractmethod
    def answers(self, engine: Engine, model: Sam) -> Iterator[Answer]:
        """Yield the answers of the model, on the worker thread."""

    @abstractmethod
    def take(self, answer: Answer) -> None:
        """Take an answer, on the viewer's thread."""


@dataclass(eq=False)
class _JobRun(BackgroundRun):
    job: BackgroundJob[Any]
    end: Callable[[bool], None]
    time_left: TimeLeft = field(default_factory=TimeLeft)


class Background:
    """Run long jobs on the worker thread, one at a time.

    Prompts are answered in between. Answers taken before a job is cancelled or
    fails are kept.

    Parameters
    ----------
    services : Services
        Worker, engine and messages of the session.
    topic : str
        Topic of messages.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Answers so far, number in total, and a message with the time left.
    """

    progress = Signal(int, int, str)

    def __init__(self, services: Services, topic: str) -> None:
        self._services = services
        self._topic = topic
        self._runs = LatestRun[_JobRun](services.deliver)

    @property
    def running(self) -> bool:
        """True if a job is running."""
        return self._runs.current is not None

    def start(
        self, job: BackgroundJob[Any], end: Callable[[bool], None]
    ) -> None:
        """Start a job; a running job ends with its answers so far.

        Parameters
        ----------
        job : BackgroundJob
            The job.
        end : callable
            ``end(complete)`` is called once, on the viewer's thread, when the
            job has completed, was cancelled or failed.
        """
        self.abandon()
        run = self._runs.start(_JobRun(job, end))
        model_name = self._services.models.name
        self._services.worker.submit(
            self._topic, lambda: self._work(run, model_name)
        )

    def cancel(self) -> None:
        """Stop after the current answer, keeping all answers."""
        self._runs.cancel()

    def abandon(self) -> None:
        """Stop now; answers on their way are dropped."""
        run = self._runs.current
        self._runs.drop()
        if run is not None:
            run.end(False)

    def fail(self, error: Exception, then: Callable[[], None]) -> None:
        """Report an error, then call a function."""
        self._services.models.fail(error, self._topic)
        self._services.deliver(then)

    # below: on the worker thread

    def _work(self, run: _JobRun, model_name: str) -> None:
        complete = False
        try:
            model = self._services.models.load(model_name, self._topic)
            if model is not None:
                complete = self._take_all(run, model)
        except BaseException as error:  # noqa: BLE001 - SystemExit, too
            self._services.models.fail(error, self._topic)
        self._runs.finish(run, run.end, complete)

    def _take_all(self, run: _JobRun, model: Sam) -> bool:
        cancelled = self._services.between_steps(run)
        answers = run.job.answers(self._services.engine, model)
        run.time_left(0, run.job.total)
        for number, answer in enumerate(answers, start=1):
            self._runs.tell(run, self._take, run, answer, number)
            if cancelled():
                return False
        return True

    # below: on the viewer's thread

    def _take(self, run: _JobRun, answer: Any, number: int) -> None:
        run.job.take(answer)
        title, total = run.job.title, run.job.total
        left = run.time_left.text(number, total)
        self.progress.emit(number, total, f'{title} {number} of {total}{left}')
