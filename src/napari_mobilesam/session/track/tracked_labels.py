"""Labels with one number per track, and corrections of the tracks."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.session.objects.history import Entry, History
from napari_mobilesam.tracking.tracks import TrackError, Tracks
from napari_mobilesam.types import Progress

Slices = tuple[slice, ...]
# (frame, track), as the user sees and clicks them
FrameAndTrack = tuple[int, int]
# Number of tracks above which 16-bit labels leave no room for corrections.
MOST_IN_16_BITS = 40_000


@dataclass(frozen=True, eq=False)
class TrackResult:
    """Tracks, and labels that number each object by its track.

    Attributes
    ----------
    tracks : Tracks
        Every object with its track.
    pixels : (T, [Z,] H, W) uint16 or uint32
        Number of the track of each pixel, 0 for background.
    boxes : tuple of tuple of slice
        Bounding box of each object of the tracks, in its frame.
    edited : bool
        Whether the labels were edited while they were tracked.
    """

    tracks: Tracks
    pixels: NDArray[Any]
    boxes: tuple[Slices, ...]
    edited: bool = False


def paint_tracks(
    tracks: Tracks, labels: Any, progress: Progress | None = None
) -> TrackResult:
    """Create labels with one number per track.

    Parameters
    ----------
    tracks : Tracks
        Tracks of the labels.
    labels : array
        (T, [Z,] H, W) integer labels that were tracked.
    progress : callable, optional
        ``progress(done, total, message)``, called before each frame; may raise
        to stop.
    """
    from scipy import ndimage

    count = int(labels.shape[0])
    pixels = np.zeros(labels.shape, _pixel_dtype(tracks.ids))
    boxes: list[Slices] = [()] * len(tracks)
    for frame in range(count):
        if progress is not None:
            progress(frame, count, 'Labels of tracks')
        pixels[frame] = tracks.relabelled(frame, np.asarray(labels[frame]))
        found = ndimage.find_objects(pixels[frame])
        for index in np.flatnonzero(tracks.frames == frame):
            boxes[index] = found[tracks.ids[index] - 1]
    return TrackResult(tracks, pixels, tuple(boxes))


def tracks_of_pixels(
    pixels: NDArray[Any],
    labels: Mapping[FrameAndTrack, int],
    parents: Mapping[int, int],
) -> TrackResult:
    """Return the tracks of labels with one number per track.

    Parameters
    ----------
    pixels : (T, [Z,] H, W) integers
        Number of the track of each pixel, 0 for background.
    labels : mapping of (int, int) to int
        Label of the object that was tracked, by frame and track; others
        have none.
    parents : mapping of int to int
        Parent track of each track that comes from a division.
    """
    seen = [
        each
        for frame in range(len(pixels))
        for each in _seen_objects(frame, pixels[frame])
    ]
    places = [each.place for each in seen]
    frames, ids = np.array(places, np.int64).reshape(-1, 2).T
    positions = np.array([each.position for each in seen], np.float64)
    tracks = Tracks.from_ids(
        frames,
        np.array([labels.get(place, 0) for place in places], np.int64),
        positions.reshape(len(seen), pixels.ndim - 1),
        ids,
        parents,
    )
    own = pixels.astype(_pixel_dtype(ids))
    return TrackResult(tracks, own, tuple(each.box for each in seen))


def _pixel_dtype(ids: NDArray[np.int64]) -> type[np.unsignedinteger[Any]]:
    """Return the type of labels with track numbers, with room for more."""
    return np.uint32 if ids.max(initial=0) > MOST_IN_16_BITS else np.uint16


@dataclass(frozen=True, eq=False)
class _Links:
    """Tracked or corrected objects, and the parents of tracks."""

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    parents: Mapping[int, int]

    @classmethod
    def of(cls, tracks: Tracks) -> _Links:
        return cls(tracks.frames, tracks.ids, tracks.parents)

    def parents_among(
        self, places: Collection[FrameAndTrack]
    ) -> dict[int, int]:
        """Return the parents of tracks that still have one of their objects.

        The number of a track that was erased may be used again.
        """
        known = zip(self.frames.tolist(), self.ids.tolist(), strict=True)
        alive = {track for frame, track in known if (frame, track) in places}
        return {
            child: parent
            for child, parent in self.parents.items()
            if child in alive and parent in alive
        }


class _Correction(NamedTuple):
    """An undoable correction of tracks.

    ``ids`` and ``after.ids`` refer to the same objects.
    """

    before: _Links
    ids: NDArray[np.int64]
    after: _Links

    def numbers(self, tracks: Tracks, undo: bool) -> NDArray[np.int64]:
        """Return the tracks of objects without, or with, the correction.

        Objects added since keep their number if it is free.
        """
        pair = (self.after.ids, self.ids)
        here, there = pair if undo else pair[::-1]
        frames = self.after.frames.tolist()
        known = zip(frames, here.tolist(), strict=True)
        renamed = dict(zip(known, there.tolist(), strict=True))
        taken = set(zip(frames, there.tolist(), strict=True))
        free = max(tracks.ids.max(initial=0), there.max(initial=0)) + 1
        ids = []
        for place in _places(tracks):
            number = renamed.get(place)
            if number is None:
                number = place[1]
                if place in taken:
                    number, free = int(free), free + 1
            ids.append(number)
        return np.array(ids, np.int64)


class _SeenObject(NamedTuple):
    """An object in the pixels of a frame."""

    place: FrameAndTrack
    box: Slices
    position: NDArray[np.float64]


class _PixelEdit(NamedTuple):
    """Objects after an edit of pixels, before tracks are linked."""

    tracks: Tracks
    boxes: tuple[Slices, ...]
    kept: NDArray[np.bool_]
    added: int

    @property
    def new_indices(self) -> NDArray[np.int64]:
        """New index of each former object; −1 if it is gone."""
        return np.where(self.kept, np.cumsum(self.kept) - 1, -1)

    @classmethod
    def of(
        cls,
        tracks: Tracks,
        boxes: Sequence[Slices],
        frames: Sequence[int],
        seen: Sequence[_SeenObject],
    ) -> _PixelEdit | None:
        """Compare tracks with the objects of some frames; None if equal."""
        new = {each.place: each for each in seen}
        places = list(_places(tracks))
        kept = np.ones(len(tracks), bool)
        after, positions = list(boxes), tracks.positions.copy()
        for index in np.flatnonzero(np.isin(tracks.frames, frames)):
            found = new.pop(places[index], None)
            kept[index] = found is not None
            if found is not None:
                after[index], positions[index] = found.box, found.position
        moved = not np.allclose(positions, tracks.positions)
        if kept.all() and not new and not moved and after == list(boxes):
            return None
        added = list(new.values())
        count = int(kept.sum()) + len(added)
        pairs = np.array([each.place for each in added], np.int64)
        new_frames, new_ids = pairs.reshape(-1, 2).T
        where = [each.position[None] for each in added]
        return cls(
            Tracks(
                np.concatenate([tracks.frames[kept], new_frames]),
                # not an object of the tracked labels
                np.concatenate([tracks.labels[kept], 0 * new_ids]),
                np.concatenate([positions[kept], *where]),
                np.full(count, -1),
                np.concatenate([tracks.ids[kept], new_ids]),
            ),
            (
                *(after[index] for index in np.flatnonzero(kept)),
                *(each.box for each in added),
            ),
            kept,
            len(added),
        )


class TrackedLabels:
    """Tracks of labels, with undoable corrections.

    A correction only rewrites, in place, pixels of objects whose track number
    changes. Pixels can also be edited by hand or by prompts; the tracks then
    follow, see `follow`.

    Parameters
    ----------
    name : str
        Name of the labels, for messages.
    labels : array
        (T, [Z,] H, W) labels that were tracked.
    result : TrackResult
        Their tracks.
    clock : callable, optional
        Clock of the histories of the viewer; see `History`.

    Attributes
    ----------
    changed : Signal(tuple of int)
        Emitted when tracks change, with the frames in which pixels were
        written.
    objects_changed : Signal(ndarray)
        Emitted before `changed` if objects were added or removed, with the
        (N,) new index of each former object, −1 if it is gone.
    history : History
        Corrections.
    exports : int
        Number of exports in progress, during which pixels cannot change.
    """

    changed = Signal(tuple)
    objects_changed = Signal(object)

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
        self.exports = 0
        self._tracks = result.tracks
        self._boxes = result.boxes
        self._links = _Links.of(result.tracks)

    @property
    def tracks(self) -> Tracks:
        """The tracks with all corrections."""
        return self._tracks

    @property
    def shown(self) -> Tracks:
        """The tracks, with track numbers as the labels of objects.

        They correspond to `pixels` as `tracks` do to `labels`.
        """
        return replace(self._tracks, labels=self._tracks.ids)

    def result(self, edited: bool = False) -> TrackResult:
        """Return the tracks as they are, with the pixels that are edited.

        Parameters
        ----------
        edited : bool
            Whether the labels were edited since they were tracked.
        """
        return TrackResult(self._tracks, self.pixels, self._boxes, edited)

    def index(self, frame: int, track: int) -> int:
        """Return the index of a track's object in a frame.

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
        """Return the frame and track of an object."""
        return int(self._tracks.frames[index]), int(self._tracks.ids[index])

    def box(self, index: int) -> Slices:
        """Return the bounding box of an object in its frame."""
        return self._boxes[index]

    def follow(self, frames: Iterable[int]) -> None:
        """Update the tracks after pixels were edited.

        Objects added with the number of a track belong to it; erased ones do
        not. A track extended beyond its daughters or its parent loses that
        link, which returns with the pixels.

        Parameters
        ----------
        frames : iterable of int
            Frames whose pixels may have changed.
        """
        numbers = sorted(set(frames))
        seen = [
            each
            for frame in numbers
            for each in _seen_objects(frame, self.pixels[frame])
        ]
        edit = _PixelEdit.of(self._tracks, self._boxes, numbers, seen)
        if edit is None:
            return
        self._boxes = edit.boxes
        ids = edit.tracks.ids
        self._tracks = self._linked(edit.tracks, ids, self._links)
        if edit.added or not edit.kept.all():
            self.objects_changed.emit(edit.new_indices)
        self.changed.emit(())

    # corrections

    def link(self, first: int, second: int) -> None:
        """Continue the track of one object with another; see `Tracks.link`.

        Parameters
        ----------
        first, second : int
            Indices of two objects, the second in a later frame.

        Raises
        ------
        TrackError
            They cannot be linked.
        """
        self._tracks.check_objects(first, second)
        if self._tracks.previous[second] == first and (
            len(self._tracks.following[first]) == 1
        ):
            raise TrackError(
                f'{_sentence(self._name(second))} already continues '
                f'{self._name(first)}.'
            )
        self._step(
            f'link of {self._name(first)} and {self._name(second)}',
            self._tracks.link(first, second),
        )

    def unlink(self, index: int) -> None:
        """Start a new track at an object; see `Tracks.unlink`."""
        tracks = self._tracks.unlink(index)
        self._step(f'unlink of {self._name(index)}', tracks)

    def divide(self, parent: int, children: Sequence[int]) -> None:
        """Divide an object into others; see `Tracks.divide`."""
        self._tracks.check_objects(parent, *children)
        after = set(self._tracks.following[parent])
        if len(children) == 1 and not after - set(children):
            name = _sentence(self._name(parent))
            if after:
                raise TrackError(
                    f'{name} cannot divide: only {self._name(children[0])} '
                    'follows it. Choose another object that it becomes, too.'
                )
            raise TrackError(
                f'{name} cannot divide: no object follows it yet. Link one '
                'of its two children first.'
            )
        self._step(
            f'division of {self._name(parent)}',
            self._tracks.divide(parent, children),
        )

    def undo(self) -> str | None:
        """Undo the last correction; return its title, None if there is none.

        Raises
        ------
        TrackError
            The tracks are being saved.
        """
        self._check_free()
        entry = self.history.pop_undo()
        return None if entry is None else self._restore(entry, True)

    def redo(self) -> str | None:
        """Redo the correction undone last; see `undo`."""
        self._check_free()
        entry = self.history.pop_redo()
        return None if entry is None else self._restore(entry, False)

    def _step(self, title: str, tracks: Tracks) -> None:
        self._check_free()
        note = _Correction(self._links, self._tracks.ids, _Links.of(tracks))
        self._set(tracks)
        self._links = note.after
        self.history.push(Entry(title, note=note))

    def _restore(self, entry: Entry, undo: bool) -> str:
        note = entry.note
        assert isinstance(note, _Correction)
        self._set(
            self._linked(
                self._tracks,
                note.numbers(self._tracks, undo),
                note.before if undo else note.after,
            )
        )
        self._links = note.before if undo else note.after
        return entry.title

    @staticmethod
    def _linked(
        tracks: Tracks, ids: NDArray[np.int64], links: _Links
    ) -> Tracks:
        """Return tracks with other numbers, and links of parents."""
        places = set(zip(tracks.frames.tolist(), ids.tolist(), strict=True))
        return Tracks.from_ids(
            tracks.frames,
            tracks.labels,
            tracks.positions,
            ids,
            links.parents_among(places),
        )

    def _set(self, tracks: Tracks) -> None:
        """Switch to other tracks, and renumber their pixels."""
        before = self._tracks
        if tracks.ids.max(initial=0) > np.iinfo(self.pixels.dtype).max:
            raise TrackError(
                f'The labels hold numbers up to '
                f'{np.iinfo(self.pixels.dtype).max}, and all are used: save '
                'the tracks, and track again.'
            )
        changed = np.flatnonzero(tracks.ids != before.ids)
        # all are found before any is written, since two tracks may swap
        # numbers
        masks = []
        for index in changed:
            part = self.pixels[(before.frames[index], *self._boxes[index])]
            masks.append((part, part == before.ids[index], tracks.ids[index]))
        for part, mask, track in masks:
            part[mask] = track
        self._tracks = tracks
        self.changed.emit(tuple(np.unique(before.frames[changed]).tolist()))

    def _check_free(self) -> None:
        if self.exports:
            raise TrackError(
                'The tracks are being saved: try again in a moment.'
            )

    def _name(self, index: int) -> str:
        frame, track = self.place(index)
        return f'track {track} in frame {frame}'


def _sentence(text: str) -> str:
    """Return a text with its first letter capitalized."""
    return text[0].upper() + text[1:]


def _places(tracks: Tracks) -> Iterator[FrameAndTrack]:
    """Return the frame and track of each object."""
    return zip(tracks.frames.tolist(), tracks.ids.tolist(), strict=True)


def _seen_objects(frame: int, pixels: NDArray[Any]) -> Iterator[_SeenObject]:
    """Find the objects in the pixels of a frame."""
    from skimage.measure import regionprops

    for found in regionprops(pixels):
        position = np.array(found.centroid)
        yield _SeenObject((frame, found.label), found.slice, position)
