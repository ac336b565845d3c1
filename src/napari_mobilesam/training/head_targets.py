"""Crops of labelled images with the maps that an instance head learns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.model.sam import STRIDE
from napari_mobilesam.training.crop_geometry import (
    CropGeometry,
    choose_window,
)
from napari_mobilesam.training.dataset import BalancedSampler
from napari_mobilesam.training.instance_maps import MAP_STRIDE, KnownMaps
from napari_mobilesam.training.labelled_images import LabelledImage, by_group
from napari_mobilesam.training.training_parameters import ZoomRange
from napari_mobilesam.types import ModelRecord

# Side of a crop, in inputs of the model.
CANVAS = 1.5
# Objects are zoomed to the size that suits the model, this factor more or
# less at the most.
ZOOM = 2.5
# Of the places of validation crops.
SEED = 1


@dataclass(frozen=True, eq=False)
class HeadCrop:
    """A crop of an image with the maps of its objects.

    Attributes
    ----------
    image : ndarray
        (h, w, 3) uint8, at most the canvas.
    maps : ndarray
        (4, m, m) uint8: the three maps and what is known, 255 for 1; the
        padding is unknown.
    ids : ndarray
        (m, m) int32 objects, 0 is background.
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
    """Cut a window of an image and of its maps; with ``rng`` augment it.

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
        Draws intensities and orientation.
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
    """Endless, reproducible crops: number ``i`` is the same every time.

    Attributes
    ----------
    images : sequence of LabelledImage
        Real data.
    canvas : int
        Side of a crop in input pixels: more than the model's input, so that
        most cells see as much around them as in the product.
    zoom : ZoomRange
        Object sizes.
    incomplete : collection of str
        Data sets in which not every object is labelled.
    procedural : float
        Share of procedural images.
    scene : callable, optional
        Makes a procedural image from a random generator.
    seed : int
        Seed of all chance.
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
        """Sampler by kind: one of few objects is as good a teacher."""
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
    """Source of crops whose size and zoom suit a model.

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
    # positions of an encoder that knows any suit its input only
    whole = record.architecture != 'vit_t'
    cells = round((1 if whole else CANVAS) * record.input_size / STRIDE)
    return HeadCropSource(images, cells * STRIDE, zoom, tuple(incomplete))


def validation_crops(
    source: HeadCropSource, diameter: float, count: int
) -> list[HeadCrop]:
    """Fixed crops without augmentation, the groups in turn.

    Parameters
    ----------
    source : HeadCropSource
        Its images are for validation.
    diameter : float
        Input pixels that an object of each crop is zoomed to.
    count : int
        Crops.
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
