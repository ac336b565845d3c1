"""Output: labels layer, overlaps, numbering and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.targets import WritePolicy
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.viewer.layers import data_of


class PromptOutput:
    """Choice of how accepted objects are written.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides the session.
    panel : PromptPanel
        Controls of the output.

    Attributes
    ----------
    layer : napari.layers.Labels or None
        The chosen layer; None until the first object creates one.
    """

    def __init__(self, dock: ViewerWidget, panel: PromptPanel) -> None:
        self._session = dock.session
        self._editor = dock.session.editor
        self._panel = panel
        self._scene = dock.scene
        self._settings = panel.settings
        self._shown_class = ''
        # True while the scene's choice is being shown
        self._showing = False
        self.layer: Labels | None = None
        for combo, value in (
            (panel.policy_combo, panel.settings.current.policy),
            (panel.numbers_combo, panel.settings.current.numbers),
        ):
            combo.setCurrentIndex(max(0, combo.findData(value)))
            combo.activated.connect(self._use_choices)
        panel.class_box.chosen.connect(self._choose_class)
        panel.class_box.shown.connect(self._session.color_by_class)
        panel.class_box.renamed.connect(self._rename_class)
        panel.class_box.removed.connect(self._remove_class)
        panel.labels_combo.layer_changed.connect(self._use_labels)
        panel.labels_combo.activated.connect(self._tell_labels)
        self._use_choices()

    # labels

    def _use_labels(self, layer: Labels | None) -> None:
        before, self.layer = self.layer, layer
        was_removed = before is None or before not in self._scene.viewer.layers
        if layer is None and not was_removed and not self._showing:
            self._scene.use_new_labels()
        else:
            self._scene.labels = layer

    def _tell_labels(self, index: int) -> None:
        where = 'a new layer' if self.layer is None else f'“{self.layer.name}”'
        self._panel.status.say(f'New objects are written to {where}.')

    def show_labels(self) -> None:
        """Show the layer that is written to, which the session may create."""
        self._showing = True
        try:
            self._panel.labels_combo.layer = self._scene.labels
        finally:
            self._showing = False

    def start_image(self) -> None:
        """Choose the labels of the current image.

        The user's labels that were not chosen for any image yet stay selected.
        """
        labels, image = self._panel.labels_combo.layer, self._scene.image
        known = image is not None and self._scene.has_choice(image)
        if known or labels is None or self._scene.is_taken(labels):
            self._scene.labels = None
            self.show_labels()

    def _use_choices(self, index: int = 0) -> None:
        self._settings.save(
            self._panel.status,
            policy=str(self._panel.policy_combo.currentData()),
            numbers=str(self._panel.numbers_combo.currentData()),
        )
        keep = self._settings.current.policy == 'keep'
        policy: WritePolicy = 'keep' if keep else 'overwrite'
        self._editor.options = replace(self._editor.options, policy=policy)
        self._number_by_class()

    def _number_by_class(self) -> None:
        """Label new objects by class, if so chosen."""
        names, options = self._session.classes.names, self._editor.options
        label, by_class = None, self._settings.current.numbers == 'semantic'
        if by_class and options.class_name in names:
            label = names.index(options.class_name) + 1
        self._editor.options = replace(options, label=label, by_class=by_class)

    # classes

    def follow_editor(self) -> None:
        """Show the class of the open object."""
        name = self._editor.class_name
        if name and name not in self._session.classes:
            # of labels of another program
            self._session.classes.add(name)
        if self._shown_class != name:
            self._show_class()

    def classes_changed(self) -> None:
        """Save the classes, and show them."""
        classes = self._session.classes
        self._settings.save(
            self._panel.status,
            classes=classes.names,
            class_colors=classes.colors,
            color_by_class=classes.shown,
        )
        self._number_by_class()
        self._show_class()

    def _show_class(self) -> None:
        self._shown_class = self._editor.class_name
        self._panel.class_box.refresh(self._shown_class)

    def _choose_class(self, name: str) -> None:
        classes, status = self._session.classes, self._panel.status
        is_new = bool(name) and name not in classes
        classes.add(name)
        if name != self._editor.class_name:
            self._editor.set_class(name)
        self._show_class()
        self._number_by_class()
        if is_new:
            # also keys meant as commands, once the field is left
            status.say(
                f'“{name}” is a new class. The button … next to it renames or '
                'removes it.',
                busy=status.busy,
                keep=True,
            )

    def _rename_class(self, name: str, new: str) -> None:
        merges = new != name and new in self._session.classes
        if not merges or self._may_remove(name):
            with self._panel.status.errors():
                self._change_classes(
                    partial(self._session.rename_class, name, new),
                    f'The class “{name}” is now “{new}”.',
                )

    def _remove_class(self, name: str) -> None:
        if self._may_remove(name):
            with self._panel.status.errors():
                self._change_classes(
                    partial(self._session.remove_class, name),
                    f'The class “{name}” was removed.',
                )

    def _change_classes(self, change: Callable[[], None], text: str) -> None:
        """Change classes, and say so; a step only if objects have them."""
        before = self._undo_order
        change()
        if self._undo_order != before:
            undo = self._panel.buttons['undo'].text()
            text = f'{text} {undo} takes it back.'
        self._panel.status.say(text)

    @property
    def _undo_order(self) -> int:
        step = self._session.navigation.next_undo
        return 0 if step is None else step.history.undo_order

    def _may_remove(self, name: str) -> bool:
        """Return whether removing a class leaves all painted labels valid."""
        last = self._session.classes.names[-1:]
        if self._settings.current.numbers != 'semantic' or last == [name]:
            return True
        self._panel.status.fail(
            f'“{name}” cannot be removed: labels are class numbers, and the '
            'classes after it would be renumbered. Choose “one label per '
            'object” first.'
        )
        return False


def pixels_beyond(record: ObjectRecord, labels: Labels) -> int:
    """Return how many pixels of an object lie outside a labels layer."""
    count, shape = 0, np.array(data_of(labels).shape)
    for view in record.views.values():
        plane, mask = view.plane.geometry, view.mask
        if plane is None or mask is None:
            continue
        row0, column0, row1, column1 = mask.box
        ends = np.array([row0, row1 - 1]), np.array([column0, column1 - 1])
        corners = np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 2)
        if _beyond(plane.layer_points(labels, corners), shape).any():
            pixels = np.argwhere(mask.data) + (row0, column0)
            at = plane.layer_points(labels, pixels)
            count += int(_beyond(at, shape).sum())
    return count


def _beyond(
    positions: NDArray[np.float64], shape: NDArray[np.int_]
) -> NDArray[np.bool_]:
    low, high = positions < -0.5, positions >= shape - 0.5
    return np.asarray((low | high).any(axis=1))
