"""Measure masks after clicks, and objects propagated through stacks.

Clicks: one in the middle of each object, then up to five in the middle of the
largest error, with and without feeding the mask back to the model.
Propagation: five moving, growing and shrinking disks in synthetic stacks, from
a box on the first plane.

python benchmarks/interaction.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from labelled_data import DATA
from numpy.typing import NDArray

import napari_mobilesam as nm
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.masks import innermost_pixel
from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectView,
)
from napari_mobilesam.session.prompts.prompting import candidates_of
from napari_mobilesam.session.prompts.propagation import (
    PropagatedPlane,
    propagate,
)
from napari_mobilesam.training.dataset import read_folder
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.metrics import iou
from napari_mobilesam.training.simulated_prompts import (
    box_of,
    correction_point,
)
from napari_mobilesam.types import Mask, Prompts

CLICKS = 6
SIDE, PLANES, DISKS = 256, 14, 5

Pixels = NDArray[np.bool_]


def on_plane(mask: Mask | None, shape: tuple[int, int]) -> Pixels:
    """Return a cropped mask as (H, W) bool."""
    plane = np.zeros(shape, dtype=bool)
    if mask is not None:
        row0, column0, row1, column1 = mask.box
        plane[row0:row1, column0:column1] = mask.data
    return plane


def click_curve(
    engine: Engine, plane: ImagePlane, truth: Pixels, model: Sam, feed: bool
) -> list[float]:
    """Return the IoU after each click."""
    points, labels = [innermost_pixel(truth)], [1]
    before: ObjectCandidates | None = None
    curve: list[float] = []
    for _ in range(CLICKS):
        prompts = Prompts(np.array(points, float), np.array(labels))
        found = candidates_of(
            engine, model, None, plane, prompts, before if feed else None
        )
        before = before if found is None else found.only_chosen()
        mask = None if found is None else found.mask
        predicted = on_plane(mask, plane.shape)
        curve.append(iou(predicted, truth))
        row, column, label = correction_point(predicted, truth)
        points.append((row, column))
        labels.append(label)
    return curve


def measure_clicks(
    images: Sequence[LabelledImage], objects: int, model: Sam
) -> dict[bool, NDArray[Any]]:
    """Return mean IoU after each click, with and without feedback."""
    rng = np.random.default_rng(0)
    curves: dict[bool, list[list[float]]] = {True: [], False: []}
    for number, image in enumerate(images):
        pixels, labels = image.image, image.labels[0]
        plane = ImagePlane(number, partial(np.asarray, pixels), labels.shape)
        engine = Engine(lambda name: model)
        ids, areas = np.unique(labels[labels > 0], return_counts=True)
        for chosen in rng.permutation(ids[areas > 30])[:objects]:
            for feed, found in curves.items():
                found.append(
                    click_curve(engine, plane, labels == chosen, model, feed)
                )
    return {feed: np.mean(found, axis=0) for feed, found in curves.items()}


def drawn_stack(seed: int) -> tuple[list[NDArray[np.uint8]], list[Any]]:
    """Return planes with disks that move and change, and their labels."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    place = rng.uniform(50, 200, (DISKS, 2))
    speed = rng.uniform(-5, 5, (DISKS, 2))
    radius, growth = rng.uniform(10, 24, DISKS), rng.uniform(-1.2, 1.2, DISKS)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    images, labels = [], []
    for z in range(PLANES):
        image = np.full((SIDE, SIDE), 40.0)
        truth = np.zeros((SIDE, SIDE), int)
        for disk in range(DISKS):
            size = radius[disk] + growth[disk] * z
            if size < 5:
                continue
            row, column = place[disk] + speed[disk] * z
            squeeze = 1 + 0.2 * np.sin(disk)
            away = np.hypot(rows - row, (columns - column) * squeeze)
            inside = np.clip((size - away) / 2 + 0.5, 0, 1)
            image += inside * (60 + 20 * disk)
            truth[away < size] = disk + 1
        image = gaussian_filter(image, 1) + rng.normal(0, 6, image.shape)
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        labels.append(truth)
    return images, labels


def follow(seed: int, model: Sam) -> Iterator[tuple[bool, bool, float]]:
    """Yield (there, reached, IoU) per disk and plane except the first."""
    images, labels = drawn_stack(seed)
    planes = [
        ImagePlane(
            (seed, z), partial(np.asarray, image), image.shape, (0, 255)
        )
        for z, image in enumerate(images)
    ]
    engine = Engine(lambda name: model)

    def predict(
        plane: ImagePlane, prompts: Prompts, before: ObjectCandidates | None
    ) -> ObjectCandidates | None:
        return candidates_of(engine, model, None, plane, prompts, before)

    for disk in range(1, DISKS + 1):
        if np.count_nonzero(labels[0] == disk) < 100:
            continue
        prompts = Prompts(box=box_of(labels[0] == disk))
        found = predict(planes[0], prompts, None)
        if found is None:
            continue
        key = ObjectView(planes[0], prompts, found)
        steps = propagate(predict, planes, {0: key})
        masks = {
            step.number: step.view.mask
            for step in steps
            if isinstance(step, PropagatedPlane)
        }
        for z in range(1, PLANES):
            truth = labels[z] == disk
            there = bool(np.count_nonzero(truth) >= 100)
            predicted = on_plane(masks.get(z), truth.shape)
            yield there, z in masks, iou(predicted, truth) if there else 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--data', type=Path, default=DATA)
    parser.add_argument('--split', default='val')
    parser.add_argument('--images', type=int, default=4, help='per data set')
    parser.add_argument('--objects', type=int, default=8, help='per image')
    parser.add_argument('--stacks', type=int, default=4)
    options = parser.parse_args(arguments)
    model = nm.load_model()
    images = read_folder(
        options.data, split=options.split, limit=options.images
    )
    print('mean IoU after 1 …', CLICKS, 'clicks')
    curves = measure_clicks(images, options.objects, model)
    for feed, name in ((True, 'mask fed back'), (False, 'clicks alone')):
        print(f'{name}:', ' '.join(f'{v:.3f}' for v in curves[feed]))
    found = np.array(
        [row for seed in range(options.stacks) for row in follow(seed, model)]
    )
    there = found[:, 0] > 0
    print(
        f'followed: mean IoU {found[there, 2].mean():.3f}, '
        f'{found[there, 1].mean():.1%} of {there.sum()} planes reached, '
        f'{int(found[~there, 1].sum())} of {(~there).sum()} filled in vain'
    )


if __name__ == '__main__':
    main()
