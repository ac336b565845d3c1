"""Pixel size in space, and time between frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from napari_mobilesam.units import converted, in_one_unit


class PixelSize(NamedTuple):
    """Units of the positions and frames of tracks.

    Attributes
    ----------
    scale : tuple of float or None
        Pixel size along each spatial axis, optionally preceded by one for the
        frames; None if unknown.
    units : str or None
        Unit of the scale, such as ``'micrometer'``.
    interval : float or None
        Seconds between frames; None if unknown.
    """

    scale: tuple[float, ...] | None = None
    units: str | None = None
    interval: float | None = None

    @property
    def known(self) -> bool:
        """Return whether a scale or an interval is known."""
        return self.scale is not None or self.interval is not None

    def along(
        self, spatial: int
    ) -> tuple[tuple[float, ...], tuple[str | None, ...]]:
        """Return size and unit along time and each spatial axis.

        Unknown sizes are 1, unknown units None.
        """
        sizes = (1.0,) * spatial
        if self.scale is not None:
            sizes = tuple(self.scale[-spatial:])
        time = None if self.interval is None else 'second'
        return (self.interval or 1.0, *sizes), (time, *[self.units] * spatial)

    @classmethod
    def of_axes(
        cls, scale: Sequence[float], units: Sequence[str | None]
    ) -> PixelSize:
        """Return the pixel size of labels whose first axis is time.

        Parameters
        ----------
        scale, units : sequence
            Size and unit along each axis of (T, [Z,] Y, X). Lengths are
            converted to the unit of the last axis; if that is not possible,
            they are dropped.
        """
        interval = converted(scale[0], units[0], 'second')
        if not any(units[1:]):
            return cls(tuple(scale[1:]), None, interval)
        sizes, _ = in_one_unit(scale[1:], units[1:])
        return cls(sizes, units[-1] if sizes else None, interval)


NO_SIZE = PixelSize()
