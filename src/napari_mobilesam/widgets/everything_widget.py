"""“Segment everything”: every object of the current plane at once."""

from __future__ import annotations

from typing import Any

import napari.viewer
from napari.layers import Image, Labels, Layer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QVBoxLayout,
)

from napari_mobilesam.session import EverythingResult
from napari_mobilesam.types import ModelRecord, SegmentationError
from napari_mobilesam.widgets.controls import (
    ChannelCombo,
    LayerCombo,
    StatusLine,
    ViewerWidget,
    group_form,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.label_writer import write_everything
from napari_mobilesam.widgets.layers import (
    LayerPlane,
    plane_of,
)
from napari_mobilesam.widgets.model_box import ModelBox
from napari_mobilesam.widgets.parameter_form import ParameterForm
from napari_mobilesam.widgets.preview import NAME as PREVIEW_NAME

HINT = 'Run finds every object of the current plane.'


class EverythingWidget(ViewerWidget):
    """Dock widget “Segment everything”.

    The form holds `EverythingParameters`; the result is a Labels layer where
    the image is, with scores, stability and area in its features.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._asked: tuple[int, LayerPlane, Labels | None] | None = None
        self._build()
        self.image_combo.layer_changed.connect(self._image_chosen)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.attach()

    def _build(self) -> None:
        self.image_combo = LayerCombo(
            self.viewer, lambda layer: isinstance(layer, Image)
        )
        self.channel_combo = ChannelCombo()
        self.model_box = ModelBox(self.session)
        self.labels_combo = LayerCombo(
            self.viewer, _is_output, 'a new layer for each run'
        )
        self.form = ParameterForm()
        self.run_button = wide_button('Run')
        self.cancel_button = wide_button('Cancel')
        self.cancel_button.setToolTip('Stops and keeps what was found.')
        self.cancel_button.setEnabled(False)
        self.status = StatusLine()

        image, rows = group_form('Image')
        rows.addRow('Image', self.image_combo)
        rows.addRow(self.channel_combo.label, self.channel_combo)
        rows.addRow('Model', self.model_box)
        rows.addRow('Labels', self.labels_combo)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button)
        buttons.addWidget(self.cancel_button)
        contents = QVBoxLayout()
        contents.addWidget(image)
        contents.addWidget(self.form)
        contents.addStretch(1)
        scrollable(self, contents, self.status, buttons)

    def attach(self) -> None:
        """Listen to the viewer and the session."""
        super().attach()
        self.follow_layers()
        self.listen(self.session.everything, self._finish)
        self.listen(self.session.status, self._say)
        self.listen(self.session.failed, self._fail)
        self.listen(self.session.progress, self._progress)
        self.listen(self.session.model_changed, self._model_changed)
        self.listen(self.session.downloaded, self.model_box.arrived)
        if self.session.record is not None:
            self.form.show_model(self.session.record)
        self._layers_changed()
        self._active_changed()
        self._image_chosen(self.image_combo.layer)

    def detach(self) -> None:
        """Cancel a run and stop listening."""
        if self._asked is not None:
            self.session.cancel()
            self._end()
        super().detach()

    def _layers_changed(self, event: Any = None) -> None:
        self.image_combo.refresh()
        self.labels_combo.refresh()
        gone = getattr(event, 'value', None)
        if getattr(event, 'type', '') != 'removed' or self._asked is None:
            return
        _, plane, labels = self._asked
        if gone is plane.layer or (labels is not None and gone is labels):
            name = getattr(gone, 'name', '')
            self.session.cancel()
            self._end()
            self.status.fail(
                f'“{name}” was removed while working on it; nothing was '
                'written.'
            )

    def _active_changed(self, event: Any = None) -> None:
        active = self.viewer.layers.selection.active
        if isinstance(active, Image):
            self.image_combo.layer = active

    def _image_chosen(self, image: Image | None) -> None:
        self.channel_combo.offer(image)
        if self._asked is None:
            self.status.say(
                HINT if image is not None else 'Open an image to begin.'
            )

    def run(self) -> None:
        """Segment the current plane of the chosen image."""
        image = self.image_combo.layer
        if image is None:
            self.status.fail('There is no image: open one first.')
            return
        try:
            parameters = self.form.parameters()
            plane = plane_of(self.viewer, image, self.channel_combo.axis)
            generation = self.session.segment_everything(
                plane.source(), parameters
            )
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        self._asked = (generation, plane, self.labels_combo.layer)
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.status.say(f'Working on {plane.name} …', busy=True)

    def cancel(self) -> None:
        """Stop after the current step and keep what was found."""
        self.session.cancel()
        self.status.say('Stopping, keeping what was found …', busy=True)

    def _end(self) -> None:
        self._asked = None
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)

    def _finish(self, result: EverythingResult) -> None:
        if self._asked is None or result.request.generation != self._asked[0]:
            return
        _, plane, labels = self._asked
        self._end()
        found = len(result.table)
        if not found:
            self.status.say(
                'Nothing was found: lower the predicted IoU or the '
                'stability, or set the diameter.'
                if result.complete
                else 'Stopped before anything was found.'
            )
            return
        try:
            layer = write_everything(
                self.viewer,
                plane,
                labels,
                result.labels,
                result.table,
                f'{plane.layer.name} objects',
            )
        except SegmentationError as error:
            self.status.fail(str(error))
            return
        how = 'in' if result.complete else 'until stopped after'
        self.status.say(
            f'{found} {"object" if found == 1 else "objects"} {how} '
            f'{result.seconds:.1f} s, in “{layer.name}”. Scores are in the '
            "layer's features."
        )

    def _say(self, text: str, whom: str) -> None:
        if whom == 'model' or (whom == 'everything' and self._asked):
            self.status.say(text, busy=True)

    def _fail(self, text: str, whom: str) -> None:
        if whom == 'model':
            self.model_box.fail()
            self.status.fail(text)
        elif whom == 'everything':
            self._end()
            self.status.fail(text)

    def _progress(self, whom: str, done: int, total: int) -> None:
        if whom == 'model' or (whom == 'everything' and self._asked):
            self.status.show_progress(done, total)

    def _model_changed(self, record: ModelRecord) -> None:
        self.model_box.refresh()
        self.form.show_model(record)
        if self._asked is None and self.status.busy:
            self.status.say(f'{record.name} is loaded. {HINT}')


def _is_output(layer: Layer) -> bool:
    return isinstance(layer, Labels) and layer.name != PREVIEW_NAME
