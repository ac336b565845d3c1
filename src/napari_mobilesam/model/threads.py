"""Number of torch threads, chosen by measurement.

Parallel regions of a small model last microseconds. While another process uses
a core they wait for it, and two threads become many times slower than one;
with a large model on an idle machine all threads are faster. The better choice
is measured at first use, and again from time to time.

Independent work items need no parallel regions: `ThreadTeam` processes
several at once, each on one thread.

``torch.set_num_threads`` applies to the calling Python thread and to threads
that have not used torch yet; it does not change other threads.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch

from napari_mobilesam.types import SegmentationError

# Minimum speed-up for using more threads, as they take cores from the viewer
# and suffer most when another process starts.
WORTHWHILE = 1.25
# Long parallel regions gain more than short ones: use all threads for them,
# unless short ones become slower by this factor, which means that another
# process has a core.
CONTENDED = 1.25
REPEATS = 2
HOPELESS = 2.0  # slowdown at which measuring stops early
# Seconds for which a measurement is valid, at least and per second spent, so
# that measuring costs at most a hundredth of the time.
FRESH_SECONDS = 10.0
FRESH_PER_SECOND_SPENT = 100.0
# Each worker holds the buffers of a batch of prompts.
MOST_WORKERS = 16

T = TypeVar('T')
R = TypeVar('R')


class ThreadTeam:
    """Thread pool for independent work items, such as batches of prompts.

    Parameters
    ----------
    count : int
        Pieces done at once, each on its own thread; with 1 the calling thread
        does all of them.
    alone : callable
        Context in which the calling thread processes an item.
    """

    def __init__(
        self, count: int, alone: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.count = count
        self._alone = alone

    def map(
        self, function: Callable[[T], R], items: Iterable[T]
    ) -> Iterator[R]:
        """Yield ``function(item)`` for each item, in order.

        The calling thread takes the items, only a few ahead of the result that
        it yields. If the iterator is closed or ``function`` raises, pieces
        that have not begun are dropped, and the others are awaited. Errors are
        raised in order.

        Parameters
        ----------
        function : callable
            Called without gradients and with the number of threads chosen, in
            several threads: it must not change shared data.
        items : iterable
            Items, possibly endless.
        """
        if self.count == 1:
            for item in items:
                with self._alone():
                    result = _without_grad(function, item)
                yield result
            return
        most = torch.get_num_threads()
        waiting: deque[Future[R]] = deque()
        with ThreadPoolExecutor(
            self.count, 'mobilesam-worker', torch.set_num_threads, (1,)
        ) as pool:
            try:
                for item in items:
                    waiting.append(pool.submit(_without_grad, function, item))
                    if len(waiting) == 2 * self.count:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)
                # otherwise new threads would inherit the 1 of the workers
                torch.set_num_threads(most)


@contextmanager
def threads_kept(count: int | None = None) -> Iterator[None]:
    """Restore torch's number of threads on exit, set to ``count`` if given."""
    threads = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Computing:
    """Process in which torch has started its threads."""

    process: int | None = None


def _check_process(threads: int) -> None:
    """Raise an error in a fork of a process that has used torch.

    A fork has none of the threads of its parent, and would wait for them
    forever.

    Raises
    ------
    SegmentationError
        If this process is such a fork.
    """
    if threads == 1:
        return
    if _Computing.process is None:
        _Computing.process = os.getpid()
    elif _Computing.process != os.getpid():
        raise SegmentationError(
            'This process was forked from one that has already used a model, '
            'and lacks its threads: start processes with '
            "multiprocessing.get_context('spawn'), or use the model only in "
            'the new processes.'
        )


def _without_grad(function: Callable[[T], R], item: T) -> R:
    with torch.no_grad():
        return function(item)


class ThreadChoice:
    """Choice between one thread, all threads or several workers, by speed.

    Parameters
    ----------
    work : callable
        A short sample of the work.
    clock : callable
        Monotonic clock in seconds.
    """

    def __init__(
        self,
        work: Callable[[], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._work = work
        self._clock = clock
        self._threads = 1
        self._threads_if_long = 1
        self._threads_fresh_until = float('-inf')
        self._workers = 1
        self._workers_fresh_until = float('-inf')

    @contextmanager
    def apply(self, long: bool = False) -> Iterator[None]:
        """Use the chosen number of threads inside the context.

        It never exceeds the previous setting of torch.

        Parameters
        ----------
        long : bool
            Whether parallel regions take milliseconds, like those of an image
            encoder, rather than microseconds, like those of ``work``.
        """
        most = torch.get_num_threads()
        _check_process(most)
        try:
            if most > 1 and self._clock() >= self._threads_fresh_until:
                self._measure_threads(most)
            chosen = self._threads_if_long if long else self._threads
            torch.set_num_threads(min(chosen, most))
            yield
        finally:
            torch.set_num_threads(most)

    def workers(self) -> ThreadTeam:
        """Return the fastest thread pool, which may be the calling thread.

        Its size never exceeds the number of threads that torch is set to use.
        """
        most = min(torch.get_num_threads(), MOST_WORKERS)
        _check_process(most)
        if most > 1 and self._clock() >= self._workers_fresh_until:
            self._measure_workers(most)
        return ThreadTeam(min(self._workers, most), self.apply)

    def _measure_threads(self, most: int) -> None:
        def work(threads: int) -> None:
            torch.set_num_threads(threads)
            self._work()

        begun = self._clock()
        work(1)  # the first run of a shape prepares kernels
        gain = self._gain(work, most)
        self._threads = most if gain > WORTHWHILE else 1
        self._threads_if_long = most if gain > 1 / CONTENDED else 1
        self._threads_fresh_until = self._fresh_since(begun)

    def _measure_workers(self, most: int) -> None:
        def work(count: int) -> None:
            pieces = ThreadTeam(count, self.apply)
            deque(pieces.map(lambda _: self._work(), range(most)), maxlen=0)

        begun = self._clock()
        self._workers = most if self._gain(work, most) > WORTHWHILE else 1
        self._workers_fresh_until = self._fresh_since(begun)

    def _gain(self, work: Callable[[int], None], most: int) -> float:
        """Measure the speed of ``most`` threads relative to one."""
        seconds = {1: float('inf'), most: float('inf')}
        for _ in range(REPEATS):
            for count in seconds:
                start = self._clock()
                work(count)
                spent = self._clock() - start
                seconds[count] = min(seconds[count], spent)
            if seconds[most] > HOPELESS * seconds[1]:
                break
        return seconds[1] / max(seconds[most], 1e-9)

    def _fresh_since(self, begun: float) -> float:
        now = self._clock()
        return now + max(FRESH_SECONDS, FRESH_PER_SECOND_SPENT * (now - begun))
