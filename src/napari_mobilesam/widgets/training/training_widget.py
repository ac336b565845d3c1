"""“Fine-tune on labels”: train a model on labelled objects."""

from __future__ import annotations

from functools import partial
from typing import Any

import napari.viewer
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
)

from napari_mobilesam.model.user_models import free_name
from napari_mobilesam.session.fine_tuning import FineTuning
from napari_mobilesam.session.fine_tuning_messages import (
    FineTuneRequest,
    FineTuneResult,
    Planes,
    Survey,
)
from napari_mobilesam.training.training_parameters import FineTuneConfig
from napari_mobilesam.types import ImageError, SegmentationError
from napari_mobilesam.widgets.parts.channel_combo import ChannelCombo
from napari_mobilesam.widgets.parts.controls import (
    ERROR_STYLE,
    LayerCombo,
    StatusLine,
    ViewerWidget,
    group_form,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.parts.curve_plot import CurvePlot
from napari_mobilesam.widgets.parts.model_box import ModelBox
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.training.labelled_planes import labelled_planes
from napari_mobilesam.widgets.viewer.layers import is_output
from napari_mobilesam.widgets.viewer.main_thread import MainThread

HINT = 'Run trains the model on the labelled objects.'
NO_IMAGE = 'There is no image: open one first.'
NO_LABELS = (
    'There is no labels layer: label some objects first, for instance with '
    'Segment by prompts.'
)
COUNT_AFTER = 300  # ms without an edit


class TrainingWidget(ViewerWidget):
    """Dock widget “Fine-tune on labels”.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.tuning = FineTuning(MainThread())
        # no bound method of ours, as for the session
        self.destroyed.connect(partial(_close, self.tuning))
        self._named = False
        self._used: tuple[Layer, ...] = ()
        self._note = ''
        self._minutes = 0.0
        self._loss = ''
        self._listened: Labels | None = None
        self._counting = False
        self._build()
        self.count_timer = QTimer(self)
        self.count_timer.setSingleShot(True)
        self.count_timer.setInterval(COUNT_AFTER)
        self.count_timer.timeout.connect(self._count)
        self.image_combo.layer_changed.connect(self._image_chosen)
        self.labels_combo.layer_changed.connect(self._labels_chosen)
        self.channel_combo.activated.connect(self._count)
        self.name_edit.textEdited.connect(self._name_edited)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.save_button.clicked.connect(self.save)
        self.attach()

    def _build(self) -> None:
        self.image_combo = LayerCombo(
            self.viewer, lambda layer: isinstance(layer, Image)
        )
        self.channel_combo = ChannelCombo()
        self.labels_combo = LayerCombo(self.viewer, is_output)
        self.model_box = ModelBox(self.session)
        self.count_label = QLabel()
        self.count_label.setWordWrap(True)
        defaults = FineTuneConfig()
        self.form = ParameterForm(defaults)
        self.budget_form = ParameterForm(defaults.config)
        self.name_edit = QLineEdit()
        self.plot = CurvePlot()
        self.run_button = wide_button('Run')
        self.cancel_button = wide_button('Cancel')
        self.cancel_button.setToolTip('Stop and keep the best model so far.')
        self.cancel_button.setEnabled(False)
        self.save_button = wide_button('Save')
        self.save_button.setToolTip('Save the trained model.')
        self.save_button.hide()
        self.status = StatusLine()
        self._arrange()

    def _arrange(self) -> None:
        data, rows = group_form('Labelled image')
        rows.addRow('Image', self.image_combo)
        rows.addRow(self.channel_combo.label, self.channel_combo)
        rows.addRow('Labels', self.labels_combo)
        rows.addRow(self.count_label)
        training, rows = group_form('Training')
        # the button of the model needs the width
        rows.addRow(QLabel('Start from'))
        rows.addRow(self.model_box)
        rows.addRow('New model', self.name_edit)
        rows.addRow(self.form)
        rows.addRow(self.budget_form)
        buttons = QHBoxLayout()
        for button in (self.run_button, self.cancel_button, self.save_button):
            buttons.addWidget(button)
        contents = QVBoxLayout()
        contents.addWidget(data)
        contents.addWidget(training)
        contents.addWidget(self.plot)
        contents.addStretch(1)
        scrollable(self, contents, self.status, buttons)

    def attach(self) -> None:
        """Connect to the viewer, the session and the training."""
        super().attach()
        self.follow_layers()
        self.listen(self.viewer.dims.events.order, self._edited)
        self.listen(self.viewer.dims.events.ndisplay, self._edited)
        self.listen(self.session.model_changed, self._model_changed)
        self.listen(self.session.downloaded, self._downloaded)
        self.listen(self.session.progress, self._download_progress)
        self.listen(self.session.failed, self._session_failed)
        self.listen(self.tuning.surveyed, self._surveyed)
        self.listen(self.tuning.uncountable, self._uncountable)
        self.listen(self.tuning.status, self._say)
        self.listen(self.tuning.progress, self._progress)
        self.listen(self.tuning.stepped, self._stepped)
        self.listen(self.tuning.validated, self._validated)
        self.listen(self.tuning.finished, self._finish)
        self.listen(self.tuning.failed, self._fail)
        self._end()
        self._layers_changed()
        self._active_changed()
        self._image_chosen(self.image_combo.layer)
        self._labels_chosen(self.labels_combo.layer)
        self.status.say(HINT if self.image_combo.layer else NO_IMAGE)

    def detach(self) -> None:
        """Stop the run and disconnect."""
        self.count_timer.stop()
        self._counting = False
        self.tuning.close()
        self._listen_to_labels(None)
        super().detach()

    @property
    def pending(self) -> bool:
        """Whether a count or a run is going on."""
        waiting = self.count_timer.isActive() or self._counting
        return bool(waiting or self.tuning.running)

    # what there is to learn from

    def _layers_changed(self, event: Any = None) -> None:
        self.image_combo.refresh()
        self.labels_combo.refresh()
        gone: Any = getattr(event, 'value', None)
        if (
            getattr(event, 'type', '') == 'removed'
            and self.tuning.running
            and any(gone is layer for layer in self._used)
        ):
            self._note = (
                f'“{gone.name}” was removed; training goes on with what was '
                'there. '
            )
            self._say(self._loss)

    def _active_changed(self, event: Any = None) -> None:
        active = self.viewer.layers.selection.active
        if isinstance(active, Image):
            self.image_combo.layer = active
        elif active is not None and is_output(active):
            self.labels_combo.layer = active

    def _image_chosen(self, image: Image | None) -> None:
        self.channel_combo.offer(image)
        self._count()

    def _labels_chosen(self, labels: Labels | None) -> None:
        self._listen_to_labels(labels)
        self._count()

    def _listen_to_labels(self, labels: Labels | None) -> None:
        before, self._listened = self._listened, labels
        for layer, act in ((before, self.deafen), (labels, self.listen)):
            if layer is None:
                continue
            for name in ('data', 'paint', 'labels_update'):
                if hasattr(layer.events, name):
                    act(getattr(layer.events, name), self._edited)

    def _edited(self, event: Any = None) -> None:
        self.count_timer.start()

    def _planes(self) -> Planes:
        image, labels = self.image_combo.layer, self.labels_combo.layer
        if image is None:
            raise ImageError(NO_IMAGE)
        if labels is None:
            raise ImageError(NO_LABELS)
        return labelled_planes(
            self.viewer, image, labels, self.channel_combo.axis
        )

    def _count(self, index: int = 0) -> None:
        if not self.attached:
            return
        try:
            planes = self._planes()
        except SegmentationError as error:
            self.tuning.forget_survey()
            self._counting = False
            self._show_count(str(error), ERROR_STYLE)
            return
        self._counting = True
        self.tuning.survey(planes)

    def _surveyed(self, found: Survey) -> None:
        self._counting = False
        self._show_count(found.text, '' if found.held_back else ERROR_STYLE)

    def _uncountable(self, text: str) -> None:
        self._counting = False
        self._show_count(text, ERROR_STYLE)

    def _show_count(self, text: str, style: str = '') -> None:
        self.count_label.setText(text)
        self.count_label.setStyleSheet(style)

    # model and name

    def _model_changed(self, record: Any = None) -> None:
        self.model_box.refresh()
        self._propose_name()

    def _downloaded(self, name: str) -> None:
        self.model_box.arrived(name)
        if not self.tuning.running:
            self.status.say(f'{name} has arrived. {HINT}')

    def _download_progress(self, whom: str, done: int, total: int) -> None:
        if whom == 'model' and not self.tuning.running:
            self.status.show_progress(done, total)

    def _session_failed(self, text: str, whom: str) -> None:
        if whom == 'model':
            self.model_box.fail()
            if not self.tuning.running:
                self.status.fail(text)

    def _propose_name(self) -> None:
        if not self._named:
            self.name_edit.setText(free_name(self.session.model_name))

    def _name_edited(self, text: str) -> None:
        self._named = bool(text)

    # training

    def run(self) -> None:
        """Fine-tune the chosen model on the chosen labels."""
        image, labels = self.image_combo.layer, self.labels_combo.layer
        try:
            request = FineTuneRequest(
                self._planes(),
                self.session.model_name,
                self.name_edit.text().strip(),
                self.budget_form.value.minutes,
                self.form.value.decoder_only,
                self.form.value.complete,
            )
            self.tuning.start(request)
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self._used = (image, labels)
        self._note, self._loss = '', ''
        self._minutes = request.minutes
        self.plot.start(request.minutes)
        self._begin()

    def save(self) -> None:
        """Save a trained model whose saving has failed."""
        try:
            self.tuning.save(self.name_edit.text().strip())
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self._begin()

    def cancel(self) -> None:
        """Stop after the current step and keep the best model so far."""
        self.tuning.cancel()
        self.cancel_button.setEnabled(False)
        self.status.say('Stopping; keeping the best model so far …', busy=True)

    def _begin(self) -> None:
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.save_button.hide()
        self.status.say('Starting …', busy=True)

    def _end(self) -> None:
        self._used = ()
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.save_button.setVisible(self.tuning.unsaved)
        self._propose_name()

    def _say(self, text: str) -> None:
        if self.cancel_button.isEnabled():
            self.status.say(self._note + text, busy=True)

    def _progress(self, done: int, total: int) -> None:
        self.status.show_progress(done, total)

    def _stepped(self, minutes: float, loss: float) -> None:
        self.plot.add_loss(minutes, loss)
        self._loss = f'{minutes:.1f} of {self._minutes:.3g} minutes.'
        self._say(f'Training, {self._loss}')

    def _validated(self, minutes: float, score: float) -> None:
        self.plot.add_iou(minutes, score)

    def _finish(self, result: FineTuneResult) -> None:
        self._named = False
        if result.path is not None:
            self.session.use_model(result.request.name)
        self.model_box.refresh()
        self._end()
        self.status.say(self._note + result.text)

    def _fail(self, text: str) -> None:
        self._end()
        if self.tuning.unsaved:
            text += ' Save tries again; the model is kept until the next run.'
        self.status.fail(text)


def _close(tuning: FineTuning, *args: object) -> None:
    tuning.close()
