"""Form “Segment everything”: connects the parts of the form."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]

from napari_mobilesam.session.everything.choices import (
    EverythingChoices,
    load_choices,
    save_choices,
)
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.types import ModelRecord, PromptError, SegmentationError
from napari_mobilesam.widgets.everything.class_control import ClassControl
from napari_mobilesam.widgets.everything.everything_panel import (
    INSTANCES,
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.image_diameter import ImageDiameter
from napari_mobilesam.widgets.everything.large_run_control import (
    LargeRunControl,
)
from napari_mobilesam.widgets.everything.plane_tools import PlaneTools
from napari_mobilesam.widgets.everything.review_panel import (
    EDIT_KEY,
    KEEP_KEY,
    NEXT_KEY,
    REJECT_KEY,
)
from napari_mobilesam.widgets.everything.review_view import ReviewView
from napari_mobilesam.widgets.everything.run_control import RunControl
from napari_mobilesam.widgets.everything.run_estimate import RunEstimate
from napari_mobilesam.widgets.everything.text_control import TextControl
from napari_mobilesam.widgets.parts.controls import fill
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.image_header import ImageHeader
from napari_mobilesam.widgets.parts.keys import (
    Keys,
    bind_keys,
    focus_canvas,
    unbind_keys,
)
from napari_mobilesam.widgets.parts.line_width import LineWidth
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layers import (
    SERIES_MARK,
    is_ours,
    suitability,
)

HINT = 'Run segments every object.'
NO_EXAMPLES = (
    'There are no examples: label or accept at least one object first.'
)
OPEN_IN_PROMPTS = 'Object {} is open in Prompts.'


class EverythingWidget(ViewerWidget):
    """Form “Segment everything”.

    The form holds `EverythingParameters`. Masks are shown as they are found
    and filtered at the end. Sliders filter them again without running the
    model, and the objects can be reviewed one by one.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    header : ImageHeader
        Choices of image, channels and model.

    Attributes
    ----------
    edit_asked : Signal(Image, Labels, int)
        Image, labels, and number of an object to open for editing.
    panel : EverythingPanel
        Other controls.
    status : StatusLine
        Status line of the panel.
    runs : RunControl
        Runs on planes in memory.
    large : LargeRunControl
        Runs on images too large for memory.
    tools : PlaneTools
        Edges, proposals and boxes.
    estimate : RunEstimate
        Estimate before a run.
    review_view : ReviewView
        Objects under review on the canvas.
    """

    edit_asked = Signal(object, object, int)

    def __init__(self, viewer: ViewerModel, header: ImageHeader) -> None:
        super().__init__(viewer)
        self._keys = Keys()
        self.header = header
        self.panel = panel = EverythingPanel(self.viewer, header)
        self.status = panel.status
        fill(self, panel)
        self.review_view = ReviewView(self.viewer)
        self.runs = RunControl(self, panel, self.review_view)
        self.large = LargeRunControl(self, panel)
        self.tools = PlaneTools(self, panel, self.runs)
        self._text_control = TextControl(self, panel, self.runs)
        self._class_control = ClassControl(self, panel, self.review_view)
        self.estimate = RunEstimate(
            self, panel, self.runs, self.large, lambda: self.busy
        )
        # deferred: axes change before the layers that caused it are gone
        self._plane_later = DelayedCall(self._plane_changed, parent=self)
        self._lines = LineWidth(self, lambda: panel.where.own_regions)
        self._show_choices(load_choices())
        self._image_diameter = ImageDiameter(panel.form)
        # number of the object last opened in Prompts, 0 if none
        self._edited = 0
        self._connect()
        self.attach()

    def _connect(self) -> None:
        panel, estimate = self.panel, self.estimate.later.restart
        self.header.image_combo.layer_changed.connect(self._image_chosen)
        # an axis of channels has no planes
        self.header.channel_combo.changed.connect(self._plane_later.restart)
        panel.where.changed.connect(estimate)
        panel.where.clicked.connect(self._say_drag)
        panel.form.changed.connect(estimate)
        panel.where.draw_button.clicked.connect(self.draw_region)
        panel.run_button.clicked.connect(self._run_clicked)
        panel.similar.asked.connect(self.find_similar)
        panel.cancel_button.clicked.connect(self.cancel)
        panel.filters.changed.connect(self.runs.schedule_selection)
        panel.review.chosen.connect(self.review_view.show)
        panel.review.lost.connect(self.review_view.preview.hide)
        panel.review.undo_asked.connect(self.undo)
        panel.review.said.connect(panel.status.say)
        panel.review.refreshed.connect(self.runs.show_count)
        panel.review.edit_asked.connect(self._edit)
        self.review_view.clicked.connect(panel.review.go_to_label)
        self.large.started.connect(self.runs.let_go)
        for part in (self.runs, self.large, self.tools):
            part.ended.connect(estimate)
        self.runs.ended.connect(self._say_whose)

    @property
    def busy(self) -> bool:
        """True while anything started in this form is running."""
        return (
            self._searching
            or self.session.classifying.running
            or self.session.detector_downloads.running
        )

    @property
    def _searching(self) -> bool:
        """True while a run or a search is in progress."""
        return (
            self.runs.current is not None
            or self.tools.plane is not None
            or self.session.large.running
        )

    @property
    def pending(self) -> bool:
        """True while a change remains to be handled."""
        return (
            self.panel.review.pending
            or self._plane_later.pending
            or self.estimate.later.pending
            or self.runs.pending
        )

    # docking

    def attach(self) -> None:
        """Connect to the viewer and the session, and bind the keys."""
        super().attach()
        # jobs running when the dock was closed were dropped then
        self.panel.show_running(False)
        self.follow_layers(self._layers_changed)
        dims, session = self.viewer.dims, self.session
        for event in ('current_step', 'order', 'ndisplay'):
            self.listen(getattr(dims.events, event), self._plane_later.restart)
        self._lines.attach()
        self.runs.attach()
        self.large.attach()
        self._text_control.attach()
        self._class_control.attach()
        jobs = session.runs.jobs
        for work in (session.classifying, session.detector_downloads):
            self.listen(work.finished, self.estimate.later.restart)
        self.listen_all(
            (session.runs.progress, self._progress),
            (jobs.progress, self._progress),
            (jobs.finished, self.tools.finish),
            (jobs.estimated, self.estimate.show),
            (session.large.estimated, self.estimate.show),
            (session.status, self._say),
            (session.failed, self._fail),
            (session.progress, self._download_progress),
            (session.model_changed, self._model_changed),
            (session.editor.changed, self._editor_changed),
            (self.scene.image_changed, self._follow_scene),
        )
        review = self.panel.review
        self._keys = bind_keys(
            self,
            {
                NEXT_KEY: review.next,
                KEEP_KEY: review.keep,
                REJECT_KEY: review.reject,
                EDIT_KEY: review.edit,
            },
        )
        record = self.header.model_box.record
        if record is not None:
            self.panel.form.show_thresholds(record)
        self._layers_changed()
        where = self.panel.where
        where.follow(where.shapes_combo.layer)
        self._image_chosen(self.header.image_combo.layer)

    def detach(self) -> None:
        """Stop the run, disconnect, and unbind the keys."""
        # first: this shows the results of a run, and estimates once more
        self.runs.detach()
        self._plane_later.cancel()
        self.estimate.later.cancel()
        self.tools.abandon()
        self.session.classifying.abandon()
        self.large.abandon()
        self.panel.where.let_go()
        unbind_keys(self.viewer, self._keys)
        super().detach()

    # the viewer

    def _layers_changed(self, event: Any = None) -> None:
        panel = self.panel
        self.header.refresh()
        panel.labels_combo.refresh()
        panel.similar.labels_combo.refresh()
        panel.classes.labels_combo.refresh()
        panel.where.shapes_combo.refresh()
        panel.more.shapes_combo.refresh()
        self._choose_labels(new_image=False)
        gone = getattr(event, 'value', None)
        if getattr(event, 'type', '') == 'removed' and gone is not None:
            self._removed(gone)

    def _removed(self, gone: Layer) -> None:
        """Stop the run on a removed layer."""
        current, results = self.runs.current, self.runs.results
        if current is not None and gone is current.live.layer:
            current.live.forget()
        elif current is not None and gone in (
            current.layer,
            current.plane.layer,
        ):
            self.runs.lose(gone)
        elif gone is self.large.view.image:
            self.large.abandon()
            self._stopped(gone)
        elif self.tools.plane is not None and gone is self.tools.plane.layer:
            self.tools.abandon()
            self._stopped(gone)
        elif results is not None and gone in (
            results.layer,
            results.plane.layer,
        ):
            self.session.runs.abandon()
            self.runs.let_go()
            self.status.say(
                f'“{gone.name}” was removed: run again to restore its objects.'
            )

    def _stopped(self, gone: Layer) -> None:
        self.runs.let_go()
        self.panel.show_running(False)
        self.estimate.later.restart()
        self.status.say(
            f'“{gone.name}” was removed during the run; nothing was written.'
        )

    def _image_chosen(self, image: Image | None) -> None:
        self._image_diameter.follow(image)
        self._choose_labels(new_image=True)
        self._plane_changed()
        if self.busy:
            # that of the image before
            self.panel.estimate_label.setText('')
            return
        self.status.say(
            HINT if image is not None else 'Open an image to start.'
        )
        self._say_whose()

    def _say_whose(self) -> None:
        """Say to which image the results belong if another one is selected."""
        results, image = self.runs.results, self.header.image_combo.layer
        if results is None or image in (None, results.plane.layer):
            return
        self.status.say(
            f'{self.status.text} Filters and review still show the results '
            f'of “{results.plane.layer.name}”.'
        )

    def _choose_labels(self, new_image: bool) -> None:
        """Choose labels of the selected image.

        Parameters
        ----------
        new_image : bool
            Whether the image was just selected; otherwise labels chosen by the
            user stay, unless their pixel grid differs.
        """
        image, panel = self.header.image_combo.layer, self.panel
        if image is None:
            return
        for combo in (panel.similar.labels_combo, panel.classes.labels_combo):
            chosen = combo.layer
            best = max(
                combo.layers,
                key=partial(suitability, image=image),
                default=None,
            )
            if best is None or chosen is None:
                continue
            enough = suitability(best, image) if new_image else 1
            if suitability(chosen, image) < enough:
                combo.layer = best
        chosen = panel.labels_combo.layer
        if new_image and SERIES_MARK in image.metadata:
            # those that are saved
            panel.labels_combo.layer = self.scene.labels_of(image)
        elif new_image and not (chosen is None or suitability(chosen, image)):
            panel.labels_combo.layer = None

    def _follow_scene(self, image: Image | None) -> None:
        """Choose the image set by a series or a script."""
        if image is not None:
            self.header.image_combo.layer = image

    def _plane_changed(self) -> None:
        image, plane = self.header.image_combo.layer, None
        if image is not None:
            with contextlib.suppress(SegmentationError):
                plane = self.header.plane
        self.panel.where.offer(image, plane)
        self.large.offer(plane)
        self.estimate.later.restart()

    def draw_region(self) -> None:
        """Start drawing a region on the canvas."""
        with self.status.errors():
            self.panel.where.draw(self.header.plane)
            self._say_drag()

    def _say_drag(self) -> None:
        self.status.say(
            'Drag a rectangle around the objects to segment, then press Run.'
        )

    # the run

    def run(self) -> None:
        """Segment the chosen part of the chosen image."""
        with self.status.errors():
            plane = self.header.plane
            self.panel.where.end_drawing(plane.layer)
            if self.large.offer(plane):
                self.large.start(plane)
            else:
                self.runs.start(plane)
        # segment even if the choices cannot be saved
        with contextlib.suppress(OSError):
            save_choices(self.choices())

    def _run_clicked(self) -> None:
        # Run is disabled then, and the section below would get the focus:
        # Space would fold it instead of moving the image
        focus_canvas(self)
        self.run()

    def find_similar(self) -> None:
        """Find objects similar to the chosen examples, in the chosen part."""
        with self.status.errors():
            chosen = self.panel.similar
            labels = chosen.labels_combo.layer
            if labels is None:
                raise PromptError(NO_EXAMPLES)
            plane = self.header.plane
            if is_ours(labels) and not suitability(labels, plane.layer):
                raise PromptError(
                    f'“{labels.name}” belongs to another image than '
                    f'“{plane.layer.name}”: choose labels of that image, or '
                    'accept an object there first.'
                )
            self.runs.find_similar(plane, labels, chosen.examples)

    def cancel(self) -> None:
        """Stop and keep the objects found."""
        kept = '; the objects found are kept' if self._searching else ''
        self.status.say(f'Stopping{kept} …', busy=True)
        # and show no further progress
        self.panel.cancel_button.setEnabled(False)
        self.tools.cancel()
        self.session.runs.cancel()
        self.session.large.cancel()

    def choices(self) -> EverythingChoices:
        """Return the choices of the form that are kept between sessions."""
        return EverythingChoices(
            self.panel.form.value,
            self.panel.kind_combo.currentText(),
            self.panel.leave_box.isChecked(),
        )

    def _show_choices(self, choices: EverythingChoices) -> None:
        self.panel.form.value = choices.parameters
        self.panel.kind_combo.setCurrentText(choices.result or INSTANCES)
        self.panel.leave_box.setChecked(choices.leave)

    def _edit(self, record: ObjectRecord) -> None:
        results = self.runs.results
        if results is None or results.layer is None:
            return
        self.review_view.preview.hide()
        self.status.say(OPEN_IN_PROMPTS.format(record.number))
        self.edit_asked.emit(results.plane.layer, results.layer, record.number)
        self._edited = record.number

    def _editor_changed(self) -> None:
        """Remove the note about an open object once it is closed."""
        number = self.session.editor.record.number
        if self._edited and number != self._edited:
            if self.status.text == OPEN_IN_PROMPTS.format(self._edited):
                self.status.say('')
                self.runs.show_count()
            self._edited = 0

    # the session

    def _progress(self, done: int, total: int, message: str) -> None:
        if self._searching:
            self.runs.show_progress(done, total, message)

    def _say(self, text: str, topic: str) -> None:
        # once Cancel was pressed, nothing replaces “Stopping”
        runs = self._searching and self.panel.cancel_button.isEnabled()
        if topic == 'model' or (topic == 'everything' and runs):
            self.status.say(text, busy=True)

    def _fail(self, text: str, topic: str) -> None:
        if topic == 'model':
            self.status.fail(text)
        elif topic == 'everything':
            if self._searching:
                self.runs.let_go()
                self.tools.abandon()
                self.large.abandon()
            self.panel.show_running(False)
            self.estimate.later.restart()
            self.status.fail(text)

    def _download_progress(self, topic: str, done: int, total: int) -> None:
        if topic == 'model':
            self.status.show_progress(done, total)

    def _model_changed(self, record: ModelRecord) -> None:
        self.panel.form.show_thresholds(record)
        self.estimate.later.restart()
        if not self.busy and self.status.busy:
            self.status.say(f'{record.name} is loaded. {HINT}')
