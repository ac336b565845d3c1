"""Thresholds of segment everything that suit the scores of a model.

The thresholds 0.88 and 0.95 only suit SAM: predicted IoU and stability of
other models have other ranges. The masks found above a low floor are filtered
with each pair of thresholds, and the pair with the best average precision is
chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.training.labelled_images import LabelledImage, by_group
from napari_mobilesam.training.metrics import average_precision

FLOOR = Thresholds(predicted_iou=0.3, stability=0.3)
PREDICTED_IOU = (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.88)
STABILITY = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


def choose_thresholds(
    model: Sam, images: Sequence[LabelledImage], limit: int = 12
) -> Thresholds:
    """Choose the thresholds with the best AP50 on labelled images.

    Parameters
    ----------
    model : Sam
        In inference mode.
    images : sequence of LabelledImage
        Validation (not test) images in which every object is labelled.
    limit : int
        Maximum number of images, spread over the data sets and modalities.

    Returns
    -------
    Thresholds
        The chosen thresholds; those of the model's record if there is no
        image, or if nothing is found with any thresholds.
    """
    pairs = list(product(PREDICTED_IOU, STABILITY))
    sums = np.zeros(len(pairs))
    for image in _spread(images, limit):
        found = generate_candidates(image.image, model, floor=FLOOR)
        for number, (predicted_iou, stability) in enumerate(pairs):
            labels, _ = found.paint(
                replace(
                    Selection.of(found.parameters),
                    predicted_iou=predicted_iou,
                    stability=stability,
                )
            )
            sums[number] += average_precision(image.labels[0], labels, [0.5])[
                0
            ]
    if not sums.any():
        return Thresholds(model.record.predicted_iou, model.record.stability)
    return Thresholds(*pairs[int(sums.argmax())])


def _spread(
    images: Sequence[LabelledImage], limit: int
) -> list[LabelledImage]:
    """Return some images of each group, alternating groups."""
    turns = [
        (turn, number, image)
        for number, members in enumerate(by_group(images).values())
        for turn, image in enumerate(members)
    ]
    turns.sort(key=lambda entry: entry[:2])
    return [image for _, _, image in turns[:limit]]
