"""Conversion of Points and Shapes layers to prompts, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Points, Shapes
from numpy.typing import NDArray

from napari_mobilesam.segmentation.shapes import (
    box_of,
    ellipse_outline,
    points_along,
    region_of,
)
from napari_mobilesam.types import DrawnShape, Mask, Prompts
from napari_mobilesam.widgets.prompts.prompt_layers import (
    NEGATIVE,
    POLARITY,
    set_polarities,
)
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import (
    CLOSED_SHAPES,
    OPEN_SHAPES,
    data_of,
)

REGIONS_KEPT = 32
# tolerance, in pixels, for positions that went through a layer and back
ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Collected:
    """Prompts of the open objects on one plane.

    Attributes
    ----------
    objects : tuple of Prompts
        If there are points or scribbles, a single object with all of them and
        the newest closed shape; else one object per closed shape.
    points, shapes : tuple of int
        Indices in their layers, used to remove them when the objects are
        written.
    waiting : int
        Number of closed shapes left for the next object.
    """

    objects: tuple[Prompts, ...]
    points: tuple[int, ...]
    shapes: tuple[int, ...]
    waiting: int = 0

    @property
    def empty(self) -> bool:
        """True if there are no prompts."""
        return not self.objects


class _Closed(NamedTuple):
    number: int
    box: NDArray[np.float64]
    region: Mask | None
    drawn: DrawnShape

    @property
    def prompts(self) -> Prompts:
        return Prompts(box=self.box, region=self.region, drawn=(self.drawn,))


class _Scribble(NamedTuple):
    number: int
    points: NDArray[np.float64]
    drawn: DrawnShape


class PromptReader:
    """Read prompts from layers; cache the regions of drawn outlines."""

    def __init__(self) -> None:
        self._regions: OrderedDict[Any, Mask | None] = OrderedDict()

    def collect(
        self,
        plane: LayerPlane,
        points: Points | None,
        shapes: Shapes | None,
        carried: Prompts | None = None,
        coming: tuple[NDArray[np.float64], int] | None = None,
        *,
        single: bool = False,
    ) -> Collected:
        """Read the prompts that lie on a plane.

        Parameters
        ----------
        plane : LayerPlane
            Plane of the image to segment.
        points, shapes : layer or None
            Layers of the prompts, with any transforms.
        carried : Prompts, optional
            Box, region or mask input of an edited object that is in no layer;
            a closed shape replaces them.
        coming : (ndarray, int), optional
            Row and column, and label, of a point about to be added.
        single : bool
            Read a single object even if there are only closed shapes: the
            newest of them.
        """
        numbers, positions, labels = points_on(plane, points)
        if coming is not None:
            positions = np.concatenate([positions, coming[0][None]])
            labels = np.append(labels, coming[1])
        closed, scribbles = self._shapes_on(plane, shapes)
        drawn: list[DrawnShape] = []
        for scribble in scribbles:
            first, count = len(positions), len(scribble.points)
            positions = np.concatenate([positions, scribble.points])
            label = int(scribble.drawn.positive)
            labels = np.append(labels, np.full(count, label))
            drawn.append(replace(scribble.drawn, first=first, count=count))
        if len(positions) == 0 and len(closed) > 1 and not single:
            return Collected(
                tuple(c.prompts for c in closed),
                (),
                tuple(c.number for c in closed),
            )
        prompts = carried or Prompts()
        if closed:
            prompts = closed[-1].prompts
        prompts = replace(
            prompts,
            points=positions,
            labels=labels,
            drawn=(*prompts.drawn, *drawn),
        )
        if not (closed or len(positions) or carried):
            return Collected((), (), ())
        return Collected(
            (prompts,),
            tuple(numbers),
            (
                *(c.number for c in closed[-1:]),
                *(scribble.number for scribble in scribbles),
            ),
            max(0, len(closed) - 1),
        )

    def one_each(
        self, plane: LayerPlane, shapes: Shapes
    ) -> tuple[list[Prompts], list[DrawnShape]]:
        """Read each closed shape on a plane as a separate object.

        Returns
        -------
        prompts : list of Prompts
            One per rectangle, ellipse and polygon.
        others : list of DrawnShape
            Lines and paths, which enclose nothing.
        """
        closed, scribbles = self._shapes_on(plane, shapes)
        return [c.prompts for c in closed], [s.drawn for s in scribbles]

    def _shapes_on(
        self, plane: LayerPlane, shapes: Shapes | None
    ) -> tuple[list[_Closed], list[_Scribble]]:
        closed: list[_Closed] = []
        scribbles: list[_Scribble] = []
        if shapes is None:
            return closed, scribbles
        negative = _is_negative(shapes)
        for number, kind, outline in _outlines_on(plane, shapes):
            if kind in CLOSED_SHAPES:
                closed.append(self._closed(number, kind, outline, plane))
            elif kind in OPEN_SHAPES:
                drawn = DrawnShape(kind, outline, not negative[number])
                points = _inside(points_along(outline), plane.shape)
                scribbles.append(_Scribble(number, points, drawn))
        return closed, scribbles

    def _closed(
        self,
        number: int,
        kind: str,
        outline: NDArray[np.float64],
        plane: LayerPlane,
    ) -> _Closed:
        drawn = DrawnShape(kind, outline)
        if kind == 'ellipse':
            outline = ellipse_outline(outline)
        box = box_of(outline, plane.shape)
        if kind == 'rectangle':
            return _Closed(number, box, None, drawn)
        key = (plane.shape, outline.tobytes())
        if key not in self._regions:
            self._regions[key] = region_of(outline, plane.shape)
            while len(self._regions) > REGIONS_KEPT:
                self._regions.popitem(last=False)
        return _Closed(number, box, self._regions[key], drawn)


def shapes_on(plane: LayerPlane, shapes: Shapes) -> dict[int, DrawnShape]:
    """Return the shapes on a plane, by their indices in the layer."""
    negative = _is_negative(shapes)
    return {
        number: DrawnShape(kind, outline, not negative[number])
        for number, kind, outline in _outlines_on(plane, shapes)
    }


def _outlines_on(
    plane: LayerPlane, shapes: Shapes
) -> Iterator[tuple[int, str, NDArray[np.float64]]]:
    """Yield index, kind and vertices of each shape on a plane."""
    if not shapes.data:
        return
    # at once: each conversion takes as long as a few hundred vertices
    positions, here = plane.image_points(shapes, np.concatenate(shapes.data))
    ends = np.cumsum([len(vertices) for vertices in shapes.data])[:-1]
    parts = zip(
        shapes.shape_type,
        np.split(positions, ends),
        np.split(here, ends),
        strict=True,
    )
    for number, (kind, outline, inside) in enumerate(parts):
        if inside.all():
            yield number, kind, outline


def _inside(
    points: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the points of a line inside an image, or all if none is."""
    inside = (points >= -0.5) & (points < np.array(shape) - 0.5)
    kept = points[inside.all(axis=1)]
    return kept if len(kept) else points


