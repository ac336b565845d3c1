"""A text field, and the choice of a detector."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QLineEdit, QWidget

from napari_mobilesam.widgets.parts.controls import (
    explain_rows,
    form_layout,
    narrow,
    wide_button,
)
from napari_mobilesam.widgets.parts.message_label import MessageLabel

# as in `model.text_detectors`, which imports torch
FIND, DOWNLOAD = 'Find objects', 'Download …'
ROW_TIPS = {
    'Text': 'What to find.',
    'Detector': 'Model that finds boxes for the text.',
}


class TextPanel(QWidget):
    """Text field, choice of a detector, and button.

    Attributes
    ----------
    asked : Signal
        Emitted to search for the text, or to download the detector.
    chosen : Signal(str)
        Emitted when another detector is chosen.
    """

    asked = Signal()
    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.text_edit = QLineEdit()
        self.text_edit.setPlaceholderText('such as: coin')
        self.text_edit.setToolTip(
            'What to find; several things are separated by dots.'
        )
        self.detector_combo = narrow(QComboBox())
        self.button = wide_button(FIND)
        self.note = MessageLabel()
        form = form_layout(self)
        form.addRow('Text', self.text_edit)
        form.addRow('Detector', self.detector_combo)
        explain_rows(form, ROW_TIPS)
        form.addRow(self.note)
        form.addRow(self.button)
        self.button.clicked.connect(self.asked)
        self.text_edit.returnPressed.connect(self.button.click)
        self.detector_combo.currentTextChanged.connect(self.chosen)

    def offer(self, names: list[str]) -> None:
        """Offer detectors, keeping the chosen one."""
        before = self.detector
        self.detector_combo.blockSignals(True)
        self.detector_combo.clear()
        self.detector_combo.addItems(names)
        if before in names:
            self.detector_combo.setCurrentText(before)
        self.detector_combo.blockSignals(False)
        self.chosen.emit(self.detector)

    @property
    def text(self) -> str:
        """The text."""
        return self.text_edit.text().strip()

    @property
    def detector(self) -> str:
        """Name of the chosen detector."""
        return self.detector_combo.currentText()

    def show_state(self, note: str, ready: bool) -> None:
        """Show the state of the detector, and what the button does."""
        self.note.setText(note)
        self.button.setText(FIND if ready else DOWNLOAD)
