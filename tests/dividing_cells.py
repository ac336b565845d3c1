"""Time series with known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass(frozen=True)
class Truth:
    """Labels of each frame, and the links (frame, label, frame, label)."""

    labels: NDArray[np.uint16]
    links: set[tuple[int, int, int, int]]

    @property
    def divisions(self) -> set[tuple[int, int]]:
        starts = [link[:2] for link in self.links]
        return {start for start in starts if starts.count(start) > 1}


def disc(
    labels: NDArray[np.uint16],
    center: tuple[float, float],
    radius: float,
    label: int,
) -> None:
    rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
    inside = (rows - center[0]) ** 2 + (columns - center[1]) ** 2
    labels[(inside <= radius**2) & (labels == 0)] = label


@pytest.fixture(scope='session')
def dividing_cells() -> Truth:
    """Nine cells that drift over a grid for eight frames; two divide.

    Labels are shuffled in each frame.
    """
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 200, 200), np.uint16)
    places = {
        number: np.array([40.0 + 60 * (number // 3), 40.0 + 60 * (number % 3)])
        for number in range(9)
    }
    sizes = dict.fromkeys(places, 12.0)
    parents: dict[int, int] = {}
    links: set[tuple[int, int, int, int]] = set()
    before: dict[int, int] = {}
    for frame in range(8):
        if frame in (3, 5):
            parent = frame + 1
            where = places.pop(parent)
            size = sizes.pop(parent) / np.sqrt(2)
            for child, side in ((10 * parent, -1), (10 * parent + 1, 1)):
                parents[child] = parent
                places[child] = where + [0, 9.0 * side]
                sizes[child] = size
        now = dict(zip(places, rng.permutation(len(places)) + 1, strict=True))
        for number, place in places.items():
            places[number] = place + rng.uniform(-3, 3, 2)
            label = int(now[number])
            disc(labels[frame], tuple(place), sizes[number], label)
            source = before.get(number, before.get(parents.get(number, -1)))
            if source is not None:
                links.add((frame - 1, int(source), frame, label))
        before = now
    return Truth(labels, links)
