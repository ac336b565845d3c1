"""Long jobs on objects, with the settings of a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from napari_mobilesam.segmentation.refinement import RefineParameters
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.prompts.batch import Batch, BatchItem, Overlaps
from napari_mobilesam.session.prompts.propagation import (
    PropagationOptions,
    innermost_point,
)
from napari_mobilesam.session.prompts.propagation_run import PropagationRun
from napari_mobilesam.session.prompts.refine_all import RefinementRun
from napari_mobilesam.session.session_parts import SessionParts
from napari_mobilesam.session.track.along_track import AlongTrack, label_mask
from napari_mobilesam.session.track.tracked_labels import TrackedLabels
from napari_mobilesam.tracking.tracks import TrackError
from napari_mobilesam.types import Mask, Prompts, SegmentationError


class ObjectJobs:
    """Start propagation, batches and refinement."""

    def __init__(self, parts: SessionParts) -> None:
        self._parts = parts

    def start_propagation(
        self,
        options: PropagationOptions | None = None,
        axis: int | None = None,
    ) -> None:
        """Follow the open object; `propagation.finished` emits the result.

        See `ObjectCommands.propagate`.
        """
        editor = self._parts.editor
        if editor.record.empty:
            raise SegmentationError(
                'No object is open: click one, or open one, to propagate it.'
            )
        if editor.pending:
            raise SegmentationError(
                'The mask is not ready yet: propagate once it is.'
            )
        scene = self._parts.scene()
        shown, planes = scene.plane(), scene.stack(axis)
        options = options or PropagationOptions()
        # those of an object that was opened in other labels are others
        objects = editor.objects
        record = editor.accept()
        if record is None:
            raise SegmentationError(
                'A previous object is still waiting for its mask. This one '
                'was accepted: open it once it is written, and propagate it.'
            )
        if objects is None:
            objects = scene.objects(False)
        assert objects is not None
        self._parts.propagation.start(
            PropagationRun(
                record,
                objects,
                planes,
                options,
                editor.options.policy,
                self._parts.prompting.clean_up,
                self._parts.recorder.propagation(
                    record, shown, axis, options, editor.options
                ),
                self._track_of(record, objects, planes),
            )
        )

    def start_track_propagation(
        self,
        tracked: TrackedLabels,
        index: int,
        options: PropagationOptions | None = None,
    ) -> None:
        """Follow an object of tracks; `propagation.finished` ends it.

        Objects are added with the number of its track, and existing ones that
        differ from the model's answer are replaced, until both agree.

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
        if self._parts.tracking.scene is None:
            raise TrackError(
                'Objects are followed in the image of a viewer, which this '
                'session does not have.'
            )
        frame, track = tracked.place(index)
        axis = self._parts.tracking.scene.open_object(tracked, index)
        scene = self._parts.scene()
        plane, objects = scene.plane(), scene.objects(False)
        assert objects is not None
        mask = label_mask(objects.target, plane, track)
        if mask is None:
            raise TrackError(
                f'Track {track} in frame {frame} is not on {plane.name}: '
                'choose the image that was segmented.'
            )
        self._parts.navigation.open_at(plane, *innermost_point(mask))
        self.start_propagation(options, axis)

    def _track_of(
        self,
        record: ObjectRecord,
        objects: Objects,
        planes: Sequence[ImagePlane],
    ) -> AlongTrack | None:
        """Return the track of an object, if its labels are of tracks."""
        tracked = self._parts.tracking.tracked(objects.target)
        if tracked is None:
            return None
        return AlongTrack(tracked.tracks, objects.target, planes, record.label)

    def start_batch(
        self,
        prompts: Sequence[Prompts | BatchItem],
        overlaps: Overlaps = 'best',
        first_label: int | None = None,
    ) -> None:
        """Begin what `batch` does; `BatchSegmentation.finished` ends it."""
        scene = self._parts.scene()
        shown = scene.plane()
        items = [
            item if isinstance(item, BatchItem) else BatchItem(shown, item)
            for item in prompts
        ]
        objects = scene.objects(True)
        assert objects is not None
        options = self._parts.editor.options
        self._parts.batching.start(
            Batch(
                items,
                objects,
                options,
                overlaps,
                self._parts.prompting.clean_up,
                partial(self._parts.recorder.batch, items, overlaps, options),
                first_label,
            )
        )

    def start_refinement(
        self,
        parameters: RefineParameters | None = None,
        planes: Sequence[ImagePlane] | None = None,
        before: Mapping[int, Mask] | None = None,
    ) -> None:
        """Start refinement; `RefineAll.finished` ends it.

        An open object of the labels that was not changed is closed.

        Raises
        ------
        SegmentationError
            There are no labels, or one of their objects is open and changed.
        """
        editor, scene = self._parts.editor, self._parts.scene()
        planes = [scene.plane()] if planes is None else planes
        objects = scene.objects(before is not None)
        if objects is None:
            raise SegmentationError(
                'No labels to refine: choose or open a labels layer.'
            )
        if editor.base is not None and editor.objects is objects:
            if editor.modified or editor.pending:
                raise SegmentationError(
                    f'Object {editor.base.label} is open and changed: accept '
                    'or reject it before all are refined.'
                )
            editor.reject()
        chosen = parameters or RefineParameters()
        self._parts.refining.start(
            RefinementRun(
                planes,
                objects,
                chosen,
                self._parts.prompting.clean_up,
                before,
                lambda found: self._parts.recorder.refinement(
                    found, chosen, editor.options
                ),
            )
        )
