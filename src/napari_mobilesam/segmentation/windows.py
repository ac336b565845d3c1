"""Windows in which objects have the size that a model was trained for.

Windows lie on a lattice that depends on the image's shape, the object size
and the model alone, so that an embedding made for a click serves the next one
and segment everything too. Each window has a core; the cores divide the image
without gap or overlap, and what lies around a core is context.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import (
    Box,
    ModelRecord,
    Prompts,
)

# Context around a core, in object diameters: an object that a point of the
# core belongs to, and its surroundings, lie within it.
HALO = 1.5
# Enlarging more than this adds no detail that the decoder could use.
MAX_ZOOM = 8
# Diameter of an object, as part of the geometric mean of its box's sides; on
# validation images 0.6 and 1 were worse by 0.01 of IoU.
BOX_DIAMETER = 0.8


# Objects of fewer screen pixels across are not what is pointed at.
SMALLEST_SEEN = 3
# From afar, windows grow until they are this large: what is found has to
# be written at full resolution.
FARTHEST = 4096
# Pixels of a screen that an image is seen on; rather more than less.
SCREEN = 1000
# Side of the finest window, in screens: an object that is seen as a whole
# lies well within it.
ROOM = 1.5


class Viewport(NamedTuple):
    """Where a person looks at an image plane, and from how far.

    Attributes
    ----------
    center : tuple of float
        (row, column) in the middle of the screen, in data pixels; may be
        outside the image.
    pixel : float
        Data pixels per pixel of the screen.
    """

    center: tuple[float, float]
    pixel: float

    @property
    def side(self) -> float:
        """About how many data pixels are seen across."""
        return SCREEN * self.pixel


class Window(NamedTuple):
    """A window to embed and the core whose points it owns.

    Both are (row0, column0, row1, column1), half open.
    """

    box: Box
    core: Box


def window_side(
    image_shape: tuple[int, int], diameter: float | None, record: ModelRecord
) -> int:
    """Side in data pixels of windows in which objects suit the model.

    The longer side of the image if objects suit the model in the whole image,
    or are too large already.
    """
    longest = max(image_shape)
    sizes = record.object_diameter
    if diameter is None:
        return longest
    if diameter * record.input_size / longest >= sizes.smallest:
        return longest
    side = round(record.input_size * diameter / sizes.best)
    return min(longest, max(side, record.input_size // MAX_ZOOM, 1))


def plan_windows(
    image_shape: tuple[int, int], diameter: float | None, record: ModelRecord
) -> list[Window]:
    """Windows in which objects suit the model, in reading order.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    diameter : float or None
        Object diameter in data pixels; None for the whole image.
    record : ModelRecord
        Input size and object sizes of the model.

    Returns
    -------
    list of Window
        One, the whole image, where that suits the model.
    """
    side = window_side(image_shape, diameter, record)
    return _lattice(image_shape, side, _halo(side, diameter))


def _halo(side: int, diameter: float | None) -> int:
    return min(math.ceil(HALO * (diameter or 0)), side // 4)


def _lattice(
    image_shape: tuple[int, int], side: int, halo: int
) -> list[Window]:
    rows, columns = (_axis(n, side, halo) for n in image_shape)
    return [
        Window(
            (row[0], column[0], row[1], column[1]),
            (row[2], column[2], row[3], column[3]),
        )
        for row in rows
        for column in columns
    ]


def _starts_and_edges(
    length: int, side: int, halo: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) starts of the windows of an axis, (n + 1,) edges of the cores."""
    if side >= length:
        return np.zeros(1, np.int64), np.array([0, length])
    count = 1 + math.ceil((length - side) / max(1, side - 2 * halo))
    starts = np.linspace(0, length - side, count).round().astype(np.int64)
    # Neighbours share what they overlap in equally.
    inner = (starts[1:] + starts[:-1] + side) // 2
    return starts, np.concatenate([[0], inner, [length]])


def _axis(length: int, side: int, halo: int) -> list[tuple[int, ...]]:
    """(start, stop, core start, core stop) of the windows of an axis."""
    starts, edges = _starts_and_edges(length, side, halo)
    stops = starts + min(side, length)
    columns = (starts, stops, edges[:-1], edges[1:])
    return list(zip(*(part.tolist() for part in columns), strict=True))


