"""Labels with one number per track, and corrections of the tracks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.session.objects.history import Entry, History
from napari_mobilesam.tracking.tracks import TrackError, Tracks
from napari_mobilesam.types import Progress

Box = tuple[slice, ...]
# (frame, track): what the user sees and clicks
FrameAndTrack = tuple[int, int]
# Tracks beyond which labels of 16 bits leave no room for corrections.
MOST_IN_16_BITS = 40_000


@dataclass(frozen=True, eq=False)
class TrackResult:
    """Tracks, and labels with the number of the track of each object.

    Attributes
    ----------
    tracks : Tracks
        Every object with its track.
    pixels : (T, [Z,] H, W) uint16 or uint32
        Number of the track of each pixel, 0 for background.
    boxes : tuple of tuple of slice
        Bounding box of each object of the tracks, in its frame.
    """

    tracks: Tracks
    pixels: NDArray[Any]
    boxes: tuple[Box, ...]


def paint_tracks(
    tracks: Tracks, labels: Any, progress: Progress | None = None
) -> TrackResult:
    """Make labels with one number per track.

    Parameters
    ----------
    tracks : Tracks
        Tracks of the labels.
    labels : array
        (T, [Z,] H, W) integer labels that were tracked.
    progress : callable, optional
        ``progress(done, total, message)`` before each frame; an exception
        that it raises ends the work.
    """
    from scipy import ndimage

    count = int(labels.shape[0])
    wide = tracks.ids.max(initial=0) > MOST_IN_16_BITS
    pixels = np.zeros(labels.shape, np.uint32 if wide else np.uint16)
    boxes: list[Box] = [()] * len(tracks)
    for frame in range(count):
        if progress is not None:
            progress(frame, count, 'Labels of tracks')
        pixels[frame] = tracks.relabelled(frame, np.asarray(labels[frame]))
        found = ndimage.find_objects(pixels[frame])
        for index in np.flatnonzero(tracks.frames == frame):
            boxes[index] = found[tracks.ids[index] - 1]
    return TrackResult(tracks, pixels, tuple(boxes))


@dataclass(frozen=True)
class _Links:
    """What a correction changes in tracks."""

    previous: NDArray[np.int64]
    ids: NDArray[np.int64]

    @classmethod
    def of(cls, tracks: Tracks) -> _Links:
        return cls(tracks.previous, tracks.ids)


class TrackedLabels:
    """Tracks of labels, with corrections that can be undone.

    A correction writes only pixels of objects whose track gets another
    number, in place.

    Parameters
    ----------
    name : str
        Name of the labels, for messages.
    labels : array
        (T, [Z,] H, W) labels that were tracked.
    result : TrackResult
        Their tracks.
    clock : callable, optional
        Clock of the histories of the viewer, see `History`.

    Attributes
    ----------
    changed : Signal(tuple of int)
        Tracks have changed; frames in which pixels were written.
    history : History
        Corrections.
    saving : bool
        Whether the pixels are being saved; they cannot change meanwhile.
    """

    changed = Signal(tuple)

    def __init__(
        self,
        name: str,
        labels: Any,
        result: TrackResult,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.name = name
        self.labels = labels
        self.pixels = result.pixels
        self.history = History(clock=clock)
        self.saving = False
        self._tracks = result.tracks
        self._boxes = result.boxes

    @property
    def tracks(self) -> Tracks:
        """The tracks with all corrections."""
        return self._tracks

    @property
    def shown(self) -> Tracks:
        """The tracks, with numbers of tracks as the labels of objects.

        They belong to `pixels` as `tracks` belong to `labels`.
        """
        return replace(self._tracks, labels=self._tracks.ids)

    def index(self, frame: int, track: int) -> int:
        """Return the index of the object of a track in a frame.

        Raises
        ------
        TrackError
            The track has no object there.
        """
        tracks = self._tracks
        found = np.flatnonzero(
            (tracks.ids == track) & (tracks.frames == frame)
        )
        if not len(found):
            raise TrackError(f'Track {track} has no object in frame {frame}.')
        return int(found[0])

    def place(self, index: int) -> FrameAndTrack:
        """Return frame and track of an object."""
        return int(self._tracks.frames[index]), int(self._tracks.ids[index])

    def box(self, index: int) -> Box:
        """Bounding box of an object in its frame."""
        return self._boxes[index]

    # corrections

    def link(self, first: int, second: int) -> None:
        """Continue the track of one object with another; see `Tracks.link`.

        Parameters
        ----------
        first, second : int
            Indices of two objects, the second of a later frame.

        Raises
        ------
        TrackError
            They cannot be linked.
        """
        if self._tracks.previous[second] == first and (
            len(self._tracks.following[first]) == 1
        ):
            raise TrackError(
                f'{self._name(second)} already continues {self._name(first)}.'
            )
        self._step(
            f'link of {self._name(first)} and {self._name(second)}',
            self._tracks.link(first, second),
        )

    def unlink(self, index: int) -> None:
        """Start a new track at an object; see `Tracks.unlink`."""
        self._step(
            f'unlink of {self._name(index)}', self._tracks.unlink(index)
        )

    def divide(self, parent: int, children: Sequence[int]) -> None:
        """Divide an object into others; see `Tracks.divide`."""
        self._step(
            f'division of {self._name(parent)}',
            self._tracks.divide(parent, children),
        )

    def undo(self) -> str | None:
        """Undo the last correction; return its title, None without one.

        Raises
        ------
        TrackError
            The tracks are being saved.
        """
        self._check_free()
        entry = self.history.pop_undo()
        return None if entry is None else self._restore(entry, 0)

    def redo(self) -> str | None:
        """Redo the correction undone last; see `undo`."""
        self._check_free()
        entry = self.history.pop_redo()
        return None if entry is None else self._restore(entry, 1)

    def _step(self, title: str, tracks: Tracks) -> None:
        self._check_free()
        before = _Links.of(self._tracks)
        self._set(tracks)
        self.history.push(Entry(title, note=(before, _Links.of(tracks))))

    def _restore(self, entry: Entry, side: int) -> str:
        assert isinstance(entry.note, tuple)
        links: _Links = entry.note[side]
        self._set(
            replace(self._tracks, previous=links.previous, ids=links.ids)
        )
        return entry.title

    def _set(self, tracks: Tracks) -> None:
        """Use other tracks, and number their pixels."""
        before = self._tracks
        if tracks.ids.max(initial=0) > np.iinfo(self.pixels.dtype).max:
            raise TrackError(
                f'The labels hold numbers up to '
                f'{np.iinfo(self.pixels.dtype).max}, and all are used: save '
                'the tracks, and track again.'
            )
        changed = np.flatnonzero(tracks.ids != before.ids)
        # all are found before one is written: two tracks may swap numbers
        masks = []
        for index in changed:
            part = self.pixels[(before.frames[index], *self._boxes[index])]
            masks.append((part, part == before.ids[index], tracks.ids[index]))
        for part, mask, track in masks:
            part[mask] = track
        self._tracks = tracks
        self.changed.emit(tuple(np.unique(before.frames[changed]).tolist()))

    def _check_free(self) -> None:
        if self.saving:
            raise TrackError(
                'The tracks are being saved: try again in a moment.'
            )

    def _name(self, index: int) -> str:
        frame, track = self.place(index)
        return f'track {track} in frame {frame}'
