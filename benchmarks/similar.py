"""Measure *find similar* and proposed classes from a few examples.

Similar: in each image, three random objects are the examples for finding the
others. An object counts as found if a label covers it with an IoU of at least
0.5; the examples and labels on them are ignored. *Segment everything* at the
same diameter is reported for comparison.

Classes: images of several kinds form one mosaic; five random true objects of
each kind have their class, and the classes of the others are proposed. Reports
accuracy over all objects and its mean over classes, over ten draws.

python benchmarks/similar.py --split val
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from labelled_data import DATA
from numpy.typing import NDArray

import napari_mobilesam as nm
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.image import as_rgb_plane
from napari_mobilesam.segmentation.label_masks import (
    masks_of_labels,
    typical_diameter,
)
from napari_mobilesam.segmentation.object_classes import (
    classify,
    described,
)
from napari_mobilesam.training.dataset import read_folder
from napari_mobilesam.training.labelled_images import LabelledImage

# Minimum pixels of examples and of counted objects.
LEAST_AREA = 20
# Larger images are cropped to this many pixels per side.
SIDE = 512
TILE = 256
DRAWS = 10


class Found(NamedTuple):
    """Numbers of objects to find, labels, and correct labels."""

    objects: int
    labels: int
    right: int

    @property
    def recall(self) -> float:
        return self.right / max(1, self.objects)

    @property
    def precision(self) -> float:
        return self.right / max(1, self.labels)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--data', type=Path, default=DATA)
    parser.add_argument('--split', default='val')
    parser.add_argument('--model')
    parser.add_argument('--limit', type=int, default=3, help='per kind')
    parser.add_argument('--examples', type=int, default=3)
    parser.add_argument('--per-class', type=int, default=5)
    options = parser.parse_args()
    model = nm.load_model(options.model)
    images = read_folder(
        options.data, split=options.split, limit=options.limit
    )
    print_similar(images, model, options.examples)
    print_classes(images, model, options.per_class)


def print_similar(
    images: Sequence[LabelledImage], model: Sam, count: int
) -> None:
    """Print recall and precision of each kind of image."""
    rows: dict[str, list[tuple[Found, Found, float]]] = {}
    for image in images:
        rgb, labels = plane_of(image, SIDE)
        chosen = draw_examples(labels, count)
        if chosen is not None:
            kind = kind_of(image)
            rows.setdefault(kind, []).append(
                compare(rgb, labels, chosen, model)
            )
    print(
        '| kind | images | objects | similar: recall | precision | '
        'everything: recall | precision | time |'
    )
    print('|---|---|---|---|---|---|---|---|')
    for kind, found in rows.items():
        print(similar_row(kind, found))
    every = [row for found in rows.values() for row in found]
    print(similar_row('all', every))


def similar_row(kind: str, found: Sequence[tuple[Found, Found, float]]) -> str:
    """Return a row of the table, with means over the images of a kind."""
    objects = sum(similar.objects for similar, _, _ in found)
    means = [
        np.mean([getattr(row[which], name) for row in found])
        for which in (0, 1)
        for name in ('recall', 'precision')
    ]
    times = np.mean([row[2] for row in found])
    numbers = ' | '.join(f'{value:.2f}' for value in means)
    return f'| {kind} | {len(found)} | {objects} | {numbers} | {times:.2f} |'


def compare(
    rgb: NDArray[np.uint8],
    labels: NDArray[Any],
    chosen: Sequence[int],
    model: Sam,
) -> tuple[Found, Found, float]:
    """Find similar and segment everything; also return the time ratio."""
    masks = masks_of_labels(labels, labels.shape, chosen)
    diameter = typical_diameter(list(masks.values()))
    start = time.perf_counter()
    similar, _ = nm.find_similar(rgb, model, labels, numbers=chosen)
    half = time.perf_counter()
    everything, _ = nm.segment_everything(rgb, model, diameter=diameter)
    end = time.perf_counter()
    return (
        score(similar, labels, chosen),
        score(everything, labels, chosen),
        (half - start) / (end - half),
    )


def score(
    found: NDArray[Any], labels: NDArray[Any], examples: Iterable[int]
) -> Found:
    """Compare labels with the truth, without the examples."""
    gone = set(examples)
    true = masks_of_labels(labels, labels.shape)
    wanted = {
        n for n, m in true.items() if n not in gone and m.area >= LEAST_AREA
    }
    right: set[int] = set()
    count = 0
    for mask in masks_of_labels(found, found.shape).values():
        row0, column0, row1, column1 = mask.box
        under = labels[row0:row1, column0:column1][mask.data]
        names, shared = np.unique(under[under > 0], return_counts=True)
        label = int(names[shared.argmax()]) if len(names) else 0
        hit = label > 0 and shared.max() >= 0.5 * (
            mask.area + true[label].area - shared.max()
        )
        if hit and label not in wanted:
            continue
        count += 1
        if hit:
            right.add(label)
    return Found(len(wanted), count, len(right))


def draw_examples(labels: NDArray[Any], count: int) -> list[int] | None:
    """Return random labels; None if too few others would remain."""
    masks = masks_of_labels(labels, labels.shape)
    large = [n for n, mask in masks.items() if mask.area >= LEAST_AREA]
    if len(large) < 2 * count:
        return None
    rng = np.random.default_rng(0)
    return [int(n) for n in rng.choice(large, count, replace=False)]


def plane_of(
    image: LabelledImage, side: int
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return 8-bit RGB and labels of the upper left part of an image."""
    rgb = as_rgb_plane(image.image)
    return (
        np.ascontiguousarray(rgb[:side, :side]),
        np.ascontiguousarray(image.labels[0, :side, :side]),
    )


