"""What an instance head learns: maps of the objects of labelled images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, find_objects

from napari_mobilesam.model.instance_head import MAP_PIXELS, MAPS
from napari_mobilesam.model.sam import STRIDE
from napari_mobilesam.training.dataset import BalancedSampler, LabelledImage
from napari_mobilesam.training.samples import (
    choose_window,
    cut_pixels,
    nearest,
    orient,
)
from napari_mobilesam.training.training_parameters import ZoomRange

# Input pixels along a pixel of the maps.
MAP_STRIDE = STRIDE // MAP_PIXELS
# A centre is at least this far inside, in largest distances to the boundary.
INSIDE = 0.7
# Where not all objects are labelled, pixels this near a labelled one are
# known to be background, in its diameters.
RING = 0.15


class ObjectMaps(NamedTuple):
    """Maps of the objects of an image, in its pixels.

    Attributes
    ----------
    values : ndarray
        (3, H, W) float32 of 0 to 1: foreground, closeness to the centre,
        distance to the boundary, see `InstanceHead.forward`.
    known : ndarray
        (H, W) float32: 0 where the image does not tell what there is.
    """

    values: NDArray[np.float32]
    known: NDArray[np.float32]


def object_maps(
    labels: NDArray[np.integer], complete: bool = True
) -> ObjectMaps:
    """Maps of a label image; both distances are normalised per object.

    The edge of the image is no boundary of an object that it cuts off.

    Parameters
    ----------
    labels : ndarray
        (H, W) integer ids, 0 is background.
    complete : bool
        Every object is labelled. Otherwise only background next to labelled
        objects is known.
    """
    values = np.zeros((MAPS, *labels.shape), np.float32)
    values[0] = labels > 0
    known = np.full(labels.shape, complete, np.float32)
    for label, box in enumerate(find_objects(labels), start=1):
        if box is None:
            continue
        around = tuple(
            slice(max(0, side.start - 1), side.stop + 1) for side in box
        )
        inside = labels[around] == label
        depth = _depth(inside)
        values[1][around][inside] = _closeness(inside, depth)
        values[2][around][inside] = depth[inside] / depth.max()
    if not complete:
        reach = RING * 2 * np.sqrt(_median_area(labels) / np.pi)
        known[distance_transform_edt(labels == 0) <= max(1.0, reach)] = 1
    return ObjectMaps(values, known)


def _depth(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of each pixel to the outside, half a pixel less."""
    if inside.all():
        # the only object, as large as the image: nothing is outside
        return np.ones(inside.shape)
    depth: NDArray[np.float64] = distance_transform_edt(inside)
    return np.maximum(depth - 0.5, 0)


def _closeness(
    inside: NDArray[np.bool_], depth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) closeness of the pixels of an object to its centre.

    The centre is the place next to the centroid that is deep inside: not in
    the hollow of a crescent, and in the middle of a rod.
    """
    pixels = np.argwhere(inside)
    deep = np.argwhere(depth >= INSIDE * depth.max())
    off = deep - pixels.mean(axis=0)
    centre = deep[np.argmin((off**2).sum(axis=1))]
    far = np.sqrt(((pixels - centre) ** 2).sum(axis=1))
    return 1 - far / max(far.max() + 0.5, 1)


def _median_area(labels: NDArray[np.integer]) -> float:
    areas = np.bincount(labels.ravel())[1:]
    return float(np.median(areas[areas > 0])) if areas.any() else 1.0


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
        (m, m) uint16 objects, 0 is background.
    group : str
        Group of the image.
    """

    image: NDArray[np.uint8]
    maps: NDArray[np.uint8]
    ids: NDArray[np.uint16]
    group: str


def cut_with_maps(
    image: LabelledImage,
    maps: ObjectMaps,
    window: tuple[int, int, int, int],
    canvas: int,
    rng: np.random.Generator | None = None,
) -> HeadCrop:
    """Cut a window of an image and of its maps; with ``rng`` augment it.

    Parameters
    ----------
    image : LabelledImage
        Image.
    maps : ObjectMaps
        Of the first layer of its labels.
    window : tuple of int
        (row0, column0, row1, column1).
    canvas : int
        Side of the crop in input pixels.
    rng : numpy.random.Generator, optional
        Draws intensities and orientation.
    """
    row0, column0, row1, column1 = window
    rgb = cut_pixels(image, window, canvas, rng)
    row = nearest(row0, row1, rgb.shape[0], MAP_STRIDE)
    column = nearest(column0, column1, rgb.shape[1], MAP_STRIDE)
    shape = len(row), len(column)
    planes = np.zeros((MAPS + 2, *2 * (canvas // MAP_STRIDE,)), np.uint16)
    inner = planes[:, : shape[0], : shape[1]]
    part = slice(row0, row1), slice(column0, column1)
    for number, plane in enumerate((*maps.values, maps.known)):
        inner[number] = 255 * _resized(plane[part], shape) + 0.5
    inner[-1] = image.labels[0][row[:, None], column]
    if rng is not None:
        rgb, planes = orient(rgb, planes, shape, rng)
    return HeadCrop(rgb, planes[:-1].astype(np.uint8), planes[-1], image.group)


def _resized(
    plane: NDArray[np.float32], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Plane in another size, where it shrinks the mean of its pixels."""
    picture = Image.fromarray(np.ascontiguousarray(plane))
    resized = picture.resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized)


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
    sampler: BalancedSampler = field(init=False)
    known_maps: dict[int, ObjectMaps] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        # by kind, not by count: a kind of few objects is as good a teacher
        sampler = BalancedSampler(self.images, exponent=0.25)
        object.__setattr__(self, 'sampler', sampler)

    def __getitem__(self, index: int) -> HeadCrop:
        """Make crop ``index``."""
        rng = np.random.default_rng((self.seed, index))
        synthetic = self.scene is not None and rng.random() < self.procedural
        if synthetic and self.scene is not None:
            image = self.scene(rng)
            maps = object_maps(image.labels[0])
        else:
            image = self.sampler.draw(rng)
            maps = self.maps_of(image)
        window = choose_window(image, self.zoom.draw(rng), self.canvas, rng)
        return cut_with_maps(image, maps, window, self.canvas, rng)

    def maps_of(self, image: LabelledImage) -> ObjectMaps:
        """Maps of an image, computed the first time."""
        if id(image) not in self.known_maps:
            complete = image.dataset not in self.incomplete
            self.known_maps[id(image)] = object_maps(image.labels[0], complete)
        return self.known_maps[id(image)]


def validation_crops(
    source: HeadCropSource, diameter: float, count: int, seed: int = 1
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
    seed : int
        Seed of their places.
    """
    groups: dict[str, list[LabelledImage]] = {}
    for image in source.images:
        groups.setdefault(image.group, []).append(image)
    crops = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        members = list(groups.values())[number % len(groups)]
        image = members[int(rng.integers(len(members)))]
        window = choose_window(image, diameter, source.canvas, rng)
        maps = source.maps_of(image)
        crops.append(cut_with_maps(image, maps, window, source.canvas))
    return crops
