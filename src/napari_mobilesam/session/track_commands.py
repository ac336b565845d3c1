"""Commands on tracks: track, link, unlink, divide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_mobilesam.argument_checks import (
    are_numbers,
    check_path,
    quoted,
)
from napari_mobilesam.session.object_jobs import ObjectJobs
from napari_mobilesam.session.prompts.propagation import (
    Direction,
    PropagationOptions,
)
from napari_mobilesam.session.prompts.propagation_run import PropagationResult
from napari_mobilesam.session.session_parts import SessionParts
from napari_mobilesam.session.track.tracked_labels import (
    FrameAndTrack,
    TrackedLabels,
)
from napari_mobilesam.tracking.tracks import TrackError


class TrackCommands:
    """Commands on tracks of labels, and corrections of the newest ones.

    Parameters
    ----------
    parts : SessionParts
        Parts of the session.
    jobs : ObjectJobs
        Follows objects along their tracks.
    """

    def __init__(self, parts: SessionParts, jobs: ObjectJobs) -> None:
        self._parts = parts
        self._jobs = jobs

    def track(self, /, labels: Any = None, **parameters: Any) -> TrackedLabels:
        """Link the objects of a time series of labels into tracks.

        Parameters
        ----------
        labels : labels layer, optional
            By default, the active labels layer or the only one; in a session
            without a viewer, an array (T, [Z,] H, W).
        **parameters
            Fields of `LinkingParameters`.

        Returns
        -------
        TrackedLabels
            Tracks, also shown as layers of the viewer.

        Raises
        ------
        SegmentationError
            The labels are not a time series, or have no object.
        """
        from napari_mobilesam.tracking.track_linking import LinkingParameters

        chosen = LinkingParameters(**parameters)
        return self._parts.waiter.answer(
            self._parts.tracking.finished,
            lambda: self._parts.tracking.start(labels, chosen),
        )

    def open_tracks(self, folder: str | Path) -> TrackedLabels:
        """Open tracks of the Cell Tracking Challenge, to correct them.

        Parameters
        ----------
        folder : path
            Label images and ``res_track.txt`` or ``man_track.txt``, as written
            by `export_tracks`.

        Returns
        -------
        TrackedLabels
            Tracks, also shown as layers of the viewer.

        Raises
        ------
        SegmentationError
            The folder has no tracks, or they do not match its images.
        """
        check_path('folder', folder)
        return self._parts.waiter.answer(
            self._parts.tracking.finished,
            lambda: self._parts.tracking.open(Path(folder)),
        )

    def link(self, first: FrameAndTrack, second: FrameAndTrack) -> None:
        """Continue the track of one object with another, as one step.

        Parameters
        ----------
        first, second : (frame, track)
            Two objects, the second in a later frame.

        Raises
        ------
        TrackError
            There is no such object, or they cannot be linked.
        """
        tracked = self._newest
        tracked.link(_index(tracked, first), _index(tracked, second))

    def unlink(self, place: FrameAndTrack) -> None:
        """Start a new track at an object, as one step.

        Parameters
        ----------
        place : (frame, track)
            The object.
        """
        tracked = self._newest
        tracked.unlink(_index(tracked, place))

    def divide(
        self, parent: FrameAndTrack, children: Sequence[FrameAndTrack]
    ) -> None:
        """Divide an object into others in later frames, as one step.

        Parameters
        ----------
        parent : (frame, track)
            The object that divides.
        children : sequence of (frame, track)
            Two or more objects; or one, which is added to the existing
            children.
        """
        tracked = self._newest
        tracked.divide(
            _index(tracked, parent),
            [_index(tracked, child) for child in children],
        )

    def propagate_track(
        self,
        /,
        place: FrameAndTrack,
        direction: Direction = 'both',
        **options: Any,
    ) -> PropagationResult:
        """Follow an object along its track in the image, as one step.

        Frames in which the track has no object get one, and objects that
        differ from the model's answer are replaced. It ends where both agree
        again, at other tracks, or at a division.

        Parameters
        ----------
        place : (frame, track)
            The object to start from.
        direction : {'both', 'forward', 'backward'}
            Direction in time.
        **options
            Further fields of `PropagationOptions`.

        Returns
        -------
        PropagationResult
            Frames that were reached, and why propagation ended.

        Raises
        ------
        SegmentationError
            There is no such object, or no image below it.
        """
        self._parts.waiter.finish()
        tracked = self._newest
        index = _index(tracked, place)
        chosen = PropagationOptions(direction=direction, **options)
        return self._parts.waiter.answer(
            self._parts.propagation.finished,
            lambda: self._jobs.start_track_propagation(tracked, index, chosen),
        )

    @property
    def _newest(self) -> TrackedLabels:
        known = self._parts.tracking.all_tracks()
        if not known:
            raise TrackError('There are no tracks yet: track labels first.')
        return known[-1]


def _index(tracked: TrackedLabels, place: FrameAndTrack) -> int:
    """Return the index of an object by frame and track."""
    if not are_numbers(place) or len(place) != 2:
        raise TrackError(
            f'{quoted(place)} is not an object: give the numbers of its frame '
            'and its track, for example (0, 1).'
        )
    return tracked.index(*place)