def kind_of(image: LabelledImage) -> str:
    """Return data set and modality."""
    return f'{image.dataset}, {image.modality}'


def mosaic(
    images: Sequence[LabelledImage],
) -> tuple[NDArray[np.uint8], NDArray[Any], dict[int, str]]:
    """Return a mosaic of images, its labels, and the kind of each label."""
    across = math.ceil(math.sqrt(len(images)))
    size = (across * TILE, across * TILE)
    rgb = np.zeros((*size, 3), np.uint8)
    labels = np.zeros(size, np.int32)
    kinds: dict[int, str] = {}
    for number, image in enumerate(images):
        tile, truth = plane_of(image, TILE)
        row, column = (TILE * place for place in divmod(number, across))
        place = (
            slice(row, row + tile.shape[0]),
            slice(column, column + tile.shape[1]),
        )
        rgb[place] = tile
        first = int(labels.max())
        labels[place] = np.where(truth > 0, truth + first, 0)
        for label in np.unique(labels[place]):
            if label > first:
                kinds[int(label)] = kind_of(image)
    return rgb, labels, kinds


def print_classes(
    images: Sequence[LabelledImage], model: Sam, count: int
) -> None:
    """Print the accuracy of proposed classes in a mosaic of all images."""
    rgb, labels, kinds = mosaic(images)
    masks = {
        label: mask
        for label, mask in masks_of_labels(labels, labels.shape).items()
        if mask.area >= LEAST_AREA
    }
    names = np.array([kinds[label] for label in masks])
    common = [k for k in np.unique(names) if (names == k).sum() >= 2 * count]
    kept = np.isin(names, common)
    chosen = [m for m, keep in zip(masks.values(), kept, strict=True) if keep]
    embedding = nm.Predictor(model).embed(rgb)
    features = described(embedding, rgb, chosen)
    names = names[kept]
    every, mean = accuracy(features, names, count)
    print(
        f'\n{len(names)} objects of {len(common)} kinds, {count} examples of '
        f'each: accuracy {every:.3f}, mean over classes {mean:.3f}'
    )
    for kind in common:
        print(f'- {kind}: {(names == kind).sum()} objects')


def accuracy(
    features: NDArray[np.float64], names: NDArray[Any], count: int
) -> tuple[float, float]:
    """Return the accuracy over all objects, and its mean over classes."""
    every, means = [], []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        known = np.concatenate(
            [
                rng.choice(np.flatnonzero(names == kind), count, False)
                for kind in np.unique(names)
            ]
        )
        others = np.setdiff1d(np.arange(len(names)), known)
        classes, probabilities = classify(
            features[known], names[known].tolist(), features[others]
        )
        right = np.array(classes)[probabilities.argmax(axis=1)]
        right = right == names[others]
        every.append(right.mean())
        means.append(
            np.mean(
                [
                    right[names[others] == kind].mean()
                    for kind in np.unique(names[others])
                ]
            )
        )
    return float(np.mean(every)), float(np.mean(means))


if __name__ == '__main__':
    main()
