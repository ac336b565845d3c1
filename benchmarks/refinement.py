"""Measure the gain of *Refine all* on rough labels, and the loss on good ones.

For some objects of each data set, labels are made two pixels too small or too
large, and refined. Reports mean IoU with the manual labels, before refinement
and after it with several minimum scores. Refining the manual labels
themselves shows the loss if there is nothing to gain.

``python benchmarks/refinement.py --split val --images 1 --objects 8``
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from labelled_data import DATA
from scipy.ndimage import binary_dilation, binary_erosion

import napari_mobilesam as nm
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.masks import mask_iou
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.segmentation.refinement import (
    RefineParameters,
    judge,
    prompts_of_mask,
)
from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.training.dataset import read_folder
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.types import Mask

SCORES = (0.0, 0.7, 0.8, 0.9)
# Minimum pixels of an object.
SMALLEST = 100
PIXELS = 2

Pixels = np.ndarray
KINDS: dict[str, Callable[[Pixels], Pixels]] = {
    'too small': lambda mask: binary_erosion(mask, iterations=PIXELS),
    'too large': lambda mask: binary_dilation(mask, iterations=PIXELS),
    'as drawn': lambda mask: mask,
}


class Trial(NamedTuple):
    """IoU of one object with its manual label, before and after."""

    kind: str
    before: float
    after: tuple[float, ...]


def main() -> None:
    """Print a row for each kind of label."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--split', default='val')
    parser.add_argument('--images', type=int, default=1)
    parser.add_argument('--objects', type=int, default=8)
    parser.add_argument('--data', type=Path, default=DATA)
    options = parser.parse_args()
    predictor = nm.Predictor(nm.load_model())
    kinds: dict[str, list[LabelledImage]] = {}
    for image in read_folder(options.data, split=options.split):
        kinds.setdefault(image.dataset, []).append(image)
    trials: list[Trial] = []
    for images in kinds.values():
        for image in images[: options.images]:
            trials += trials_of(predictor, image, options.objects)
    print(table(trials))


def table(trials: list[Trial]) -> str:
    """Return a Markdown table of mean IoU."""
    columns = ' | '.join(f'score ≥ {score:g}' for score in SCORES)
    lines = [
        f'| labels | objects | before | {columns} |',
        '|---' * (3 + len(SCORES)) + '|',
    ]
    for kind in KINDS:
        own = [trial for trial in trials if trial.kind == kind]
        if own:
            means = np.mean([(t.before, *t.after) for t in own], axis=0)
            numbers = ' | '.join(f'{mean:.3f}' for mean in means)
            lines.append(f'| {kind} | {len(own)} | {numbers} |')
    return '\n'.join(lines)


def trials_of(
    predictor: Predictor, image: LabelledImage, count: int
) -> Iterator[Trial]:
    """Refine some objects of an image, with each kind of label."""
    embedding = predictor.embed(image.image)
    labels = image.labels[0]
    numbers, areas = np.unique(labels[labels > 0], return_counts=True)
    large = numbers[areas >= SMALLEST]
    rng = np.random.default_rng(0)
    for number in rng.permutation(large)[:count]:
        drawn = cropped(labels == number)
        for kind, change in KINDS.items():
            rough = cropped(change(labels == number))
            if rough.data.size:
                yield trial(predictor, embedding, kind, drawn, rough)


def trial(
    predictor: Predictor,
    embedding: ImageEmbedding,
    kind: str,
    drawn: Mask,
    rough: Mask,
) -> Trial:
    """Refine one object with each of the minimum scores."""
    answers = [
        predictor.predict_at_scale(embedding, prompts).mask()
        for prompts in prompts_of_mask(rough)
    ]
    found = [mask for mask in answers if mask.data.any()]
    best = max(found, key=lambda mask: mask.score, default=None)
    after = []
    for score in SCORES:
        chosen = RefineParameters(least_score=score)
        done = judge(1, rough, best, chosen, predictor.model.record)
        kept = best if done.refined and best is not None else rough
        after.append(mask_iou(kept, drawn))
    return Trial(kind, mask_iou(rough, drawn), tuple(after))


def cropped(mask: Pixels) -> Mask:
    """Crop a mask to its box."""
    return Mask(*crop_to_mask(mask, (0, 0)), float('nan'))


if __name__ == '__main__':
    main()
