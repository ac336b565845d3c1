"""Compare ways to choose the scale of a click.

For the centre point of some objects of each data set, reports mean IoU of the
answer

- at the scale of the diameter estimated for the whole image,
- at the scale chosen from the answers (as in `Predictor.predict`),
- at the scale of the object's true diameter.

``python benchmarks/scales.py --split val --images 3 --objects 8``

With ``--resize 0.25 0.5 1 2 4``, images are resized by each factor, and the
table has the chosen answers for objects that keep 8 pixels and, in brackets,
those for the same objects in the original image: the size of objects in pixels
should not matter. ``--everything`` reports AP50 of *segment everything*
instead, if the median object keeps 8 pixels.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from labelled_data import DATA
from numpy.typing import NDArray

import napari_mobilesam as nm
from napari_mobilesam.segmentation.diameter import estimate_diameter
from napari_mobilesam.segmentation.image import as_rgb_plane, resize
from napari_mobilesam.segmentation.masks import innermost_pixel
from napari_mobilesam.training.dataset import read_folder
from napari_mobilesam.training.evaluate import label_scores
from napari_mobilesam.training.labelled_images import LabelledImage, by_group
from napari_mobilesam.training.metrics import iou

# Minimum pixels of an object.
SMALLEST = 50
# Minimum diameter of a resized object in pixels.
LEAST_DIAMETER = 8


def main() -> None:
    """Print a row for each kind of image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, default=DATA)
    parser.add_argument('--split', default='val')
    parser.add_argument('--images', type=int, default=3)
    parser.add_argument('--objects', type=int, default=8)
    parser.add_argument('--resize', type=float, nargs='+')
    parser.add_argument('--everything', action='store_true')
    options = parser.parse_args()
    predictor = nm.Predictor(nm.load_model())
    rng = np.random.default_rng(0)
    kinds = by_group(read_folder(options.data, split=options.split))
    columns = ['guessed', 'chosen', 'true size']
    if options.resize:
        columns = [f'× {factor:g}' for factor in options.resize]
    print(f'| images | objects | {" | ".join(columns)} |')
    print('|---|---|' + '---|' * len(columns))
    for kind, images in kinds.items():
        chosen = rng.permutation(len(images))[: options.images]
        scores = [
            score
            for index in chosen
            for score in scores_of(predictor, images[index], rng, options)
        ]
        if not scores:
            continue
        table = np.transpose(scores)
        means = [mean_of(column) for column in table]
        if options.resize and 1.0 in options.resize:
            own = table[options.resize.index(1.0)]
            means = [
                mean if factor == 1 else with_own(mean, column, own)
                for factor, mean, column in zip(
                    options.resize, means, table, strict=True
                )
            ]
        print(f'| {kind} | {len(scores)} | {" | ".join(means)} |', flush=True)


def scores_of(
    predictor: nm.Predictor,
    image: LabelledImage,
    rng: np.random.Generator,
    options: argparse.Namespace,
) -> Sequence[Sequence[float]]:
    """Return rows of scores of an image, according to the options."""
    if not options.resize:
        return score_image(predictor, image, options.objects, rng)
    if options.everything:
        return [everything_sizes(predictor, image, options.resize)]
    return score_sizes(predictor, image, options.objects, options.resize)


def mean_of(scores: NDArray[np.float64]) -> str:
    """Return the mean over scored objects, or '' if there are none."""
    asked = scores[~np.isnan(scores)]
    return f'{asked.mean():.3f}' if len(asked) else ''


def with_own(
    mean: str, scores: NDArray[np.float64], own: NDArray[np.float64]
) -> str:
    """Return a mean with that of the same objects in the original image."""
    both = ~np.isnan(scores) & ~np.isnan(own)
    return f'{mean} ({own[both].mean():.3f})' if both.any() else mean


