"""Objects to train on, counted again after each edit of the labels."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels

from napari_mobilesam.session.fine_tuning import FineTuning
from napari_mobilesam.session.fine_tuning_messages import Planes, Survey
from napari_mobilesam.types import ImageError, SegmentationError
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.training.labelled_planes import labelled_planes
from napari_mobilesam.widgets.training.training_panel import TrainingPanel
from napari_mobilesam.widgets.viewer.track_layers import NO_LABELS

COUNT_AFTER_MS = 300  # without an edit


class LabelledObjects:
    """The chosen labels, and the number of their objects.

    Parameters
    ----------
    dock : ViewerWidget
        Form that listens to the labels while docked.
    panel : TrainingPanel
        Choice of the labels, and the count.
    tuning : FineTuning
        Fine-tuning, which counts in the background.
    """

    def __init__(
        self, dock: ViewerWidget, panel: TrainingPanel, tuning: FineTuning
    ) -> None:
        self._dock = dock
        self._panel = panel
        self._tuning = tuning
        self._counting = False
        # True if the layers could not be read, for example off their planes
        self._unread = False
        self._listened: Labels | None = None
        self.count_later = DelayedCall(self.count, COUNT_AFTER_MS, dock)
        panel.labels_combo.layer_changed.connect(self.choose)

    @property
    def pending(self) -> bool:
        """True while objects remain to be counted."""
        return self.count_later.pending or self._counting

    @property
    def planes(self) -> Planes:
        """Planes of the image with their labels.

        Raises
        ------
        ImageError
            Image or labels are missing, or do not match.
        """
        plane = self._panel.header.plane
        labels = self._panel.labels_combo.layer
        if labels is None:
            raise ImageError(NO_LABELS)
        return labelled_planes(plane, labels)

    def attach(self) -> None:
        """Follow the displayed axes and the counts until the dock closes."""
        dims = self._dock.viewer.dims
        for event in (dims.events.order, dims.events.ndisplay):
            self._dock.listen(event, self.count_later.restart)
        self._dock.listen(dims.events.current_step, self._moved)
        self._dock.listen(self._tuning.surveyed, self._counted)
        self._dock.listen(self._tuning.uncountable, self._not_counted)
        self.choose(self._panel.labels_combo.layer)

    def detach(self) -> None:
        """Stop counting."""
        self.count_later.cancel()
        self._counting = False
        self._listen(None)

    def choose(self, labels: Labels | None) -> None:
        """Follow the edits of a labels layer."""
        if self._dock.attached:
            self._listen(labels)
            self.count()

    def _listen(self, labels: Labels | None) -> None:
        before, self._listened = self._listened, labels
        edits = ('data', 'paint', 'labels_update')
        callbacks = dict.fromkeys(edits, self.count_later.restart)
        self._dock.listen_instead(before, labels, callbacks)

    def _moved(self, event: Any = None) -> None:
        if self._unread:
            self.count_later.restart()

    def count(self, image: Any = None) -> None:
        """Count the objects in the background."""
        if not self._dock.attached:
            return
        try:
            planes = self.planes
        except SegmentationError as error:
            self._unread = True
            self._tuning.forget_survey()
            self._not_counted(str(error))
            return
        self._unread = False
        self._counting = True
        self._tuning.survey(planes)

    def _counted(self, found: Survey) -> None:
        self._counting = False
        self._panel.show_count(found.text, failed=not found.held_back)

    def _not_counted(self, text: str) -> None:
        self._counting = False
        self._panel.show_count(text, failed=True)
