"""What “Segment by prompts” looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari.layers import Image, Points, Shapes
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QVBoxLayout,
)

from napari_mobilesam.session.runtime.settings import (
    load_settings,
    save_settings,
)
from napari_mobilesam.widgets.parts.candidates_view import CandidatesView
from napari_mobilesam.widgets.parts.channel_combo import ChannelCombo
from napari_mobilesam.widgets.parts.class_box import ClassBox
from napari_mobilesam.widgets.parts.controls import (
    LayerCombo,
    StatusLine,
    ViewerWidget,
    group_form,
    narrow,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.parts.model_box import ModelBox
from napari_mobilesam.widgets.parts.preview import Preview
from napari_mobilesam.widgets.prompts.actions import (
    ACTIONS,
    key_of,
    label_of,
)
from napari_mobilesam.widgets.prompts.prompt_layers import COLORS, POSITIVE
from napari_mobilesam.widgets.prompts.settings_box import SettingsBox
from napari_mobilesam.widgets.viewer.layers import is_output
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

TOOLS = (
    'use_points_tool',
    'use_boxes_tool',
    'use_outline_tool',
    'use_scribble_tool',
)
WALK = ('undo', 'redo', 'previous_object', 'next_object')
PLANES = ('propagate_back', 'propagate_both', 'propagate_forward')
POLICIES = {
    'overwrite': 'overwrite what is there',
    'keep': 'keep what is there, fill the rest',
}
NUMBERS = {
    'instance': 'a new label for each object',
    'semantic': 'one label for each class',
}


class PromptPanel(ViewerWidget):
    """Combos, buttons and status line; `PromptWidget` brings them to life.

    Attributes
    ----------
    buttons : dict of str to QPushButton
        By the name of the method that they call, see `ACTIONS`.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        scene = self.session.scene
        assert isinstance(scene, ViewerScene)
        self.scene = scene
        self.editor = self.session.editor

    def _build(self) -> None:
        self.preview = Preview(self.viewer)
        self.settings = load_settings()
        self.image_combo = LayerCombo(
            self.viewer, lambda layer: isinstance(layer, Image)
        )
        self.channel_combo = ChannelCombo()
        self.model_box = ModelBox(self.session)
        self.device_label = QLabel()
        self.points_combo = LayerCombo(
            self.viewer,
            lambda layer: isinstance(layer, Points),
            'made when needed',
        )
        self.shapes_combo = LayerCombo(
            self.viewer,
            lambda layer: isinstance(layer, Shapes),
            'made when needed',
        )
        self.labels_combo = LayerCombo(
            self.viewer, is_output, 'made by the first object'
        )
        self.candidates_view = CandidatesView()
        self.policy_combo = _choice(POLICIES)
        self.numbers_combo = _choice(NUMBERS)
        self.class_box = ClassBox(self.session.classes)
        self.save_box = QCheckBox('Save as I go')
        self.restore_button = wide_button('Bring back saved objects')
        self.restore_button.hide()
        self.buttons: dict[str, QPushButton] = {}
        for action in ACTIONS:
            button = self.buttons[action] = wide_button('')
            if action != 'edit_object':
                button.clicked.connect(getattr(self, action))
        for action in (*TOOLS, 'edit_object', 'toggle_hover'):
            self.buttons[action].setCheckable(True)
        self.cancel_button = wide_button('Stop')
        self.cancel_button.setToolTip('Stops and keeps what was found.')
        self.cancel_button.hide()
        self.buttons['next_candidate'].hide()
        self.settings_box = SettingsBox(self.settings)
        self.status = StatusLine()
        self._arrange()
        self.show_keys(self.settings.keys)
        self.show_polarity(POSITIVE)

    def _arrange(self) -> None:
        image, form = group_form('Image')
        form.addRow('Image', self.image_combo)
        form.addRow(self.channel_combo.label, self.channel_combo)
        form.addRow('Model', self.model_box)
        form.addRow('Runs on', self.device_label)

        prompt, form = group_form('Prompt')
        form.addRow(self._grid((*TOOLS, 'edit_object', 'toggle_hover')))
        form.addRow(self.buttons['flip_polarity'])
        form.addRow('Points', self.points_combo)
        form.addRow('Shapes', self.shapes_combo)
        form.addRow(self.buttons['run_batch'])

        result, form = group_form('Object')
        form.addRow(self.candidates_view)
        form.addRow(self.buttons['next_candidate'])
        form.addRow(self.buttons['accept'])
        form.addRow(self._grid(('reject', 'delete_object', *WALK)))
        form.addRow(self.buttons['next_uncertain'])

        self.planes_box, form = group_form('Planes')
        form.addRow(self._grid(('propagate_back', 'propagate_forward')))
        form.addRow(self.buttons['propagate_both'])

        output, form = group_form('Output')
        form.addRow('Labels', self.labels_combo)
        form.addRow('Write', self.policy_combo)
        form.addRow('Give', self.numbers_combo)
        form.addRow('Class', self.class_box)
        form.addRow('', self.save_box)
        form.addRow(self.restore_button)

        contents = QVBoxLayout()
        for box in (image, prompt, result, self.planes_box, output):
            contents.addWidget(box)
        contents.addWidget(self.settings_box)
        contents.addStretch(1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.cancel_button)
        scrollable(self, contents, self.status, buttons)

    def _grid(self, actions: tuple[str, ...]) -> QLayout:
        grid = QGridLayout()
        grid.setSpacing(4)
        for index, action in enumerate(actions):
            grid.addWidget(self.buttons[action], *divmod(index, 2))
        return grid

    def _save_settings(self) -> None:
        try:
            save_settings(self.settings)
        except OSError as error:
            self.status.fail(f'The settings could not be kept: {error}.')

    def show_keys(self, changed: Mapping[str, str]) -> None:
        """Write the keys on the buttons.

        Parameters
        ----------
        changed : mapping of str to str
            Action to key, for those that are not as shipped.
        """
        for action, button in self.buttons.items():
            button.setText(label_of(action, changed))
            key = key_of(action, changed)
            tip = ACTIONS[action].tip
            button.setToolTip(f'{tip}\nKey: {key}' if key else tip)

    def show_polarity(self, polarity: str) -> None:
        """Say what the next left click means, in words and in colour."""
        sign = '+' if polarity == POSITIVE else '−'
        key = key_of('flip_polarity', self.settings.keys)
        button = self.buttons['flip_polarity']
        flip = f'flip ({key})' if key else 'flip'
        button.setText(f'{sign}  Left click is {polarity}: {flip}')
        button.setStyleSheet(
            'QPushButton { text-align: left; border-left: 6px solid '
            f'{COLORS[polarity]}; }}'
        )


def _choice(entries: Mapping[str, str]) -> QComboBox:
    combo = QComboBox()
    narrow(combo)
    for name, text in entries.items():
        combo.addItem(text, name)
    return combo
