"""A quick validation score on fixed crops, for the curve of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.masks import innermost_pixel
from napari_mobilesam.segmentation.prediction import agreement
from napari_mobilesam.training.crop_geometry import choose_window
from napari_mobilesam.training.labelled_images import LabelledImage, by_group
from napari_mobilesam.training.losses import iou_of
from napari_mobilesam.training.samples import (
    MIN_GRID_AREA,
    Sample,
    cut,
    grid_stride,
    to_xy,
)
from napari_mobilesam.training.simulated_prompts import box_of
from napari_mobilesam.training.tensor_batch import (
    collate,
    normalise,
)

# Number of crops drawn per crop wanted, as some show no new object.
TRIES = 4
SEED = 1


def validation_samples(
    images: Sequence[LabelledImage],
    input_size: int,
    diameter: float | None,
    count: int,
    prompts: int = 12,
) -> list[Sample]:
    """Return fixed crops of images, of one group after the other.

    Points are object centres, boxes are exact. No object is in two crops: the
    mean would look more certain than it is.

    Parameters
    ----------
    images : sequence of LabelledImage
        Images to crop.
    input_size : int
        Side of the model's input.
    diameter : float or None
        Diameter in input pixels that objects are zoomed to; None shows whole
        images.
    count : int
        Maximum number of crops; fewer if they show no other objects.
    prompts : int
        Maximum number of objects prompted in a crop.
    """
    groups = list(by_group(images).values())
    samples: list[Sample] = []
    used: set[tuple[int, int, int]] = set()
    stride = grid_stride(input_size)
    for number in range(TRIES * count):
        if len(samples) == count:
            break
        rng = np.random.default_rng((SEED, number))
        members = groups[number % len(groups)]
        image = members[int(rng.integers(len(members)))]
        window = choose_window(image, diameter, input_size, rng)
        rgb, labels = cut(image, window, input_size)
        targets = [
            (layer, int(label))
            for layer, plane in enumerate(labels)
            for label in np.flatnonzero(
                np.bincount(plane.ravel()) >= MIN_GRID_AREA
            )
            if label and (id(image), layer, int(label)) not in used
        ][:prompts]
        if not targets:
            continue
        used |= {(id(image), *target) for target in targets}
        masks = [labels[layer] == label for layer, label in targets]
        boxes = [box_of(mask)[[1, 0, 3, 2]] for mask in masks]
        samples.append(
            Sample(
                rgb,
                labels,
                np.array(targets, dtype=np.int64),
                np.array(
                    [to_xy(innermost_pixel(m), stride) for m in masks],
                    np.float32,
                ),
                np.array(boxes, np.float32) * stride - 0.5,
                np.zeros((0, 2), np.float32),
                image.group,
            )
        )
    return samples


@torch.no_grad()
def quick_score(sam: Sam, samples: Sequence[Sample]) -> dict[str, float]:
    """Return the mean IoU by centre point and by box of the preferred mask.

    Returns
    -------
    dict
        ``point``, ``box``, ``oracle`` (best of three by point),
        ``agreement`` (that of three by point which the others overlap most,
        see `ModelRecord.ranking`), ``point``
        and ``box`` per group, ``calibration`` (mean absolute error of the
        predicted IoU), and ``score``, the mean over groups of point and box.
    """
    return mean_scores(*object_scores(sam, samples))


@torch.no_grad()
def object_scores(
    sam: Sam,
    samples: Sequence[Sample],
    on_sample: Callable[[int], bool] | None = None,
) -> tuple[list[str], NDArray[np.float64]]:
    """Score each object of fixed crops.

    Parameters
    ----------
    sam : Sam
        Model in inference mode.
    samples : sequence of Sample
        The crops.
    on_sample : callable, optional
        Called with the number of crops done; returns False to stop.

    Returns
    -------
    groups : list of str
        Group of each object.
    numbers : ndarray
        (N, 5) IoU by point, by box, best of three by point, by agreement, and
        error of the predicted IoU; see `quick_score`.
    """
    rows: list[tuple[str, list[float]]] = []
    for done, sample in enumerate(samples, start=1):
        batch = collate([sample], sam.input_size).to(sam.device)
        features = sam.encode(normalise(sam, batch))
        truth, _ = batch.truth()
        count = len(truth)
        ones = torch.ones(count, 1, device=sam.device)
        found = []
        for prompts in (
            sam.embed_prompts(batch.points[:, None], ones),
            sam.embed_prompts(boxes=batch.boxes),
        ):
            logits, iou = sam.decode(features, *prompts, multimask=True)
            large = functional.interpolate(
                logits.float(), truth.shape[1:], mode='bilinear'
            )
            reached = iou_of(large, truth)
            chosen = iou.argmax(1, keepdim=True)
            error = (iou - reached).abs().mean(1)
            found.append(
                (reached.gather(1, chosen)[:, 0], reached, error, logits)
            )
        (point, points, error, logits), (box, _, _, _) = found
        agreed = points.gather(1, _agreed(logits)[:, None])[:, 0]
        found_rows = torch.stack(
            [point, box, points.amax(1), agreed, error], 1
        )
        rows += [(sample.group, row) for row in found_rows.tolist()]
        if on_sample is not None and not on_sample(done):
            break
    return [group for group, _ in rows], np.array([row for _, row in rows])


def mean_scores(
    groups: Sequence[str], numbers: NDArray[np.float64]
) -> dict[str, float]:
    """Return the means of `object_scores`; see `quick_score`."""
    names = np.array(groups)
    scores = dict(
        zip(
            ('point', 'box', 'oracle', 'agreement', 'calibration'),
            numbers.mean(0).tolist(),
            strict=True,
        )
    )
    means = []
    for group in dict.fromkeys(names):
        point_mean, box_mean = numbers[names == group, :2].mean(0)
        scores[f'{group} point'] = float(point_mean)
        scores[f'{group} box'] = float(box_mean)
        means += [point_mean, box_mean]
    scores['score'] = float(np.mean(means))
    return scores


def _agreed(logits: Tensor) -> Tensor:
    """Return the index of the mask best by agreement, (P,) of (P, 3, h, w)."""
    masks = (logits > 0).cpu().numpy()
    best = [int(agreement(three).argmax()) for three in masks]
    return torch.tensor(best, device=logits.device)
