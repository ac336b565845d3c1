"""Size of a pixel in space, and the time between frames."""

from __future__ import annotations

from typing import NamedTuple


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


NO_SIZE = PixelSize()
