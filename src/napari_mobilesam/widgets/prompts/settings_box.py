"""Settings of “Segment by prompts”, in a collapsed section at the end."""

from __future__ import annotations

import os
from collections.abc import Collection

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QKeySequence, QStandardItemModel
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QKeySequenceEdit,
    QSpinBox,
    QWidget,
)

from napari_mobilesam.settings import Settings
from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.controls import (
    choice_combo,
    form_layout,
    wide_button,
)
from napari_mobilesam.widgets.parts.keys import command_of_napari
from napari_mobilesam.widgets.parts.layouts import stack
from napari_mobilesam.widgets.parts.message_label import MessageLabel
from napari_mobilesam.widgets.prompts.actions import ACTIONS, key_of

# a label that leaves less room is placed above the field
LONG_KEY = 'Ctrl+Shift+Down'
DEVICES = {
    'auto': 'Automatic',
    'cpu': 'CPU',
    'cuda': 'NVIDIA or AMD GPU (cuda)',
    'mps': 'Apple GPU (mps)',
}

DOUBTFUL = {
    'twice': 'Accept twice',
    'never': 'Never accept',
    'accept': 'Accept like others',
}


class SettingsBox(QWidget):
    """Clean-up, device, threads, cache and keys.

    Parameters
    ----------
    settings : Settings
        Initial values.

    Attributes
    ----------
    changed : Signal(dict)
        The user changed a value; emitted with the `Settings` fields shown
        here.
    clear_button : QPushButton
        Button that empties the disk cache.
    """

    changed = Signal(object)

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.area_spin = _spin(
            100_000,
            settings.min_area,
            'Fill smaller holes in masks, and remove smaller islands.',
            'off',
            ' px',
        )
        self.smooth_box = QCheckBox('Smooth outlines')
        self.smooth_box.setChecked(settings.smooth)
        self.islands_box = QCheckBox('Keep islands')
        self.islands_box.setToolTip(
            'Keep parts of a mask that are separate from the prompted part.'
        )
        self.islands_box.setChecked(settings.islands)
        self.doubtful_combo = choice_combo(DOUBTFUL, settings.doubtful)
        self.doubtful_combo.setToolTip(
            'Masks that the model is not confident about, shown in orange.'
        )
        self.device_combo = choice_combo(DEVICES, settings.device)
        self.threads_spin = _spin(
            os.cpu_count() or 1,
            settings.threads,
            'CPU cores that the model may use at a time.',
            'Automatic',
        )
        self.cache_spin = _spin(
            1_000_000,
            settings.cache_mb,
            'Disk space for embeddings, so that images need not be embedded '
            'again.',
            'no cache',
            ' MB',
        )
        self.clear_button = wide_button('Clear cache')
        self.keys_box = KeysBox(settings)
        self._arrange()
        for spin in (self.area_spin, self.threads_spin, self.cache_spin):
            spin.valueChanged.connect(self._tell)
        self.smooth_box.toggled.connect(self._tell)
        self.islands_box.toggled.connect(self._tell)
        self.doubtful_combo.activated.connect(self._tell)
        self.device_combo.activated.connect(self._tell)
        self.keys_box.changed.connect(self._tell)

    def _arrange(self) -> None:
        contents = QWidget()
        form = form_layout(contents)
        form.setContentsMargins(8, 0, 8, 0)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.addRow('Remove specks smaller than', self.area_spin)
        form.addRow(self.smooth_box)
        form.addRow(self.islands_box)
        form.addRow('Doubtful masks', self.doubtful_combo)
        form.addRow('Device', self.device_combo)
        form.addRow('Threads', self.threads_spin)
        form.addRow('Cache', self.cache_spin)
        form.addRow('', self.clear_button)
        form.addRow(CollapsibleSection('Keys', self.keys_box))
        self.fold = CollapsibleSection('Settings', contents)
        stack(self, self.fold)

    def show_computing(self, device: str, threads: int, cache_mb: int) -> None:
        """Show values chosen elsewhere, and emit them once.

        Parameters
        ----------
        device, threads, cache_mb
            See `Settings`.
        """
        spins = (self.threads_spin, self.cache_spin)
        for spin, value in zip(spins, (threads, cache_mb), strict=True):
            spin.blockSignals(True)
            spin.setValue(value)
            spin.blockSignals(False)
        index = self.device_combo.findData(device)
        self.device_combo.setCurrentIndex(max(0, index))
        self._tell()

    def offer_devices(self, available: Collection[str]) -> None:
        """Disable the devices that this computer does not have."""
        model = self.device_combo.model()
        assert isinstance(model, QStandardItemModel)
        for row in range(model.rowCount()):
            item = model.item(row)
            device = self.device_combo.itemData(row)
            if item is not None:
                item.setEnabled(device == 'auto' or device in available)

    def _tell(self, value: object = None) -> None:
        self.changed.emit(
            {
                'min_area': self.area_spin.value(),
                'smooth': self.smooth_box.isChecked(),
                'islands': self.islands_box.isChecked(),
                'doubtful': str(self.doubtful_combo.currentData()),
                'device': str(self.device_combo.currentData()),
                'threads': self.threads_spin.value(),
                'cache_mb': self.cache_spin.value(),
                'keys': self.keys_box.keys,
            }
        )


