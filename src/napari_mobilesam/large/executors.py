"""One way to run tasks on threads, processes, or a Dask cluster.

Each kind of worker is a `Workers`: it takes the work (a picklable callable)
once and tasks one by one, and hands out ordinary futures. `run_tasks` keeps a
bounded number of them in flight and tries again what failed, so that neither
the number of tasks nor what they return adds up anywhere.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from napari_mobilesam.large.extra import need
from napari_mobilesam.large.journal import StorageError
from napari_mobilesam.types import SegmentationError

Task = TypeVar('Task')
Result = TypeVar('Result')
Work = Callable[[Any], Any]

KINDS = ('threads', 'serial', 'processes')
# Tasks in flight per worker: one at work, one waiting.
IN_FLIGHT = 2
RETRIES = 2
# Deaths of workers with no task done in between.
MOST_DEATHS = 6
# How often a run that waits looks whether it was cancelled.
WAIT_SECONDS = 0.2


class Outcome(NamedTuple, Generic[Task, Result]):
    """How a task ended: with a result, or the error it last failed with."""

    task: Task
    result: Result | None
    error: BaseException | None


class Workers(Protocol):
    """Something that does tasks.

    Attributes
    ----------
    in_flight : int
        Tasks that may be begun or wait at a time.
    """

    @property
    def in_flight(self) -> int: ...

    def submit(self, task: Any) -> Future[Any]:
        """Begin a task."""
        ...

    def restart(self) -> None:
        """Replace workers of which one has died."""
        ...

    def close(self) -> None:
        """Let go of what has not begun, and wait for the rest."""
        ...


class SerialWorkers:
    """Does each task at once, on the calling thread."""

    in_flight = 1

    def __init__(self, work: Work) -> None:
        self._work = work

    def submit(self, task: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(self._work(task))
        # Whatever a task fails with is its outcome, as on other workers.
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future

    def restart(self) -> None:
        """Nothing can die here."""

    def close(self) -> None:
        """Nothing is under way here."""


class ThreadWorkers:
    """Threads of this process: they share the model."""

    def __init__(self, work: Work, count: int) -> None:
        self.in_flight = IN_FLIGHT * count
        self._work = work
        self._pool: Executor = ThreadPoolExecutor(count, 'large')

    def submit(self, task: Any) -> Future[Any]:
        return self._pool.submit(self._work, task)

    def restart(self) -> None:
        """Threads do not die alone."""

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class ProcessWorkers:
    """Processes of this machine, each with the work sent to it once."""

    def __init__(self, work: Work, count: int) -> None:
        self.in_flight = IN_FLIGHT * count
        self._count = count
        self._work = work
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._count,
            # Forking a process that has threads, as torch and Qt do, hangs.
            multiprocessing.get_context('spawn'),
            initializer=_Installed.install,
            initargs=(self._work,),
        )

    def submit(self, task: Any) -> Future[Any]:
        return self._pool.submit(_Installed.do, task)

    def restart(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._pool = self._start()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class _Installed:
    """The work of a worker process."""

    work: Work

    @classmethod
    def install(cls, work: Work) -> None:
        cls.work = work

    @classmethod
    def do(cls, task: Any) -> Any:
        return cls.work(task)


class DaskWorkers:
    """A Dask cluster; the scheduler replaces workers that die."""

    def __init__(self, work: Work, client: Any) -> None:
        # One copy per worker, however many tasks it does.
        self._work = client.scatter(work, broadcast=True, hash=False)
        self._pool = client.get_executor(pure=False, retries=0)
        self._client = client

    @property
    def in_flight(self) -> int:
        """Grows and shrinks with the cluster."""
        return IN_FLIGHT * max(1, sum(self._client.nthreads().values()))

    def submit(self, task: Any) -> Future[Any]:
        future: Future[Any] = self._pool.submit(_call, self._work, task)
        return future

    def restart(self) -> None:
        """The scheduler does."""

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._work.release()


def _call(work: Work, task: Any) -> Any:
    return work(task)


@contextmanager
def open_workers(
    executor: Any, work: Work, count: int | None = None
) -> Iterator[Workers]:
    """Start workers and let go of them at the end.

    Parameters
    ----------
    executor : str or distributed.Client
        ``'threads'``, ``'processes'``, ``'serial'``, the address of a Dask
        scheduler, or its client.
    work : callable
        What is done with each task; picklable, but for threads.
    count : int, optional
        Threads or processes; as many as there are cores if None. A cluster
        has its own.

    Raises
    ------
    SegmentationError
        If the executor is none of these, or the count is below 1.
    ImportError
        If Dask is asked for and not installed.
    """
    if count is not None and count < 1:
        raise SegmentationError(f'workers is {count}; give 1 or more.')
    chosen = count or available_cores()
    client = None
    workers: Workers
    if executor == 'serial':
        workers = SerialWorkers(work)
    elif executor == 'threads':
        workers = ThreadWorkers(work, chosen)
    elif executor == 'processes':
        workers = ProcessWorkers(work, chosen)
    elif isinstance(executor, str) and ':' in executor:
        client = _connect(executor)
        workers = DaskWorkers(work, client)
    elif hasattr(executor, 'get_executor'):
        workers = DaskWorkers(work, executor)
    else:
        raise SegmentationError(
            f'executor is {executor!r}; give one of {", ".join(KINDS)}, the '
            'address of a Dask scheduler such as tcp://host:8786, or a '
            'distributed.Client.'
        )
    try:
        yield workers
    finally:
        workers.close()
        if client is not None:
            client.close()


def is_remote(executor: Any) -> bool:
    """Whether tasks leave this process."""
    return executor not in ('serial', 'threads')


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _connect(address: str) -> Any:
    distributed = need('distributed')
    try:
        return distributed.Client(address, timeout='30s')
    except (OSError, TimeoutError) as error:
        raise SegmentationError(
            f'No Dask scheduler answers at {address} ({error}). Start one '
            'with "dask scheduler", or check the address.'
        ) from error


class _Entry(NamedTuple):
    """A task, how often it has failed, and whether it has to run alone."""

    task: Any
    failures: int = 0
    suspect: bool = False


class _Run:
    """Tasks waiting and in flight, see `run_tasks`."""

    def __init__(self, workers: Workers, tasks: Iterable[Any]) -> None:
        self._workers = workers
        self._fresh = iter(tasks)
        self._again: deque[_Entry] = deque()
        # In flight when a worker died: one of them may be why.
        self._suspects: deque[_Entry] = deque()
        self._running: dict[Future[Any], _Entry] = {}
        self._deaths = 0

    def fill(self) -> None:
        """Begin as many tasks as may be in flight; suspects one by one."""
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
        """Let go of tasks that have not begun."""
        for future in [f for f in self._running if f.cancel()]:
            del self._running[future]

    def collect(self) -> Iterator[Outcome[Any, Any]]:
        """Outcomes of what has ended, after waiting a moment for it."""
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
        """Start workers anew; what was in flight is tried one by one."""
        self._deaths += 1
        if self._deaths > MOST_DEATHS:
            raise RuntimeError(
                f'Workers died {self._deaths} times in a row: out of memory, '
                'or they cannot start. Run with fewer workers, or with '
                'executor="threads" to see the error.'
            )
        self._suspects.extend(
            entry._replace(suspect=True) for entry in self._running.values()
        )
        self._running.clear()
        self._workers.restart()

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._running


def run_tasks(
    workers: Workers,
    tasks: Iterable[Task],
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome[Task, Any]]:
    """Do tasks, a bounded number at a time, in any order.

    A task that fails is tried again twice. Where a worker process died, the
    tasks that were in flight are tried one by one, so that one that kills
    its worker is told from the others.

    Parameters
    ----------
    workers : Workers
        Of `open_workers`.
    tasks : iterable
        Read only as fast as tasks are done.
    cancelled : callable
        Asked between tasks; True ends the run when those that have begun are
        done.

    Yields
    ------
    Outcome
        Of each task, in the order in which they end.

    Raises
    ------
    StorageError
        If records cannot be written: more tasks would not fare better.
    RuntimeError
        If workers die again and again.
    """
    run = _Run(workers, tasks)
    while True:
        if cancelled():
            run.drop()
        else:
            run.fill()
        if run.idle:
            return
        yield from run.collect()
