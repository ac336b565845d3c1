"""Form “Fine-tune on labels”: connects the parts of the form."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel

from napari_mobilesam.session.fine_tuning import FineTuning
from napari_mobilesam.widgets.parts.controls import fill
from napari_mobilesam.widgets.parts.image_header import NO_IMAGE, ImageHeader
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.training.labelled_objects import LabelledObjects
from napari_mobilesam.widgets.training.training_control import TrainingControl
from napari_mobilesam.widgets.training.training_panel import TrainingPanel
from napari_mobilesam.widgets.viewer.layers import is_output
from napari_mobilesam.widgets.viewer.main_thread import MainThread

HINT = 'Run trains the model on the labelled objects.'


class TrainingWidget(ViewerWidget):
    """Form “Fine-tune on labels”.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    header : ImageHeader
        Choices of image, channels and model.

    Attributes
    ----------
    panel : TrainingPanel
        Other controls.
    status : StatusLine
        Status line of the panel.
    tuning : FineTuning
        Training in the background.
    objects : LabelledObjects
        Labels to train on.
    training : TrainingControl
        The run.
    """

    def __init__(self, viewer: ViewerModel, header: ImageHeader) -> None:
        super().__init__(viewer)
        self.tuning = FineTuning(MainThread())
        self.close_with_dock(self.tuning)
        self.header = header
        self.panel = panel = TrainingPanel(self.viewer, header)
        self.status = panel.status
        fill(self, panel)
        self.objects = LabelledObjects(self, panel, self.tuning)
        self.training = TrainingControl(self, panel, self.objects, self.tuning)
        self.header.image_combo.layer_changed.connect(self.objects.count)
        self.header.channel_combo.changed.connect(self.objects.count)
        self.attach()

    def attach(self) -> None:
        """Connect to the viewer, the session and the training."""
        super().attach()
        self.follow_layers(self._layers_changed, self._active_changed)
        session = self.session
        self.listen_all(
            (session.model_changed, self.training.propose_name),
            (session.downloaded, self._downloaded),
            (session.progress, self._download_progress),
            (session.failed, self._session_failed),
        )
        self.training.attach()
        self.listen(self.scene.labels_changed, self._labels_changed)
        self._layers_changed()
        self._labels_changed()
        self._active_changed()
        self.objects.attach()
        self.status.say(HINT if self.header.image_combo.layer else NO_IMAGE)

    def detach(self) -> None:
        """Stop the run and disconnect."""
        self.tuning.close()
        self.objects.detach()
        super().detach()

    @property
    def pending(self) -> bool:
        """True while a count or a run is in progress."""
        return self.objects.pending or self.tuning.running

    def _layers_changed(self, event: Any = None) -> None:
        self.header.refresh()
        self.panel.labels_combo.refresh()
        gone = getattr(event, 'value', None)
        if getattr(event, 'type', '') == 'removed' and gone is not None:
            self.training.layer_removed(gone)

    def _active_changed(self, event: Any = None) -> None:
        active = self.viewer.layers.selection.active
        if active is not None and is_output(active):
            self.panel.labels_combo.layer = active

    def _labels_changed(self) -> None:
        """Choose the labels that objects are written to."""
        labels = self.scene.labels
        if labels is not None and labels in self.viewer.layers:
            self.panel.labels_combo.layer = labels

    def _downloaded(self, name: str) -> None:
        if not self.tuning.running:
            self.status.say(f'{name} is downloaded. {HINT}')

    def _download_progress(self, topic: str, done: int, total: int) -> None:
        if topic == 'model' and not self.tuning.running:
            self.status.show_progress(done, total)

    def _session_failed(self, text: str, topic: str) -> None:
        if topic == 'model' and not self.tuning.running:
            self.status.fail(text)
