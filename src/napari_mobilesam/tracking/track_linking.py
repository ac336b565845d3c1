"""Link objects through time by distance and overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_mobilesam.argument_checks import (
    check_flag,
    check_instance,
    check_number,
    check_text,
)
from napari_mobilesam.extra import need
from napari_mobilesam.parameter_fields import documented, parameter
from napari_mobilesam.tracking.objects_in_time import (
    ObjectsInTime,
    objects_in_time,
)
from napari_mobilesam.tracking.trackastra_linking import (
    PACKAGE,
    link_by_trackastra,
)
from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.types import ImageError, Progress

# Default distance limit, in median object diameters.
DIAMETERS = 1.5
# Reduction of the cost of a link at full overlap, as a share.
OVERLAP_WEIGHT = 0.8
# Range of the area of a child, relative to the dividing object.
CHILD_SIZES = (0.2, 0.85)
# Maximum area of a child after linking, relative to the dividing object.
LARGEST_CHILD = 0.95
# Maximum ratio of the sizes of the children of a division.
MOST_UNEQUAL = 2.5
# Maximum cost of a link; links at the distance limit cost 1.
COST_LIMIT = 1.0

Linker = Literal['laptrack', 'trackastra']


@documented
@dataclass(frozen=True)
class LinkingParameters:
    """Parameters for linking objects through time."""

    max_distance: float | None = parameter(
        None,
        'Maximum movement of an object from one frame to the next, in pixels.',
        label='Distance (px)',
        minimum=1,
        maximum=100_000,
        automatic='1.5 times the median object diameter.',
        typical=30.0,
    )
    gap: int = parameter(
        1,
        'Maximum consecutive frames in which an object may be missing without '
        'ending its track.',
        label='Missing frames',
        maximum=100,
    )
    divisions: bool = parameter(
        True,
        'Allow objects to divide into two.',
        label='Divisions',
    )
    drift: bool = parameter(
        True,
        'Shifts common to all objects, such as stage drift, are subtracted '
        'before objects are linked.',
        label='Stage drift',
    )
    linker: Linker = parameter(
        'laptrack',
        'laptrack: by distance and overlap. trackastra (if installed): by a '
        'network that compares objects in the image; distance, missing '
        'frames and stage drift are not used.',
        label='Linking',
        choices=tuple((name, name) for name in get_args(Linker)),
    )
    trackastra_model: str = parameter(
        'general_2d',
        'Pretrained trackastra model, or the folder of one.',
    )


def track_labels(
    labels: Any,
    parameters: LinkingParameters | None = None,
    progress: Progress | None = None,
    images: Any = None,
) -> Tracks:
    """Link the objects of a series of label images into tracks.

    Parameters
    ----------
    labels : array
        (frame, row, column) or (frame, plane, row, column) integer labels,
        0 for background. An object may have different labels in different
        frames.
    parameters : LinkingParameters, optional
        Parameters, such as distance, gaps and divisions.
    progress : callable, optional
        ``progress(done, total, message)``; an exception that it raises ends
        the tracking.
    images : array, optional
        (frame, row, column) or (frame, plane, row, column) image that was
        segmented, for trackastra.

    Returns
    -------
    Tracks
        All objects with their tracks and predecessors.

    Raises
    ------
    SegmentationError
        If the parameters are invalid.
    ImageError
        If the labels are not a time series, or have no objects.
    ImportError
        If laptrack or trackastra, whichever is used, is not installed; the
        message says how to install it.
    """
    check_instance('parameters', parameters, LinkingParameters)
    parameters = parameters or LinkingParameters()
    _check(parameters)
    if parameters.linker == 'trackastra':
        need(f'{PACKAGE}.model', PACKAGE)
        return link_by_trackastra(
            objects_in_time(labels, progress),
            labels,
            images,
            parameters.trackastra_model,
            parameters.divisions,
            progress,
        )
    need('laptrack', 'track')
    objects = objects_in_time(labels, progress, parameters.drift)
    if progress is not None:
        progress(0, 1, 'Linking')
    return link_objects(objects, parameters)


def link_objects(
    objects: ObjectsInTime, parameters: LinkingParameters | None = None
) -> Tracks:
    """Link objects that were already measured; see `track_labels`.

    Frame-to-frame linking and gap closing are linear assignment problems with
    a cost for every start and end (Jaqaman et al. 2008, Nature Methods 5,
    695), solved by laptrack. A link costs the square of its distance relative
    to the distance limit, less a discount for overlap.
    """
    parameters = parameters or LinkingParameters()
    _check(parameters)
    longest = _longest(objects, parameters)
    links = _Lookup(_link_costs(objects, longest, parameters.gap + 1))
    tracker = need('laptrack', 'track').LapTrack(
        metric=links,
        cutoff=COST_LIMIT,
        gap_closing_metric=links,
        gap_closing_cutoff=COST_LIMIT if parameters.gap else False,
        gap_closing_max_frame_count=parameters.gap + 1,
        splitting_metric=_Lookup(_division_costs(objects, longest)),
        splitting_cutoff=COST_LIMIT if parameters.divisions else False,
        no_splitting_cost=COST_LIMIT,
        segment_start_cost=COST_LIMIT,
        segment_end_cost=COST_LIMIT,
    )
    places = [
        np.flatnonzero(objects.frames == frame)
        for frame in range(objects.frame_count)
    ]
    # the single coordinate of an object is its index, for the lookup of costs
    graph = tracker.predict([each[:, None].astype(float) for each in places])
    previous = np.full(len(objects), -1)
    for nodes in graph.edges:
        (frame, first), (later, second) = sorted(nodes)
        previous[places[later][second]] = places[frame][first]
    previous = _plausible(objects, previous)
    if parameters.divisions:
        for later in range(2, parameters.gap + 2):
            previous = _divided_over_gap(objects, previous, longest, later)
    return Tracks.of(
        objects.frames, objects.labels, objects.positions, previous
    )


def _check(parameters: LinkingParameters) -> None:
    if parameters.max_distance is not None:
        check_number('max_distance', parameters.max_distance, 1e-6, 1e9)
    check_number('gap', parameters.gap, 0, 100, whole=True)
    check_flag('divisions', parameters.divisions)
    check_flag('drift', parameters.drift)
    if parameters.linker not in get_args(Linker):
        raise ImageError(
            f'linker is {parameters.linker!r}; it has to be one of '
            f'{", ".join(map(repr, get_args(Linker)))}.'
        )
    check_text('trackastra_model', parameters.trackastra_model)


def _longest(objects: ObjectsInTime, parameters: LinkingParameters) -> float:
    if parameters.max_distance is not None:
        return float(parameters.max_distance)
    return DIAMETERS * float(np.median(objects.diameters))


class _Lookup:
    """Metric for laptrack, called with one pair at a time.

    Objects are given by index, in either order. Pairs that are not listed
    cannot be linked.
    """

    def __init__(self, costs: dict[tuple[int, int], float]) -> None:
        self._costs = costs

    def __call__(
        self, first: NDArray[np.float64], second: NDArray[np.float64]
    ) -> float:
        i, j = int(first[0]), int(second[0])
        return self._costs.get((i, j) if i < j else (j, i), np.inf)


def _link_costs(
    objects: ObjectsInTime, longest: float, frames: int
) -> dict[tuple[int, int], float]:
    """Return the costs of links to objects up to some frames later."""
    costs = {}
    areas = objects.areas
    for later in range(1, frames + 1):
        pairs, costs_of_ways = _near(objects, longest, later)
        for (i, j), cost in zip(pairs, costs_of_ways, strict=True):
            smaller = min(areas[i], areas[j])
            overlap = objects.overlaps.get((i, j), 0) / smaller
            costs[i, j] = cost * (1 - OVERLAP_WEIGHT * overlap)
    return costs


def _division_costs(
    objects: ObjectsInTime, longest: float
) -> dict[tuple[int, int], float]:
    """Return the costs of a second link, which is a division."""
    low, high = CHILD_SIZES
    costs = {}
    areas = objects.areas
    pairs, costs_of_ways = _near(objects, longest, 1)
    for (i, j), cost in zip(pairs, costs_of_ways, strict=True):
        if low <= areas[j] / areas[i] <= high:
            overlap = objects.overlaps.get((i, j), 0) / areas[j]
            costs[i, j] = cost * (1 - OVERLAP_WEIGHT * overlap)
    return costs


def _divided_over_gap(
    objects: ObjectsInTime,
    previous: NDArray[np.int64],
    longest: float,
    later: int,
) -> NDArray[np.int64]:
    """Add children that are missing in the frame after a division.

    An object that starts a track within this number of frames becomes a child,
    if the object that follows the parent has the size of a child, too.
    """
    previous = previous.copy()
    low, high = CHILD_SIZES
    areas = objects.areas
    following: dict[int, list[int]] = {}
    for index in np.flatnonzero(previous >= 0).tolist():
        following.setdefault(int(previous[index]), []).append(index)
    pairs, costs = _near(objects, longest, later)
    for place in np.argsort(costs, kind='stable'):
        parent, child = pairs[place]
        others = following.get(parent, [])
        if previous[child] >= 0 or len(others) != 1:
            continue
        both = areas[[child, *others]]
        shares = both / areas[parent]
        if shares.min() < low or shares.max() > high:
            continue
        if both.max() > MOST_UNEQUAL * both.min():
            continue
        previous[child] = parent
        others.append(child)
    return previous


def _near(
    objects: ObjectsInTime, longest: float, later: int
) -> tuple[list[tuple[int, int]], list[float]]:
    """Return pairs of near objects, and their squared relative distances."""
    starts = np.searchsorted(
        objects.frames, np.arange(objects.frame_count + 1)
    )
    positions = objects.aligned
    pairs: list[tuple[int, int]] = []
    costs: list[float] = []
    for frame in range(objects.frame_count - later):
        here = slice(*starts[frame : frame + 2])
        there = slice(*starts[frame + later : frame + later + 2])
        trees = [
            cKDTree(positions[part])
            for part in (here, there)
            if part.stop > part.start
        ]
        if len(trees) < 2:
            continue
        found = trees[0].sparse_distance_matrix(
            trees[1], longest, output_type='ndarray'
        )
        for i, j, way in zip(found['i'], found['j'], found['v'], strict=True):
            pairs.append((int(here.start + i), int(there.start + j)))
            costs.append((way / longest) ** 2)
    return pairs, costs


def _plausible(
    objects: ObjectsInTime, previous: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Remove a child of divisions that are not plausible by size.

    If a child is as large as the object, the smallest one is removed; if the
    children differ much in size, the farthest one.
    """
    previous = previous.copy()
    parents, counts = np.unique(previous[previous >= 0], return_counts=True)
    for parent in parents[counts > 1]:
        children = np.flatnonzero(previous == parent)
        areas = objects.areas[children]
        if areas.max() > LARGEST_CHILD * objects.areas[parent]:
            previous[children[np.argmin(areas)]] = -1
            continue
        if areas.max() <= MOST_UNEQUAL * areas.min():
            continue
        ways = objects.aligned[children] - objects.aligned[parent]
        previous[children[np.argmax((ways**2).sum(axis=1))]] = -1
    return previous
