"""Controls of “Segment everything”, without behaviour."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QWidget

from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets.everything.class_panel import ClassPanel
from napari_mobilesam.widgets.everything.filter_panel import FilterPanel
from napari_mobilesam.widgets.everything.large_panel import LargePanel
from napari_mobilesam.widgets.everything.review_panel import ReviewPanel
from napari_mobilesam.widgets.everything.similar_panel import SimilarPanel
from napari_mobilesam.widgets.everything.text_panel import TextPanel
from napari_mobilesam.widgets.everything.tools_panel import ToolsPanel
from napari_mobilesam.widgets.everything.where_form import WhereForm
from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.controls import (
    explain_rows,
    form_layout,
    narrow,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.parts.image_header import ImageHeader
from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.parts.layouts import column, row
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.viewer.layers import is_output

INSTANCES, FOREGROUND, OUTLINES = (
    'one label per object',
    'one label for all',
    'outlines, as shapes',
)
ROW_TIPS = {
    'Output': 'Type of result: labels, outlines, …',
    'Labels': 'Layer to which objects are written.',
}


class EverythingPanel(QWidget):
    """Layout of parameters, output, filters, review and status line.

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
        self.where = WhereForm(viewer)
        self.form = ParameterForm(EverythingParameters(), first=('diameter',))
        self.kind_combo = narrow(QComboBox())
        self.kind_combo.addItems([INSTANCES, FOREGROUND, OUTLINES])
        self.labels_combo = LayerCombo(
            viewer, is_output, 'a new layer for each run'
        )
        self.leave_box = QCheckBox('Skip labelled pixels')
        self.leave_box.setChecked(True)
        self.leave_box.setToolTip(
            'Labelled pixels are neither searched nor overwritten.'
        )
        self.estimate_label = QLabel()
        # the estimate for a large image is wider than the dock
        self.estimate_label.setWordWrap(True)
        self.estimate_label.setToolTip(
            'Estimated from runs on this computer. Memory is that of napari '
            'as a whole.'
        )
        self.run_button = wide_button('Run')
        self.cancel_button = wide_button('Cancel')
        self.cancel_button.setToolTip(
            'Stop, and keep the objects found so far.'
        )
        self.cancel_button.setEnabled(False)
        self.large = LargePanel()
        self.filters = FilterPanel()
        self.review = ReviewPanel()
        self.similar = SimilarPanel(viewer)
        self.words = TextPanel()
        self.classes = ClassPanel(viewer)
        self.more = ToolsPanel(viewer)
        self.status = StatusLine()
        self._arrange()
        self.kind_combo.currentIndexChanged.connect(self.show_output_rows)
        self.labels_combo.layer_changed.connect(self.show_output_rows)
        self.show_output_rows()
        self.show_results(False)
        self.show_large(False)

    def _arrange(self) -> None:
        top = column(
            self.where,
            self.form.first_rows,
            self.estimate_label,
            row(self.run_button, self.cancel_button, spacing=4),
        )

        output = form_layout()
        output.addRow('Output', self.kind_combo)
        self._labels_label = QLabel('Labels')
        output.addRow(self._labels_label, self.labels_combo)
        explain_rows(output, ROW_TIPS)
        output.addRow(self.leave_box)
        self.result_group = CollapsibleSection('Output', output)
        self.filter_group = CollapsibleSection(
            'Filter results', self.filters, expanded=True
        )
        self.review_group = CollapsibleSection(
            'Review', self.review, expanded=True
        )
        self.words_group = CollapsibleSection('Find by text', self.words)
        contents = column(
            self.review_group,
            self.filter_group,
            self.large,
            self.form,
            self.result_group,
            CollapsibleSection('Find similar', self.similar),
            self.words_group,
            CollapsibleSection('Propose classes', self.classes),
            CollapsibleSection('Edges, proposals, boxes', self.more),
        )
        contents.addStretch(1)
        self._area = scrollable(self, contents, self.status, top)

    @property
    def outlines(self) -> bool:
        """True if the output is a Shapes layer."""
        return bool(self.kind_combo.currentText() == OUTLINES)

    def show_output_rows(self) -> None:
        """Show the choice of labels layer only for label output."""
        for part in (self._labels_label, self.labels_combo):
            part.setVisible(not self.outlines)
        self.leave_box.setVisible(
            not self.outlines and self.labels_combo.layer is not None
        )

    def show_large(self, large: bool) -> None:
        """Show the folder for a large image instead of the output layer."""
        self.large.setVisible(large)
        self.result_group.setVisible(not large)

    def show_running(self, running: bool) -> None:
        """Enable *Run* and the tools, or *Cancel*."""
        for button in (
            self.run_button,
            self.similar.button,
            self.words.button,
            self.classes.button,
            *self.more.buttons,
        ):
            button.setEnabled(not running)
        self.cancel_button.setEnabled(running)

    def say_progress(self, done: int, total: int, message: str) -> None:
        """Show the progress of a job, unless *Cancel* was pressed."""
        if self.cancel_button.isEnabled():
            self.status.say(message, busy=True)
            self.status.show_progress(done, total)

    def show_results(self, there: bool, reviewable: bool = False) -> None:
        """Show the filters and the review, and bring them into view."""
        self.filter_group.setVisible(there)
        self.review_group.setVisible(there and reviewable)
        if there:
            bar = self._area.verticalScrollBar()
            assert bar is not None
            bar.setValue(0)
