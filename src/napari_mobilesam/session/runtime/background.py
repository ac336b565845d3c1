"""Long jobs of a session that yield results until cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from psygnal import Signal

from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
)
from napari_mobilesam.session.runtime.services import Services

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

Item = TypeVar('Item')


@dataclass(eq=False)
class BackgroundJob(BackgroundRun, Generic[Item]):
    """A long job that yields results one after the other.

    Attributes
    ----------
    items : callable
        ``items(engine, model)`` yields results; runs on the worker thread.
    take : callable
        Takes a result; runs on the viewer's thread.
    end : callable
        ``end(complete)`` is called once, on the viewer's thread, when the job
        has completed, was cancelled or failed.
    total : int
        Maximum number of results, for progress.
    title : str
        Name of a result in messages: ``'Object'``.
    """

    items: Callable[[Engine, Sam], Iterator[Item]]
    take: Callable[[Item], None]
    end: Callable[[bool], None]
    total: int
    title: str


class Background:
    """Run long jobs on the worker thread, one at a time.

    Prompts are answered between results. Results taken before a job is
    cancelled or fails are kept.

    Parameters
    ----------
    services : Services
        Worker, engine and messages of the session.
    topic : str
        Topic of messages.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Results so far, number in total, and a message.
    """

    progress = Signal(int, int, str)

    def __init__(self, services: Services, topic: str) -> None:
        self._services = services
        self._topic = topic
        self._jobs = LatestRun[BackgroundJob[Any]](services.deliver)

    @property
    def running(self) -> bool:
        """True if a job is running."""
        return self._jobs.current is not None

    def start(self, job: BackgroundJob[Item]) -> None:
        """Start a job; a running job ends with its results so far."""
        self.abandon()
        self._jobs.start(job)
        model_name = self._services.models.name
        self._services.worker.submit(
            self._topic, lambda: self._work(job, model_name)
        )

    def cancel(self) -> None:
        """Stop after the current result, keeping all results."""
        self._jobs.cancel()

    def abandon(self) -> None:
        """Stop now; results on their way are dropped."""
        job = self._jobs.current
        self._jobs.drop()
        if job is not None:
            job.end(False)

    def fail(self, error: Exception, then: Callable[[], None]) -> None:
        """Report an error, then call a function."""
        self._services.models.fail(error, self._topic)
        self._services.deliver(then)

    # below: on the worker thread

    def _work(self, job: BackgroundJob[Item], model_name: str) -> None:
        complete = False
        try:
            model = self._services.models.load(model_name, self._topic)
            if model is not None:
                complete = self._take_all(job, model)
        except BaseException as error:  # noqa: BLE001 - SystemExit, too
            self._services.models.fail(error, self._topic)
        self._jobs.finish(job, job.end, complete)

    def _take_all(self, job: BackgroundJob[Item], model: Sam) -> bool:
        cancelled = self._services.between_steps(job)
        items = job.items(self._services.engine, model)
        for number, item in enumerate(items, start=1):
            self._deliver(job, item, number)
            if cancelled():
                return False
        return True

    def _deliver(
        self, job: BackgroundJob[Item], item: Item, number: int
    ) -> None:
        def take() -> None:
            job.take(item)
            self.progress.emit(
                number, job.total, f'{job.title} {number} of {job.total}'
            )

        self._jobs.tell(job, take)
