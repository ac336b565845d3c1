"""Crops of labelled images as the model sees them, with simulated prompts.

A crop is what the application embeds: a window of the image with its longer
side resized to the model's input. Its zoom is drawn from `ZoomRange`, so that
one object has a chosen diameter at the input.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.masks import innermost_pixel
from napari_mobilesam.training.crop_geometry import (
    CropGeometry,
    choose_window,
)
from napari_mobilesam.training.dataset import BalancedSampler
from napari_mobilesam.training.instance_maps import MAP_STRIDE, KnownMaps
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.simulated_prompts import (
    box_of,
    jitter_box,
    random_point,
)
from napari_mobilesam.training.training_parameters import ZoomRange
from napari_mobilesam.training.warp import Warp
from napari_mobilesam.types import Window

MIN_GRID_AREA = 24  # grid pixels; smaller objects are not prompted


@dataclass(frozen=True, eq=False)
class Sample:
    """One crop, with its targets and first prompts.

    Attributes
    ----------
    image : ndarray
        (h, w, 3) uint8, ``max(h, w)`` is the input size.
    labels : ndarray
        (L, g, g) int32 ids on the label grid, see `grid_stride`; the padding
        is background.
    targets : ndarray
        (P, 2) int64 layer and id of each prompted object.
    points : ndarray
        (P, 2) float32 x-y input pixels.
    boxes : ndarray
        (P, 4) float32 x0, y0, x1, y1 input pixels, jittered.
    background : ndarray
        (N, 2) float32 x-y clicks outside all objects.
    group : str
        Group of the image.
    maps : ndarray, optional
        (4, m, m) uint8 maps for the instance head, see `HeadCrop`.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    targets: NDArray[np.int64]
    points: NDArray[np.float32]
    boxes: NDArray[np.float32]
    background: NDArray[np.float32]
    group: str = ''
    maps: NDArray[np.uint8] | None = None


def grid_stride(input_size: int) -> int:
    """Return input pixels per pixel of the label grid.

    On small inputs, where borders would be too coarse, masks are compared at
    twice the resolution of the low-res logits, else at the same resolution.
    """
    return 2 if input_size <= 384 else 4


