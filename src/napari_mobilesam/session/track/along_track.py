"""Limits of propagation along a track: other objects and the track itself.

An object is followed until the model agrees with the track again, until it
runs into other tracks, or until it reaches its daughters or its parent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_mobilesam.segmentation.masks import mask_iou
from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.targets import (
    LabelTarget,
    labels_in,
    whole_picture,
)
from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.types import Mask

# Minimum IoU of a mask with the track at which they agree.
AGREEMENT = 0.7
# Maximum share of a mask that may belong to other tracks.
MOST_TAKEN = 0.5


class AlongTrack:
    """Limits of a propagation along a track; see `PropagationTrack`.

    Parameters
    ----------
    tracks : Tracks
        All tracks.
    target : LabelTarget
        Their labels, one number per track; the first axis is time.
    planes : sequence of ImagePlane
        Planes of the propagation.
    track : int
        Number of the track.
    """

    def __init__(
        self,
        tracks: Tracks,
        target: LabelTarget,
        planes: Sequence[ImagePlane],
        track: int,
    ) -> None:
        self._target = target
        self._planes = planes
        self._track = track
        self._frames = [_frame_of(target, plane) for plane in planes]
        parent = tracks.parents.get(track)
        children = np.isin(
            tracks.ids,
            [child for child, of in tracks.parents.items() if of == track],
        )
        self._parent = parent
        self._after_parent = -1
        if parent is not None:
            self._after_parent = int(tracks.frames[tracks.ids == parent].max())
        self._divided = int(
            tracks.frames[children].min(initial=np.iinfo(np.int64).max)
        )

    def bar(self, number: int) -> str:
        """Return why the track cannot be on a plane, or ''."""
        frame = self._frames[number]
        if frame is None:
            return 'outside the labels'
        if frame <= self._after_parent:
            return f'track {self._parent} divides into it'
        return 'it divides' if frame >= self._divided else ''

    def meets(self, number: int, mask: Mask) -> str:
        """Return why it ends before a plane with this mask, or ''."""
        plane = self._planes[number]
        here = labels_in(self._target, plane, mask)
        others = here[(here != 0) & (here != self._track)]
        if len(others) > MOST_TAKEN * mask.area:
            found, counts = np.unique(others, return_counts=True)
            return f'track {found[counts.argmax()]} is there'
        own = self.mask(plane)
        if own is not None and mask_iou(own, mask) >= AGREEMENT:
            return 'it agrees with the track there'
        return ''

    def mask(self, plane: ImagePlane) -> Mask | None:
        """Return the pixels of the track on a plane; None if there is none."""
        return label_mask(self._target, plane, self._track)


def label_mask(
    target: LabelTarget, plane: ImagePlane, label: int
) -> Mask | None:
    """Return all pixels of a label on a plane; None if there are none."""
    own = whole_picture(target, plane) == label
    return Mask(*crop_to_mask(own), float('nan')) if own.any() else None


def _frame_of(target: LabelTarget, plane: ImagePlane) -> int | None:
    """Return the frame of the labels that a plane lies on."""
    middle = plane.shape[0] // 2, plane.shape[1] // 2
    indices = target.locate(plane, np.ones((1, 1), np.uint8), middle).indices
    return int(indices[0][0]) if len(indices[0]) else None
