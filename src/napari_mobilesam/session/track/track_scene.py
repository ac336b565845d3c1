"""Interface between the layers of a viewer and tracking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from napari_mobilesam.session.objects.targets import LabelTarget
from napari_mobilesam.session.track.tracked_labels import (
    TrackedLabels,
    TrackResult,
)


class TrackScene(Protocol):
    """Layers with time series of labels, and with their tracks."""

    def find(self, layer: Any) -> Any:
        """Return a labels layer.

        Parameters
        ----------
        layer : labels layer or None
            None for the active layer, or the only one.

        Raises
        ------
        ImageError
            There is none, or there are several.
        """

    def labels_of(self, layer: Any) -> Any:
        """Return the (T, [Z,] H, W) labels of a layer.

        Raises
        ------
        ImageError
            The layer is not a time series; the message says why.
        """

    def images_of(self, labels: Any) -> Any:
        """Return the image with the same shape as labels.

        Raises
        ------
        ImageError
            There is none.
        """

    def add(self, labels: Any, name: str) -> Any:
        """Return a new labels layer for an image of the same shape.

        Parameters
        ----------
        labels : ndarray
            (T, [Z,] H, W) labels.
        name : str
            Name of the layer.
        """

    def show(
        self, layer: Any, labels: Any, result: TrackResult
    ) -> TrackedLabels:
        """Show tracks in the viewer, in layers that follow corrections.

        Parameters
        ----------
        layer : labels layer
            The layer that was tracked.
        labels : array
            Its labels.
        result : TrackResult
            Its tracks.
        """

    def open_object(self, tracked: TrackedLabels, index: int) -> int:
        """Show an object, and write to its labels from now on.

        Parameters
        ----------
        tracked : TrackedLabels
            Tracks in the viewer.
        index : int
            Index of the object.

        Returns
        -------
        int
            Time axis of the image.

        Raises
        ------
        ImageError
            There is no image, or it has no such axis.
        """

    def tracked(self, target: LabelTarget) -> TrackedLabels | None:
        """Return the tracks whose labels a target holds; None for others."""

    def all_tracks(self) -> Sequence[TrackedLabels]:
        """Return the tracks in the viewer, newest last."""