class KeysBox(QWidget):
    """Shortcut of each action, with a note on conflicts.

    Attributes
    ----------
    changed : Signal()
        The user changed a key.
    keys : dict of str to str
        Maps actions to keys that differ from the default.
    """

    changed = Signal()

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.keys = dict(settings.keys)
        self.edits: dict[str, QKeySequenceEdit] = {}
        self.note = MessageLabel()
        self.reset_button = wide_button('Reset shortcuts')
        form: QFormLayout = form_layout(self)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        room = self.fontMetrics().horizontalAdvance(LONG_KEY) + 24
        for name, action in ACTIONS.items():
            edit = self.edits[name] = QKeySequenceEdit()
            edit.setMinimumWidth(room)
            edit.setToolTip(action.tip)
            edit.editingFinished.connect(lambda n=name: self._edited(n))
            form.addRow(action.text, edit)
        form.addRow(self.note)
        form.addRow(self.reset_button)
        self.reset_button.clicked.connect(self._reset)
        self._show()

    def _show(self) -> None:
        for name, edit in self.edits.items():
            edit.setKeySequence(QKeySequence(key_of(name, self.keys)))
        self.note.show_message(' '.join(self._conflicts()), failed=True)
        self.note.setVisible(bool(self.note.text()))

    def _conflicts(self) -> list[str]:
        owners: dict[str, str] = {}
        conflicts = []
        for name, action in ACTIONS.items():
            key = key_of(name, self.keys)
            if not key:
                continue
            if key in owners:
                conflicts.append(f'{key} is also the key of “{owners[key]}”.')
            owners.setdefault(key, action.text)
            if taken := command_of_napari(key):
                conflicts.append(f'napari uses {key} to {taken}.')
        return conflicts

    def _edited(self, name: str) -> None:
        sequence = self.edits[name].keySequence()
        # the first of a sequence of keystrokes
        key = sequence.toString().split(', ')[0]
        if key == key_of(name, self.keys):
            return
        self.keys = {**self.keys, name: key}
        if key == ACTIONS[name].key:
            del self.keys[name]
        self._show()
        self.changed.emit()

    def _reset(self) -> None:
        self.keys = {}
        self._show()
        self.changed.emit()


def _spin(
    high: int, value: int, tip: str, nothing: str, unit: str = ''
) -> QSpinBox:
    spin = QSpinBox()
    spin.setRange(0, high)
    spin.setValue(value)
    spin.setToolTip(tip)
    spin.setSpecialValueText(nothing)
    spin.setSuffix(unit)
    # emit when editing ends, not at each digit
    spin.setKeyboardTracking(False)
    return spin
