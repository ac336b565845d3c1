"""Choice of examples for *Find similar*."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QWidget

from napari_mobilesam.widgets.parts.controls import (
    explain_rows,
    form_layout,
    narrow,
    wide_button,
)
from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.viewer.layers import is_output

ALL, SELECTED = 'all labels of the plane', 'the selected label'
ROW_TIPS = {
    'Labels': 'Layer with the examples; the objects found are added to it.',
    'Examples': 'Objects that serve as examples.',
}


class SimilarPanel(QWidget):
    """Choice of labels and examples, and the button.

    Attributes
    ----------
    asked : Signal
        The button was pressed.
    """

    asked = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.labels_combo = LayerCombo(viewer, is_output)
        self.labels_combo.setToolTip(
            'Labels with the examples; the objects found are added to them.'
        )
        self.which_combo = narrow(QComboBox())
        self.which_combo.addItems([ALL, SELECTED])
        self.button = wide_button('Find similar')
        self.button.setToolTip(
            'Find what looks like the examples and is about as large.\nThe '
            'filters then set how similar an object has to be.'
        )
        form = form_layout(self)
        form.addRow('Labels', self.labels_combo)
        form.addRow('Examples', self.which_combo)
        explain_rows(form, ROW_TIPS)
        form.addRow(self.button)
        self.button.clicked.connect(self.asked)

    @property
    def examples(self) -> list[int] | None:
        """Labels that are examples; None for all of them."""
        labels = self.labels_combo.layer
        if labels is None or self.which_combo.currentText() == ALL:
            return None
        return [int(labels.selected_label)]
