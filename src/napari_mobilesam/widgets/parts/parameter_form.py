"""Form of a parameter dataclass, built by magicgui."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Generic, TypeVar

from magicgui.widgets import CheckBox, FloatSpinBox, create_widget
from magicgui.widgets.bases import (
    BaseValueWidget,
    ButtonWidget,
    ValuedContainerWidget,
)
from psygnal import Signal
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from napari_mobilesam.parameter_fields import ParameterField, parameter_fields
from napari_mobilesam.types import ModelRecord
from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.controls import form_layout, narrow
from napari_mobilesam.widgets.parts.layouts import stack

P = TypeVar('P')

PARAMETERS = 'Parameters'

# shown instead of an unknown number
UNKNOWN = '…'
# room for the largest number would make the dock too wide
NUMBER_WIDTH = 80


class ParameterForm(QWidget, Generic[P]):
    """Controls for the fields of a parameter dataclass.

    Fields of a group are in a collapsed section under its title.

    Parameters
    ----------
    value : dataclass instance
        Initial value; see `napari_mobilesam.parameter_fields`.
    names : collection of str, optional
        Fields to show; by default all that have a label.
    first : collection of str, optional
        Fields shown in `first_rows`; the others are in a collapsed section.

    Attributes
    ----------
    changed : psygnal.Signal
        Emitted with the parameters when a control or `value` changes.
    controls : dict of str to magicgui widget
        Control of each field.
    first_rows : QWidget
        Rows of the fields in `first`, to be placed elsewhere.
    """

    changed = Signal(object)

    def __init__(
        self,
        value: P,
        names: Collection[str] | None = None,
        first: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._value = value
        self._shown: dict[str, Any] = {}
        self.controls: dict[str, BaseValueWidget[Any]] = {}
        groups: dict[str, list[BaseValueWidget[Any]]] = {}
        hints = typing.get_type_hints(type(value))
        for name, described in parameter_fields(value).items():
            if not described.label or (names and name not in names):
                continue
            control = _control(
                name, described, getattr(value, name), hints[name]
            )
            control.changed.connect(self._control_changed)
            self.controls[name] = control
            self._shown[name] = control.value
            group = described.group
            if first and not group and name not in first:
                group = PARAMETERS
            groups.setdefault(group, []).append(control)
        self.first_rows = _rows(groups.pop('', []) if first else [])
        rows = [(title, _rows(group)) for title, group in groups.items()]
        parts = [CollapsibleSection(t, r) if t else r for t, r in rows]
        stack(self, *parts, spacing=6)

    @property
    def value(self) -> P:
        """The parameters shown.

        Numbers are rounded for display, but returned unrounded until their
        control changes.
        """
        changed = {
            name: control.value
            for name, control in self.controls.items()
            if control.value != self._shown[name]
        }
        return replace(self._value, **changed)  # type: ignore[type-var]

    @value.setter
    def value(self, value: P) -> None:
        before = self.value
        self._value = value
        for name, control in self.controls.items():
            with control.changed.blocked():
                control.value = getattr(value, name)
            self._shown[name] = control.value
        if self.value != before:
            self.changed.emit(self.value)

    def show_typical(self, name: str, number: float) -> None:
        """Show a number that is unused while its field is automatic."""
        control = self.controls[name]
        assert isinstance(control, AutomaticNumber)
        control.show_typical(number)

    def hide_typical(self, name: str) -> None:
        """Show no number while a field is automatic and unknown."""
        control = self.controls[name]
        assert isinstance(control, AutomaticNumber)
        control.hide_typical()

    def show_thresholds(self, record: ModelRecord) -> None:
        """Show the thresholds of a model while they are automatic."""
        for name in ('predicted_iou', 'stability'):
            self.show_typical(name, getattr(record, name))

    def _control_changed(self) -> None:
        self.changed.emit(self.value)


class _ClickOnGreyed(QObject):
    """Call a function when a disabled widget is clicked.

    Parameters
    ----------
    widget : QWidget
        The widget, which becomes the parent.
    callback : callable
        Called without arguments.
    """

    def __init__(self, widget: QWidget, callback: Callable[[], None]) -> None:
        super().__init__(widget)
        self._callback = callback
        widget.installEventFilter(self)

    def eventFilter(  # noqa: N802
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Filter clicks; Qt's filters also see those on disabled widgets."""
        assert isinstance(watched, QWidget)
        if (
            event is not None
            and event.type() == QEvent.Type.MouseButtonPress
            and not watched.isEnabled()
        ):
            self._callback()
            return True
        return False


