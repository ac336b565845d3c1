"""Sizes of windows in which objects suit a model."""

from __future__ import annotations

from napari_mobilesam.types import ModelRecord

# Context around a core, in object diameters: an object that a point of the
# core belongs to, and its surroundings, lie within it.
HALO = 1.5
# Enlarging more than this adds no detail that the decoder could use.
MAX_ZOOM = 8


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
