"""Size of a pixel in space, and the time between frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from napari_mobilesam.units import converted, in_one_unit


class PixelSize(NamedTuple):
    """Units of the positions and frames of tracks.

    Attributes
    ----------
    scale : tuple of float or None
        Size of a pixel along each spatial axis; a size of the frames may come
        first. None if unknown.
    units : str or None
        Unit of the scale, such as ``'micrometer'``.
    interval : float or None
        Seconds between frames.
    """

    scale: tuple[float, ...] | None = None
    units: str | None = None
    interval: float | None = None

    @classmethod
    def of_axes(
        cls, scale: Sequence[float], units: Sequence[str | None]
    ) -> PixelSize:
        """Return the size of a pixel of labels, whose first axis is time.

        Parameters
        ----------
        scale, units : sequence
            Size along each axis of (T, [Z,] Y, X), and its unit. Lengths of
            several units are brought to that of the last axis; where that is
            not possible they are left out.
        """
        interval = converted(scale[0], units[0], 'second')
        if not any(units[1:]):
            return cls(tuple(scale[1:]), None, interval)
        sizes, _ = in_one_unit(scale[1:], units[1:])
        return cls(sizes, units[-1] if sizes else None, interval)


NO_SIZE = PixelSize()
