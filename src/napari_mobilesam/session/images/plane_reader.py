"""Read planes as model input, in bounded parts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.lru_cache import LeastRecentlyUsed
from napari_mobilesam.session.images.planes import LONGEST_READ, ImagePlane
from napari_mobilesam.types import BlankImageError, Frame, Window, slices_of

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.image import ContrastLimits, Limits

# Planes of fewer pixels are converted as a whole, once; larger ones window by
# window.
SMALL_PLANE = 1 << 22
# An object size estimated with other contrast limits is kept if within this
# factor, so that the windows stay the same.
SAME_SIZE = 1.25


class PlanePixels(NamedTuple):
    """Window of a plane as model input.

    Attributes
    ----------
    rgb : ndarray
        (H, W, 3) uint8.
    not_finite : int
        Approximate number of its data pixels that are NaN or infinite.
    """

    rgb: NDArray[np.uint8]
    not_finite: int


class _WholePlane(NamedTuple):
    """A whole plane as shown, and its pixels that are NaN or infinite."""

    rgb: NDArray[np.uint8]
    holes: NDArray[np.bool_] | None


class PlaneReader:
    """Read, convert and measure planes; cache small ones.

    Parameters
    ----------
    planes : int
        Number of small planes to cache, at three bytes per pixel.
    """

    def __init__(self, planes: int) -> None:
        self._planes = LeastRecentlyUsed[_WholePlane](planes)
        self._diameters = LeastRecentlyUsed[float | None](512)
        # last estimate of each place, whatever its appearance
        self._newest = LeastRecentlyUsed[float | None](512)
        self._automatic: LeastRecentlyUsed[Limits] = LeastRecentlyUsed(512)
        self._limits: LeastRecentlyUsed[ContrastLimits] = LeastRecentlyUsed(
            512
        )

    def clear(self) -> None:
        """Drop all cached values."""
        for cache in (
            self._planes,
            self._diameters,
            self._newest,
            self._limits,
            self._automatic,
        ):
            cache.clear()

    def rgb(self, plane: ImagePlane) -> NDArray[np.uint8]:
        """Return a plane as shown, (H, W, 3) uint8, reading all of it."""
        return self._whole(plane).rgb

    def _whole(self, plane: ImagePlane) -> _WholePlane:
        def read() -> _WholePlane:
            holes: list[NDArray[np.bool_]] = []
            rgb = self._settled(plane).rgb(not_finite=holes.append)
            return _WholePlane(rgb, _union(holes))

        return self._planes.get(plane.key, read)

    def diameter(self, plane: ImagePlane) -> float | None:
        """Return the typical object diameter in pixels, None if unknown."""
        return self._diameters.get(plane.key, lambda: self._measure(plane))

    def pixels(
        self, plane: ImagePlane, window: Window, frame: Frame
    ) -> PlanePixels:
        """Return a window at the size of the model's input."""
        from napari_mobilesam.segmentation.image import resize

        if plane.pixels <= SMALL_PLANE:
            whole, inside = self._whole(plane), slices_of(window)
            bad = 0 if whole.holes is None else whole.holes[inside].sum()
            return PlanePixels(
                resize(whole.rgb[inside], frame.input_shape), int(bad)
            )
        level = plane.level_for(window, frame.input_size)
        read = plane.level_window(level, window)
        holes: list[NDArray[np.bool_]] = []
        shown = self._settled(plane)
        rgb = shown.rgb(read, level, self._contrast(plane), holes.append)
        if not rgb.any():
            _check_finite(plane, level, read)
        rows, columns = plane.factors(level)
        part = (
            window[0] / rows - read[0],
            window[1] / columns - read[1],
            min(window[2] / rows - read[0], rgb.shape[0]),
            min(window[3] / columns - read[1], rgb.shape[1]),
        )
        union = _union(holes)
        bad = 0 if union is None else union.sum() * rows * columns
        return PlanePixels(resize(rgb, frame.input_shape, part), int(bad))

    def _settled(self, plane: ImagePlane) -> ImagePlane:
        """Return the plane with limits not widened by extreme pixels."""
        parts = (plane, *plane.added)
        if not any(part.automatic for part in parts):
            return plane
        limits = [self._without_extremes(part) for part in parts]
        added = tuple(
            replace(part, contrast_limits=pair)
            for part, pair in zip(plane.added, limits[1:], strict=True)
        )
        return replace(plane, contrast_limits=limits[0], added=added)

    def _without_extremes(self, plane: ImagePlane) -> Limits | None:
        from napari_mobilesam.segmentation.image import limits_without_extremes

        limits = plane.contrast_limits
        if limits is None or not plane.automatic:
            return limits
        return self._automatic.get(
            plane.key,
            lambda: limits_without_extremes(
                plane.array(), plane.channels, limits
            ),
        )

    def _contrast(self, plane: ImagePlane) -> ContrastLimits | None:
        """Return the limits of a sample of the image if the plane has none."""
        from napari_mobilesam.segmentation.image import contrast_limits_of

        if plane.contrast_limits is not None:
            return None
        return self._limits.get(
            plane.pictures,
            lambda: contrast_limits_of(plane.array(), plane.channels),
        )

    def _measure(self, plane: ImagePlane) -> float | None:
        """Estimate the object size; keep the last estimate if it is close."""
        from napari_mobilesam.segmentation.diameter import estimate_diameter

        if plane.pixels <= SMALL_PLANE:
            diameter = estimate_diameter(self.rgb(plane))
        else:
            diameter = self._measure_in_places(plane)
        before = self._newest.peek(plane.pictures)
        if (
            diameter is not None
            and before is not None
            and 1 / SAME_SIZE < diameter / before < SAME_SIZE
        ):
            return before
        return self._newest.put(plane.pictures, diameter)

    def _measure_in_places(self, plane: ImagePlane) -> float | None:
        from napari_mobilesam.segmentation.diameter import (
            LOOK,
            estimate_from_places,
            places_to_look_at,
        )

        plane = self._settled(plane)
        limits = self._contrast(plane)
        overview, step = None, 1.0
        level = plane.level_for((0, 0, *plane.shape), LOOK, smooth=False)
        if level and max(plane.level_shape(level)) <= LONGEST_READ:
            overview = plane.rgb(None, level, limits)
            step = max(plane.factors(level))
        return estimate_from_places(
            (
                plane.rgb(window, 0, limits)
                for window in places_to_look_at(plane.shape, overview)
            ),
            overview,
            step,
        )


def _union(parts: list[NDArray[np.bool_]]) -> NDArray[np.bool_] | None:
    return np.logical_or.reduce(parts) if parts else None


def _check_finite(plane: ImagePlane, level: int, window: Window) -> None:
    values = plane.read_window(level, window)
    if values.dtype.kind == 'f' and not np.isfinite(values).any():
        raise BlankImageError(
            f'“{plane.name}” has no finite pixel here: all are NaN or '
            'infinite. Click elsewhere.'
        )