def points_on(
    plane: LayerPlane, points: Points | None
) -> tuple[list[int], NDArray[np.float64], NDArray[np.int64]]:
    """Return indices, positions and labels of the points on a plane.

    Returns
    -------
    numbers : list of int
        Indices in the layer.
    positions : ndarray
        (N, 2) row and column in data pixels of the image.
    labels : ndarray
        (N,) int64, 1 positive, 0 negative.
    """
    if points is None or len(points.data) == 0:
        return [], np.zeros((0, 2)), np.zeros(0, np.int64)
    positions, here = plane.image_points(points, points.data)
    numbers = [int(number) for number in np.flatnonzero(here)]
    labels = (~_is_negative(points)[here]).astype(np.int64)
    return numbers, positions[here], labels


class PlanesWithPrompts(NamedTuple):
    """Planes of an image that have points or shapes of a layer.

    Attributes
    ----------
    planes : list of LayerPlane
        The planes.
    beyond : ndarray
        (N, image ndim) data coordinates of prompts on planes that the image
        does not have.
    """

    planes: list[LayerPlane]
    beyond: NDArray[np.float64]


def planes_with(
    plane: LayerPlane, layer: Points | Shapes
) -> PlanesWithPrompts:
    """Return the planes of an image that have points or shapes.

    Parameters
    ----------
    plane : LayerPlane
        Any plane of the image, along the same axes.
    layer : napari.layers.Points or napari.layers.Shapes
        Layer; a shape is located by its first vertex.
    """
    points = np.array([np.atleast_2d(each)[0] for each in layer.data])
    axes = list(plane.travel_axes)
    positions = plane.image_data(layer, points)
    places = np.round(positions[:, axes])
    sizes = [data_of(plane.layer).shape[axis] for axis in axes]
    here = np.all((places >= 0) & (places < sizes), axis=1)
    planes = []
    for index in np.unique(places[here].astype(int), axis=0):
        moved: LayerPlane | None = plane
        for axis, place in zip(axes, index, strict=True):
            if moved is not None:
                moved = moved.moved(axis, int(place) - moved.index[axis])
        if moved is not None:
            planes.append(moved)
    return PlanesWithPrompts(planes, positions[~here])


