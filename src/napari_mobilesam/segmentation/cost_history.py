"""Measured cost of runs, to correct estimates.

The speed of a machine is measured once, when it may be idle. Meanwhile other
work may have begun, and an image may need more prompts than images do on
average. Both show in what was done last.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

# Of what happened so many seconds ago half as much is believed.
HALF_LIFE = 180.0
# What is remembered at the most.
RECENT = 48
# Seconds of work, or runs, that outweigh what was measured or is usual.
SECONDS_BELIEVED, RUNS_BELIEVED = 0.1, 1.0
# Ratios beyond these are taken for these.
LEAST, MOST = 1 / 4, 8.0
# What a run does besides, such as maps, duplicates and labels, takes this
# share of embedding all windows: 0.2 s for the sample nuclei and 5 s for a
# mosaic of 2,600² pixels of them, with everything embedded.
BESIDES = 0.35
# An embedding that took a smaller share of its time was read from a disk.
READ = 1 / 8


@dataclass(frozen=True)
class Speed:
    """Seconds that each kind of step takes on this machine.

    Attributes
    ----------
    embedding : float
        Embedding of one window.
    prompt : float
        One prompt, asked with others, whose masks are not drawn.
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
        Windows embedded.
    masks_per_prompt : float
        Masks drawn per prompt, on average.
    looked_at : int
        Windows of the run, also those that are embedded already.
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
        """Return the duration of a run, with what it does besides."""
        besides = BESIDES * max(self.looked_at, self.windows)
        return self.seconds(speed) + besides * speed.embedding

    def share_of(self, expected: Work, speed: Speed) -> float:
        """Which share of the time of a run has passed when this is done.

        Parameters
        ----------
        expected : Work
            The run; where more was done the end is near, but not here.
        speed : Speed
            How steps compare.
        """
        left = replace(
            expected,
            prompts=max(expected.prompts - self.prompts, 1),
            windows=max(expected.windows - self.windows, 0),
        )
        done = self.seconds(speed)
        return done / max(done + left.seconds(speed), 1e-12)


class _Seen(NamedTuple):
    """A ratio of what happened to what was expected, and its weight."""

    when: float
    what: Hashable
    log: float
    weight: float


class CostHistory:
    """Learns how much longer, and how much more, than expected runs take.

    Safe to be used from any thread. Old experience counts less and less.

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
            Seconds that it takes at the measured speed.
        seconds : float
            Seconds that it took.
        """
        self._learn(self._times, None, expected, seconds, weight=expected)

    def learn_embedding(self, expected: float, seconds: float) -> None:
        """Note how long an embedding took, unless it was only read."""
        if seconds > READ * expected:
            self.learn_time(expected, seconds)

    def learn_work(self, expected: Work, done: Work, what: Hashable) -> None:
        """Note what a complete run has done.

        Parameters
        ----------
        expected : Work
            What runs like it do on average.
        done : Work
            What it did.
        what : hashable
            Tells its image and parameters from others.
        """
        self._learn(self._prompts, what, expected.prompts, done.prompts)
        self._learn(self._windows, what, expected.windows, done.windows)

    @property
    def pace(self) -> float:
        """Ratio of actual to measured duration."""
        return self._ratio(self._times, SECONDS_BELIEVED)

    def work(self, expected: Work, what: Hashable) -> Work:
        """Return what a run is going to do.

        The same image with the same parameters needs what it needed before;
        of others the recent ones say something, too.
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
    """Mean of logarithms, drawn towards nothing by what is believed."""
    total, weights = 0.0, believed
    for one in seen:
        weight = one.weight * 0.5 ** ((now - one.when) / HALF_LIFE)
        total += weight * one.log
        weights += weight
    return total / weights
