"""Sizes of windows in which objects suit a model, and the view of a user."""

from __future__ import annotations

from typing import NamedTuple

from napari_mobilesam.types import (
    ModelRecord,
)

# Context around a core, in object diameters: an object that a point of the
# core belongs to, and its surroundings, lie within it.
HALO = 1.5
# Enlarging more than this adds no detail that the decoder could use.
MAX_ZOOM = 8


# Pixels of a screen that an image is seen on; rather more than less.
SCREEN = 1000


class Viewport(NamedTuple):
    """Visible part of an image plane, and its zoom.

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
