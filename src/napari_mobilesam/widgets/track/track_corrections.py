"""Corrections of tracks with the chosen objects, and their undo."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from napari_mobilesam.session.objects.history import Entry, Undoable
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.track.tracked_labels import (
    FrameAndTrack,
    TrackedLabels,
)
from napari_mobilesam.tracking.tracks import TrackError
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.track.chosen_objects import ChosenObjects

NO_TRACKS = 'There are no tracks yet: press Track first.'
CHOOSE_TWO = 'Click two objects in different frames first.'
CHOOSE_ONE = 'Click an object first.'


class TrackCorrections:
    """Link, divide and unlink the chosen objects; undo and redo.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the session, and the status line.
    chosen : ChosenObjects
        Objects to correct, and their tracks.
    """

    def __init__(self, dock: ViewerWidget, chosen: ChosenObjects) -> None:
        self._session = dock.session
        self._status = dock.status
        self._chosen = chosen
        # objects chosen at each correction
        self._places: WeakKeyDictionary[Entry, Sequence[FrameAndTrack]] = (
            WeakKeyDictionary()
        )

    def describe(self, index: int) -> str:
        """Describe an object by track and frame."""
        assert self._chosen.shown is not None
        frame, track = self._chosen.shown.tracked.place(index)
        return f'track {track}, frame {frame}'

    def tracks_of(self, count: int) -> TrackedLabels:
        """Return the tracks from which some objects are chosen.

        Raises
        ------
        TrackError
            There are no tracks, or fewer objects are chosen.
        """
        if self._chosen.shown is None:
            raise TrackError(NO_TRACKS)
        if len(self._chosen.indices) < count:
            raise TrackError(CHOOSE_TWO if count > 1 else CHOOSE_ONE)
        return self._chosen.shown.tracked

    def _correct(
        self, tracked: TrackedLabels, correct: Callable[[], None]
    ) -> None:
        """Correct tracks; undo restores the choice of objects."""
        last = self._chosen.last
        clicked = sorted(self._chosen.indices, key=lambda index: index == last)
        places = [tracked.place(index) for index in clicked]
        correct()
        assert tracked.history.last is not None
        self._places[tracked.history.last] = places

    def link(self) -> None:
        """Continue the first object with the second."""
        with self._status.errors():
            tracked = self.tracks_of(2)
            first, second = self._chosen.indices
            self._correct(tracked, lambda: tracked.link(first, second))
            # the next click continues from here
            self._chosen.choose(second)
            self._status.say(f'Linked: {self.describe(second)}.')

    def divide(self) -> None:
        """Make the second object a child of the first."""
        with self._status.errors():
            tracked = self.tracks_of(2)
            parent, child = self._chosen.indices
            self._correct(tracked, lambda: tracked.divide(parent, [child]))
            self._chosen.choose(parent)
            children = [
                tracked.place(index)[1]
                for index in tracked.tracks.following[parent]
            ]
            self._status.say(
                f'Divided: {self.describe(parent)}, into tracks '
                f'{" and ".join(map(str, sorted(children)))}.'
            )

    def unlink(self) -> None:
        """Start a new track at the object clicked last."""
        with self._status.errors():
            tracked, index = self.tracks_of(1), self._chosen.last
            self._correct(tracked, lambda: tracked.unlink(index))
            self._chosen.choose(index)
            self._status.say(f'Unlinked: {self.describe(index)}.')

    def undo(self) -> None:
        """Undo the newest step if it belongs to the shown tracks."""
        navigation = self._session.navigation
        newest = navigation.next_undo
        # an accept waiting for its mask is not a step yet
        waits = self._session.editor.queue.last is not None
        step = None if newest is None or waits else newest.history.last
        title = 'an accept' if step is None else step.title
        with self._status.errors():
            self._check_ours(newest, title, 'undo')
            undone = navigation.undo()
            places = None if step is None else self._places.get(step)
            if undone is not None and places:
                self._choose_again(places)

    def redo(self) -> None:
        """Redo the step undone last if it belongs to the shown tracks."""
        navigation = self._session.navigation
        newest = navigation.next_redo
        title = None if newest is None else newest.history.redoable
        with self._status.errors():
            self._check_ours(newest, title, 'redo')
            navigation.redo()

    def _check_ours(
        self, newest: Undoable | None, title: str | None, act: str
    ) -> None:
        """Raise `TrackError` for a step of other, possibly hidden tracks."""
        tracked = newest
        if isinstance(newest, Objects):
            tracked = self._session.tracking.tracked(newest.target)
        here = (
            self._chosen.shown is not None
            and tracked is self._chosen.shown.tracked
        )
        if newest is None or here:
            return
        where = 'in Segment by prompts'
        if isinstance(newest, TrackedLabels):
            where = 'after choosing these labels'
        raise TrackError(
            f'The step to {act} is {title}, in “{newest.name}”: {act} it '
            f'{where}.'
        )

    def _choose_again(self, places: Sequence[FrameAndTrack]) -> None:
        """Restore the choice of objects of an undone correction."""
        shown, said = self._chosen.shown, self._status.text
        assert shown is not None
        found = []
        for place in places:
            with contextlib.suppress(TrackError):
                found.append(shown.tracked.index(*place))
        self._chosen.choose(*found)
        self._status.say(said)
