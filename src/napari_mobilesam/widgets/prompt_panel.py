"""What “Segment by prompts” looks like."""

from __future__ import annotations

from napari.layers import Image, Labels, Layer, Points, Shapes
from qtpy.QtWidgets import (
    QGroupBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
)

from napari_mobilesam.widgets.controls import (
    ChannelCombo,
    LayerCombo,
    StatusLine,
    ViewerWidget,
    form_layout,
    scrollable,
)
from napari_mobilesam.widgets.model_box import ModelBox
from napari_mobilesam.widgets.preview import Preview
from napari_mobilesam.widgets.prompt_layers import COLORS, POSITIVE

COMMIT_KEY, CLEAR_KEY, FLIP_KEY, UNDO_KEY = 'W', 'Q', 'N', 'U'


class PromptPanel(ViewerWidget):
    """Combos, buttons and status line; `PromptWidget` brings them to life."""

    def _build(self) -> None:
        self.preview = Preview(self.viewer)
        self.image_combo = LayerCombo(
            self.viewer, lambda layer: isinstance(layer, Image)
        )
        self.channel_combo = ChannelCombo()
        self.model_box = ModelBox(self.session)
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
            self.viewer, self._is_output, 'made by the first commit'
        )
        self.points_button = _tool(
            'Points',
            'Click objects: left button on the object, right button (or '
            'Ctrl) beside it.\nDrag points in the select mode of the layer.',
        )
        self.boxes_button = _tool(
            'Boxes',
            'Drag a box around an object. Several boxes without points are '
            'several objects;\nwith points, the newest box and all points '
            'are one object.',
        )
        self.polarity_button = QPushButton()
        self.polarity_button.setToolTip(
            'What a left click means. With points selected in the select '
            'mode, flips those.'
        )
        self.commit_button = _button(
            f'Commit ({COMMIT_KEY})',
            'Write the mask into the labels layer and start the next object.',
        )
        self.clear_button = _button(
            f'Clear ({CLEAR_KEY})', 'Reject the mask and remove its prompts.'
        )
        self.undo_button = _button(
            f'Undo ({UNDO_KEY})', 'Undo the last write to the labels layer.'
        )
        self.status = StatusLine()
        self._arrange()
        self.show_polarity(POSITIVE)

    def _is_output(self, layer: Layer) -> bool:
        return isinstance(layer, Labels) and layer is not self.preview.layer

    def _arrange(self) -> None:
        image = QGroupBox('Image')
        form = form_layout(image)
        form.setContentsMargins(8, 8, 8, 8)
        form.addRow('Image', self.image_combo)
        form.addRow(self.channel_combo.label, self.channel_combo)
        form.addRow('Model', self.model_box)

        prompt = QGroupBox('Prompt')
        form = form_layout(prompt)
        form.setContentsMargins(8, 8, 8, 8)
        tools = QHBoxLayout()
        tools.addWidget(self.points_button)
        tools.addWidget(self.boxes_button)
        form.addRow(tools)
        form.addRow(self.polarity_button)
        form.addRow('Points', self.points_combo)
        form.addRow('Boxes', self.shapes_combo)

        result = QGroupBox('Object')
        form = form_layout(result)
        form.setContentsMargins(8, 8, 8, 8)
        form.addRow(self.commit_button)
        buttons = QHBoxLayout()
        buttons.addWidget(self.clear_button)
        buttons.addWidget(self.undo_button)
        form.addRow(buttons)
        form.addRow('Labels', self.labels_combo)

        contents = QVBoxLayout()
        for box in (image, prompt, result):
            contents.addWidget(box)
        contents.addStretch(1)
        scrollable(self, contents, self.status)

    def show_polarity(self, polarity: str) -> None:
        """Say what the next left click means, in words and in colour."""
        sign = '+' if polarity == POSITIVE else '−'
        self.polarity_button.setText(
            f'{sign}  Left click is {polarity}: flip ({FLIP_KEY})'
        )
        self.polarity_button.setStyleSheet(
            'QPushButton { text-align: left; border-left: 6px solid '
            f'{COLORS[polarity]}; }}'
        )


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setSizePolicy(
        QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
    )
    return button


def _tool(text: str, tip: str) -> QPushButton:
    button = _button(text, tip)
    button.setCheckable(True)
    return button
