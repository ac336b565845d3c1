"""Scale of a click: chosen among scales, guessed for the image, and known.

For the centre point of some objects of each data set, mean IoU of the answer

- at the scale of the diameter that is estimated for the whole image,
- at the scale that the answers choose (what `Predictor.predict` does),
- at the scale of the object's true diameter.

``python benchmarks/scales.py --split val --images 3 --objects 8``
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

import numpy as np

import napari_mobilesam as nm
from napari_mobilesam.segmentation.diameter import estimate_diameter
from napari_mobilesam.segmentation.image import as_rgb_plane
from napari_mobilesam.training.dataset import LabelledImage, read_folder
from napari_mobilesam.training.simulated_prompts import centre_point

DATA = Path(
    os.environ.get(
        'NAPARI_MOBILESAM_SHARED',
        Path(__file__).resolve().parents[2] / 'shared',
    )
)
# Objects of fewer pixels are left out.
SMALLEST = 50


def main() -> None:
    """Print a row for each data set and kind of image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--split', default='val')
    parser.add_argument('--images', type=int, default=3)
    parser.add_argument('--objects', type=int, default=8)
    options = parser.parse_args()
    predictor = nm.Predictor(nm.load_model())
    rng = np.random.default_rng(0)
    kinds: dict[str, list[LabelledImage]] = {}
    for image in read_folder(DATA / 'data', split=options.split):
        kind = f'{image.dataset} {image.modality}'
        kinds.setdefault(kind, []).append(image)
    print('| images | objects | guessed | chosen | true size |')
    print('|---|---|---|---|---|')
    for kind, images in kinds.items():
        chosen = rng.permutation(len(images))[: options.images]
        scores = [
            score
            for index in chosen
            for score in score_image(
                predictor, images[index], options.objects, rng
            )
        ]
        if scores:
            means = ' | '.join(f'{v:.3f}' for v in np.mean(scores, axis=0))
            print(f'| {kind} | {len(scores)} | {means} |', flush=True)


def score_image(
    predictor: nm.Predictor,
    image: LabelledImage,
    objects: int,
    rng: np.random.Generator,
) -> list[tuple[float, float, float]]:
    """IoU of the three answers to the centre of each of some objects."""
    rgb = as_rgb_plane(image.image)
    embedding = predictor.embed(rgb, contrast_limits=(0, 255))
    guess = estimate_diameter(rgb) or float(max(rgb.shape))
    # overlapping objects lie in layers
    labels = image.labels.reshape(-1, *rgb.shape[:2]).max(axis=0)
    numbers = np.unique(labels)
    scores = []
    for number in rng.permutation(numbers[numbers > 0])[:objects]:
        truth = labels == number
        area = int(truth.sum())
        if area < SMALLEST:
            continue
        rows, columns = np.nonzero(truth)
        corner = max(rows.min() - 1, 0), max(columns.min() - 1, 0)
        inside = truth[
            corner[0] : rows.max() + 2, corner[1] : columns.max() + 2
        ]
        point = np.add(centre_point(inside), corner)
        answers = [
            predictor.predict(embedding, points=[point], diameter=diameter)
            for diameter in (guess, None, math.sqrt(4 * area / math.pi))
        ]
        guessed, found, known = (
            iou(answer.masks[answer.best], truth) for answer in answers
        )
        scores.append((guessed, found, known))
    return scores


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two (H, W) bool masks."""
    return float((mask & truth).sum() / max((mask | truth).sum(), 1))


if __name__ == '__main__':
    main()
