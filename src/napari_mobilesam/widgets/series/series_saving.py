"""Saving the labels of the open image of a series on every change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
from napari.layers import Labels

from napari_mobilesam.series.series_images import ImageArray
from napari_mobilesam.session.files.record_json import RecordEncoder
from napari_mobilesam.session.files.saving import LoadedSession, Snapshot, save
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.series.labels_saving import SaveRequest
from napari_mobilesam.session.series.series_jobs import ReadImage
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.series.series_tracks import SeriesTracks
from napari_mobilesam.widgets.viewer.brush_history import (
    REPLAYED,
    replayed_event,
)
from napari_mobilesam.widgets.viewer.layers import rows_by_label

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.series.series import Series

# Labels with more bytes are saved after a pause, as copying them takes time.
AT_ONCE = 1 << 25
PAUSE_MS = 500
EVENTS = ('paint', 'data', 'features', 'labels_update', REPLAYED)


class SeriesSaving:
    """Save labels after each change of the layer or of its objects.

    Parameters
    ----------
    dock : ViewerWidget
        Gives viewer and session.

    Attributes
    ----------
    changes : int
        Number of changes of labels so far.
    """

    def __init__(self, dock: ViewerWidget) -> None:
        self._dock = dock
        self._scene = dock.scene
        self.changes = 0
        self._number = -1
        self._labels: Labels | None = None
        self._objects: Objects | None = None
        self._image: ImageArray | None = None
        self._changed = False
        self._series: Series | None = None
        # whether the records of the objects are the ones to keep
        self._records_known = True
        # objects of series layers whose records are all in memory
        self._complete: WeakSet[Objects] = WeakSet()
        # whether there is a label image, or was one to be saved
        self._labelled = False
        self._encoder = RecordEncoder(dock.scene)
        self._save_later = DelayedCall(self._save, PAUSE_MS, dock)
        self._tracks = SeriesTracks(dock, lambda: self.changes)

    def attach(self) -> None:
        """Listen for layers removed by hand, and for tracks."""
        self._tracks.attach()
        self._dock.listen(
            self._dock.viewer.layers.events.removing, self._removing
        )

    def detach(self) -> None:
        """Stop saving."""
        self.forget()

    def follow(self, found: ReadImage, labels: Labels) -> None:
        """Save the labels of an image, and their tracks, from now on."""
        self._number, self._labels = found.number, labels
        self._image = found.image
        self._series = self._dock.session.series.required
        self._objects = self._scene.objects_of(labels)
        self._changed = False
        if found.complete:
            self._complete.add(self._objects)
        # those of kept layers are in memory
        self._records_known = self._objects in self._complete
        self._labelled = self._series[found.number].labelled
        self._encoder = RecordEncoder(self._scene)
        replayed_event(labels)
        for name in EVENTS:
            getattr(labels.events, name).connect(self._touched)
        self._objects.changed.connect(self._touched)
        self._objects.forgotten.connect(self.wait_for_records)
        self._tracks.follow(found.number, labels)

    def wait_for_records(self) -> None:
        """Leave the file of prompts unchanged until all records are here."""
        self._records_known = False
        if self._objects is not None:
            self._complete.discard(self._objects)

    def take_records(self, loaded: LoadedSession) -> None:
        """Add the records that were read to the objects of the labels."""
        labels, objects = self._labels, self._objects
        if labels is None or objects is None:
            return
        self._records_known = True
        self._complete.add(objects)
        used = set(np.unique(np.asarray(labels.data)).tolist())
        known = {
            record.number: record
            for record, _ in loaded.records
            if record.label in used and record.number not in objects
        }
        objects.changed.disconnect(self._touched)
        try:
            objects.put_records(known)
            objects.changed.emit()
        finally:
            objects.changed.connect(self._touched)

    def forget(self) -> None:
        """Stop saving the labels of the image."""
        self._save_later.cancel()
        self._tracks.forget()
        if self._labels is not None:
            for name in EVENTS:
                getattr(self._labels.events, name).disconnect(self._touched)
        if self._objects is not None:
            self._objects.changed.disconnect(self._touched)
            self._objects.forgotten.disconnect(self.wait_for_records)
        self._number, self._labels = -1, None
        self._objects = self._image = self._series = None
        self._changed = False

    def leave(self) -> None:
        """Save all changes now."""
        self._tracks.leave()
        if self._changed:
            self._save()

    def put(self, found: SaveRequest) -> None:
        """Write found labels to the layer, as one step.

        Raises
        ------
        SegmentationError
            The layer cannot be written to.
        """
        labels, objects = self._labels, self._objects
        if labels is None or objects is None:
            return
        before = np.asarray(labels.data)
        if before.shape != found.labels.shape:
            raise SegmentationError('The shape of the labels has changed.')
        objects.target.check()
        # finding nothing is a result, too
        self._labelled = True
        values = found.labels
        if values.max(initial=0) > np.iinfo(before.dtype).max:
            labels.data = np.zeros(before.shape, values.dtype)
        with objects.step('segmenting everything') as step:
            step.put_pixels(values)
            if found.table is not None:
                rows = found.table.rename(columns={'label': 'index'})
                step.describe(set(rows['index'].tolist()), rows)

    def _touched(self, event: Any = None) -> None:
        self._changed = True
        self.changes += 1
        labels = self._labels
        if labels is None:
            return
        if np.asarray(labels.data).nbytes <= AT_ONCE:
            self._save()
        else:
            self._save_later.restart()

    def _save(self) -> None:
        self._save_later.cancel()
        labels, image = self._labels, self._image
        if labels is None or image is None:
            return
        if self._dock.session.series.series is not self._series:
            # the number now belongs to another image
            return
        self._changed = False
        if not self._labelled and not np.any(labels.data):
            # a file without objects would be taken for labels
            return
        self._labelled = True
        self._dock.session.series.save(
            SaveRequest(
                self._number,
                np.array(labels.data),
                _table(labels),
                image,
                self._session_writer(),
            )
        )

    def _session_writer(self) -> Callable[[Path], None] | None:
        """Return a writer for the objects' prompts; None to keep them."""
        objects, encoder = self._objects, self._encoder
        if objects is None or not self._records_known:
            return None
        if not len(objects):
            return lambda path: path.unlink(missing_ok=True)
        parameters = self._dock.session.files.parameters()
        snapshot = Snapshot.of(objects, parameters)
        return lambda path: save(path, snapshot, encoder)

    def _removing(self, event: Any) -> None:
        """Save labels before they are removed."""
        if self._labels is None or not self._changed:
            return
        layers = self._dock.viewer.layers
        index = getattr(event, 'index', None)
        if index is not None and layers[index] is self._labels:
            self._save()


def _table(labels: Labels) -> pd.DataFrame | None:
    """Return the feature table, with the labels in a column ``label``."""
    if not len(labels.features):
        return None
    table = rows_by_label(labels.features)
    known = table[table['index'].notna()].drop(
        columns='label', errors='ignore'
    )
    return known.rename(columns={'index': 'label'}).astype({'label': 'int64'})