def score_image(
    predictor: nm.Predictor,
    image: LabelledImage,
    objects: int,
    rng: np.random.Generator,
) -> list[tuple[float, float, float]]:
    """Return the IoU of the three answers to the centres of some objects."""
    rgb = as_rgb_plane(image.image)
    embedding = predictor.embed(rgb, contrast_limits=(0, 255))
    guess = estimate_diameter(rgb) or float(max(rgb.shape))
    labels = image.labels[0]
    numbers = np.unique(labels)
    scores = []
    for number in rng.permutation(numbers[numbers > 0])[:objects]:
        truth = labels == number
        area = int(truth.sum())
        if area < SMALLEST:
            continue
        point = centre_of(truth)
        answers = [
            predictor.predict(embedding, points=[point], diameter=diameter)
            for diameter in (guess, None, math.sqrt(4 * area / math.pi))
        ]
        guessed, found, known = (
            iou(answer.masks[answer.best], truth) for answer in answers
        )
        scores.append((guessed, found, known))
    return scores


def score_sizes(
    predictor: nm.Predictor,
    image: LabelledImage,
    objects: int,
    factors: list[float],
) -> list[list[float]]:
    """Return the IoU of answers to the centres of objects, by resize factor.

    NaN if the object has become too small.
    """
    rgb = as_rgb_plane(image.image)
    labels = image.labels[0]
    numbers = np.unique(labels)
    rng = np.random.default_rng(0)
    chosen = [
        number
        for number in rng.permutation(numbers[numbers > 0])
        if (labels == number).sum() >= SMALLEST
    ][:objects]
    scores = np.full((len(chosen), len(factors)), np.nan)
    for column, factor in enumerate(factors):
        pixels, resized = resize_both(rgb, labels, factor)
        embedding = predictor.embed(pixels, contrast_limits=(0, 255))
        for row, number in enumerate(chosen):
            truth = resized == number
            if 2 * math.sqrt(truth.sum() / math.pi) < LEAST_DIAMETER:
                continue
            answer = predictor.predict(embedding, points=[centre_of(truth)])
            scores[row, column] = iou(answer.masks[answer.best], truth)
    return scores[~np.isnan(scores).all(axis=1)].tolist()


def everything_sizes(
    predictor: nm.Predictor, image: LabelledImage, factors: list[float]
) -> list[float]:
    """Return AP50 of segment everything, by resize factor.

    NaN if the median object has become too small.
    """
    rgb = as_rgb_plane(image.image)
    scores = []
    for factor in factors:
        pixels, truth = resize_both(rgb, image.labels[0], factor)
        areas = np.bincount(truth[truth > 0])
        median = np.median(areas[areas > 0]) if areas.any() else 0
        if 2 * math.sqrt(median / math.pi) < LEAST_DIAMETER:
            scores.append(math.nan)
            continue
        labels, _ = nm.segment_everything(
            pixels, predictor.model, contrast_limits=(0, 255)
        )
        scores.append(label_scores(truth, labels)['ap50'])
    return scores


def resize_both(
    rgb: np.ndarray, labels: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image and its (H, W) labels.

    A pixel belongs to an object that covers at least half of it, so that
    outlines are not shifted.
    """
    shape = tuple(max(1, round(n * factor)) for n in labels.shape)
    resized = np.zeros(shape, labels.dtype)
    for number in np.unique(labels[labels > 0]):
        covered = np.where(labels == number, 255, 0).astype(np.uint8)
        covered = resize(np.repeat(covered[..., None], 3, axis=2), shape)
        resized[covered[..., 0] >= 128] = number
    return resize(rgb, shape), resized


def centre_of(truth: np.ndarray) -> np.ndarray:
    """Return a (row, column) deep inside an (H, W) bool mask."""
    rows, columns = np.nonzero(truth)
    corner = max(rows.min() - 1, 0), max(columns.min() - 1, 0)
    inside = truth[corner[0] : rows.max() + 2, corner[1] : columns.max() + 2]
    return np.add(innermost_pixel(inside), corner)


if __name__ == '__main__':
    main()
