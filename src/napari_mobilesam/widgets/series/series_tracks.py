"""Saving and restoring the tracks of the open image of a series."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from napari.layers import Labels

from napari_mobilesam.series.series import Series
from napari_mobilesam.session.track.tracked_labels import (
    TrackedLabels,
    TrackResult,
)
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.track_layers import EDITS, ShownTracks

# Tracks are saved after a pause, as all of their labels are written.
PAUSE_MS = 500


class SeriesTracks:
    """Save the newest tracks of the labels of an image as they change.

    Parameters
    ----------
    dock : ViewerWidget
        Gives viewer and session.
    changes : callable
        Returns the number of changes of labels so far.
    """

    def __init__(self, dock: ViewerWidget, changes: Callable[[], int]) -> None:
        self._dock = dock
        self._changes = changes
        # when the image was opened
        self._changes_before = 0
        self._layers = dock.scene.tracks
        self._jobs = dock.session.series
        self._series: Series | None = None
        self._number = -1
        self._labels: Labels | None = None
        self._shown: ShownTracks | None = None
        # set when the tracks that are being saved change
        self._edited = threading.Event()
        self._save_later = DelayedCall(self._save, PAUSE_MS, dock)
        # once others have replaced the layer, or its image is gone, too
        self._check_later = DelayedCall(self._check, parent=dock)

    def attach(self) -> None:
        """Listen for new tracks, those that were read, and removed ones."""
        self._dock.listen_all(
            (self._dock.session.tracking.finished, self._tracked),
            (self._jobs.tracks.found, self._restore),
            (
                self._dock.viewer.layers.events.removed,
                self._check_later.restart,
            ),
        )

    def follow(self, number: int, labels: Labels) -> None:
        """Save the tracks of labels from now on, and restore saved ones."""
        self._series = self._jobs.required
        self._number, self._labels = number, labels
        self._changes_before = self._changes()
        shown = self._layers.shown_of(labels)
        if shown is None:
            self._jobs.tracks.ask(self._series, number, labels.data.shape)
        else:
            self._watch(shown)

    def leave(self) -> None:
        """Save all changes now."""
        if self._save_later.pending:
            self._save()

    def forget(self) -> None:
        """Stop saving."""
        self.leave()
        self._watch(None)
        self._series = self._labels = None
        self._number = -1

    def _tracked(self, tracked: TrackedLabels) -> None:
        """Follow new tracks if they are of these labels."""
        shown = self._layers.shown_of(self._labels)
        if shown is not None and shown.tracked is tracked:
            self._watch(shown)
            self._change()

    def _check(self) -> None:
        """Follow older tracks, or none, if a user has removed the newest."""
        labels, series = self._labels, self._series
        if self._shown is None or series is not self._jobs.series:
            return
        if labels is None or labels not in self._dock.viewer.layers:
            return
        shown = self._layers.shown_of(labels)
        if shown is self._shown:
            return
        self._watch(shown)
        if shown is not None:
            self._change()
            return
        self._save_later.cancel()
        assert series is not None
        self._jobs.tracks.set_aside(series, self._number)

    def _watch(self, shown: ShownTracks | None) -> None:
        """Save other tracks as they change, or none."""
        before, self._shown = self._shown, shown
        self._edited = threading.Event()
        if before is not None:
            before.tracked.changed.disconnect(self._change)
            before.source_edited.disconnect(self._change)
        if shown is not None:
            shown.tracked.changed.connect(self._change)
            shown.source_edited.connect(self._change)
        for name in EDITS:
            if before is not None and before.labels is not None:
                event = getattr(before.labels.events, name)
                event.disconnect(self._change)
            if shown is not None and shown.labels is not None:
                event = getattr(shown.labels.events, name)
                event.connect(self._change)

    def _change(self, event: object = None) -> None:
        self._edited.set()
        self._save_later.restart()

    def _save(self) -> None:
        self._save_later.cancel()
        shown, series = self._shown, self._series
        if shown is None or series is None or self._jobs.series is not series:
            # another series may replace the one that is open
            return
        kept = shown.tracked.result(shown.edited)
        self._edited = edited = threading.Event()
        self._jobs.tracks.save(series, self._number, kept, edited)

    def _restore(
        self, series: Series, number: int, found: TrackResult
    ) -> None:
        """Show tracks that were read, unless there are newer ones."""
        labels, layers = self._labels, self._dock.viewer.layers
        if labels is None or labels not in layers or not len(found.tracks):
            return
        if series is not self._series or number != self._number:
            return
        if self._layers.shown_of(labels) is not None:
            return
        active = layers.selection.active
        if self._changes() != self._changes_before:
            # while they were read
            found = replace(found, edited=True)
            self._save_later.restart()
        self._layers.show(labels, self._layers.labels_of(labels), found)
        layers.selection.active = active
        self._watch(self._layers.shown_of(labels))
