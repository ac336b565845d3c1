"""Measure links and divisions found by tracking a series with known truth.

Discs move with some inertia, push each other aside, grow and divide. Their
labels are shuffled in every frame and tracked, completely or with a part of
them removed. Links, divisions and tracks are compared with the truth; links
across frames in which an object was removed count as well.

With ``--masks``, a real series is measured: label images in which each object
keeps its number (one file per frame, or one TIFF) and, for divisions, the
table of the Cell Tracking Challenge (``man_track.txt``).

``python benchmarks/tracking.py``
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from scipy.spatial import cKDTree

import napari_mobilesam as nm
from napari_mobilesam.tracking.tracks import Tracks

# (frame, label, later frame, label)
Link = tuple[int, int, int, int]

# Weights in the Cell Tracking Challenge (Matula et al. 2015, PLoS ONE 10,
# e0144959) for a missing object, a missing link, and a wrong link.
MISSING_OBJECT, MISSING_LINK, WRONG_LINK = 10.0, 1.5, 1.0


class Series(NamedTuple):
    """Labels of each frame, and their cells.

    Attributes
    ----------
    labels : (T, H, W) integers
        Labels, shuffled in each frame.
    cells : list of dict
        Label → cell, for each frame.
    parents : dict
        Cell → parent cell.
    """

    labels: np.ndarray
    cells: list[dict[int, int]]
    parents: dict[int, int]

    def links(self) -> set[Link]:
        """Return links of each object to its last occurrence or parent."""
        seen: dict[int, tuple[int, int]] = {}
        found: set[Link] = set()
        for frame, cells in enumerate(self.cells):
            for label, cell in cells.items():
                source = seen.get(cell) or seen.get(self.parents.get(cell, -1))
                if source is not None:
                    found.add((*source, frame, label))
            for label, cell in cells.items():
                seen[cell] = (frame, label)
        return found

    def without(self, share: float, seed: int = 0) -> Series:
        """Return the series with a share of the objects removed."""
        rng = np.random.default_rng(seed)
        labels, kept = self.labels.copy(), []
        for frame, cells in enumerate(self.cells):
            gone = [label for label in cells if rng.random() < share]
            labels[frame][np.isin(labels[frame], gone)] = 0
            kept.append({k: v for k, v in cells.items() if k not in gone})
        return Series(labels, kept, self.parents)


class Score(NamedTuple):
    """Comparison of tracks with the truth."""

    objects: int
    links: int
    true: int
    found: int
    divisions: int
    divisions_true: int
    divisions_found: int
    seconds: float

    @property
    def recall(self) -> float:
        return self.true / max(1, self.links)

    @property
    def precision(self) -> float:
        return self.true / max(1, self.found)

    @property
    def f1(self) -> float:
        return 2 * self.true / max(1, self.links + self.found)

    @property
    def tra(self) -> float:
        """TRA of the Cell Tracking Challenge, for the given objects."""
        worst = MISSING_OBJECT * self.objects + MISSING_LINK * self.links
        cost = MISSING_LINK * (self.links - self.true)
        cost += WRONG_LINK * (self.found - self.true)
        return 1 - min(cost, worst) / worst


def main() -> None:
    """Print a row for each series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames', type=int, default=50)
    parser.add_argument('--cells', type=int, default=200)
    parser.add_argument('--masks', type=Path, help='a real series')
    parser.add_argument('--table', type=Path, help='its divisions')
    options = parser.parse_args()
    print(HEAD)
    if options.masks is not None:
        print(
            row(
                options.masks.name, measure(read(options.masks, options.table))
            ),
            flush=True,
        )
        return
    for speed in (3.0, 6.0):
        series = simulate(options.frames, options.cells, speed=speed)
        for share in (0.0, 0.02):
            text = f'{speed:g} px per frame, {share:.0%} missing'
            print(row(text, measure(series.without(share))), flush=True)
    series = simulate(options.frames, options.cells, speed=3.0)
    for most in (10, 40):
        text = f'3 px per frame, stage within {most} px'
        shaken = on_a_stage(series, most)
        print(row(text, measure(shaken)), flush=True)
        plain = measure(shaken, drift=False)
        print(row(f'{text}, not corrected', plain), flush=True)


HEAD = (
    '| series | objects | links: recall | precision | F1 | TRA | divisions: '
    'true | found | right | time |\n|' + '---|' * 10
)


def row(name: str, score: Score) -> str:
    """Return a row of the table."""
    return (
        f'| {name} | {score.objects:,} | {score.recall:.4f} | '
        f'{score.precision:.4f} | {score.f1:.4f} | {score.tra:.4f} | '
        f'{score.divisions} | {score.divisions_found} | '
        f'{score.divisions_true} | {score.seconds:.1f} s |'
    )


def measure(series: Series, **parameters: Any) -> Score:
    """Track the labels of a series and compare with the truth."""
    start = time.process_time()
    chosen = nm.LinkingParameters(**parameters)
    tracks = nm.track_labels(series.labels, chosen)
    seconds = time.process_time() - start
    truth, found = series.links(), links_of(tracks)
    true_ones, found_ones = divisions(truth), divisions(found)
    return Score(
        len(tracks),
        len(truth),
        len(truth & found),
        len(found),
        len(true_ones),
        len(true_ones & found_ones),
        len(found_ones),
        seconds,
    )


