"""Maps of the objects of labelled images, learned by an instance head."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects

from napari_mobilesam.model.instance_head import MAP_PIXELS, MAPS
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.types import STRIDE

# Input pixels along a pixel of the maps.
MAP_STRIDE = STRIDE // MAP_PIXELS
# Minimum depth of a centre, relative to the maximum distance to the boundary.
INSIDE = 0.7
# If not all objects are labelled, pixels this close to a labelled one, in its
# diameters, are known to be background.
RING = 0.15


class ObjectMaps(NamedTuple):
    """Maps of the objects of an image, at its resolution.

    Attributes
    ----------
    values : ndarray
        (3, H, W) float32 from 0 to 1: foreground, closeness to the centre,
        distance to the boundary; see `InstanceHead.forward`.
    known : ndarray
        (H, W) float32: 0 where the content is unknown.
    """

    values: NDArray[np.float32]
    known: NDArray[np.float32]


def object_maps(
    labels: NDArray[np.integer], complete: bool = True
) -> ObjectMaps:
    """Return maps of a label image, with distances normalised per object.

    The image edge is not a boundary of objects that it cuts off.

    Parameters
    ----------
    labels : ndarray
        (H, W) integer ids, 0 is background.
    complete : bool
        Whether every object is labelled. Otherwise, only background next to
        labelled objects is known.
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
    """Return the distance of each pixel to the outside, minus half a pixel."""
    if inside.all():
        # a single object as large as the image: nothing is outside
        return np.ones(inside.shape)
    depth: NDArray[np.float64] = distance_transform_edt(inside)
    return np.maximum(depth - 0.5, 0)


def _closeness(
    inside: NDArray[np.bool_], depth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N,) closeness of the pixels of an object to its centre.

    The centre is the place closest to the centroid that is deep inside:
    outside the hollow of a crescent, and in the middle of a rod.
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
class KnownMaps:
    """Maps of whole images, computed once.

    Attributes
    ----------
    images : sequence of LabelledImage
        Images whose maps are kept.
    incomplete : collection of str
        Data sets in which not every object is labelled.
    unknown : sequence of ndarray
        (H, W) bool of each image: where nothing is known, such as held-out
        objects. If empty, everything is known.
    """

    images: Sequence[LabelledImage]
    incomplete: Collection[str] = ()
    unknown: Sequence[NDArray[np.bool_]] = ()
    computed: dict[int, NDArray[np.uint8]] = field(
        init=False, default_factory=dict
    )

    def of(self, image: LabelledImage) -> NDArray[np.uint8]:
        """Return the maps of the first label layer of an image, cached.

        Returns
        -------
        ndarray
            (4, H, W): the three maps and a mask of known pixels, 255 for 1.
        """
        # by number, as identities differ in a worker process
        numbers = (n for n, one in enumerate(self.images) if one is image)
        number = next(numbers, None)
        maps = None if number is None else self.computed.get(number)
        if maps is None:
            maps = map_bytes(
                image.labels[0], image.dataset not in self.incomplete
            )
            if number is not None:
                self._keep(number, maps)
        return maps

    def prepare(self, workers: int) -> None:
        """Compute the maps of all images in several processes."""
        labels = [image.labels[0] for image in self.images]
        complete = [
            image.dataset not in self.incomplete for image in self.images
        ]
        with ProcessPoolExecutor(workers) as pool:
            found = pool.map(map_bytes, labels, complete)
            for number, maps in enumerate(found):
                self._keep(number, maps)

    def _keep(self, number: int, maps: NDArray[np.uint8]) -> None:
        if self.unknown:
            maps[MAPS][self.unknown[number]] = 0
        self.computed[number] = maps


def map_bytes(
    labels: NDArray[np.integer], complete: bool
) -> NDArray[np.uint8]:
    """Return `object_maps` as (4, H, W) uint8, 255 for 1."""
    values, known = object_maps(labels, complete)
    planes = np.concatenate([values, known[None]])
    return np.asarray(255 * planes + 0.5).astype(np.uint8)
