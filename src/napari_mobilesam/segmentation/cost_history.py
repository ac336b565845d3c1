"""Measured cost of past runs, to correct estimates.

The speed of a machine is measured once, possibly while it is idle. Later,
other programs may be running, or an image may need more prompts than average.
Recent runs show both.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

# Half-life of an observation, in seconds.
HALF_LIFE = 180.0
# Maximum number of observations kept.
RECENT = 48
# Seconds of work, or number of runs, that outweigh the prior measurement.
SECONDS_BELIEVED, RUNS_BELIEVED = 0.1, 1.0
# Ratios are clipped to this range.
LEAST, MOST = 1 / 16, 8.0
# Overhead of a run (maps, duplicates, labels) as a share of the time to embed
# all windows: 0.05 to 0.3 where everything is embedded already, least in
# sparse images.
BESIDES = 0.15
# An embedding that took less than this share of its expected time was read
# from disk.
READ = 1 / 8


@dataclass(frozen=True)
class Speed:
    """Seconds that each kind of step takes on this machine.

    Attributes
    ----------
    embedding : float
        Embedding of one window.
    prompt : float
        One prompt in a batch, without drawing its masks.
    mask : float
        Drawing and measuring one mask.
    """

    embedding: float
    prompt: float
    mask: float


@dataclass(frozen=True)
class Work:
    """Amount of work of a run.

    Attributes
    ----------
    prompts : int
        Prompts asked.
    windows : int
        Pixels embedded, in units of the model's input.
    masks_per_prompt : float
        Masks drawn per prompt, on average.
    looked_at : int
        The same with the pixels that were embedded already.
    """

    prompts: int
    windows: int
    masks_per_prompt: float = 0.0
    looked_at: int = 0

    def seconds(self, speed: Speed) -> float:
        """Return the duration at a speed, in seconds."""
        per_prompt = speed.prompt + self.masks_per_prompt * speed.mask
        return self.windows * speed.embedding + self.prompts * per_prompt

    def seconds_of_run(self, speed: Speed) -> float:
        """Return the duration of a run in seconds, overhead included."""
        besides = BESIDES * max(self.looked_at, self.windows)
        return self.seconds(speed) + besides * speed.embedding

    def share_of(self, expected: Work, speed: Speed) -> float:
        """Return the share of a run's time that has passed.

        Parameters
        ----------
        expected : Work
            Expected work of the run. If more has been done, the share stays
            just below 1.
        speed : Speed
            Relative cost of the steps.
        """
        left = replace(
            expected,
            prompts=max(expected.prompts - self.prompts, 1),
            windows=max(expected.windows - self.windows, 0),
        )
        done = self.seconds(speed)
        return done / max(done + left.seconds(speed), 1e-12)


class _Seen(NamedTuple):
    """Observed ratio of actual to expected cost, and its weight."""

    when: float
    what: Hashable
    log: float
    weight: float


class CostHistory:
    """Learn how much more time and work than expected runs take.

    Thread-safe. Older observations count less.

    Parameters
    ----------
    clock : callable
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._times: deque[_Seen] = deque(maxlen=RECENT)
        self._prompts: deque[_Seen] = deque(maxlen=RECENT)
        self._windows: deque[_Seen] = deque(maxlen=RECENT)

    def learn_time(self, expected: float, seconds: float) -> None:
        """Note how long something took.

        Parameters
        ----------
        expected : float
            Seconds expected at the measured speed.
        seconds : float
            Seconds it took.
        """
        self._learn(self._times, None, expected, seconds, weight=expected)

    def learn_embedding(self, expected: float, seconds: float) -> None:
        """Note how long an embedding took, unless it was read from disk."""
        if seconds > READ * expected:
            self.learn_time(expected, seconds)

    def learn_work(self, expected: Work, done: Work, what: Hashable) -> None:
        """Note what a complete run did.

        Parameters
        ----------
        expected : Work
            Average work of such runs.
        done : Work
            Work done.
        what : hashable
            Identifies its image and parameters.
        """
        self._learn(self._prompts, what, expected.prompts, done.prompts)
        self._learn(self._windows, what, expected.windows, done.windows)

    @property
    def pace(self) -> float:
        """Ratio of actual to measured duration."""
        return self._ratio(self._times, SECONDS_BELIEVED)

    def work(self, expected: Work, what: Hashable) -> Work:
        """Return the expected work of a run.

        The same image with the same parameters needs what it needed before;
        otherwise recent runs serve as a guide.
        """
        prompts, windows = (
            self._ratio(seen, RUNS_BELIEVED, what)
            for seen in (self._prompts, self._windows)
        )
        return replace(
            expected,
            prompts=max(1, round(prompts * expected.prompts)),
            windows=math.ceil(windows * expected.windows),
        )

    def _learn(
        self,
        seen: deque[_Seen],
        what: Hashable,
        expected: float,
        real: float,
        weight: float = 1.0,
    ) -> None:
        if expected <= 0 or real <= 0:
            return
        ratio = min(MOST, max(LEAST, real / expected))
        with self._lock:
            seen.append(_Seen(self._clock(), what, math.log(ratio), weight))

    def _ratio(
        self, seen: deque[_Seen], believed: float, what: Hashable = None
    ) -> float:
        with self._lock:
            known, now = list(seen), self._clock()
        same = [one for one in known if what is not None and one.what == what]
        if same:
            return math.exp(same[-1].log)
        return math.exp(_mean(known, now, believed))


def _mean(seen: Iterable[_Seen], now: float, believed: float) -> float:
    """Return the mean of the logarithms, shrunk towards zero by the prior."""
    total, weights = 0.0, believed
    for one in seen:
        weight = one.weight * 0.5 ** ((now - one.when) / HALF_LIFE)
        total += weight * one.log
        weights += weight
    return total / weights
