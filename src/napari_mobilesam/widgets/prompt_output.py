"""Where objects go: labels layer, write policy, numbers and classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari.layers import Image, Labels
from qtpy.QtGui import QColor, QIcon, QPixmap

from napari_mobilesam.session.targets import WritePolicy
from napari_mobilesam.widgets.layers import is_ours
from napari_mobilesam.widgets.prompt_walk import PromptWalk

# told apart by people who do not see red and green apart too
CLASS_COLORS = (
    '#56b4e9',
    '#e69f00',
    '#009e73',
    '#cc79a7',
    '#f0e442',
    '#d55e00',
    '#0072b2',
    '#bbbbbb',
)
NO_CLASS = 'no class'


class PromptOutput(PromptWalk):
    """How accepted objects are written."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._written_to: Labels | None = None

    def _connect_output(self) -> None:
        settings = self.settings
        for combo, value in (
            (self.policy_combo, settings.policy),
            (self.numbers_combo, settings.numbers),
        ):
            combo.setCurrentIndex(max(0, combo.findData(value)))
            combo.activated.connect(self._choose_output)
        self._offer_classes('')
        self.class_combo.activated.connect(self._choose_output)
        edit = self.class_combo.lineEdit()
        assert edit is not None
        edit.editingFinished.connect(self._choose_output)
        self.labels_combo.layer_changed.connect(self._use_labels)
        self._choose_output()

    def _offer_classes(self, chosen: str) -> None:
        combo = self.class_combo
        combo.blockSignals(True)
        combo.clear()
        combo.addItem(NO_CLASS)
        for number, name in enumerate(self.settings.classes):
            combo.addItem(_swatch(class_color(number)), name)
        combo.setCurrentText(chosen or NO_CLASS)
        combo.blockSignals(False)

    def _choose_output(self, index: int = 0) -> None:
        name = self.class_combo.currentText().strip()
        name = '' if name == NO_CLASS else name
        classes = list(self.settings.classes)
        if name and name not in classes:
            classes.append(name)
        numbers = str(self.numbers_combo.currentData())
        before = self.settings
        self.settings = replace(
            before,
            policy=str(self.policy_combo.currentData()),
            numbers=numbers,
            classes=classes,
        )
        if self.settings != before:
            self._save_settings()
            self._offer_classes(name)
        label = None
        if numbers == 'semantic':
            label = classes.index(name) + 1 if name else 1
        policy: WritePolicy = (
            'keep' if self.settings.policy == 'keep' else 'overwrite'
        )
        self.editor.options = replace(
            self.editor.options, policy=policy, label=label
        )
        if name != self.editor.options.class_name:
            self.editor.set_class(name)

    def _use_labels(self, layer: Labels | None) -> None:
        self._written_to = layer
        self.scene.labels = layer

    def _follow_output(self) -> None:
        """Show the layer that is written to, which the session may make."""
        self.labels_combo.layer = self.scene.labels

    def _choose_labels(self, image: Image) -> None:
        """Go on with the labels of this image, not with another's."""
        labels = self.labels_combo.layer
        if labels is None or is_ours(labels):
            self.scene.labels = None
            self._follow_output()


def class_color(number: int) -> str:
    """Return the colour of the class with this number, from 0 on."""
    return CLASS_COLORS[number % len(CLASS_COLORS)]


def _swatch(color: str) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor(color))
    return QIcon(pixmap)
