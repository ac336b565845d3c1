"""Choice of image, channels and model, above the forms."""

from __future__ import annotations

from typing import Any

from napari.layers import Image
from qtpy.QtWidgets import QLabel, QWidget

from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.parts.channel_combo import ChannelCombo
from napari_mobilesam.widgets.parts.controls import form_layout
from napari_mobilesam.widgets.parts.form_guard import FormGuard
from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.parts.model_box import ModelBox
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane, plane_of
from napari_mobilesam.widgets.viewer.layers import is_of

NO_IMAGE = 'No image: open one first.'

# until a model is loaded
NO_DEVICE = 'shown once the model is loaded'


class ImageHeader(QWidget):
    """Image, channels, model, and the computing device.

    Parameters
    ----------
    dock : ViewerWidget
        Form whose viewer and session are used.

    Attributes
    ----------
    image_combo : LayerCombo
        Image layers of the viewer.
    channel_combo : ChannelCombo
        Channel axes, or other layers as colours; hidden if there are none.
    model_box : ModelBox
        Models.
    device_label : QLabel
        Device of the loaded model.
    """

    def __init__(self, dock: ViewerWidget) -> None:
        super().__init__()
        self._viewer = dock.viewer
        self._models = dock.session.models
        self._scene = dock.scene
        self.image_combo = LayerCombo(dock.viewer, is_of(Image))
        self.channel_combo = ChannelCombo()
        self.model_box = ModelBox(dock)
        self.device_label = QLabel()
        self.device_label.setWordWrap(True)
        # always two lines, so that nothing moves when the model is loaded
        device_name = QLabel('Device')
        for label in (device_name, self.device_label):
            label.setMinimumHeight(2 * self.fontMetrics().lineSpacing() + 8)
        self.device_label.setToolTip(
            'Where the model runs. To change it, open Settings in the '
            'Prompts tab.'
        )
        form = form_layout(self)
        form.setContentsMargins(8, 4, 8, 4)
        form.addRow('Image', self.image_combo)
        form.addRow(self.channel_combo.label, self.channel_combo)
        form.addRow('Model', self.model_box)
        form.addRow(device_name, self.device_label)
        self.image_combo.layer_changed.connect(self._offer_channels)
        FormGuard(self)

    def show_device(self) -> None:
        """Show the device of the model in use."""
        self.device_label.setText(self._models.device_text or NO_DEVICE)

    @property
    def plane(self) -> LayerPlane:
        """Displayed plane of the image, with the chosen channels.

        Raises
        ------
        ImageError
            There is no image, or it has no plane that can be segmented.
        """
        image = self.image_combo.layer
        if image is None:
            raise ImageError(NO_IMAGE)
        channels = self.channel_combo
        return plane_of(self._viewer, image, channels.axis, channels.composed)

    def follow_channels(self) -> None:
        """Choose the channels that a script has set."""
        if self._scene.image is self.image_combo.layer:
            self.channel_combo.choose(
                self._scene.channel_axis, self._scene.composed
            )

    def refresh(self) -> None:
        """Offer the images and channels now in the viewer."""
        composed = self.channel_combo.composed
        self.image_combo.refresh()
        self._offer_channels()
        if self.channel_combo.composed != composed:
            self.channel_combo.changed.emit()

    def _offer_channels(self, image: Any = None) -> None:
        self.channel_combo.offer(self.image_combo.layer, self._viewer)
