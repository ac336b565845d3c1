"""Estimate of the remaining time from the pace of the last steps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from napari_mobilesam.text import duration

# Number of steps over which the speed is measured.
RECENT = 24
# Default seconds before the first estimate.
LEAST_SECONDS = 2.0


class TimeLeft:
    """Estimate the seconds left from the steps done.

    Only recent steps count: empty ones, and those done by an earlier run, take
    no time and say nothing about the others.

    Parameters
    ----------
    clock : callable
        Returns seconds.
    recent : int or None
        Number of steps that count; None for all of a phase, if some steps take
        much longer than others.
    least_share : float
        Share of all steps before the first estimate.
    least_seconds : float
        Seconds before the first estimate.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        recent: int | None = RECENT,
        least_share: float = 0.0,
        least_seconds: float = LEAST_SECONDS,
    ) -> None:
        self._clock = clock
        self._least_seconds = least_seconds
        self._least_share = least_share
        self._steps: deque[tuple[float, int]] = deque(maxlen=recent)

    def __call__(self, done: int, total: int) -> float | None:
        """Return the seconds left, or None if unknown.

        Parameters
        ----------
        done, total : int
            Steps.
        """
        now = self._clock()
        if self._steps and done < self._steps[-1][1]:
            self._steps.clear()  # a new phase has begun
        if not self._steps or done != self._steps[-1][1]:
            self._steps.append((now, done))
        start, before = self._steps[0]
        if done <= before or now - start < self._least_seconds:
            return None
        if done - before < self._least_share * total:
            return None
        last, _ = self._steps[-1]
        # the step in progress counts once it takes longer than the others
        count = done - before
        pace = max((last - start) / count, (now - start) / (count + 1))
        return (total - done) * pace

    def text(self, done: int, total: int) -> str:
        """Return ``', about 20 s left'``, or '' if unknown or done."""
        seconds = self(done, total)
        if seconds is None or done >= total:
            return ''
        return f', about {duration(seconds)} left'
