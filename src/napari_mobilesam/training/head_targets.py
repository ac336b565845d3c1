"""Crops of labelled images, with the maps that an instance head learns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.training.crop_geometry import (
    CropGeometry,
    choose_window,
)
from napari_mobilesam.training.dataset import BalancedSampler
from napari_mobilesam.training.instance_maps import MAP_STRIDE, KnownMaps
from napari_mobilesam.training.labelled_images import LabelledImage, by_group
from napari_mobilesam.training.training_parameters import ZoomRange
from napari_mobilesam.types import STRIDE, ModelRecord

# Side of a crop, in model inputs.
CANVAS = 1.5
# Objects are zoomed to the size that suits the model, up to this factor more
# or less.
ZOOM = 2.5
# Seed of the positions of validation crops.
SEED = 1


@dataclass(frozen=True, eq=False)
class HeadCrop:
    """A crop of an image, with the maps of its objects.

    Attributes
    ----------
    image : ndarray
        (h, w, 3) uint8, at most as large as the canvas.
    maps : ndarray
        (4, m, m) uint8: the three maps and a mask of known pixels, 255 for 1;
        the padding is unknown.
    ids : ndarray
        (m, m) int32 object ids, 0 is background.
    group : str
        Group of the image.
    """

    image: NDArray[np.uint8]
    maps: NDArray[np.uint8]
    ids: NDArray[np.int32]
    group: str


def cut_with_maps(
    image: LabelledImage,
    maps: NDArray[np.uint8],
    window: tuple[int, int, int, int],
    canvas: int,
    rng: np.random.Generator | None = None,
) -> HeadCrop:
    """Cut a window of an image and of its maps; augment it with ``rng``.

    Parameters
    ----------
    image : LabelledImage
        Image.
    maps : ndarray
        (4, H, W) uint8 of `KnownMaps`.
    window : tuple of int
        (row0, column0, row1, column1).
    canvas : int
        Side of the crop in input pixels.
    rng : numpy.random.Generator, optional
        Source of random intensities and orientation.
    """
    geometry = CropGeometry.of(image, window, canvas, rng)
    return HeadCrop(
        geometry.pixels(image, rng),
        geometry.planes(maps, MAP_STRIDE),
        geometry.labels(image.labels[:1], MAP_STRIDE)[0],
        image.group,
    )


@dataclass(frozen=True, eq=False)
class HeadCropSource:
    """Endless, reproducible crops: crop ``i`` is always the same.

    Attributes
    ----------
    images : sequence of LabelledImage
        Real data.
    canvas : int
        Side of a crop in input pixels: more than the model's input, so that
        most cells see as much of their surroundings as in the application.
    zoom : ZoomRange
        Object sizes.
    incomplete : collection of str
        Data sets in which not every object is labelled.
    procedural : float
        Share of procedural images.
    scene : callable, optional
        Makes a procedural image from a random generator.
    seed : int
        Random seed.
    """

    images: Sequence[LabelledImage]
    canvas: int
    zoom: ZoomRange
    incomplete: Collection[str] = ()
    procedural: float = 0.0
    scene: Callable[[np.random.Generator], LabelledImage] | None = None
    seed: int = 0

    @cached_property
    def sampler(self) -> BalancedSampler:
        """Sampler by kind, since a kind with few objects teaches as well."""
        return BalancedSampler(self.images, exponent=0.25)

    @cached_property
    def known_maps(self) -> KnownMaps:
        """Maps of the images."""
        return KnownMaps(self.images, self.incomplete)

    def __getitem__(self, index: int) -> HeadCrop:
        """Make crop ``index``."""
        rng = np.random.default_rng((self.seed, index))
        synthetic = self.scene is not None and rng.random() < self.procedural
        if synthetic and self.scene is not None:
            image = self.scene(rng)
        else:
            image = self.sampler.draw(rng)
        window = choose_window(image, self.zoom.draw(rng), self.canvas, rng)
        maps = self.known_maps.of(image)
        return cut_with_maps(image, maps, window, self.canvas, rng)


def head_crop_source(
    record: ModelRecord,
    images: Sequence[LabelledImage],
    incomplete: Collection[str] = (),
) -> HeadCropSource:
    """Return a source of crops whose size and zoom suit a model.

    Parameters
    ----------
    record : ModelRecord
        Record of the model.
    images : sequence of LabelledImage
        Images.
    incomplete : collection of str
        Data sets in which not every object is labelled.
    """
    best = record.object_diameter.best
    zoom = ZoomRange(
        smallest=best / ZOOM,
        best=best,
        largest=best * ZOOM,
        anywhere=0.3,
        whole=0.05,
    )
    whole = record.absolute_positions
    cells = round((1 if whole else CANVAS) * record.input_size / STRIDE)
    return HeadCropSource(images, cells * STRIDE, zoom, tuple(incomplete))


def validation_crops(
    source: HeadCropSource, diameter: float, count: int
) -> list[HeadCrop]:
    """Return fixed crops without augmentation, alternating groups.

    Parameters
    ----------
    source : HeadCropSource
        Source of validation images.
    diameter : float
        Diameter in input pixels to which an object of each crop is zoomed.
    count : int
        Number of crops.
    """
    groups = list(by_group(source.images).values())
    crops = []
    for number in range(count):
        rng = np.random.default_rng((SEED, number))
        members = groups[number % len(groups)]
        image = members[int(rng.integers(len(members)))]
        window = choose_window(image, diameter, source.canvas, rng)
        maps = source.known_maps.of(image)
        crops.append(cut_with_maps(image, maps, window, source.canvas))
    return crops
