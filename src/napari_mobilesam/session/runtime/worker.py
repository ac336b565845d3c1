"""Background thread on which the newest request of each kind wins."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Job = Callable[[], None]

# Kinds of jobs that answer prompts: longer jobs run them between steps.
PROMPT_JOBS = ('accepted', 'prompts')
# Everything the user waits for.
USER_JOBS = (*PROMPT_JOBS, 'expected', 'hover')

# Kinds of the jobs of `LatestWorker.keep`.
KEPT = 'kept '

_log = logging.getLogger(__name__)


class LatestWorker:
    """Run jobs on one thread; newer jobs replace waiting ones.

    Each kind of job has a queue of length one. Fifteen requests made while one
    runs therefore cost one further run, not fifteen, and no debouncing is
    needed. Jobs of a lower rank go first, then those of the kind that has
    waited longest. The first job starts the thread, and `close` ends it.

    Parameters
    ----------
    name : str
        Prefix of the thread name, for debugging.
    """

    def __init__(self, name: str = 'napari-mobilesam') -> None:
        self._name = name
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[int, Job]] = {}
        self._running = False
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, kind: str, job: Job, rank: int = 0) -> None:
        """Run ``job`` soon, replacing a waiting job of the same kind.

        Parameters
        ----------
        kind : str
            Kind of the job; it replaces a waiting job of this kind.
        job : callable
            The job; it reports its own errors.
        rank : int
            0 for jobs the user waits for; jobs of a higher rank only run when
            none of a lower rank is waiting.
        """
        with self._changed:
            self._waiting[kind] = rank, job
            if self._running:
                return
            self._running = True
            if self._executor is None:
                self._executor = ThreadPoolExecutor(
                    1, thread_name_prefix=self._name
                )
            try:
                self._executor.submit(self._drain)
            except RuntimeError:
                # the interpreter is shutting down: nobody waits for the answer
                self._waiting.clear()
                self._running = False
                self._changed.notify_all()

    def keep(self, job: Job) -> None:
        """Run ``job`` whatever else is requested, even after `close`.

        This is for writing files: no job replaces another.
        """
        self.submit(f'{KEPT}{next(self._numbers)}', job)

    def resume(self, kind: str, job: Job, rank: int = 0) -> None:
        """Run the rest of a job after the waiting ones; see `submit`.

        It is dropped if a newer job of its kind is waiting.
        """
        with self._changed:
            if kind not in self._waiting:
                self.submit(kind, job, rank)

    def discard(self, kind: str) -> None:
        """Drop the waiting job of a kind; a running job is not stopped."""
        with self._changed:
            self._waiting.pop(kind, None)

    def waits(self, below: int) -> bool:
        """Return whether a job of a lower rank is waiting."""
        with self._changed:
            return any(rank < below for rank, _ in self._waiting.values())

    def serve(self, kind: str) -> None:
        """Run the waiting job of a kind now, from inside a longer job.

        A long job calls this between its steps, so that a click need not wait
        for minutes. Call it only on the worker's own thread.
        """
        with self._changed:
            waiting = self._waiting.pop(kind, None)
        if waiting is not None:
            self._run(waiting[1])

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing runs or waits; return False on timeout."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._running, timeout=timeout
            )

    def close(self) -> None:
        """End the thread after the running job and those of `keep`.

        Other waiting jobs are dropped.
        """
        with self._changed:
            for kind in list(self._waiting):
                if not kind.startswith(KEPT):
                    del self._waiting[kind]
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def _drain(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._running = False
                    self._changed.notify_all()
                    return
                # dicts keep insertion order, and min the first of equals
                kind = min(self._waiting, key=lambda k: self._waiting[k][0])
                _, job = self._waiting.pop(kind)
            self._run(job)

    @staticmethod
    def _run(job: Job) -> None:
        try:
            job()
        except BaseException:  # noqa: BLE001 - SystemExit, panics of Rust
            # jobs report their own errors; if that fails, the thread, and with
            # it all later requests, must survive
            _log.exception('A background job of napari-mobilesam failed')


class SupersededError(Exception):
    """The result of a job is no longer needed."""


def serve_between(
    worker: LatestWorker, superseded: Callable[[], bool]
) -> Callable[[], None]:
    """Return a function for a longer job to call between its steps.

    It runs, on the worker's thread, what the user waits for. It then raises
    `SupersededError` if ``superseded`` returns True, to stop the job.
    """
    serving = False

    def between() -> None:
        nonlocal serving
        # a job served here has steps, too
        if serving:
            return
        serving = True
        try:
            for kind in USER_JOBS:
                worker.serve(kind)
        finally:
            serving = False
        if superseded():
            raise SupersededError

    return between
