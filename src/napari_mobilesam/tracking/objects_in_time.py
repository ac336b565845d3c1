"""Positions and overlaps of the objects in a series of label images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_mobilesam.tracking.stage_drift import StageDrift
from napari_mobilesam.types import ImageError, Progress


@dataclass(frozen=True)
class ObjectsInTime:
    """Objects of all frames, by frame and label.

    Attributes
    ----------
    frames : (N,) int64
        Frame of each object, ascending.
    labels : (N,) int64
        Label of each object in its frame.
    positions : (N, D) float64
        Centroids in pixels: (row, column) or (plane, row, column).
    areas : (N,) int64
        Number of pixels or voxels of each object.
    overlaps : dict of (int, int) to int
        Number of pixels that an object shares with one of the next frame, by
        the indices of both.
    frame_count : int
        Number of frames, including those without objects.
    shifts : (T, D) int64, optional
        Shift of each frame relative to the first, in pixels.
    """

    frames: NDArray[np.int64]
    labels: NDArray[np.int64]
    positions: NDArray[np.float64]
    areas: NDArray[np.int64]
    overlaps: dict[tuple[int, int], int]
    frame_count: int
    shifts: NDArray[np.int64] | None = None

    @property
    def aligned(self) -> NDArray[np.float64]:
        """(N, D) centroids, corrected for the shifts of the frames."""
        if self.shifts is None:
            return self.positions
        return self.positions - self.shifts[self.frames]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def diameters(self) -> NDArray[np.float64]:
        """(N,) equivalent diameters, of discs or balls of the same size."""
        if self.positions.shape[1] == 3:
            return np.cbrt(6 / np.pi * self.areas)
        return np.sqrt(4 / np.pi * self.areas)


def objects_in_time(
    labels: Any, progress: Progress | None = None, drift: bool = False
) -> ObjectsInTime:
    """Find the objects of each frame and their overlaps with the next.

    Frames are read one after the other.

    Parameters
    ----------
    labels : array
        (frame, row, column) or (frame, plane, row, column) integer labels;
        NumPy, dask, zarr or memory-mapped.
    progress : callable, optional
        ``progress(done, total, message)``, called before each frame; an
        exception that it raises ends the search.
    drift : bool
        Estimate the shift of each frame, see `StageDrift`, and correct the
        overlaps for it.

    Raises
    ------
    ImageError
        If the labels have other axes, are not integers, or have no objects.
    """
    check_series(labels)
    count = labels.shape[0]
    parts: list[_Frame] = []
    overlaps: dict[tuple[int, int], int] = {}
    stage = StageDrift() if drift else None
    steps = np.zeros((count, len(labels.shape) - 1), np.int64)
    first = 0
    for frame in range(count):
        if progress is not None:
            progress(frame, count, 'Objects of each frame')
        pixels = np.asarray(labels[frame])
        part = _Frame.of(pixels, first)
        if stage is not None:
            steps[frame, -2:] = stage.shift(pixels > 0, len(part.labels))
        if parts:
            overlaps |= parts[-1].overlaps(part, steps[frame, -2:].tolist())
            parts[-1] = replace(parts[-1], places=None)
        parts.append(part)
        first += len(part.labels)
    if first == 0:
        raise ImageError('The labels have no object in any frame.')
    return ObjectsInTime(
        np.repeat(np.arange(count), [len(part.labels) for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.areas for part in parts]),
        overlaps,
        count,
        steps.cumsum(axis=0) if steps.any() else None,
    )


def check_series(labels: Any) -> None:
    """Raise if an array is not a series of label images.

    Raises
    ------
    ImageError
        If it is not; the message says why.
    """
    shape = getattr(labels, 'shape', None)
    dtype = getattr(labels, 'dtype', None)
    if shape is None or dtype is None:
        raise ImageError(
            f'labels is a {type(labels).__name__}; it has to be an array '
            '(frame, row, column) or (frame, plane, row, column).'
        )
    if len(shape) not in (3, 4):
        raise ImageError(
            f'labels has the shape {tuple(shape)}; a time series is (frame, '
            'row, column) or (frame, plane, row, column).'
        )
    if 0 in shape[1:]:
        raise ImageError(
            f'labels has the shape {tuple(shape)}: its frames have no pixels.'
        )
    if np.dtype(dtype).kind not in 'iu':
        raise ImageError(
            f'labels has type {dtype}; give integers, 0 for background.'
        )
    if shape[0] < 2:
        raise ImageError(
            f'labels has {shape[0]} frame; tracking needs at least two.'
        )


def _without(
    pixels: NDArray[np.int64], axis: int, count: int
) -> NDArray[np.int64]:
    """Drop the first ``count`` pixels of an axis, or the last if < 0."""
    if not count:
        return pixels
    kept = slice(count, None) if count > 0 else slice(None, count)
    return pixels[(slice(None),) * axis + (kept,)]


@dataclass(frozen=True)
class _Frame:
    """Objects of one frame; ``places`` is 1 + the object of each pixel."""

    first: int
    labels: NDArray[np.int64]
    positions: NDArray[np.float64]
    areas: NDArray[np.int64]
    places: NDArray[np.int64] | None

    @classmethod
    def of(cls, pixels: NDArray[Any], first: int) -> _Frame:
        lowest, highest = int(pixels.min()), int(pixels.max())
        if lowest < 0 or highest > np.iinfo(np.int64).max:
            raise ImageError(
                f'Label {lowest if lowest < 0 else highest} is negative or '
                'too large; labels are numbers from 1, and 0 for the '
                'background.'
            )
        found, places = np.unique(pixels, return_inverse=True)
        places = places.reshape(pixels.shape)
        if found[0] != 0:
            places = places + 1
        else:
            found = found[1:]
        numbers = np.arange(1, len(found) + 1)
        areas = np.bincount(places.ravel(), minlength=len(found) + 1)[1:]
        centroids = ndimage.center_of_mass(
            np.ones(places.shape, bool), places, numbers
        )
        positions = np.asarray(centroids, np.float64)
        return cls(
            first,
            found.astype(np.int64),
            positions.reshape(len(found), pixels.ndim),
            areas,
            places,
        )

    def overlaps(
        self, later: _Frame, shift: Sequence[int]
    ) -> dict[tuple[int, int], int]:
        """Count the pixels shared with objects of the next, shifted frame."""
        assert self.places is not None
        assert later.places is not None
        here, there = self.places, later.places
        for axis, by in enumerate(shift, start=here.ndim - 2):
            here = _without(here, axis, -by)
            there = _without(there, axis, by)
        both = (here > 0) & (there > 0)
        pairs = np.stack([here[both], there[both]], axis=1)
        found, counts = np.unique(pairs, axis=0, return_counts=True)
        return {
            (self.first + int(a) - 1, later.first + int(b) - 1): int(n)
            for (a, b), n in zip(found, counts, strict=True)
        }
