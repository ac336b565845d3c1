"""Tracking of labels in the background."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_mobilesam.background_imports import import_gently
from napari_mobilesam.readers.stated_size import SizedFile, stated_sizes
from napari_mobilesam.segmentation.sampling import in_memory
from napari_mobilesam.session.objects.targets import LabelTarget
from napari_mobilesam.session.runtime.watched_jobs import WatchedJobs
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.session.track.track_scene import TrackScene
from napari_mobilesam.session.track.tracked_labels import (
    TrackedLabels,
    TrackResult,
    paint_tracks,
)
from napari_mobilesam.text import explain
from napari_mobilesam.tracking.pixel_size import NO_SIZE, PixelSize
from napari_mobilesam.types import Deliver, Progress

if TYPE_CHECKING:
    from napari_mobilesam.tracking.track_linking import LinkingParameters


LINKING = 'napari_mobilesam.tracking.track_linking'


class TrackJobs(WatchedJobs):
    """Track labels on a separate thread; the newest request wins.

    Parameters
    ----------
    deliver : callable
        Runs a function on the thread that owns the viewer.

    Attributes
    ----------
    finished : Signal(TrackedLabels)
        Tracks of the newest request.
    saved : Signal(str)
        Message that tracks were exported.
    not_saved : Signal(str)
        Error message of a failed export.
    scene : TrackScene or None
        Layers of the viewer that show the tracks.
    """

    saved = Signal(str)
    not_saved = Signal(str)

    def __init__(self, deliver: Deliver) -> None:
        worker = LatestWorker('napari-mobilesam-tracking')
        super().__init__(deliver, worker, 'track')
        self._newest: TrackedLabels | None = None
        self.scene: TrackScene | None = None

    def all_tracks(self) -> Sequence[TrackedLabels]:
        """Return the tracks of the viewer, newest last."""
        if self.scene is not None:
            return self.scene.all_tracks()
        return () if self._newest is None else (self._newest,)

    def tracked(self, target: LabelTarget) -> TrackedLabels | None:
        """Return the tracks held by a writing target; None for others.

        Parameters
        ----------
        target : LabelTarget
            Labels that objects are written to.
        """
        return None if self.scene is None else self.scene.tracked(target)

    def prepare(self) -> None:
        """Import laptrack, which takes seconds, before it is needed."""

        def prepare() -> None:
            # `start` reports what is missing
            with contextlib.suppress(ImportError):
                import_gently((LINKING, 'laptrack'))

        self._worker.submit('prepare', prepare)

    def start(
        self, layer: Any, parameters: LinkingParameters | None = None
    ) -> None:
        """Track labels; `finished` emits the tracks.

        Parameters
        ----------
        layer : labels layer or None
            See `TrackScene.labels_of`; without a viewer, an array.
        parameters : LinkingParameters, optional
            Distance, gaps, divisions.

        Raises
        ------
        ImageError
            The labels are not a time series, or there is no image of their
            shape for trackastra.
        """
        from napari_mobilesam.tracking.objects_in_time import check_series

        labels = layer
        if self.scene is not None:
            layer = self.scene.find(layer)
            labels = self.scene.labels_of(layer)
        check_series(labels)
        images = None
        by_image = parameters is not None and parameters.linker != 'laptrack'
        if by_image and self.scene is not None:
            images = self.scene.images_of(labels)

        def job(progress: Progress) -> TrackResult:
            from napari_mobilesam.tracking.track_linking import track_labels

            if not in_memory(labels):
                tracks = track_labels(labels, parameters, progress, images)
                return paint_tracks(tracks, labels, progress)
            # they are read several times, and may be edited in the meantime
            given = labels.copy()
            tracks = track_labels(given, parameters, progress, images)
            result = paint_tracks(tracks, given, progress)
            same = all(map(np.array_equal, given, labels))
            return replace(result, edited=not same)

        self.do(job, lambda result: self._finish(layer, labels, result))

    def open(self, folder: Path) -> None:
        """Read tracks of the Cell Tracking Challenge; `finished` emits them.

        Parameters
        ----------
        folder : Path
            See `read_ctc`.
        """

        def job(progress: Progress) -> tuple[Any, TrackResult]:
            from napari_mobilesam.tracking.ctc import read_ctc

            progress(0, 1, f'Reading {folder.name}')
            labels, tracks = read_ctc(folder)
            return labels, paint_tracks(tracks, labels, progress)

        self.do(job, lambda found: self._opened(folder.name, *found))

    def export(
        self,
        tracked: TrackedLabels,
        path: Any,
        size: PixelSize = NO_SIZE,
        overwrite: bool = False,
        files: Sequence[SizedFile] = (),
    ) -> None:
        """Export the current tracks; `saved` or `not_saved` follows.

        Parameters
        ----------
        tracked : TrackedLabels
            The tracks.
        path, overwrite
            See `export_tracks`.
        size : PixelSize
            Pixel size, and time between frames.
        files : sequence of SizedFile
            Without a pixel size, the first of them that states one gives it.
        """
        tracks, shown = tracked.tracks, tracked.shown
        tracked.exports += 1

        def end(signal: Any, text: str) -> None:
            tracked.exports -= 1
            signal.emit(text)

        def save() -> None:
            from napari_mobilesam.tracking.track_formats import (
                export_tracks,
                track_format,
            )

            try:
                # masks as shown, tables with the original labels
                masks = track_format(path) in ('ctc', 'labels', 'trackmate')
                export_tracks(
                    shown if masks else tracks,
                    path,
                    tracked.pixels if masks else None,
                    overwrite=overwrite,
                    **_with_stated_size(size, files)._asdict(),
                )
            except Exception as error:  # noqa: BLE001 - told to the user
                text = explain(error)
                self._deliver(lambda: end(self.not_saved, text))
                return
            self._deliver(lambda: end(self.saved, f'Saved: {path}'))

        self._worker.keep(save)

    def _finish(self, layer: Any, labels: Any, result: TrackResult) -> None:
        if self.scene is None:
            self._newest = TrackedLabels('labels', labels, result)
        else:
            self._newest = self.scene.show(layer, labels, result)
        self.finished.emit(self._newest)

    def _opened(self, name: str, labels: Any, result: TrackResult) -> None:
        layer = None if self.scene is None else self.scene.add(labels, name)
        self._finish(layer, labels, result)


def _with_stated_size(
    size: PixelSize, files: Sequence[SizedFile]
) -> PixelSize:
    """Return a pixel size, or the one that a file states if there is none."""
    if size.scale is not None:
        return size
    for stated in stated_sizes(files):
        found = PixelSize.of_axes(stated.scale, stated.units)
        if found.units is not None:
            return found._replace(interval=size.interval or found.interval)
    return size
