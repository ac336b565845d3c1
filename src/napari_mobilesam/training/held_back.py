"""Objects held out of fine-tuning, and validation on them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    TrainingDataError,
)
from napari_mobilesam.training.quick_score import mean_scores, object_scores
from napari_mobilesam.training.samples import Sample
from napari_mobilesam.training.training_parameters import (
    MIN_AREA,
    held_back_count,
)

# Minimum number of validation crops, whatever the budget.
LEAST_CROPS = 2
# Typical standard deviation over objects of the change of IoU when training
# neither improves nor degrades.
TYPICAL_SPREAD = 0.02
# 95 % of a normal distribution lies within this many standard deviations.
CONFIDENCE = 1.96


def hold_back(
    images: Sequence[LabelledImage], share: float, seed: int = 0
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Split the objects of images into training and validation.

    Parameters
    ----------
    images : sequence of LabelledImage
        Images whose objects are split.
    share : float
        Share of objects for validation; each side gets at least one.
    seed : int
        Random seed.

    Returns
    -------
    training, validation : list of LabelledImage
        The same images with only the objects of each side.

    Raises
    ------
    TrainingDataError
        If fewer than two objects are large enough to learn from.
    """
    entries = [
        (number, row)
        for number, image in enumerate(images)
        for row in range(len(image.objects))
        if _area(image, row) >= MIN_AREA
    ]
    if len(entries) < 2:
        total = sum(len(image.objects) for image in images)
        raise TrainingDataError(
            f'{len(entries)} of {total} labelled objects have at least '
            f'{MIN_AREA} pixels; label two or more (ten are better): one is '
            'held back to see whether training helps'
        )
    rng = np.random.default_rng(seed)
    count = held_back_count(len(entries), share)
    held = {int(i) for i in rng.permutation(len(entries))[:count]}
    sides = []
    for wanted in (False, True):
        chosen = [e for i, e in enumerate(entries) if (i in held) == wanted]
        sides.append(
            [
                _only(image, [row for n, row in chosen if n == number])
                for number, image in enumerate(images)
                if any(n == number for n, _ in chosen)
            ]
        )
    return sides[0], sides[1]


def _area(image: LabelledImage, row: int) -> int:
    # undo rounding: roots and squares turn 4 pixels into slightly less than 4
    return round(np.pi / 4 * float(image.diameters[row]) ** 2)


def _only(image: LabelledImage, rows: list[int]) -> LabelledImage:
    labels: NDArray[np.int32] = np.zeros_like(image.labels)
    for layer, plane in enumerate(image.labels):
        kept = np.zeros(int(plane.max()) + 1, np.int32)
        own = image.objects[rows]
        numbers = own[own[:, 0] == layer, 1]
        kept[numbers] = numbers
        labels[layer] = kept[plane]
    return replace(image, labels=labels)


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
