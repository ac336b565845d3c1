"""Points and Shapes layers as prompts of objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_mobilesam.types import Prompts
from napari_mobilesam.widgets.layers import LayerPlane

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Points, Shapes

POLARITY = 'polarity'
POSITIVE, NEGATIVE = 'positive', 'negative'
COLORS = {POSITIVE: '#2ee65c', NEGATIVE: '#ff3b5c'}
# shapes whose bounding box is a prompt; lines and paths enclose nothing
CLOSED = ('rectangle', 'ellipse', 'polygon')


@dataclass(frozen=True, eq=False)
class Collected:
    """Prompts of the objects that are being worked on.

    Attributes
    ----------
    objects : tuple of Prompts
        With points, one object: all points of the plane and the newest box.
        With boxes only, one object per box.
    points, shapes : tuple of int
        Which points and shapes those are, to remove them when the objects
        are written.
    waiting : int
        Boxes that wait for the next object.
    """

    objects: tuple[Prompts, ...]
    points: tuple[int, ...]
    shapes: tuple[int, ...]
    waiting: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is no prompt at all."""
        return not self.points and not self.shapes


def collect(
    plane: LayerPlane, points: Points | None, shapes: Shapes | None
) -> Collected:
    """Read the prompts that lie on a plane.

    Parameters
    ----------
    plane : LayerPlane
        Plane of the image to segment.
    points, shapes : layer or None
        Where the prompts are, with any transforms.
    """
    numbers, positions, labels = _points_on(plane, points)
    boxes = _boxes_on(plane, shapes)
    if numbers:
        newest = boxes[-1:]
        prompts = Prompts(positions, labels, newest[0][1] if newest else None)
        return Collected(
            (prompts,),
            tuple(numbers),
            tuple(number for number, _ in newest),
            len(boxes) - len(newest),
        )
    return Collected(
        tuple(Prompts(box=box) for _, box in boxes),
        (),
        tuple(number for number, _ in boxes),
    )


def _points_on(
    plane: LayerPlane, points: Points | None
) -> tuple[list[int], NDArray[np.float64], NDArray[np.int64]]:
    if points is None or len(points.data) == 0:
        return [], np.zeros((0, 2)), np.zeros(0, np.int64)
    positions, here = plane.image_points(points, points.data)
    if POLARITY in points.features:
        negative = points.features[POLARITY].to_numpy() == NEGATIVE
    else:
        negative = np.zeros(len(here), dtype=bool)
    numbers = np.flatnonzero(here)
    return (
        [int(number) for number in numbers],
        positions[here],
        (~negative[here]).astype(np.int64),
    )


def _boxes_on(
    plane: LayerPlane, shapes: Shapes | None
) -> list[tuple[int, NDArray[np.float64]]]:
    if shapes is None:
        return []
    height, width = plane.shape
    boxes = []
    for number, (vertices, kind) in enumerate(
        zip(shapes.data, shapes.shape_type, strict=True)
    ):
        if kind not in CLOSED:
            continue
        corners, here = plane.image_points(shapes, vertices)
        if not here.all():
            continue
        # napari's pixel centres are at integers, edges of a half open box
        # lie between pixels
        low = np.clip(corners.min(axis=0) + 0.5, 0, (height, width))
        high = np.clip(corners.max(axis=0) + 0.5, 0, (height, width))
        boxes.append((number, np.concatenate([low, high])))
    return boxes


def remove_used(
    collected: Collected, points: Points | None, shapes: Shapes | None
) -> None:
    """Remove the prompts of objects that are done."""
    for layer, numbers in (
        (points, collected.points),
        (shapes, collected.shapes),
    ):
        if layer is not None and numbers:
            layer.selected_data = set(numbers)
            layer.remove_selected()


def add_points(viewer: ViewerModel, plane: LayerPlane) -> Points:
    """Add a Points layer for prompts of a plane's image, ready to click."""
    empty = pd.Categorical([], categories=[POSITIVE, NEGATIVE])
    layer: Points = viewer.add_points(
        ndim=len(plane.output_axes),
        name='prompts',
        features=pd.DataFrame({POLARITY: empty}),
        feature_defaults={POLARITY: POSITIVE},
        face_color=POLARITY,
        face_color_cycle=[COLORS[POSITIVE], COLORS[NEGATIVE]],
        border_color='white',
        border_width=0.15,
        size=max(2.0, max(plane.shape) / 80),
        **plane.transform(),
    )
    # the same size on screen at any zoom, never hiding the object
    layer.canvas_size_limits = (9, 12)
    layer.mode = 'add'
    return layer


def adopt_points(layer: Points) -> None:
    """Give a Points layer of somebody else's a polarity, all positive."""
    if POLARITY in layer.features:
        return
    features = layer.features.copy()
    features[POLARITY] = pd.Categorical(
        [POSITIVE] * len(layer.data), categories=[POSITIVE, NEGATIVE]
    )
    layer.features = features
    layer.feature_defaults = {
        **layer.feature_defaults.iloc[0].to_dict(),
        POLARITY: POSITIVE,
    }
    layer.face_color_cycle = [COLORS[POSITIVE], COLORS[NEGATIVE]]
    layer.face_color = POLARITY


def add_shapes(viewer: ViewerModel, plane: LayerPlane) -> Shapes:
    """Add a Shapes layer for boxes on a plane's image, ready to draw."""
    layer: Shapes = viewer.add_shapes(
        ndim=len(plane.output_axes),
        name='boxes',
        edge_color='#ffd54f',
        edge_width=max(1.0, max(plane.shape) / 400),
        face_color='transparent',
        **plane.transform(),
    )
    layer.mode = 'add_rectangle'
    return layer


def set_next_polarity(layer: Points, polarity: str) -> None:
    """Choose what the next click means.

    Not through ``current_properties``, which would silently rewrite the
    point that was just added, because it is still selected.
    """
    if layer.feature_defaults[POLARITY].iloc[0] != polarity:
        layer.feature_defaults = {
            **layer.feature_defaults.iloc[0].to_dict(),
            POLARITY: polarity,
        }


def flip(layer: Points, numbers: Any) -> None:
    """Turn positive points into negative ones and back."""
    features = layer.features.copy()
    column = features[POLARITY].astype(object).to_numpy(copy=True)
    for number in numbers:
        was_positive = column[number] != NEGATIVE
        column[number] = NEGATIVE if was_positive else POSITIVE
    features[POLARITY] = pd.Categorical(
        column, categories=[POSITIVE, NEGATIVE]
    )
    layer.features = features
    layer.refresh_colors()
