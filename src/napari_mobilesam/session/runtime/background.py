"""Long jobs of a session: one result after the other, until cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from psygnal import Signal

from napari_mobilesam.session.runtime.services import Services

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

Item = TypeVar('Item')


@dataclass(eq=False)
class BackgroundJob(Generic[Item]):
    """What a long job does, and with what comes of it.

    Attributes
    ----------
    items : callable
        ``items(model)`` yields results; runs on the worker thread.
    take : callable
        Takes a result; runs on the viewer's thread.
    end : callable
        ``end(complete)`` is called once, on the viewer's thread, whatever
        happens: when all is done, cancelled or failed.
    total : int
        Number of results at most, for progress.
    title : str
        What people call it, for messages.
    """

    items: Callable[[Sam], Iterator[Item]]
    take: Callable[[Item], None]
    end: Callable[[bool], None]
    total: int
    title: str
    cancelled: threading.Event = field(default_factory=threading.Event)
    ended: bool = False

    def end_once(self, complete: bool) -> None:
        """End it, unless it has ended."""
        if not self.ended:
            self.ended = True
            self.end(complete)


class Background:
    """Runs long jobs on the worker thread, one at a time.

    Prompts are answered between two results. What was taken before a job is
    cancelled, or fails, is kept.

    Parameters
    ----------
    shared : Services
        What is used of the session.
    whom : str
        For whom messages and progress are.

    Attributes
    ----------
    progress : Signal(int, int, str)
        Results so far, in total, and a line for people.
    """

    progress = Signal(int, int, str)

    def __init__(self, services: Services, topic: str) -> None:
        self._services = services
        self._topic = topic
        self._job: BackgroundJob[object] | None = None

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None and not self._job.ended

    def start(self, job: BackgroundJob[Item], model_name: str) -> None:
        """Begin a job; one that is still under way ends with what it has."""
        self.abandon()
        self._job = job  # type: ignore[assignment]
        self._services.worker.submit(
            self._topic, lambda: self._work(job, model_name)
        )

    def cancel(self) -> None:
        """Stop after the current result, keeping all that was taken."""
        if self._job is not None:
            self._job.cancelled.set()

    def abandon(self) -> None:
        """Stop now: what is on its way is dropped."""
        job, self._job = self._job, None
        if job is not None:
            job.cancelled.set()
            job.end_once(False)

    # below: on the worker thread

    def _work(self, job: BackgroundJob[Item], model_name: str) -> None:
        complete = False
        try:
            model = self._services.load(model_name, self._topic)
            if model is not None:
                complete = self._take_all(job, model)
        except Exception as error:  # noqa: BLE001 - every failure is told
            self._services.fail(error, self._topic)
        self._services.deliver(lambda: job.end_once(complete))

    def _take_all(self, job: BackgroundJob[Item], model: Sam) -> bool:
        for number, item in enumerate(job.items(model), start=1):
            self._deliver(job, item, number)
            self._services.worker.serve('prompts')
            if job.cancelled.is_set():
                return False
        return True

    def _deliver(
        self, job: BackgroundJob[Item], item: Item, number: int
    ) -> None:
        def take() -> None:
            if not job.ended:
                job.take(item)
                self.progress.emit(
                    number, job.total, f'{job.title} {number} of {job.total}'
                )

        self._services.deliver(take)
