"""Propagation of an object along its track."""

from __future__ import annotations

from collections.abc import Callable

from napari_mobilesam.session.object_jobs import ObjectJobs
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.prompts.navigation import Navigation
from napari_mobilesam.session.prompts.propagation import (
    PropagationOptions,
    innermost_point,
)
from napari_mobilesam.session.track.along_track import label_mask
from napari_mobilesam.session.track.track_jobs import TrackJobs
from napari_mobilesam.session.track.tracked_labels import TrackedLabels
from napari_mobilesam.tracking.tracks import TrackError


class TrackPropagation:
    """Opens an object of tracks and follows it through time.

    Parameters
    ----------
    tracking : TrackJobs
        Layers of the tracks.
    scene : callable
        Returns the `Scene` of the session.
    navigation : Navigation
        Opens objects.
    jobs : ObjectJobs
        Starts the propagation.

    Attributes
    ----------
    finished : Signal(PropagationResult)
        See `Propagation`; a propagation of prompts ends with it, too.
    """

    def __init__(
        self,
        tracking: TrackJobs,
        scene: Callable[[], Scene],
        navigation: Navigation,
        jobs: ObjectJobs,
    ) -> None:
        self._tracking = tracking
        self._scene = scene
        self._navigation = navigation
        self._jobs = jobs
        self.finished = jobs.propagation.finished

    def start(
        self,
        tracked: TrackedLabels,
        index: int,
        options: PropagationOptions | None = None,
    ) -> None:
        """Follow an object of tracks; `Propagation.finished` ends it.

        Objects are added with the number of its track, and those of the
        track that differ from the answer of the model are replaced, until
        both agree.

        Parameters
        ----------
        tracked : TrackedLabels
            The tracks.
        index : int
            Index of the object.
        options : PropagationOptions, optional
            Direction and stopping criteria.

        Raises
        ------
        SegmentationError
            There is no image below, or the object is not on it.
        """
        if self._tracking.scene is None:
            raise TrackError(
                'Objects are followed in the image of a viewer, which this '
                'session does not have.'
            )
        frame, track = tracked.place(index)
        axis = self._tracking.scene.open_object(tracked, index)
        scene = self._scene()
        plane, objects = scene.plane(), scene.objects(False)
        assert objects is not None
        mask = label_mask(objects.target, plane, track)
        if mask is None:
            raise TrackError(
                f'Track {track} in frame {frame} is not on {plane.name}: '
                'choose the image that was segmented.'
            )
        self._navigation.open_at(plane, *innermost_point(mask))
        self._jobs.start_propagation(options, axis)
