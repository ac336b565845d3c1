"""Where objects go: labels layer, write policy, numbers and classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari.layers import Image, Labels

from napari_mobilesam.session.objects.targets import WritePolicy
from napari_mobilesam.widgets.prompts.prompt_walk import PromptWalk
from napari_mobilesam.widgets.viewer.layers import is_ours


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
        self.class_box.chosen.connect(self._choose_class)
        self.class_box.shown.connect(self.session.color_by_class)
        self.class_box.renamed.connect(self._rename_class)
        self.class_box.removed.connect(self._remove_class)
        self.labels_combo.layer_changed.connect(self._use_labels)
        self._choose_output()

    def _choose_output(self, index: int = 0) -> None:
        self._remember(
            policy=str(self.policy_combo.currentData()),
            numbers=str(self.numbers_combo.currentData()),
        )
        policy: WritePolicy = (
            'keep' if self.settings.policy == 'keep' else 'overwrite'
        )
        self.editor.options = replace(self.editor.options, policy=policy)
        self._number_by_class()

    def _number_by_class(self) -> None:
        """Give new objects the label of their class, if so chosen."""
        label = None
        if self.settings.numbers == 'semantic':
            name = self.editor.options.class_name
            names = self.session.classes.names
            label = names.index(name) + 1 if name in names else 1
        self.editor.options = replace(self.editor.options, label=label)

    def _choose_class(self, name: str) -> None:
        self.session.classes.add(name)
        if name != self._class_name():
            self.editor.set_class(name)
        self._show_class()
        self._number_by_class()

    def _rename_class(self, name: str, new: str) -> None:
        becomes_another = new != name and new in self.session.classes
        if not becomes_another or self._may_go(name):
            self._try(lambda: self.session.rename_class(name, new))

    def _remove_class(self, name: str) -> None:
        if self._may_go(name):
            self._try(lambda: self.session.remove_class(name))

    def _may_go(self, name: str) -> bool:
        """Whether no label that is painted would mean another class."""
        last = self.session.classes.names[-1:]
        if self.settings.numbers != 'semantic' or last == [name]:
            return True
        self.status.fail(
            f'“{name}” stays: labels are the numbers of classes, and those '
            'after it would get other numbers. Choose a new label for each '
            'object first.'
        )
        return False

    def _class_name(self) -> str:
        """Class of the object that is open, or of the next one."""
        record = self.editor.record
        if record.number:
            return record.class_name
        return self.editor.options.class_name

    def _show_class(self) -> None:
        self.class_box.refresh(self._class_name())

    def _editor_changed(self) -> None:
        super()._editor_changed()
        if self.class_box.name != self._class_name():
            self._show_class()

    def _classes_changed(self) -> None:
        """Keep the classes for the next time."""
        classes = self.session.classes
        self._remember(
            classes=classes.names,
            class_colors=classes.colors,
            color_by_class=classes.shown,
        )
        self._number_by_class()
        self._show_class()

    def _remember(self, **changed: Any) -> None:
        before, self.settings = (
            self.settings,
            replace(self.settings, **changed),
        )
        if self.settings != before:
            self._save_settings()

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
