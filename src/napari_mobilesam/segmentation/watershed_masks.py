"""Segment everything from the maps of the instance head alone.

The instances come from a watershed on the maps (Segment Anything for
Microscopy, Archit et al. 2025, "Automatic instance segmentation"), without the
mask decoder. This is the fastest method, with borders as fine as the maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, map_coordinates

from napari_mobilesam.model.instance_head import FOREGROUND, MAP_PIXELS
from napari_mobilesam.segmentation.everything_plan import Plan
from napari_mobilesam.segmentation.head_maps import InstanceMaps
from napari_mobilesam.segmentation.instances import LIKELY
from napari_mobilesam.segmentation.plan_parts import Look, parts_of
from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.segmentation.run import Collector, Run
from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import Mask

# Threshold offset of the foreground for the stability of a mask.
OFFSET = 0.1
SHOWN_AT_ONCE = 64  # masks
# Instances that touch the edge of a part are searched again in a wider part,
# up to this often.
WIDENED = 2

Points = NDArray[np.float64]


def take_instances(run: Run, plan: Plan, collector: Collector) -> None:
    """Take the objects that the instance head sees, as it outlines them.

    Parameters
    ----------
    run : Run
        Run under way.
    plan : Plan
        Its regions are decoder blocks of one scale.
    collector : Collector
        Takes the masks.
    """
    if not plan.regions:
        return
    block = plan.regions[0].decoder_block
    assert block is not None
    look = Look(run, block.pitch)
    for part in parts_of(plan.regions, run.image.grid):
        left: Points | None = None
        for further in range(WIDENED, -1, -1):
            maps = look.at(part)
            if maps is None:
                return
            wider = part.wider(run.image.grid) if further else None
            left = _take(
                run, maps, part.regions, collector, left, wider is None
            )
            if wider is None or not len(left):
                break
            part = wider


def _take(
    run: Run,
    maps: InstanceMaps,
    regions: Sequence[Region],
    collector: Collector,
    left: Points | None,
    cut_too: bool,
) -> Points:
    """Take the instances whose seeds lie in some regions.

    Parameters
    ----------
    run, maps, regions, collector
        As for a part of the run.
    left : ndarray or None
        Take the instances at these points instead, (N, 2) in data pixels.
        Their seeds may have moved, so another part may take them, too.
    cut_too : bool
        Also take instances that may continue beyond the maps.

    Returns
    -------
    ndarray
        (M, 2) seeds of instances not taken for that reason.
    """
    seeds, _, labels = maps.instances
    points = maps.to_data(seeds)
    places = find_objects(labels)
    if left is None:
        wanted = collector.scope.admits(points + 0.5)
        wanted &= np.any([each.owns(points) for each in regions], axis=0)
    else:
        wanted = np.zeros(len(seeds), bool)
        numbers = labels[tuple(maps.to_pixels(left).T)]
        numbers = numbers[(numbers > 0) & (numbers <= len(seeds))]
        wanted[numbers - 1] = True
    cut = np.zeros(len(seeds), bool)
    if not cut_too:
        cut = np.isin(np.arange(1, len(seeds) + 1), _at_inner_edges(maps))
    seen = [
        number
        for number in np.flatnonzero(wanted & ~cut).tolist()
        if places[number] is not None
    ]
    for start in range(0, len(seen), SHOWN_AT_ONCE):
        if run.cancelled():
            return np.zeros((0, 2))
        masks = [
            mask_of(maps, labels, number + 1, places[number], points[number])
            for number in seen[start : start + SHOWN_AT_ONCE]
        ]
        collector.add([mask for mask in masks if mask is not None])
    return points[wanted & cut]


def _at_inner_edges(maps: InstanceMaps) -> NDArray[np.int32]:
    """Return instances that touch an edge of the maps within the image."""
    labels = maps.instances.labels
    edges = [np.zeros(0, np.int32)]
    for axis, first in enumerate(maps.first):
        lines = np.moveaxis(labels, axis, 0)
        end = (first + len(lines)) * maps.pitch / MAP_PIXELS
        if first > 0:
            edges.append(lines[0])
        if end < maps.image_shape[axis]:
            edges.append(lines[-1])
    return np.unique(np.concatenate(edges))


def mask_of(
    maps: InstanceMaps,
    labels: NDArray[np.int32],
    number: int,
    place: tuple[slice, slice],
    point: NDArray[np.float64],
) -> Mask | None:
    """Return the mask of one instance in data pixels, with smooth borders.

    Parameters
    ----------
    maps : InstanceMaps
        Maps of the head.
    labels : ndarray
        (h, w) int32 of `find_instances`.
    number : int
        The instance.
    place : tuple of slice
        Rows and columns of the maps that hold it.
    point : ndarray
        Its seed in data pixels.

    Returns
    -------
    Mask or None
        None if smaller than a pixel. The score is the mean foreground, the
        stability the IoU at a higher and a lower threshold.
    """
    around = tuple(
        slice(max(0, part.start - 1), part.stop + 1) for part in place
    )
    own = labels[around]
    foreground = maps.values[FOREGROUND][around]
    field = np.where((own == 0) | (own == number), foreground, 0)
    scale = maps.pitch / MAP_PIXELS
    sides = []
    for part, start, length in zip(
        around, maps.first, maps.image_shape, strict=True
    ):
        first = max(0, int((start + part.start) * scale))
        last = min(length, int(np.ceil((start + part.stop) * scale)))
        pixels = np.arange(first, max(last, first))
        own_pixels = (pixels + 0.5) / scale - 0.5 - start - part.start
        sides.append((first, own_pixels))
    (row, rows), (column, columns) = sides
    values = map_coordinates(
        field,
        np.meshgrid(rows, columns, indexing='ij'),
        order=1,
        mode='nearest',
    )
    inside = values >= LIKELY
    if not inside.any():
        return None
    data, (row0, column0, row1, column1) = crop_to_mask(inside)
    high, low = (
        np.count_nonzero(values >= LIKELY + offset)
        for offset in (OFFSET, -OFFSET)
    )
    height, width = maps.image_shape
    return Mask(
        data,
        (row + row0, column + column0, row + row1, column + column1),
        float(foreground[own == number].mean()),
        int(high) / max(int(low), 1),
        (float(point[0]), float(point[1])),
        (0, 0, height, width),
    )