def cut(
    image: LabelledImage,
    window: Window,
    input_size: int,
    rng: np.random.Generator | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Cut and resize a window of an image and of its labels.

    Parameters
    ----------
    image : LabelledImage
        Image and labels.
    window : tuple of int
        (row0, column0, row1, column1) in data pixels, half open.
    input_size : int
        Side of the model's input.
    rng : numpy.random.Generator, optional
        Augments the crop; without it, the crop is as in the image.

    Returns
    -------
    image : ndarray
        (h, w, 3) uint8, longer side ``input_size``.
    labels : ndarray
        (L, g, g) int32 on the label grid, zero-padded.
    """
    geometry = CropGeometry.of(image, window, input_size, rng)
    rgb = geometry.pixels(image, rng)
    return rgb, geometry.labels(image.labels, grid_stride(input_size))


def to_xy(position: tuple[float, float], stride: int) -> tuple[float, float]:
    """Convert the centre of a grid pixel (row, column) to x-y input pixels."""
    row, column = position
    half = (stride - 1) / 2
    return column * stride + half, row * stride + half


def touching_ids(layer: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return ids that share a border with another id."""
    found = []
    for first, second in (
        (layer[1:], layer[:-1]),
        (layer[:, 1:], layer[:, :-1]),
    ):
        meets = (first != second) & (first > 0) & (second > 0)
        found += [first[meets], second[meets]]
    return np.unique(np.concatenate(found)).astype(np.int64)


def simulate_prompts(
    rgb: NDArray[np.uint8],
    labels: NDArray[np.int32],
    count: int,
    background: int,
    rng: np.random.Generator,
    group: str = '',
    maps: NDArray[np.uint8] | None = None,
) -> Sample:
    """Choose objects, prompts for them, and clicks outside them.

    Touching objects are twice as likely as others, because the border between
    them is difficult.

    Parameters
    ----------
    rgb : ndarray
        (h, w, 3) uint8 crop.
    labels : ndarray
        (L, g, g) int32 ids on the label grid, see `grid_stride`.
    count : int
        Maximum number of prompted objects.
    background : int
        Number of clicks outside all objects.
    rng : numpy.random.Generator
        Source of all choices.
    group : str
        Group of the image.
    maps : ndarray, optional
        (4, m, m) uint8, see `HeadCrop`; no click lies where they are unknown.

    Returns
    -------
    Sample
        Without targets if no object is large enough.
    """
    stride = grid_stride(max(rgb.shape[:2]))
    candidates, odds = [], []
    for index, layer in enumerate(labels):
        areas = np.bincount(layer.ravel())
        touching = set(touching_ids(layer).tolist())
        for label in np.flatnonzero(areas >= MIN_GRID_AREA):
            if label:
                candidates.append((index, int(label)))
                odds.append(2.0 if label in touching else 1.0)
    targets = np.array(candidates, dtype=np.int64).reshape(-1, 2)
    # In crops with few objects, each is prompted twice, in different places.
    targets = np.repeat(targets, 2, axis=0)
    if len(targets) > count:
        chances = np.repeat(odds, 2) / (2 * np.sum(odds))
        chosen = rng.choice(len(targets), count, replace=False, p=chances)
        targets = targets[chosen]
    points, boxes = [], []
    for layer, label in targets:
        mask = labels[layer] == label
        middle = rng.random() < 0.4
        point = innermost_pixel(mask) if middle else random_point(mask, rng)
        points.append(to_xy(point, stride))
        box = jitter_box(box_of(mask), labels.shape[1:], rng)
        boxes.append(box[[1, 0, 3, 2]] * stride - 0.5)
    return Sample(
        rgb,
        labels,
        targets,
        np.array(points, dtype=np.float32).reshape(-1, 2),
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        _background_clicks(rgb, labels, maps, background, rng),
        group,
        maps,
    )


def _background_clicks(
    rgb: NDArray[np.uint8],
    labels: NDArray[np.int32],
    maps: NDArray[np.uint8] | None,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    stride = grid_stride(max(rgb.shape[:2]))
    rows, columns = (-(-length // stride) for length in rgb.shape[:2])
    free = np.asarray(~labels.any(axis=0))
    if maps is not None:
        times = free.shape[0] // maps.shape[1]
        known = (maps[-1] == 255).repeat(times, 0).repeat(times, 1)
        free &= known
    free = free[:rows, :columns]
    if count == 0 or not free.any():
        return np.zeros((0, 2), dtype=np.float32)
    points = [to_xy(random_point(free, rng), stride) for _ in range(count)]
    return np.array(points, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class SampleSource:
    """Endless, reproducible samples: sample ``i`` is always the same.

    Attributes
    ----------
    images : sequence of LabelledImage
        Real data; may be empty if ``procedural`` is 1.
    input_size : int
        Side of the model's input.
    procedural : float
        Share of procedural images.
    scene : callable, optional
        Makes a procedural image from a random generator.
    prompts, background : int
        Maximum number of objects and background clicks per crop.
    zoom : ZoomRange
        Object sizes.
    seed : int
        Random seed.
    incomplete : collection of str
        Data sets in which not every object is labelled; there are no clicks on
        their background.
    warped : float
        Share of crops that are rotated, stretched and warped.
    known_maps : KnownMaps, optional
        Source of maps for an instance head; without it, there are no maps.
    """

    images: Sequence[LabelledImage]
    input_size: int
    procedural: float = 0.15
    scene: Callable[[np.random.Generator], LabelledImage] | None = None
    prompts: int = 10
    background: int = 2
    zoom: ZoomRange = field(default_factory=ZoomRange)
    seed: int = 0
    incomplete: Collection[str] = ()
    warped: float = 0.0
    known_maps: KnownMaps | None = None

    @cached_property
    def sampler(self) -> BalancedSampler | None:
        """Sampler of the images, None without images."""
        return BalancedSampler(self.images) if self.images else None

    def __getitem__(self, index: int) -> Sample:
        """Create sample ``index``."""
        rng = np.random.default_rng((self.seed, index))
        while True:
            image = self._draw(rng)
            geometry = self._geometry(image, rng)
            complete = image.dataset not in self.incomplete
            sample = simulate_prompts(
                geometry.pixels(image, rng),
                geometry.labels(image.labels, grid_stride(self.input_size)),
                self.prompts,
                self.background if complete else 0,
                rng,
                image.group,
                self._maps(image, geometry),
            )
            if len(sample.targets):
                return sample

    def _geometry(
        self, image: LabelledImage, rng: np.random.Generator
    ) -> CropGeometry:
        target = self.zoom.draw(rng)
        warp = Warp.draw(rng) if rng.random() < self.warped else None
        if warp is not None and target is not None:
            target /= warp.enlargement
        window = choose_window(image, target, self.input_size, rng)
        return CropGeometry.of(image, window, self.input_size, rng, warp)

    def _maps(
        self, image: LabelledImage, geometry: CropGeometry
    ) -> NDArray[np.uint8] | None:
        if self.known_maps is None:
            return None
        return geometry.planes(self.known_maps.of(image), MAP_STRIDE)

    def _draw(self, rng: np.random.Generator) -> LabelledImage:
        synthetic = self.scene is not None and (
            self.sampler is None or rng.random() < self.procedural
        )
        if synthetic and self.scene is not None:
            return self.scene(rng)
        if self.sampler is None:
            raise ValueError('neither images nor a scene to sample from')
        return self.sampler.draw(rng)
