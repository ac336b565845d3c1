"""A run of fine-tuning: start, progress, curves, result."""

from __future__ import annotations

from dataclasses import replace

from napari.layers import Layer

from napari_mobilesam.model.user_models import free_name
from napari_mobilesam.session.fine_tuning import FineTuning
from napari_mobilesam.session.fine_tuning_messages import (
    FineTuneRequest,
    FineTuneResult,
)
from napari_mobilesam.widgets.parts.keys import focus_canvas
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.training.labelled_objects import LabelledObjects
from napari_mobilesam.widgets.training.training_panel import TrainingPanel
from napari_mobilesam.widgets.viewer.running_task import RunningTask


class TrainingControl:
    """Start training, and show its progress.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides the session, which uses the new model.
    panel : TrainingPanel
        Budget, curves, buttons and status line.
    objects : LabelledObjects
        Objects to train on.
    tuning : FineTuning
        Fine-tuning in the background.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: TrainingPanel,
        objects: LabelledObjects,
        tuning: FineTuning,
    ) -> None:
        self._dock = dock
        self._session = dock.session
        self._panel = panel
        self._objects = objects
        self._tuning = tuning
        self._named = False
        self._used: tuple[Layer | None, ...] = ()
        self._note = ''
        self._minutes = 0.0
        self._loss = ''
        self._task = RunningTask(dock.viewer)
        panel.name_edit.textEdited.connect(self._name_edited)
        panel.run_button.clicked.connect(self.start)
        panel.cancel_button.clicked.connect(self.cancel)
        panel.save_button.clicked.connect(self.save)

    def attach(self) -> None:
        """Follow the training until the dock closes."""
        tuning = self._tuning
        self._dock.listen_all(
            (tuning.status, self._say),
            (tuning.progress, self._panel.status.show_progress),
            (tuning.stepped, self._stepped),
            (tuning.validated, self._panel.plot.add_iou),
            (tuning.finished, self._finish),
            (tuning.failed, self._fail),
        )
        self._end()

    def start(self) -> None:
        """Fine-tune the chosen model on the chosen labels."""
        panel = self._panel
        with panel.status.errors():
            budget = panel.budget_form.value
            request = FineTuneRequest(
                self._objects.planes,
                self._session.model_name,
                panel.name_edit.text().strip(),
                replace(panel.form.value, config=budget),
            )
            self._tuning.start(request)
            # Run is disabled then, and a choice below would get the focus:
            # arrow keys would change it instead of moving the sliders
            focus_canvas(self._dock)
            self._used = (
                self._panel.header.image_combo.layer,
                panel.labels_combo.layer,
            )
            self._note, self._loss = '', ''
            self._minutes = budget.minutes
            panel.plot.start(budget.minutes)
            self._begin()

    def save(self) -> None:
        """Save a trained model that could not be saved."""
        with self._panel.status.errors():
            self._tuning.save(self._panel.name_edit.text().strip())
            self._begin()

    def cancel(self) -> None:
        """Stop after the current step and keep the best model so far."""
        self._tuning.cancel()
        self._panel.cancel_button.setEnabled(False)
        # there is none before the first step
        best = '; keeping the best model so far' if self._loss else ''
        self._panel.status.say(f'Stopping{best} …', busy=True)

    def layer_removed(self, gone: Layer) -> None:
        """Report that training continues without a removed layer."""
        if self._tuning.running and any(gone is x for x in self._used):
            self._note = (
                f'“{gone.name}” was removed; training continues with what it '
                'has read. '
            )
            self._say(self._loss)

    def propose_name(self) -> None:
        """Show an unused name for the new model, unless one was typed."""
        if not self._named:
            name = free_name(self._session.model_name)
            self._panel.name_edit.setText(name)

    def _name_edited(self, text: str) -> None:
        self._named = bool(text)

    def _begin(self) -> None:
        self._panel.show_running(True)
        self._task.begin(
            'Fine-tune; the new model is lost if the window is closed.'
        )
        self._panel.save_button.hide()
        self._panel.status.say('Starting …', busy=True)

    def _end(self) -> None:
        self._used = ()
        self._task.done()
        self._panel.show_running(False)
        self._panel.save_button.setVisible(self._tuning.unsaved)
        self.propose_name()

    def _say(self, text: str) -> None:
        if self._panel.cancel_button.isEnabled():
            self._panel.status.say(self._note + text, busy=True)

    def _stepped(self, minutes: float, loss: float) -> None:
        self._panel.plot.add_loss(minutes, loss)
        self._loss = f'{minutes:.1f} of {self._minutes:.3g} minutes.'
        self._say(f'Training, {self._loss}')

    def _finish(self, result: FineTuneResult) -> None:
        self._named = False
        if result.path is not None:
            self._session.models.use(result.request.name)
        self._end()
        self._panel.status.say(self._note + result.text)

    def _fail(self, text: str) -> None:
        self._end()
        if self._tuning.unsaved:
            text += ' Save tries again; the model is kept until the next run.'
        self._panel.status.fail(text)
