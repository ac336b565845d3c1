"""Tracks of objects through time, and their correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mobilesam.argument_checks import quoted
from napari_mobilesam.types import SegmentationError

if TYPE_CHECKING:
    import pandas as pd

AXES = {2: ('row', 'column'), 3: ('plane', 'row', 'column')}


class TrackError(SegmentationError):
    """Tracks or links are invalid; the message says why."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Objects of a time series and their predecessors.

    An object has at most one previous object, of any earlier frame, and any
    number of following ones. A track is a chain of objects with one following
    object each; it ends where an object has none, or divides into several,
    which start new tracks. Corrections return new tracks, so that an earlier
    state can be kept for undo.

    Attributes
    ----------
    frames : (N,) int64
        Frame of each object.
    labels : (N,) int64
        Label of each object in the label image of its frame.
    positions : (N, D) float64
        Centroids in pixels: (row, column) or (plane, row, column).
    previous : (N,) int64
        Index of the previous object of each, −1 for none.
    ids : (N,) int64
        Track of each object, at least 1.
    """

    frames: NDArray[np.int64]
    labels: NDArray[np.int64]
    positions: NDArray[np.float64]
    previous: NDArray[np.int64]
    ids: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        frames: ArrayLike,
        labels: ArrayLike,
        positions: ArrayLike,
        previous: ArrayLike,
        ids: ArrayLike | None = None,
    ) -> Tracks:
        """Make tracks from links.

        Parameters
        ----------
        frames, labels, positions, previous : array-like
            See `Tracks`.
        ids : array-like, optional
            (N,) track numbers to keep where possible. By default, tracks are
            numbered in the order of their first objects.

        Raises
        ------
        TrackError
            If the lengths of the arrays differ, an object is listed twice, or
            a previous object is not in an earlier frame.
        """
        tracks = cls(
            np.asarray(frames, np.int64).ravel(),
            np.asarray(labels, np.int64).ravel(),
            np.asarray(positions, np.float64),
            np.asarray(previous, np.int64).ravel(),
            np.zeros(np.size(frames), np.int64),
        )
        tracks._check()
        wanted = None if ids is None else np.asarray(ids, np.int64).ravel()
        return tracks._numbered(wanted)

    @classmethod
    def from_ids(
        cls,
        frames: NDArray[np.int64],
        labels: NDArray[np.int64],
        positions: NDArray[np.float64],
        ids: NDArray[np.int64],
        parents: Mapping[int, int],
    ) -> Tracks:
        """Make tracks from the track number of each object.

        The objects of a track are linked in the order of frames. The first
        follows the last object of the parent track, if that is earlier.

        Parameters
        ----------
        frames, labels, positions, ids : array
            See `Tracks`; a track has at most one object per frame.
        parents : mapping of int to int
            Parent track of each track that comes from a division.
        """
        previous = np.full(len(ids), -1)
        order = np.lexsort((frames, ids))
        same = ids[order][1:] == ids[order][:-1]
        previous[order[1:][same]] = order[:-1][same]
        last = {int(ids[index]): int(index) for index in order}
        for first in order[np.r_[True, ~same][: len(order)]]:
            parent = last.get(parents.get(int(ids[first]), 0), -1)
            if parent >= 0 and frames[parent] < frames[first]:
                previous[first] = parent
        return cls(frames, labels, positions, previous, ids)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def count(self) -> int:
        """Number of tracks."""
        return len(np.unique(self.ids))

    @cached_property
    def following(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the objects that follow each object."""
        found: list[list[int]] = [[] for _ in range(len(self))]
        for index in np.flatnonzero(self.previous >= 0):
            found[self.previous[index]].append(int(index))
        return tuple(tuple(each) for each in found)

    @cached_property
    def parents(self) -> Mapping[int, int]:
        """Parent track of each track that comes from a division."""
        starts = np.flatnonzero(self.previous >= 0)
        return {
            int(self.ids[index]): int(self.ids[self.previous[index]])
            for index in starts
            if self.ids[index] != self.ids[self.previous[index]]
        }

    @property
    def divisions(self) -> list[int]:
        """Indices of the objects that divide."""
        return [i for i, each in enumerate(self.following) if len(each) > 1]

    def index(self, frame: int, label: int) -> int:
        """Return the index of the object with a label in a frame.

        Raises
        ------
        TrackError
            If there is no such object.
        """
        try:
            return self._places[int(frame), int(label)]
        except KeyError:
            raise TrackError(
                f'Frame {frame} has no object with label {label}.'
            ) from None

    @cached_property
    def _places(self) -> dict[tuple[int, int], int]:
        pairs = zip(self.frames.tolist(), self.labels.tolist(), strict=True)
        return {pair: index for index, pair in enumerate(pairs)}

    def members(self, track: int) -> NDArray[np.intp]:
        """Return the indices of the objects of a track, by frame."""
        found = np.flatnonzero(self.ids == track)
        return found[np.argsort(self.frames[found], kind='stable')]

    def check_objects(self, *indices: int) -> None:
        """Check that objects with these indices exist.

        Raises
        ------
        TrackError
            If an index is not an integer or out of range.
        """
        for index in indices:
            if not isinstance(index, Integral) or not 0 <= index < len(self):
                raise TrackError(
                    f'There is no object {quoted(index)}: objects are '
                    f'numbered from 0 to {len(self) - 1}.'
                )

    def link(self, first: int, second: int) -> Tracks:
        """Return tracks in which one object continues another.

        Existing links from ``first`` onwards and to ``second`` are removed.

        Parameters
        ----------
        first, second : int
            Indices of two objects, the second in a later frame.

        Raises
        ------
        TrackError
            If there is no such object, or the second is not in a later frame.
        """
        self.check_objects(first, second)
        self._check_order(first, second)
        previous = self.previous.copy()
        previous[list(self.following[first])] = -1
        previous[second] = first
        return self._with(previous)

    def divide(self, parent: int, children: Sequence[int]) -> Tracks:
        """Return tracks in which an object divides.

        Parameters
        ----------
        parent : int
            Index of the object that divides.
        children : sequence of int
            Indices of objects in later frames. A single child is added to the
            objects that already follow.

        Raises
        ------
        TrackError
            If there is no such object, a child is not in a later frame, or
            there would be only one child.
        """
        self.check_objects(parent, *children)
        wanted = {int(child) for child in children}
        for child in wanted:
            self._check_order(parent, child)
        if len(wanted) == 1:
            wanted |= set(self.following[parent])
        if len(wanted) < 2:
            raise TrackError(
                f'{self._name(parent)} has no following object yet, but a '
                'division needs two.'
            )
        previous = self.previous.copy()
        previous[list(self.following[parent])] = -1
        previous[list(wanted)] = parent
        return self._with(previous)

    def unlink(self, index: int) -> Tracks:
        """Return tracks in which an object starts a track of its own.

        Raises
        ------
        TrackError
            If there is no such object, or it already does.
        """
        self.check_objects(index)
        if self.previous[index] < 0:
            raise TrackError(
                f'Track {self.ids[index]} starts in frame '
                f'{self.frames[index]}: there is no link to remove.'
            )
        previous = self.previous.copy()
        previous[index] = -1
        return self._with(previous)

    def table(self) -> pd.DataFrame:
        """Return a table of track, frame, label, centroid and parent track."""
        import pandas as pd

        names = AXES[self.positions.shape[1]]
        columns: dict[str, Any] = {
            'track': self.ids,
            'frame': self.frames,
            'label': self.labels,
        }
        columns |= dict(zip(names, self.positions.T, strict=True))
        parents = self.parents
        columns['parent'] = [parents.get(int(i), 0) for i in self.ids]
        table = pd.DataFrame(columns)
        return table.sort_values(['track', 'frame'], ignore_index=True)

    def relabelled(self, frame: int, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the labels of one frame, replaced by track numbers.

        Parameters
        ----------
        frame : int
            Number of the frame.
        pixels : array
            Its labels; labels without a track become 0.

        Returns
        -------
        array
            Track numbers in the same shape, with the same dtype if they fit,
            else uint32.
        """
        here = self.frames == frame
        found, places = np.unique(pixels, return_inverse=True)
        known = dict(
            zip(
                self.labels[here].tolist(),
                self.ids[here].tolist(),
                strict=True,
            )
        )
        dtype = np.dtype(pixels.dtype)
        if self.ids.max(initial=0) > np.iinfo(dtype).max:
            dtype = np.dtype(np.uint32)
        numbers = np.array([known.get(int(i), 0) for i in found], dtype)
        return numbers[places.reshape(pixels.shape)]

    def _with(self, previous: NDArray[np.int64]) -> Tracks:
        return replace(self, previous=previous)._numbered(self.ids)

    def _numbered(self, wanted: NDArray[np.int64] | None) -> Tracks:
        """Number the tracks; each keeps its wanted number if that is free.

        If a track was split, the longest part keeps its number.
        """
        chains = self._chains()
        ids = np.zeros(len(self), np.int64)
        if wanted is None:
            for number, chain in enumerate(chains, start=1):
                ids[chain] = number
            return replace(self, ids=ids)
        taken: set[int] = set()
        rest = []
        for chain in sorted(chains, key=len, reverse=True):
            number = int(wanted[chain[0]])
            if number < 1 or number in taken:
                rest.append(chain)
                continue
            taken.add(number)
            ids[chain] = number
        free = int(wanted.max(initial=0)) + 1
        for number, chain in enumerate(sorted(rest), start=free):
            ids[chain] = number
        return replace(self, ids=ids)

    def _chains(self) -> list[list[int]]:
        """Return the indices of the objects of each track."""
        order = np.lexsort((self.labels, self.frames))
        following = self.following
        chains = []
        for index in order.tolist():
            before = self.previous[index]
            if before >= 0 and len(following[before]) == 1:
                continue
            chain = [index]
            while len(following[chain[-1]]) == 1:
                chain.append(following[chain[-1]][0])
            chains.append(chain)
        return chains

    def _check(self) -> None:
        count = len(self.frames)
        same = {len(self.labels), len(self.previous), len(self.positions)}
        if same != {count} or self.positions.ndim != 2:
            raise TrackError(
                f'{count} frames, {len(self.labels)} labels, '
                f'{self.positions.shape} positions and {len(self.previous)} '
                'links do not match.'
            )
        if len(self._places) < count:
            pairs = np.stack([self.frames, self.labels], axis=1)
            found, counts = np.unique(pairs, axis=0, return_counts=True)
            frame, label = found[counts > 1][0]
            raise TrackError(f'Label {label} is twice in frame {frame}.')
        linked = np.flatnonzero(self.previous >= 0)
        if self.previous.max(initial=-1) >= count:
            raise TrackError('The previous object of an object is missing.')
        for index in linked:
            self._check_order(int(self.previous[index]), int(index))

    def _check_order(self, first: int, second: int) -> None:
        if self.frames[first] >= self.frames[second]:
            raise TrackError(
                f'{self._name(second)} cannot follow {self._name(first)}: '
                'its frame is not later.'
            )

    def _name(self, index: int) -> str:
        track = self.ids[index]
        # objects without a track yet are named by label
        name = f'Track {track}' if track else f'Object {self.labels[index]}'
        return f'{name} in frame {self.frames[index]}'
