"""“Refine labels”: better masks for the objects of any labels layer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import napari.viewer
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel

from napari_mobilesam.segmentation.refinement import RefineParameters
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.prompts.refine_all import RefineResult
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.parts.controls import (
    explain_rows,
    group_form,
    scrollable,
    show_focus,
    wide_button,
)
from napari_mobilesam.widgets.parts.keys import focus_canvas
from napari_mobilesam.widgets.parts.layer_choices import LayerChoices
from napari_mobilesam.widgets.parts.layouts import DOCK_WIDTH, column, row
from napari_mobilesam.widgets.parts.model_box import ModelBox
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.refine.changes_layer import LEGEND, ChangesLayer
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane, plane_of
from napari_mobilesam.widgets.viewer.track_layers import NO_LABELS

HINT = (
    'Refine all gives each object of the labels to the model, as a box and '
    'as a mask, and keeps the better answer.'
)
NO_IMAGE = 'There is no image: open the image of the labels first.'
TOPICS = ('objects', 'model')
ROW_TIPS = {
    'Image': 'Image of the labels.',
    'Labels': 'Layer whose objects are refined.',
}


class RefineWidget(ViewerWidget):
    """Dock widget “Refine labels”.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer, passed by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        show_focus(self)
        self._running = False
        # objects of the labels of the run
        self._objects: Objects | None = None
        self.changes = ChangesLayer(self.viewer)
        self._layers = LayerChoices(self)
        self.image_combo = self._layers.image
        self.labels_combo = self._layers.labels
        self.model_box = ModelBox(self)
        self.planes_box = QCheckBox('All planes of the stack')
        self.form = ParameterForm(RefineParameters())
        self.run_button = wide_button('Refine all')
        self.run_button.setToolTip(HINT)
        self.cancel_button = wide_button('Cancel')
        self.cancel_button.setToolTip(
            'Stop, and keep the objects refined so far.'
        )
        self.undo_button = wide_button('Undo')
        self.undo_button.setToolTip('Undo the last step.')
        self.changes_box = QCheckBox('Show changes')
        self.changes_box.setChecked(True)
        self.changes_box.setToolTip(
            'Show the pixels that the refinement changed.'
        )
        self.legend = QLabel(LEGEND)
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        self.legend.hide()
        self.status = StatusLine()
        self._arrange()
        self.image_combo.layer_changed.connect(self._show_planes_box)
        self._layers.changed.connect(self._show_planes_box)
        self.labels_combo.layer_changed.connect(self._labels_chosen)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.undo_button.clicked.connect(self.undo)
        self.changes_box.toggled.connect(self.changes.switch)
        self.changes.shown.connect(self._show_legend)
        self.attach()

    def _arrange(self) -> None:
        data, rows = group_form('Labels to refine')
        rows.addRow('Image', self.image_combo)
        rows.addRow('Labels', self.labels_combo)
        explain_rows(rows, ROW_TIPS)
        rows.addRow(self.planes_box)
        refinement, rows = group_form('Refinement')
        rows.addRow(QLabel('Model'))
        rows.addRow(self.model_box)
        rows.addRow(self.form)
        rows.addRow(self.changes_box)
        rows.addRow(self.legend)
        contents = column(data, refinement)
        contents.addStretch(1)
        buttons = row(self.run_button, self.cancel_button, self.undo_button)
        # napari's theme, applied later, needs more width
        scrollable(self, contents, self.status, buttons, width=DOCK_WIDTH)

    def attach(self) -> None:
        """Connect to viewer and session."""
        super().attach()
        layers = self.viewer.layers
        self.listen(layers.events.removed, self.changes.removed)
        session = self.session
        self.listen_all(
            (session.background.progress, self._progress),
            (session.refining.finished, self._finish),
            (session.status, self._say),
            (session.failed, self._fail),
            (session.navigation.restored, self.status.say),
            (self.viewer.dims.events.ndisplay, self._show_planes_box),
        )
        self.model_box.attach()
        self._layers.attach()
        self._end()
        self.status.say(self._missing() or HINT)

    def detach(self) -> None:
        """Stop the run and disconnect."""
        if self._running:
            self.session.background.cancel()
        self.changes.remove()
        super().detach()

    @property
    def pending(self) -> bool:
        """True if a run is in progress."""
        return self._running

    # layers

    def _labels_chosen(self, labels: Labels | None) -> None:
        if not self._running and not self._missing():
            self.status.say(HINT)

    def _show_planes_box(self, event: Any = None) -> None:
        several = False
        with contextlib.suppress(ImageError):
            several = bool(self._plane().stack_axes)
        self.planes_box.setVisible(several)

    def _plane(self) -> LayerPlane:
        """Return the displayed plane of the chosen image."""
        image = self.image_combo.layer
        # one that was just removed may be in the list still
        if image is self.scene.image or image not in self.viewer.layers:
            return self.scene.layer_plane()
        return plane_of(self.viewer, image)

    def _show_legend(self, visible: bool) -> None:
        self.legend.setVisible(visible)

    def _missing(self) -> str:
        """Return what is missing for a run, or an empty string."""
        if self.image_combo.layer is None:
            return NO_IMAGE
        return '' if self.labels_combo.layer is not None else NO_LABELS

    # the run

    def run(self) -> None:
        """Refine the objects of the chosen labels."""
        missing = self._missing()
        if missing:
            self.status.fail(missing)
            return
        with self.status.errors():
            if self.scene.image is not self.image_combo.layer:
                self.scene.image = self.image_combo.layer
            if self.scene.labels is not self.labels_combo.layer:
                self.scene.labels = self.labels_combo.layer
            self.changes.remove()
            self._objects = self.scene.objects(False)
            self.session.start_refinement(self.form.value, self._planes())
            # the button is disabled then, and the list of images would get
            # the focus: arrow keys would change the image
            focus_canvas(self)
            self._begin()

    def _planes(self) -> Sequence[ImagePlane]:
        planes = [self.scene.layer_plane()]
        if self.planes_box.isChecked() and not self.planes_box.isHidden():
            for axis in planes[0].stack_axes:
                planes = [each for one in planes for each in one.along(axis)]
        return [plane.source() for plane in planes]

    def cancel(self) -> None:
        """Stop after the current object, keeping the previous ones."""
        self.session.background.cancel()
        self.cancel_button.setEnabled(False)
        self.status.say('Stopping …', busy=True)

    def _begin(self) -> None:
        self._running = True
        self.run_button.setEnabled(False)
        self.undo_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.status.say('Starting …', busy=True)

    def _end(self) -> None:
        self._running = False
        self.run_button.setEnabled(True)
        self.undo_button.setEnabled(True)
        self.cancel_button.setEnabled(False)

    def _finish(self, result: RefineResult) -> None:
        if not self._running:
            return
        self._end()
        objects, self._objects = self._objects, None
        if objects is not None:
            self.changes.show(result, objects)
        if not self.status.failed or result.refinements:
            self.status.say(result.text)

    def _progress(self, done: int, total: int, text: str) -> None:
        if self._running and self.cancel_button.isEnabled():
            self.status.say(f'Refining: {text[0].lower()}{text[1:]} …', True)
            self.status.show_progress(done, total)

    def _say(self, text: str, topic: str) -> None:
        if topic == 'model' and self._running:
            self.status.say(text, busy=True)

    def _fail(self, text: str, topic: str) -> None:
        if topic in TOPICS and (self._running or topic == 'model'):
            self.status.fail(text)
