"""Layout of “Segment everything”."""

from __future__ import annotations

from napari.layers import Image
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets.everything.filter_panel import FilterPanel
from napari_mobilesam.widgets.everything.large_panel import LargePanel
from napari_mobilesam.widgets.everything.review_panel import ReviewPanel
from napari_mobilesam.widgets.everything.tools_panel import ToolsPanel
from napari_mobilesam.widgets.everything.where_form import WhereForm
from napari_mobilesam.widgets.parts.channel_combo import ChannelCombo
from napari_mobilesam.widgets.parts.controls import (
    CollapsibleSection,
    LayerCombo,
    StatusLine,
    ViewerWidget,
    group_form,
    narrow,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.parts.model_box import ModelBox
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.viewer.layers import is_output

INSTANCES, FOREGROUND, OUTLINES = (
    'one label per object',
    'one label for all',
    'outlines, as shapes',
)


class EverythingPanel(ViewerWidget):
    """Controls of the form, without behaviour."""

    def _build(self) -> None:
        self.image_combo = LayerCombo(
            self.viewer, lambda layer: isinstance(layer, Image)
        )
        self.channel_combo = ChannelCombo()
        self.model_box = ModelBox(self.session)
        self.where = WhereForm(self.viewer)
        self.form = ParameterForm(EverythingParameters())
        self.kind_combo = QComboBox()
        narrow(self.kind_combo)
        self.kind_combo.addItems([INSTANCES, FOREGROUND, OUTLINES])
        self.labels_combo = LayerCombo(
            self.viewer, is_output, 'a new layer for each run'
        )
        self.leave_box = QCheckBox('Skip labelled pixels')
        self.leave_box.setChecked(True)
        self.leave_box.setToolTip(
            'Labelled pixels are neither searched nor overwritten.'
        )
        self.estimate_label = QLabel()
        self.estimate_label.setToolTip(
            'Estimated from runs on this computer. Memory is that of napari.'
        )
        self.run_button = wide_button('Run')
        self.cancel_button = wide_button('Cancel')
        self.cancel_button.setToolTip('Stop and keep the objects found.')
        self.cancel_button.setEnabled(False)
        self.large = LargePanel()
        self.filters = FilterPanel()
        self.review = ReviewPanel()
        self.more = ToolsPanel(self.viewer)
        self.status = StatusLine()
        self._arrange()
        self.kind_combo.currentIndexChanged.connect(self.show_output_rows)
        self.labels_combo.layer_changed.connect(self.show_output_rows)
        self.show_output_rows()
        self.show_results(False)
        self.show_large(False)

    def _arrange(self) -> None:
        image, rows = group_form('Image')
        # the button of the model needs the width
        rows.setContentsMargins(4, 8, 4, 8)
        rows.addRow('Image', self.image_combo)
        rows.addRow(self.channel_combo.label, self.channel_combo)
        rows.addRow('Model', self.model_box)
        rows.addRow(self.where)
        self.result_group, rows = group_form('Result')
        rows.addRow('Output', self.kind_combo)
        self._labels_label = QLabel('Labels')
        rows.addRow(self._labels_label, self.labels_combo)
        rows.addRow(self.leave_box)
        self.filter_group = _group('Filter results', self.filters)
        self.review_group = _group('Review', self.review)

        contents = QVBoxLayout()
        for part in (
            image,
            _group('Parameters', self.form),
            self.result_group,
            self.large,
            self.filter_group,
            self.review_group,
            CollapsibleSection('Edges, proposals, boxes', self.more),
        ):
            contents.addWidget(part)
        contents.addStretch(1)
        run = QHBoxLayout()
        run.addWidget(self.run_button)
        run.addWidget(self.cancel_button)
        bottom = QVBoxLayout()
        bottom.setSpacing(4)
        bottom.addWidget(self.estimate_label)
        bottom.addLayout(run)
        scrollable(self, contents, self.status, bottom)
        contents.setContentsMargins(4, 8, 4, 0)

    @property
    def outlines(self) -> bool:
        """Whether the output is a Shapes layer."""
        return bool(self.kind_combo.currentText() == OUTLINES)

    def show_output_rows(self) -> None:
        """Show the choice of a labels layer only for labels."""
        for part in (self._labels_label, self.labels_combo):
            part.setVisible(not self.outlines)
        self.leave_box.setVisible(
            not self.outlines and self.labels_combo.layer is not None
        )

    def show_large(self, large: bool) -> None:
        """Show the folder of a large image instead of the output layer."""
        self.large.setVisible(large)
        self.result_group.setVisible(not large)

    def show_results(self, there: bool, reviewable: bool = False) -> None:
        """Show the filters and the review."""
        self.filter_group.setVisible(there)
        self.review_group.setVisible(there and reviewable)


def _group(title: str, contents: QWidget) -> QGroupBox:
    group = QGroupBox(title)
    layout = QVBoxLayout(group)
    layout.setContentsMargins(8, 8, 8, 8)
    layout.addWidget(contents)
    return group