def links_of(tracks: Tracks) -> set[Link]:
    """Return the links of tracks."""
    frames, labels = tracks.frames.tolist(), tracks.labels.tolist()
    return {
        (frames[i], labels[i], frames[index], labels[index])
        for index, i in enumerate(tracks.previous.tolist())
        if i >= 0
    }


def divisions(links: set[Link]) -> set[tuple[int, int]]:
    """Return the objects that are linked to several later ones."""
    counts = Counter(link[:2] for link in links)
    return {place for place, count in counts.items() if count > 1}


def on_a_stage(series: Series, most: int, seed: int = 0) -> Series:
    """Crop each frame of a series with a different shift.

    Parameters
    ----------
    series : Series
        Series; the crops are smaller by twice the maximum shift.
    most : int
        Maximum shift along each axis, in pixels.
    """
    rng = np.random.default_rng(seed)
    side = series.labels.shape[1] - 2 * most
    corners = rng.integers(0, 2 * most + 1, (len(series.labels), 2))
    labels = np.stack(
        [
            frame[row : row + side, column : column + side]
            for frame, (row, column) in zip(
                series.labels, corners, strict=True
            )
        ]
    )
    cells = [
        {k: v for k, v in known.items() if k in set(np.unique(frame).tolist())}
        for frame, known in zip(labels, series.cells, strict=True)
    ]
    return Series(labels, cells, series.parents)


def simulate(
    frames: int = 50,
    cells: int = 200,
    side: int = 1024,
    radius: float = 12.0,
    speed: float = 3.0,
    rate: float = 0.004,
    seed: int = 0,
) -> Series:
    """Draw discs that move, grow and divide.

    Parameters
    ----------
    frames, cells : int
        Number of frames, and of discs in the first one.
    side, radius : float
        Side of the image and radius of the discs, in pixels.
    speed : float
        Standard deviation of the displacement per frame, along each axis.
    rate : float
        Divisions per frame of a disc that is large enough.
    seed : int
        Seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    places = rng.uniform(radius, side - radius, (cells, 2))
    full = np.pi * radius**2
    areas = full * rng.uniform(0.8, 1.2, cells)
    numbers, following = np.arange(cells), cells
    ways = rng.normal(0, speed, (cells, 2))
    parents: dict[int, int] = {}
    labels = np.zeros((frames, side, side), np.uint16)
    known = []
    for frame in range(frames):
        radii = np.sqrt(areas / np.pi)
        places = np.clip(apart(places, radii), radius, side - radius)
        shuffled = rng.permutation(len(places)) + 1
        draw(labels[frame], places, radii, shuffled)
        known.append(
            dict(zip(shuffled.tolist(), numbers.tolist(), strict=True))
        )
        ways = 0.7 * ways + rng.normal(0, 0.7 * speed, ways.shape)
        places = places + ways
        areas = np.minimum(areas * 1.01, full * 1.3)
        ready = (rng.random(len(places)) < rate) & (areas > full * 0.8)
        for index in np.flatnonzero(ready):
            angle = rng.uniform(0, 2 * np.pi)
            side_way = 0.6 * radius * np.array([np.cos(angle), np.sin(angle)])
            parent = int(numbers[index])
            parents[following] = parents[following + 1] = parent
            places = np.vstack([places, places[index] + side_way])
            places[index] -= side_way
            areas[index] /= 2
            areas = np.append(areas, areas[index])
            ways = np.vstack([ways, ways[index]])
            numbers = np.append(numbers, following + 1)
            numbers[index] = following
            following += 2
    return Series(labels, known, parents)


def apart(places: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Push overlapping discs apart."""
    places = places.copy()
    for _ in range(30):
        pairs = cKDTree(places).query_pairs(
            2 * radii.max(), output_type='ndarray'
        )
        ways = places[pairs[:, 0]] - places[pairs[:, 1]]
        lengths = np.linalg.norm(ways, axis=1) + 1e-9
        over = np.maximum(
            radii[pairs[:, 0]] + radii[pairs[:, 1]] + 1 - lengths, 0
        )
        push = ways / lengths[:, None] * over[:, None] / 2
        np.add.at(places, pairs[:, 0], push)
        np.add.at(places, pairs[:, 1], -push)
        if over.max(initial=0) < 0.5:
            break
    return places


def draw(
    image: np.ndarray,
    places: np.ndarray,
    radii: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Draw discs with their labels, earlier ones in front."""
    for place, radius, label in zip(places, radii, labels, strict=True):
        low = np.maximum((place - radius - 2).astype(int), 0)
        high = (place + radius + 3).astype(int)
        part = image[low[0] : high[0], low[1] : high[1]]
        rows, columns = np.ogrid[: part.shape[0], : part.shape[1]]
        way = (rows + low[0] - place[0]) ** 2
        way = way + (columns + low[1] - place[1]) ** 2
        part[(way <= radius**2) & (part == 0)] = label


def read(path: Path, table: Path | None) -> Series:
    """Read a real series; each object keeps its number."""
    if path.is_dir():
        files = sorted(path.glob('*.tif*'))
        labels = np.stack([tifffile.imread(file) for file in files])
    else:
        labels = tifffile.imread(path)
    parents = {}
    if table is not None:
        for line in table.read_text('utf-8').splitlines():
            number, _, _, parent = map(int, line.split())
            if parent:
                parents[number] = parent
    known = [
        {int(label): int(label) for label in np.unique(frame) if label}
        for frame in labels
    ]
    return Series(labels, known, parents)


if __name__ == '__main__':
    main()
