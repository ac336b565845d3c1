"""Planes of images of any kind, read window by window.

A plane is described, not loaded: its levels are array-likes, of which only the
requested part is read. From here on, stacks, series, channels, dask, zarr,
memory maps and pyramids of any size look the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.image import ContrastLimits, as_rgb_plane
from napari_mobilesam.segmentation.sampling import in_memory
from napari_mobilesam.types import ImageError, Window, slices_of

# Windows with longer sides are read from a coarser level; 48 MB as RGB.
LONGEST_READ = 4096
# A plane in memory gets coarser levels down to this size.
COARSEST = 1024
# These levels consist of every n-th pixel, not of means, so they are read
# finer by this factor for smoothness.
FINER = 4
# Generous size in pixels of the screen area that shows an image.
SCREEN = 1000


class Viewport(NamedTuple):
    """Visible part of an image plane, and its zoom.

    Attributes
    ----------
    center : tuple of float
        (row, column) at the middle of the screen, in data pixels; may be
        outside the image.
    pixel : float
        Data pixels per screen pixel.
    """

    center: tuple[float, float]
    pixel: float

    @property
    def side(self) -> float:
        """Approximate number of data pixels seen across."""
        return SCREEN * self.pixel


class ArrayLike(Protocol):
    """Array of an image."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, index: Any) -> Any: ...


class PlaneView:
    """Plane of an n-D array that reads only the requested part.

    Parameters
    ----------
    array : array-like
        NumPy, memory map, dask, zarr, h5py, or anything indexed by integers
        and slices.
    index : sequence of int
        Index of the plane on every axis; ignored on ``axes``.
    axes : sequence of int
        Axes of the array that are rows, columns and, if there are three,
        channels.
    """

    def __init__(
        self, array: ArrayLike, index: Sequence[int], axes: Sequence[int]
    ) -> None:
        self._array = array
        self._index = tuple(index)
        self._axes = tuple(axes)
        self.shape = tuple(int(array.shape[axis]) for axis in axes)
        self.ndim = len(self._axes)
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = key if isinstance(key, tuple) else (key,)
        keys = (*keys, *[slice(None)] * (self.ndim - len(keys)))
        index: list[Any] = list(self._index)
        for axis, part in zip(self._axes, keys, strict=True):
            index[axis] = part
        # remaining axes, in the desired and in the array's order
        left = [
            axis
            for axis, part in zip(self._axes, keys, strict=True)
            if isinstance(part, slice)
        ]
        order = sorted(left)
        values = np.asarray(self._array[tuple(index)])
        expected = tuple(
            len(range(*index[axis].indices(int(self._array.shape[axis]))))
            for axis in order
        )
        if values.shape != expected:
            # a lazy stack of files assumes all files to be like the first
            raise ImageError(
                f'A plane of the image has the shape {values.shape} instead '
                f'of {expected}: images of different sizes are not a stack. '
                'Open their folder under “Series”.'
            )
        return values.transpose([order.index(axis) for axis in left])

    def __array__(
        self, dtype: Any = None, copy: bool | None = None
    ) -> NDArray[Any]:
        values = self[:]
        return values if dtype is None else values.astype(dtype)


def view_plane(
    array: ArrayLike, index: Sequence[int], axes: Sequence[int]
) -> Any:
    """Return a plane of an array without reading it.

    For an array in memory, this is an array, else a `PlaneView`. The
    parameters are those of `PlaneView`.
    """
    view = PlaneView(array, index, axes)
    return view[:] if in_memory(array) else view


@dataclass(frozen=True, eq=False)
class PlaneLevel:
    """A coarser level of the pyramid of a plane.

    Attributes
    ----------
    shape : tuple of int
        (h, w).
    read : callable
        Returns the (h, w) or (h, w, channels) array-like.
    strided : bool
        Whether it holds every n-th pixel of the finest level, not means.
    """

    shape: tuple[int, int]
    read: Callable[[], Any]
    strided: bool = False


def strided_levels(array: NDArray[Any]) -> tuple[PlaneLevel, ...]:
    """Return every 2nd, 4th … pixel of a plane in memory, as levels."""
    levels = []
    while max(array.shape[:2]) > 2 * COARSEST:
        array = array[::2, ::2]
        height, width = array.shape[:2]
        levels.append(PlaneLevel((height, width), partial(_same, array), True))
    return tuple(levels)


def _same(array: NDArray[Any]) -> NDArray[Any]:
    return array


