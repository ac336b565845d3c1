"""Find similar and classes: what comes of a few examples.

Similar: in each image three objects, drawn by lot, are the examples; the
others are to be found. An object counts as found if a label covers it with an
IoU of at least 0.5; the examples and what covers them count for nothing.
Beside it stands *segment everything* at the same diameter.

Classes: images of several kinds are put together in one mosaic; five true
objects of each kind, drawn by lot, have their class, and the classes of the
others are proposed. Accuracy is that of all objects, and the mean over
classes, over ten draws.

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

# Smaller objects are neither examples nor counted.
LEAST_AREA = 20
# A wider image is cut to this many pixels.
SIDE = 512
TILE = 256
DRAWS = 10


class Found(NamedTuple):
    """Objects to be found, labels, and labels that are right."""

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
    """One line of the table: means over the images of a kind."""
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
    """Find similar, segment everything, and the share of its time."""
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
    """Compare labels with the truth, leaving out the examples."""
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
    """Labels drawn by lot; None if there would be too few others."""
    masks = masks_of_labels(labels, labels.shape)
    large = [n for n, mask in masks.items() if mask.area >= LEAST_AREA]
    if len(large) < 2 * count:
        return None
    rng = np.random.default_rng(0)
    return [int(n) for n in rng.choice(large, count, replace=False)]


def plane_of(
    image: LabelledImage, side: int
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """8-bit RGB and labels of the upper left part of an image."""
    rgb = as_rgb_plane(image.image)
    return (
        np.ascontiguousarray(rgb[:side, :side]),
        np.ascontiguousarray(image.labels[0, :side, :side]),
    )


def kind_of(image: LabelledImage) -> str:
    """Data set and modality."""
    return f'{image.dataset}, {image.modality}'


def mosaic(
    images: Sequence[LabelledImage],
) -> tuple[NDArray[np.uint8], NDArray[Any], dict[int, str]]:
    """Images side by side, their labels, and the kind of each label."""
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
    """Accuracy over all objects, and its mean over classes."""
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
