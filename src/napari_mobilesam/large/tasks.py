"""Execution of many tasks on few workers.

A bounded number of tasks is in flight, and failed ones are retried; memory
depends neither on the number of tasks nor on their results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, Generic, NamedTuple, TypeVar

from napari_mobilesam.large.executors import TaskWorkers
from napari_mobilesam.large.journal import StorageError

Task = TypeVar('Task')
Result = TypeVar('Result')

RETRIES = 2
# Maximum number of worker deaths without a finished task in between.
MOST_DEATHS = 6
# Interval at which a waiting run checks for cancellation.
WAIT_SECONDS = 0.2


class Outcome(NamedTuple, Generic[Task, Result]):
    """Result of a task, or its last error."""

    task: Task
    result: Result | None
    error: BaseException | None


class _Entry(NamedTuple):
    """A task, how often it has failed, and whether it must run alone."""

    task: Any
    failures: int = 0
    suspect: bool = False


class _TaskQueue:
    """Tasks waiting and in flight; see `run_tasks`."""

    def __init__(self, workers: TaskWorkers, tasks: Iterable[Any]) -> None:
        self._workers = workers
        self._fresh = iter(tasks)
        self._again: deque[_Entry] = deque()
        # In flight when a worker died; one of them may be the cause.
        self._suspects: deque[_Entry] = deque()
        self._running: dict[Future[Any], _Entry] = {}
        self._deaths = 0

    def fill(self) -> None:
        """Start as many tasks as allowed, suspects one at a time."""
        while len(self._running) < self._workers.in_flight:
            if any(entry.suspect for entry in self._running.values()) or (
                self._suspects and self._running
            ):
                return
            entry = self._next()
            if entry is None:
                return
            try:
                future = self._workers.submit(entry.task)
            except BrokenExecutor:
                self._suspects.append(entry._replace(suspect=True))
                self._recover()
                return
            self._running[future] = entry

    def _next(self) -> _Entry | None:
        for queue in (self._suspects, self._again):
            if queue:
                return queue.popleft()
        for task in self._fresh:
            return _Entry(task)
        return None

    def drop(self) -> None:
        """Cancel the tasks that have not started."""
        for future in [f for f in self._running if f.cancel()]:
            del self._running[future]

    def collect(self) -> Iterator[Outcome[Any, Any]]:
        """Wait briefly and return the outcomes of finished tasks."""
        ended, _ = wait(self._running, WAIT_SECONDS, FIRST_COMPLETED)
        alone = len(self._running) == 1
        died = False
        for future in ended:
            entry = self._running.pop(future)
            if future.cancelled():
                self._again.append(entry)
                continue
            error = future.exception()
            if error is None:
                self._deaths = 0
                yield Outcome(entry.task, future.result(), None)
            elif isinstance(error, StorageError):
                raise error
            elif isinstance(error, BrokenExecutor):
                died = True
                suspect = entry._replace(suspect=True)
                if alone:
                    yield from self._failed(suspect, error, self._suspects)
                else:
                    self._suspects.append(suspect)
            else:
                yield from self._failed(entry, error, self._again)
        if died:
            self._recover()

    def _failed(
        self, entry: _Entry, error: BaseException, queue: deque[_Entry]
    ) -> Iterator[Outcome[Any, Any]]:
        if entry.failures >= RETRIES:
            yield Outcome(entry.task, None, error)
        else:
            queue.append(entry._replace(failures=entry.failures + 1))

    def _recover(self) -> None:
        """Restart workers; retry the tasks in flight one by one."""
        self._deaths += 1
        if self._deaths > MOST_DEATHS:
            raise RuntimeError(
                f'Workers died {self._deaths} times in a row: out of memory, '
                'or they cannot start, as where a script has nothing below '
                "if __name__ == '__main__'. Run with fewer workers, or with "
                'executor="threads" to see the error.'
            )
        self._suspects.extend(
            entry._replace(suspect=True) for entry in self._running.values()
        )
        self._running.clear()
        self._workers.restart()

    @property
    def idle(self) -> bool:
        """True if no task is in flight."""
        return not self._running


def run_tasks(
    workers: TaskWorkers,
    tasks: Iterable[Task],
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome[Task, Any]]:
    """Run tasks in any order, a bounded number at a time.

    A failed task is retried twice. If a worker process dies, the tasks in
    flight are retried one by one, to identify a task that kills its worker.

    Parameters
    ----------
    workers : TaskWorkers
        Workers from `open_workers`.
    tasks : iterable
        Tasks, consumed only as fast as they are completed.
    cancelled : callable
        Called between tasks; if True, the run ends once started tasks are
        done.

    Yields
    ------
    Outcome
        Outcome of each task, in order of completion.

    Raises
    ------
    StorageError
        If records cannot be written, as further tasks would fail, too.
    RuntimeError
        If workers keep dying.
    """
    run = _TaskQueue(workers, tasks)
    while True:
        if cancelled():
            run.drop()
        else:
            run.fill()
        if run.idle:
            return
        yield from run.collect()
