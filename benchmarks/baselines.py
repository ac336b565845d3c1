"""Measure baselines without a model: ellipses in boxes, and Otsu's threshold.

Reports mean IoU of the ellipse inscribed in the box of each object, a baseline
for box prompts, and AP50 and F1 of Otsu's threshold with a watershed of the
distance to the background, a baseline for segment everything.

python benchmarks/baselines.py --split test
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from labelled_data import DATA
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.draw import ellipse
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.segmentation import watershed

from napari_mobilesam.training.dataset import read_folder
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.metrics import (
    average_precision,
    iou,
    iou_matrix,
    match,
)

SMALLEST = 20  # minimum pixels of an object


def ellipse_ious(image: LabelledImage) -> list[float]:
    """Return the IoU of each object with the ellipse in its box."""
    found = []
    for layer, number, row0, column0, row1, column1 in image.objects:
        truth = image.labels[layer, row0:row1, column0:column1] == number
        drawn = np.zeros(truth.shape, bool)
        r, c = (length / 2 for length in truth.shape)
        drawn[ellipse(r - 0.5, c - 0.5, r, c, shape=truth.shape)] = True
        found.append(iou(drawn, truth))
    return found


def otsu_watershed(image: NDArray[np.generic]) -> NDArray[np.integer]:
    """Segment instances by Otsu's threshold and a watershed of the distance.

    The smaller side of the threshold is taken for the foreground.
    """
    pixels = np.asarray(image, float)
    gray = pixels[..., :3].mean(axis=2) if pixels.ndim == 3 else pixels
    smooth = gaussian(gray, 1, preserve_range=True)
    inside = smooth > threshold_otsu(smooth)
    if inside.mean() > 0.5:
        inside = ~inside
    distance = gaussian(distance_transform_edt(inside), 1)
    peaks = peak_local_max(
        distance, min_distance=5, labels=label(inside), exclude_border=False
    )
    seeds = np.zeros(inside.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    found = watershed(-distance, seeds, mask=inside)
    sizes = np.bincount(found.ravel())
    return np.where(sizes[found] >= SMALLEST, found, 0)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, default=DATA)
    parser.add_argument('--split', default='test')
    options = parser.parse_args()
    groups: dict[str, list[LabelledImage]] = {}
    for image in read_folder(options.data, split=options.split):
        groups.setdefault(image.dataset, []).append(image)
    print('| data set | images | ellipse, mIoU | Otsu AP50 | Otsu F1 |')
    print('|---|---|---|---|---|')
    for name, images in groups.items():
        drawn = np.mean([v for each in images for v in ellipse_ious(each)])
        scores = []
        for each in images:
            found = otsu_watershed(each.image)
            scores.append(
                (
                    average_precision(each.labels[0], found, [0.5])[0],
                    match(iou_matrix(each.labels[0], found)).f1,
                )
            )
        precision, f1 = np.mean(scores, axis=0)
        print(
            f'| {name} | {len(images)} | {drawn:.3f} | {precision:.3f} | '
            f'{f1:.3f} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