def _is_negative(layer: Points | Shapes) -> NDArray[np.bool_]:
    if POLARITY not in layer.features:
        return np.zeros(len(layer.data), dtype=bool)
    return np.asarray(layer.features[POLARITY].to_numpy() == NEGATIVE)


def remove_prompts(
    layer: Points | Shapes | None, numbers: Collection[int]
) -> None:
    """Remove points or shapes from their layer."""
    if layer is None or not numbers:
        return
    if not isinstance(layer, Points):
        end_drawing(layer)
        # napari 0.7 redraws the outline of the selection
        layer.selected_data = set()
    # selecting them would make their colour and size current
    layer.remove([number for number in numbers if number < len(layer.data)])


def end_drawing(layer: Shapes) -> None:
    """End the drawing of a shape, which napari drops if it is too short.

    napari fails at the next click if a shape is removed while it is being
    drawn.
    """
    mode = layer.mode
    layer.mode = 'pan_zoom'
    layer.mode = mode


def put_points(layer: Points, plane: LayerPlane, prompts: Prompts) -> None:
    """Add the points of prompts to a layer, but not those of scribbles."""
    clicked = prompts.clicked
    if not clicked.any():
        return
    before = len(layer.data)
    positions = plane.layer_points(layer, prompts.points[clicked])
    layer.data = np.concatenate([layer.data, positions])
    labels = prompts.labels[clicked]
    set_polarities(layer, dict(enumerate(labels == 1, before)))
    layer.selected_data = set()


def put_shapes(
    layer: Shapes, plane: LayerPlane, drawn: Collection[DrawnShape]
) -> None:
    """Add drawn shapes to a layer."""
    before = len(layer.data)
    for shape in drawn:
        vertices = plane.layer_points(layer, shape.vertices)
        layer.add(vertices, shape_type=shape.kind)
    if POLARITY in layer.features:
        positive = (shape.positive for shape in drawn)
        set_polarities(layer, dict(enumerate(positive, before)))
    layer.selected_data = set()


def drawn_box(box: NDArray[np.float64]) -> DrawnShape:
    """Return the rectangle for drawing a box."""
    row0, column0, row1, column1 = box - 0.5
    corners = np.array(
        [[row0, column0], [row0, column1], [row1, column1], [row1, column0]]
    )
    return DrawnShape('rectangle', corners)


def remove_points(
    layer: Points, plane: LayerPlane, gone: NDArray[np.float64]
) -> None:
    """Remove some of the points on a plane from a layer.

    Parameters
    ----------
    layer : napari.layers.Points
        Layer of the points.
    plane : LayerPlane
        Plane of the image.
    gone : ndarray
        (N, 2) row and column of the points to remove.
    """
    numbers, positions, _ = points_on(plane, layer)
    apart = np.abs(positions[:, None] - gone[None]).max(axis=2)
    chosen = (apart < ROUNDING).any(axis=1)
    remove_prompts(layer, np.array(numbers, int)[chosen].tolist())


def remove_drawn(
    layer: Shapes | None, plane: LayerPlane, drawn: Collection[DrawnShape]
) -> None:
    """Remove closed shapes equal to drawn ones from a layer."""
    if layer is None:
        return
    numbers = [
        number
        for number, kind, outline in _outlines_on(plane, layer)
        if any(
            shape.kind == kind and _same(shape.vertices, outline)
            for shape in drawn
            if shape.kind in CLOSED_SHAPES
        )
    ]
    remove_prompts(layer, numbers)


def same_prompts(one: Prompts, other: Prompts) -> bool:
    """Compare two prompts up to rounding."""
    return (
        _same(one.points, other.points)
        and np.array_equal(one.labels, other.labels)
        and _same(one.box, other.box)
        and _same(one.mask_input, other.mask_input)
        and _same_region(one.region, other.region)
    )


def continued(prompts: Prompts, before: Prompts) -> Prompts:
    """Return prompts with their previous exact values.

    Prompts drawn into a layer and read back differ by rounding errors, and
    would be mistaken for moved ones.

    Parameters
    ----------
    prompts : Prompts
        Prompts read from layers.
    before : Prompts
        Previous prompts of the same object.
    """
    points, count = prompts.points, len(before.points)
    if len(points) >= count and _same(points[:count], before.points):
        points = np.concatenate([before.points, points[count:]])
    box, region = prompts.box, prompts.region
    return replace(
        prompts,
        points=points,
        box=before.box if _same(box, before.box) else box,
        region=(
            before.region if _same_region(region, before.region) else region
        ),
    )


def _same_region(one: Mask | None, other: Mask | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.box == other.box and np.array_equal(one.data, other.data)


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and np.allclose(one, other, atol=ROUNDING)
