"""Validation of fine-tuning on held-out objects."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.quick_score import mean_scores, object_scores
from napari_mobilesam.training.samples import Sample

# Minimum number of validation crops, whatever the budget.
LEAST_CROPS = 2
# Typical standard deviation over objects of the change of IoU when training
# neither improves nor degrades.
TYPICAL_SPREAD = 0.02
# 95 % of a normal distribution lies within this many standard deviations.
CONFIDENCE = 1.96


class HeldBackScore:
    """Score of a model on the same crops, as many as time allows.

    Parameters
    ----------
    samples : sequence of Sample
        Crops of the held-out objects.
    seconds : float
        Time limit for one validation. The first one stops there, and all later
        ones use its crops.
    on_crop : callable, optional
        Called with the number of crops done and the total.

    Attributes
    ----------
    seconds : float
        Duration of the last validation.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        seconds: float = math.inf,
        on_crop: Callable[[int, int], None] | None = None,
    ) -> None:
        self._samples = list(samples)
        self._limit = seconds
        self._on_crop = on_crop or (lambda done, total: None)
        self._values: list[NDArray[np.float64]] = []
        self._scores: list[float] = []
        self.seconds = 0.0

    def __call__(self, sam: Sam) -> dict[str, float]:
        """Score a model; see `quick_score`."""
        begun, first = time.monotonic(), not self._values
        done = len(self._samples)

        def on_sample(count: int) -> bool:
            nonlocal done
            self._on_crop(count, len(self._samples))
            slow = time.monotonic() - begun > self._limit
            if first and slow and count >= LEAST_CROPS:
                done = count
                return False
            return True

        groups, numbers = object_scores(sam, self._samples, on_sample)
        del self._samples[done:]
        scores = mean_scores(groups, numbers)
        self._values.append(numbers[:, :2].mean(axis=1))
        self._scores.append(scores['score'])
        self.seconds = time.monotonic() - begun
        return scores

    @property
    def noise(self) -> float:
        """Change of the score explained by chance, in 95 of 100 runs.

        It is computed from the changes of single objects between the first and
        the best validation.
        """
        if not self._values:
            return 0.0
        best = int(np.argmax(self._scores))
        return noise_of(self._values[0], self._values[best])


def noise_of(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return the half width of the confidence interval of a mean change.

    Parameters
    ----------
    before, after : ndarray
        (N,) scores of the same objects.
    """
    count = len(before)
    # two objects do not reveal a spread
    spread = float(np.std(after - before, ddof=1)) if count > 2 else 0.0
    return CONFIDENCE * max(spread, TYPICAL_SPREAD) / math.sqrt(count)
