"""A form built from the parameters of segment everything."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_mobilesam.types import EverythingParameters, ModelRecord
from napari_mobilesam.widgets.parts.controls import form_layout
from napari_mobilesam.widgets.parts.fold import Fold


class Field(NamedTuple):
    """How a parameter is shown."""

    label: str
    tip: str
    low: float
    high: float
    step: float = 1.0
    advanced: bool = False


# shown, but not used, while a parameter is automatic
TYPICAL = {'diameter': 30.0, 'predicted_iou': 0.88, 'stability': 0.95}
AUTOMATIC = {
    'diameter': 'A quick look at the image decides.',
    'predicted_iou': "The value that suits the model's scores.",
    'stability': "The value that suits the model's masks.",
}

FIELDS = {
    'diameter': Field(
        'Diameter (px)',
        'Typical diameter of an object. Small objects are worked through in '
        'windows in which they suit the model. Automatic: a quick look at '
        'the image decides.',
        1,
        100_000,
    ),
    'points_per_side': Field(
        'Points per side', 'Prompts along each side of the image.', 1, 256
    ),
    'crop_layers': Field(
        'Crop layers',
        'Layer i looks at 2^i × 2^i overlapping crops, for small objects.',
        0,
        4,
        advanced=True,
    ),
    'predicted_iou': Field(
        'Predicted IoU ≥',
        'Masks that the model trusts less are dropped. Automatic: the value '
        'that suits the model.',
        0,
        1,
        0.01,
    ),
    'stability': Field(
        'Stability ≥',
        'Masks that change more with the threshold are dropped. Automatic: '
        'the value that suits the model.',
        0,
        1,
        0.01,
    ),
    'min_area': Field(
        'Min. area (px)',
        'Smaller islands and holes are removed.',
        0,
        10_000_000,
    ),
    'stability_offset': Field(
        'Stability offset',
        'Logits that stability is tested with.',
        0,
        10,
        0.1,
        True,
    ),
    'max_area_fraction': Field(
        'Largest area (fraction)',
        'Masks that cover more of the image are dropped.',
        0,
        1,
        0.01,
        True,
    ),
    'box_nms': Field(
        'Overlap in a crop',
        'Box IoU above which the worse mask is dropped.',
        0,
        1,
        0.05,
        True,
    ),
    'crop_nms': Field(
        'Overlap of crops',
        'Box IoU above which the mask of the larger crop is dropped.',
        0,
        1,
        0.05,
        True,
    ),
    'crop_overlap': Field(
        'Crop overlap',
        'Of neighbouring crops, as a fraction.',
        0,
        1,
        0.05,
        True,
    ),
    'crop_points_downscale': Field(
        'Points reduction',
        'Factor by which the grid shrinks per crop layer.',
        1,
        8,
        1,
        True,
    ),
    'adaptive': Field(
        'Adaptive',
        'Ask a coarse part of the grid first, and then only where it pays '
        'off: about a sixth of the prompts for the same objects.',
        0,
        1,
        1,
    ),
    'batch_size': Field(
        'Batch size', 'Prompts decoded together.', 1, 1024, 1, True
    ),
    'whole_image': Field(
        'Whole image',
        'Look at the image as a whole whatever the object size.',
        0,
        1,
        1,
        True,
    ),
}


class ParameterForm(QWidget):
    """All fields of `EverythingParameters`, the rarer ones folded away.

    Parameters that may be None have a check box *auto* beside them.

    Attributes
    ----------
    changed : Signal
        The form says something else.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.inputs: dict[str, Any] = {}
        self.automatic: dict[str, QCheckBox] = {}
        self._arrange()
        self.set_parameters(EverythingParameters())

    def parameters(self) -> EverythingParameters:
        """Return what the form says."""
        values: dict[str, Any] = {}
        for name, box in self.inputs.items():
            is_check = isinstance(box, QCheckBox)
            values[name] = box.isChecked() if is_check else box.value()
        for name, check in self.automatic.items():
            if check.isChecked():
                values[name] = None
        return EverythingParameters(**values)

    def set_parameters(self, parameters: EverythingParameters) -> None:
        """Show other values."""
        for name, box in self.inputs.items():
            value = getattr(parameters, name)
            if isinstance(box, QCheckBox):
                box.setChecked(value)
            elif value is not None:
                box.setValue(value)
        for name, check in self.automatic.items():
            check.setChecked(getattr(parameters, name) is None)

    def show_model(self, record: ModelRecord) -> None:
        """Show the thresholds that suit a model where they are automatic."""
        for name in ('predicted_iou', 'stability'):
            if self.automatic[name].isChecked():
                self.inputs[name].setValue(getattr(record, name))

    def _arrange(self) -> None:
        group = QGroupBox('Parameters')
        basic = form_layout()
        rarer = QWidget()
        advanced = form_layout(rarer)
        defaults = EverythingParameters()
        for name, field in FIELDS.items():
            default = getattr(defaults, name)
            typical = TYPICAL.get(name) if default is None else default
            box = self.inputs[name] = _input(field, typical)
            is_check = isinstance(box, QCheckBox)
            told = box.toggled if is_check else box.valueChanged
            told.connect(self._tell)
            label = QLabel(field.label)
            label.setToolTip(field.tip)
            row = self._with_automatic(name) if default is None else box
            (advanced if field.advanced else basic).addRow(label, row)
        inner = QVBoxLayout(group)
        inner.setContentsMargins(8, 8, 8, 8)
        inner.setSpacing(6)
        inner.addLayout(basic)
        inner.addWidget(Fold('More parameters', rarer))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(group)

    def _with_automatic(self, name: str) -> QHBoxLayout:
        box = self.inputs[name]
        check = self.automatic[name] = QCheckBox('auto')
        check.setToolTip(AUTOMATIC[name])
        check.toggled.connect(box.setDisabled)
        check.toggled.connect(self._tell)
        row = QHBoxLayout()
        row.addWidget(box, 1)
        row.addWidget(check)
        return row

    def _tell(self, what: Any = None) -> None:
        self.changed.emit()


def _input(field: Field, default: Any) -> Any:
    if isinstance(default, bool):
        check = QCheckBox()
        check.setChecked(default)
        check.setToolTip(field.tip)
        return check
    box: Any = QSpinBox() if isinstance(default, int) else QDoubleSpinBox()
    number = int if isinstance(default, int) else float
    if number is float:
        box.setDecimals(max(0, math.ceil(-math.log10(field.step))))
    # room for the largest number would make the dock too wide
    box.setMinimumWidth(80)
    box.setRange(number(field.low), number(field.high))
    box.setSingleStep(number(field.step))
    box.setValue(default)
    box.setToolTip(field.tip)
    return box
