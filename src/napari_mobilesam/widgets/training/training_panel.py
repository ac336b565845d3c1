"""Controls of “Fine-tune on labels”, without behaviour."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtWidgets import QLineEdit, QWidget

from napari_mobilesam.training.training_parameters import FineTuneConfig
from napari_mobilesam.widgets.parts.controls import (
    explain_rows,
    form_layout,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.parts.curve_plot import CurvePlot
from napari_mobilesam.widgets.parts.image_header import ImageHeader
from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.parts.layouts import column, row
from napari_mobilesam.widgets.parts.message_label import MessageLabel
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.viewer.layers import is_output

ROW_TIPS = {
    'Labels': 'Labelled objects to train on.',
    'New model': 'Name under which the new model is saved.',
}


class TrainingPanel(QWidget):
    """Layout of labels, budget, curves and status line.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    header : ImageHeader
        Choices of image, channels and model, above the tabs.
    """

    def __init__(self, viewer: ViewerModel, header: ImageHeader) -> None:
        super().__init__()
        self.header = header
        self.labels_combo = LayerCombo(viewer, is_output)
        self.count_label = MessageLabel()
        defaults = FineTuneConfig()
        self.form = ParameterForm(defaults)
        self.budget_form = ParameterForm(defaults.config)
        self.name_edit = QLineEdit()
        self.plot = CurvePlot()
        self.run_button = wide_button('Run')
        self.cancel_button = wide_button('Cancel')
        self.cancel_button.setToolTip('Stop, and keep the best model so far.')
        self.cancel_button.setEnabled(False)
        self.save_button = wide_button('Save')
        self.save_button.setToolTip('Save the trained model.')
        self.save_button.hide()
        self.status = StatusLine()
        self._arrange()

    def _arrange(self) -> None:
        rows = form_layout()
        rows.addRow('Labels', self.labels_combo)
        rows.addRow(self.count_label)
        rows.addRow('New model', self.name_edit)
        explain_rows(rows, ROW_TIPS)
        buttons = (self.run_button, self.cancel_button, self.save_button)
        top = column(rows, self.budget_form, row(*buttons, spacing=4))
        contents = column(self.plot, self.form)
        contents.addStretch(1)
        scrollable(self, contents, self.status, top)

    def show_count(self, text: str, failed: bool = False) -> None:
        """Show the number of objects, or why they cannot be counted."""
        self.count_label.show_message(text, failed)

    def show_running(self, running: bool) -> None:
        """Enable *Run* or *Cancel*."""
        self.run_button.setEnabled(not running)
        self.cancel_button.setEnabled(running)
