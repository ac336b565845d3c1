"""How many threads torch computes with, measured and not guessed.

Parallel regions of a small model last microseconds. While another process
takes a core they wait for it, and two threads become many times slower than
one; with a large model on an idle machine all threads win. Which of the two
holds is measured at first use, and again from time to time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

# All threads have to be faster than one by this much to be used: they take
# cores from the viewer, and suffer most from whatever starts next.
WORTHWHILE = 1.25
REPEATS = 2
# Measuring may cost a hundredth of the time, and is fresh for so long.
FRESH_SECONDS = 30.0
FRESH_PER_SECOND_SPENT = 100.0


class ThreadChoice:
    """One thread or all, whichever does a piece of work sooner.

    Parameters
    ----------
    work : callable
        A short piece of what the threads are for.
    clock : callable
        Seconds that never go back.
    """

    def __init__(
        self,
        work: Callable[[], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._work = work
        self._clock = clock
        self._threads = 1
        self._fresh_until = float('-inf')

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Compute with the chosen number of threads inside the block.

        Never more than torch was set to use before.
        """
        most = torch.get_num_threads()
        try:
            if most > 1 and self._clock() >= self._fresh_until:
                self._measure(most)
            torch.set_num_threads(min(self._threads, most))
            yield
        finally:
            torch.set_num_threads(most)

    def _measure(self, most: int) -> None:
        begun = self._clock()
        torch.set_num_threads(1)
        self._work()  # the first run of a shape prepares kernels
        seconds = {1: float('inf'), most: float('inf')}
        for _ in range(REPEATS):
            for threads in seconds:
                torch.set_num_threads(threads)
                start = self._clock()
                self._work()
                spent = self._clock() - start
                seconds[threads] = min(seconds[threads], spent)
        better = seconds[most] * WORTHWHILE < seconds[1]
        self._threads = most if better else 1
        now = self._clock()
        self._fresh_until = now + max(
            FRESH_SECONDS, FRESH_PER_SECOND_SPENT * (now - begun)
        )