def window_for_prompts(
    image_shape: tuple[int, int],
    prompts: Prompts,
    diameter: float | None,
    record: ModelRecord,
    viewport: Viewport | None = None,
    most: int | None = None,
) -> Box:
    """The window of the lattice to embed for the prompts of one object.

    It owns the box's centre or else the first positive point, so that more
    prompts on the object leave it as it is, and holds all prompts: where they
    lie too far apart, windows twice, four times … as large are tried.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    prompts : Prompts
        Points and box in data pixels, within the image.
    diameter : float or None
        Object diameter in data pixels; None for the whole image.
    record : ModelRecord
        Input size and object sizes of the model.
    viewport : Viewport, optional
        Where the person looks who prompts, see `suited_side`.
    most : int, optional
        Largest side that prompts close together are given; no limit if None.

    Returns
    -------
    tuple of int
        (row0, column0, row1, column1), half open.
    """
    whole = (0, 0, *image_shape)
    corners = prompts.points
    if prompts.box is not None:
        corners = np.concatenate([prompts.box.reshape(2, 2), corners])
    if prompts.region is not None:
        region = np.reshape(prompts.region.box, (2, 2))
        corners = np.concatenate([region, corners])
    if not len(corners):
        return whole
    anchor = _anchor(prompts)
    high = np.array(image_shape, dtype=np.float64)
    corners = np.clip(corners, 0, high)
    # A click on the last border belongs to the pixel beside it.
    anchor = np.clip(anchor, 0, high - 0.5)
    usual = window_side(image_shape, diameter, record)
    side = suited_side(image_shape, prompts, diameter, record, viewport)
    side = min(side, most or side)
    known = diameter is not None and side == usual
    while side < max(image_shape):
        halo = _halo(side, diameter) if known else side // 4
        row, column = (
            _owner(length, side, halo, float(place))
            for length, place in zip(image_shape, anchor, strict=True)
        )
        high_row, high_column = (
            min(start + side, length)
            for start, length in zip((row, column), image_shape, strict=True)
        )
        box = (row, column, high_row, high_column)
        if _holds(box, corners):
            return box
        side *= 2
    return whole


def suited_side(
    image_shape: tuple[int, int],
    prompts: Prompts,
    diameter: float | None,
    record: ModelRecord,
    viewport: Viewport | None = None,
) -> int:
    """Side in data pixels of the window that prompts are answered in.

    A box or region tells the size of the object. Otherwise the typical one
    decides, but the side is halved while it is much larger than what is seen:
    zooming in gives finer masks. Doubled while objects of the typical size
    are too small on the screen to be pointed at: from afar the large things
    are meant. Steps keep windows, and their embeddings, over a range of
    sizes and zooms.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    prompts : Prompts
        Prompts of one object.
    diameter : float or None
        Object diameter in data pixels; None if unknown.
    record : ModelRecord
        Input size and object sizes of the model.
    viewport : Viewport, optional
        Where the person looks.
    """
    longest = max(image_shape)
    size, sizes = record.input_size, record.object_diameter
    side = window_side(image_shape, diameter, record)
    known = _known_diameter(prompts)
    if known is not None:
        steps = math.log2(window_side(image_shape, known, record) / side)
        return min(longest, math.ceil(side * 2 ** (round(2 * steps) / 2)))
    limit = math.inf
    if viewport is not None:
        far = SMALLEST_SEEN * viewport.pixel
        if diameter is not None and diameter < far:
            while side < min(viewport.side, longest, FARTHEST):
                side *= 2
            return min(side, longest)
        limit = 2 * ROOM * viewport.side
        if diameter is not None:
            limit = max(limit, 2 * diameter * size / sizes.largest)
    limit = max(limit, 2 * size / MAX_ZOOM)
    while side >= limit:
        side = -(-side // 2)
    return side


def _owner(length: int, side: int, halo: int, place: float) -> int:
    """Start of the window of an axis whose core a coordinate lies in."""
    starts, edges = _starts_and_edges(length, side, halo)
    return int(starts[np.searchsorted(edges[1:-1], place, side='right')])


def _anchor(prompts: Prompts) -> NDArray[np.float64]:
    if prompts.box is not None:
        center: NDArray[np.float64] = prompts.box.reshape(2, 2).mean(axis=0)
        return center
    if prompts.region is not None:
        return np.reshape(prompts.region.box, (2, 2)).mean(axis=0)
    positive = prompts.points[prompts.labels == 1]
    first: NDArray[np.float64] = (
        positive if len(positive) else prompts.points
    )[0]
    return first


def _known_diameter(prompts: Prompts) -> float | None:
    """Diameter of the object by its box or region, if there is one."""
    box = prompts.box
    if box is None and prompts.region is not None:
        box = np.asarray(prompts.region.box, dtype=np.float64)
    if box is None:
        return None
    height, width = box[2:] - box[:2]
    return BOX_DIAMETER * math.sqrt(max(height, 1) * max(width, 1))


def _holds(box: Box, corners: NDArray[np.float64]) -> bool:
    low, high = np.array(box[:2]), np.array(box[2:])
    return bool(((corners >= low) & (corners <= high)).all())