@dataclass(frozen=True, eq=False)
class ImagePlane:
    """One plane of an image, and how it is shown.

    Attributes
    ----------
    key : hashable
        Identity of image, plane, channels and contrast; planes with the same
        key have the same embedding.
    read : callable
        Returns the (H, W) or (H, W, channels) array, or an array-like that
        reads the requested part; called on the worker thread.
    shape : tuple of int
        (H, W) in data pixels.
    contrast_limits : tuple of float or None
        Values shown as black and white; None if colours are shown unchanged.
    gamma : float
        Exponent applied between the limits.
    channels : tuple of int or None
        Channels of the last axis shown as red, green and blue; None for
        gray and RGB planes.
    name : str
        Name for messages: ``'nuclei'``.
    place : hashable
        Identity of image and plane, independent of appearance and added
        planes; by default the key.
    geometry : object
        Position of the plane, for writing labels; only used by the widgets.
    coarser : tuple of PlaneLevel
        Coarser levels of the pyramid, finest first.
    colors : ndarray or None
        (256, 3) uint8 colormap from black to white; gray if None.
    added : tuple of ImagePlane
        Planes of the same shape whose colours are added to this one's.
    viewport : Viewport or None
        Part of the plane on screen; None if unknown or irrelevant.
    automatic : bool
        Whether the limits are the range of the pixels, not chosen by the user;
        extreme pixels may have made them too wide.
    pitch : int or None
        Scale for clicks, in pixels along a cell of the embedding; None to
        choose it from the answers.
    """

    key: Hashable
    read: Callable[[], Any]
    shape: tuple[int, int]
    contrast_limits: tuple[float, float] | None = None
    gamma: float = 1.0
    channels: tuple[int, ...] | None = None
    name: str = 'image'
    place: Hashable = None
    geometry: Any = None
    coarser: tuple[PlaneLevel, ...] = ()
    colors: NDArray[np.uint8] | None = None
    added: tuple[ImagePlane, ...] = ()
    viewport: Viewport | None = None
    automatic: bool = False
    pitch: int | None = None

    def __post_init__(self) -> None:
        if self.place is None:
            object.__setattr__(self, 'place', self.key)

    @property
    def pictures(self) -> tuple[Hashable, ...]:
        """Places of all images shown in the plane, whatever their contrast.

        The first one is the place of this plane, in which objects are
        segmented.
        """
        return (self.place, *(plane.place for plane in self.added))

    @property
    def pixels(self) -> int:
        """Number of pixels at full resolution."""
        return self.shape[0] * self.shape[1]

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return 1 + len(self.coarser)

    def level_shape(self, level: int) -> tuple[int, int]:
        """(h, w) of a level, 0 being the finest."""
        return self.coarser[level - 1].shape if level else self.shape

    def factors(self, level: int) -> tuple[float, float]:
        """Data pixels per pixel of a level, along rows and columns."""
        rows, columns = self.level_shape(level)
        return self.shape[0] / rows, self.shape[1] / columns

    def level_for(self, window: Window, side: int, smooth: bool = True) -> int:
        """Return the coarsest level with ``side`` pixels along a window.

        If that level is too large to read, return a coarser one.

        Parameters
        ----------
        window : tuple of int
            (row0, column0, row1, column1) in data pixels.
        side : int
            Minimum pixels of the level along the longer side of the window.
        smooth : bool
            Read strided levels finer, so that small structures are not lost.
        """
        longest = max(window[2] - window[0], window[3] - window[1])
        suited, pixels = 0, float(longest)
        for level in range(1, self.levels):
            finer = FINER if smooth and self.coarser[level - 1].strided else 1
            there = longest / max(self.factors(level))
            if there >= finer * side or pixels > LONGEST_READ:
                suited, pixels = level, there
        return suited

    @property
    def longest_window(self) -> int:
        """Longest side in data pixels of a readable window."""
        return int(LONGEST_READ * min(self.factors(self.levels - 1)))

    def level_window(self, level: int, window: Window) -> Window:
        """Return the pixels of a level that a window touches."""
        rows, columns = self.factors(level)
        height, width = self.level_shape(level)
        row0, column0, row1, column1 = window
        return (
            math.floor(row0 / rows),
            math.floor(column0 / columns),
            min(height, math.ceil(row1 / rows)),
            min(width, math.ceil(column1 / columns)),
        )

    def array(self, level: int = 0) -> Any:
        """Return the array-like of a level, (h, w) or (h, w, channels)."""
        return self.coarser[level - 1].read() if level else self.read()

    def read_window(self, level: int, window: Window) -> NDArray[Any]:
        """Read a window of a level as stored.

        Parameters
        ----------
        level : int
            0 is the finest.
        window : tuple of int
            (row0, column0, row1, column1) in pixels of the level, half open.

        Returns
        -------
        ndarray
            (h, w) or (h, w, channels).
        """
        return np.asarray(self.array(level)[slices_of(window)])

    def rgb(
        self,
        window: Window | None = None,
        level: int = 0,
        contrast_limits: ContrastLimits | None = None,
        not_finite: Callable[[NDArray[np.bool_]], None] | None = None,
    ) -> NDArray[np.uint8]:
        """Read a window of a level as shown.

        Parameters
        ----------
        window : tuple of int, optional
            As for `read_window`; all of the level if None.
        level : int
            0 is the finest.
        contrast_limits : (low, high) or one pair per channel, optional
            Limits for a plane without its own; by default those of a sample of
            the image.
        not_finite : callable, optional
            Called with an (h, w) bool mask of NaN and infinite pixels, if
            there are any.

        Returns
        -------
        ndarray
            (h, w, 3) uint8.

        Raises
        ------
        ImageError
            See `as_rgb_plane`.
        """
        shown = as_rgb_plane(
            self.array(level),
            channels=self.channels,
            contrast_limits=self.contrast_limits or contrast_limits,
            gamma=self.gamma,
            window=window,
            warn=not_finite or False,
        )
        if self.colors is not None:
            shown = self.colors[shown[..., 0]]
        if not self.added:
            return shown
        total = shown.astype(np.uint16)
        for other in self.added:
            total += other.rgb(window, level, not_finite=not_finite)
        return np.minimum(total, 255).astype(np.uint8)
