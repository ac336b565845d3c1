"""Size of windows in which objects suit a model."""

from __future__ import annotations

from napari_mobilesam.types import ModelRecord

# Context around a core, in object diameters: it contains any object to which a
# point of the core belongs, and its surroundings.
HALO = 1.5
# Enlarging more than this adds no detail that the decoder could use.
MAX_ZOOM = 8


def window_side(
    image_shape: tuple[int, int], diameter: float | None, record: ModelRecord
) -> int:
    """Return the side in data pixels of windows in which objects suit a model.

    This is the longer side of the image if objects suit the model in the whole
    image, or are already too large.
    """
    longest = max(image_shape)
    sizes = record.object_diameter
    if diameter is None:
        return longest
    if diameter * record.input_size / longest >= sizes.smallest:
        return longest
    side = round(record.input_size * diameter / sizes.best)
    return min(longest, max(side, record.input_size // MAX_ZOOM, 1))
