"""One interface to threads, processes and Dask clusters.

Each kind is a `TaskWorkers`: it receives the work (a picklable callable) once
and tasks one by one, and returns ordinary futures.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import ExitStack, closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from napari_mobilesam.extra import need
from napari_mobilesam.types import SegmentationError

Work = Callable[[Any], Any]

logger = logging.getLogger(__name__)

KINDS = ('threads', 'serial', 'processes')
# Tasks in flight per worker: one running, one waiting.
IN_FLIGHT = 2
# Larger work is sent to each worker of a cluster once, before its tasks.
TRAVELS_WITH_TASKS = 1 << 20
# Interval at which the workers of a cluster are counted.
RECOUNT_SECONDS = 10.0


class TaskWorkers(Protocol):
    """Pool of workers that run tasks.

    Attributes
    ----------
    in_flight : int
        Maximum number of tasks running or waiting at a time.
    """

    @property
    def in_flight(self) -> int: ...

    def submit(self, task: Any) -> Future[Any]:
        """Start a task."""
        ...

    def restart(self) -> None:
        """Replace the workers after one has died."""
        ...

    def close(self) -> None:
        """Cancel pending tasks and wait for running ones."""
        ...


class SerialWorkers:
    """Run each task at once, on the calling thread."""

    in_flight = 1

    def __init__(self, work: Work) -> None:
        self._work = work

    def submit(self, task: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(self._work(task))
        # An exception is the outcome of its task, as on other workers.
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future

    def restart(self) -> None:
        """Do nothing: the calling thread cannot die."""

    def close(self) -> None:
        """Do nothing: no task is running."""


class ThreadWorkers:
    """Threads of this process, which share the model."""

    def __init__(self, work: Work, count: int) -> None:
        self.in_flight = IN_FLIGHT * count
        self._work = work
        self._pool: Executor = ThreadPoolExecutor(count, 'large')

    def submit(self, task: Any) -> Future[Any]:
        return self._pool.submit(self._work, task)

    def restart(self) -> None:
        """Do nothing: a thread dies with its process."""

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class ProcessWorkers:
    """Processes on this machine; the work is sent to each of them once."""

    def __init__(self, work: Work, count: int) -> None:
        self.in_flight = IN_FLIGHT * count
        self._count = count
        # via a file: if a worker dies before it has read a large work item,
        # such as an image in memory, this process would wait forever
        self._folder = tempfile.TemporaryDirectory(prefix='napari-mobilesam-')
        self._file = Path(self._folder.name) / 'work.pickle'
        self._file.write_bytes(pickle.dumps(work))
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._count,
            # Forking a process with threads, such as those of torch and Qt,
            # hangs.
            multiprocessing.get_context('spawn'),
            initializer=_Installed.install,
            initargs=(self._file,),
        )

    def submit(self, task: Any) -> Future[Any]:
        return self._pool.submit(_Installed.do, task)

    def restart(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._pool = self._start()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._folder.cleanup()


class _Installed:
    """Holder of the work in a worker process."""

    work: Work

    @classmethod
    def install(cls, file: Path) -> None:
        # A terminal sends Ctrl-C to all processes; only the main process
        # handles it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        cls.work = pickle.loads(file.read_bytes())

    @classmethod
    def do(cls, task: Any) -> Any:
        return cls.work(task)


class DaskWorkers:
    """Dask cluster, whose scheduler replaces workers that die.

    Raises
    ------
    SegmentationError
        On any use, if the cluster does not answer.
    """

    def __init__(self, work: Work, client: Any) -> None:
        self._client = client
        self._pool = client.get_executor(pure=False, retries=0)
        self._in_flight = 0
        self._counted = float('-inf')
        # Use a new name, so that workers reopen the files for each run.
        self._sent = pickle.dumps((secrets.token_hex(8), work))
        if len(self._sent) > TRAVELS_WITH_TASKS:
            # An image in memory: one copy per worker until the run ends.
            with _cluster_answers():
                self._sent = client.scatter(work, broadcast=True, hash=False)

    @property
    def in_flight(self) -> int:
        """Maximum number of tasks at a time, given the size of the cluster."""
        if time.monotonic() > self._counted + RECOUNT_SECONDS:
            with _cluster_answers():
                threads = sum(self._client.nthreads().values())
            if not (threads or self._in_flight):
                logger.warning(
                    'The Dask cluster has no worker yet; the tiles wait until '
                    'one is started.'
                )
            self._in_flight = IN_FLIGHT * max(1, threads)
            self._counted = time.monotonic()
        return self._in_flight

    def submit(self, task: Any) -> Future[Any]:
        with _cluster_answers():
            future: Future[Any] = self._pool.submit(_call, self._sent, task)
        return future

    def restart(self) -> None:
        """Do nothing: the scheduler replaces its workers."""

    def close(self) -> None:
        self._pool.shutdown(wait=True)


@contextmanager
def _cluster_answers() -> Iterator[None]:
    """Raise an error that says what to do if a cluster does not answer."""
    try:
        yield
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise SegmentationError(
            f'The Dask cluster does not answer ({reason}). Tiles '
            'that are done are kept: start a cluster with workers, and run '
            'again.'
        ) from error


def _call(sent: bytes | Work, task: Any) -> Any:
    work = _unpacked(sent) if isinstance(sent, bytes) else sent
    return work(task)


@lru_cache(maxsize=2)
def _unpacked(packed: bytes) -> Work:
    """Return the work of a worker, unpacked once."""
    work: Work
    _, work = pickle.loads(packed)
    return work


@contextmanager
def open_workers(
    executor: Any, work: Work, count: int | None = None
) -> Iterator[TaskWorkers]:
    """Start workers, and shut them down on exit.

    Parameters
    ----------
    executor : str or distributed.Client
        ``'threads'``, ``'processes'``, ``'serial'``, the address of a Dask
        scheduler, or its client.
    work : callable
        Function that runs a task; picklable, except for threads.
    count : int, optional
        Number of threads or processes; by default the number of cores. Ignored
        for a cluster.

    Raises
    ------
    SegmentationError
        If the executor is unknown, or the count is below 1.
    ImportError
        If Dask is requested but not installed.
    """
    check_executor(executor)
    if count is not None and count < 1:
        raise SegmentationError(f'workers is {count}; give 1 or more.')
    chosen = count or available_cores()
    workers: TaskWorkers
    with ExitStack() as stack:
        if executor == 'serial':
            workers = SerialWorkers(work)
        elif executor == 'threads':
            workers = ThreadWorkers(work, chosen)
        elif executor == 'processes':
            workers = ProcessWorkers(work, chosen)
        elif isinstance(executor, str) and ':' in executor:
            client = stack.enter_context(closing(_connect(executor)))
            workers = DaskWorkers(work, client)
        else:
            workers = DaskWorkers(work, executor)
        yield stack.enter_context(closing(workers))


def check_executor(executor: Any) -> None:
    """Raise `SegmentationError` for an unknown executor.

    And in a worker that imports the script that has started it.
    """
    # as multiprocessing itself detects it
    inherits = getattr(multiprocessing.current_process(), '_inheriting', False)
    if executor == 'processes' and inherits:
        raise SegmentationError(
            'A worker process runs the script that has started it from the '
            'top. Put what the script does below '
            "if __name__ == '__main__':, or use executor='threads'."
        )
    if isinstance(executor, str):
        known = executor in KINDS or ':' in executor
    else:
        known = hasattr(executor, 'get_executor')
    if not known:
        raise SegmentationError(
            f'executor is {executor!r}; give one of {", ".join(KINDS)}, the '
            'address of a Dask scheduler such as tcp://host:8786, or a '
            'distributed.Client.'
        )
    if getattr(executor, 'status', '') in ('closed', 'closing'):
        raise SegmentationError(
            'executor is a Dask client that was closed; give one that is '
            'connected, or the address of its scheduler.'
        )


def is_remote(executor: Any) -> bool:
    """Return True if tasks run in other processes."""
    return executor not in ('serial', 'threads')


def available_cores() -> int:
    """Return the number of cores that this process may use."""
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