class AutomaticNumber(ValuedContainerWidget[float | None]):
    """A number, or None while the check box next to it is checked.

    A click on the number, which is disabled while the box is checked, unchecks
    it.

    Parameters
    ----------
    value : float or None
        Initial value.
    min, max, step : float
        Range and increment.
    typical : float
        Number shown, but not used, while the value is None.
    automatic : str
        Tooltip of the check box.
    **options
        Options of a magicgui widget: name, label, tooltip, …
    """

    def __init__(
        self,
        value: float | None = None,
        *,
        min: float = 0,  # noqa: A002
        max: float = 1,  # noqa: A002
        step: float = 1,
        typical: float = 0,
        automatic: str = '',
        **options: Any,
    ) -> None:
        self.number = FloatSpinBox(value=typical, min=min, max=max, step=step)
        self.check = CheckBox(text='auto', tooltip=automatic)
        options = {**options, 'nullable': True, 'layout': 'horizontal'}
        super().__init__(
            widgets=[self.number, self.check], labels=False, **options
        )
        self.number.tooltip = self.tooltip
        # shown again when the box is unchecked while none is known
        self._hidden: float | None = None
        self.margins = (0, 0, 0, 0)
        self.value = value
        self.check.changed.connect(self._inner_changed)
        self.number.changed.connect(self._inner_changed)
        _ClickOnGreyed(self.number.native, self._choose_number)

    def get_value(self) -> float | None:
        """Return the number, or None."""
        return None if self.check.value else self.number.value

    def set_value(self, value: float | None) -> None:
        """Show a number, or None."""
        before = self.get_value()
        with self.number.changed.blocked(), self.check.changed.blocked():
            self.check.value = value is None
            if value is not None:
                self._show(value)
        self.number.enabled = value is not None
        if self.get_value() != before:
            self.changed.emit(self.get_value())

    def show_typical(self, number: float) -> None:
        """Show a number that is not used, while the value is None."""
        if self.check.value:
            self._show(number)

    def hide_typical(self) -> None:
        """Show dots instead of a number, while the value is None."""
        if self.check.value and self._hidden is None:
            self._hidden = self.number.value
            # Qt shows it in place of the lowest number
            self.number.native.setSpecialValueText(UNKNOWN)
            with self.number.changed.blocked():
                self.number.value = self.number.min

    def _show(self, number: float) -> None:
        self._hidden = None
        self.number.native.setSpecialValueText('')
        with self.number.changed.blocked():
            self.number.value = number

    def _choose_number(self) -> None:
        if not self.enabled:
            return
        self.check.value = False
        self.number.native.setFocus()
        self.number.native.selectAll()

    def _inner_changed(self) -> None:
        if not self.check.value and self._hidden is not None:
            self._show(self._hidden)
        self.number.enabled = not self.check.value
        self.changed.emit(self.get_value())


def _control(
    name: str, described: ParameterField, value: Any, hint: Any
) -> BaseValueWidget[Any]:
    options: dict[str, Any] = {'tooltip': described.text}
    if described.choices:
        options['choices'] = described.choices
    elif hint is not bool:
        options |= {
            'min': described.minimum,
            'max': described.maximum,
            'step': described.step,
        }
    if described.automatic:
        options |= {
            'widget_type': AutomaticNumber,
            'typical': described.typical,
            'automatic': _capitalised(described.automatic),
        }
    control = create_widget(
        value=value,
        annotation=hint,
        name=name,
        label=described.label,
        options=options,
    )
    assert isinstance(control, BaseValueWidget)
    number = getattr(control, 'number', control)
    if isinstance(number.native, QComboBox):
        narrow(number.native)
    elif hint is not bool:
        number.min_width = NUMBER_WIDTH
        if hasattr(number.native, 'setDecimals'):
            number.native.setDecimals(described.decimals)
    return control


def _rows(controls: list[BaseValueWidget[Any]]) -> QWidget:
    # aligned labels as in the other forms, which a magicgui Container does not
    # have
    rows = QWidget()
    form = form_layout(rows)
    for control in controls:
        if isinstance(control, ButtonWidget):
            form.addRow(control.native)
            continue
        label = QLabel(control.label)
        label.setToolTip(control.tooltip)
        form.addRow(label, control.native)
    return rows


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
