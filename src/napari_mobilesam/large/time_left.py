"""Estimate of the remaining time from the pace of the last steps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# Steps that the speed is measured over.
RECENT = 24
# Seconds before the first estimate, unless others are given.
LEAST_SECONDS = 2.0


class TimeLeft:
    """Estimate the seconds left from the steps done.

    Only recent steps count: those that an earlier run had done, or in which
    there is nothing, pass in no time and say nothing of the others.

    Parameters
    ----------
    clock : callable
        Returns seconds.
    recent : int or None
        Steps that count; all of a phase if None, for steps of which some take
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
        """Seconds left; None as long as nothing can be said.

        Parameters
        ----------
        done, total : int
            Steps.
        """
        now = self._clock()
        if self._steps and done < self._steps[-1][1]:
            self._steps.clear()  # another phase has begun
        if not self._steps or done != self._steps[-1][1]:
            self._steps.append((now, done))
        start, before = self._steps[0]
        if done <= before or now - start < self._least_seconds:
            return None
        if done - before < self._least_share * total:
            return None
        return (total - done) * (now - start) / (done - before)
