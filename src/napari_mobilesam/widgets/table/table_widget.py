"""“Table”: measurements of the objects of labels, linked to the canvas."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import napari.viewer
import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QDockWidget,
    QLineEdit,
)

from napari_mobilesam.measure.table_columns import (
    class_counts,
    histogram,
    histogram_columns,
    numbers_of,
    within,
)
from napari_mobilesam.session.measuring import (
    MeasureRequest,
    Measuring,
    with_entered_scale,
)
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.parts.controls import (
    explain_rows,
    group_form,
    narrow,
    scrollable,
    show_focus,
    wide_button,
)
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.layer_choices import LayerChoices
from napari_mobilesam.widgets.parts.layouts import column, row
from napari_mobilesam.widgets.parts.message_label import MessageLabel
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.table.disk_objects import DiskObjects
from napari_mobilesam.widgets.table.histogram_plot import HistogramPlot
from napari_mobilesam.widgets.table.marked_objects import MarkedObjects
from napari_mobilesam.widgets.table.measured_layers import (
    for_export,
    merged,
    object_rows,
    request_of,
)
from napari_mobilesam.widgets.table.object_rows import LABEL, ObjectRows
from napari_mobilesam.widgets.table.table_export import NOTHING, TableExport
from napari_mobilesam.widgets.viewer.brush_history import (
    REPLAYED,
    replayed_event,
)
from napari_mobilesam.widgets.viewer.delete_labels import delete_labels
from napari_mobilesam.widgets.viewer.layers import data_of
from napari_mobilesam.widgets.viewer.look_at import (
    look_at,
    move_sliders,
    slider_pixels,
)
from napari_mobilesam.widgets.viewer.main_thread import MainThread
from napari_mobilesam.widgets.viewer.measured_box import (
    box_to_look_at,
    pixel_near,
)
from napari_mobilesam.widgets.viewer.track_layers import NO_LABELS

if TYPE_CHECKING:
    import pandas as pd

HINT = 'Measure fills the table; click a row to see its object.'
SORT = 'Click a row to see its object, a title to sort. Measure adds columns.'
NO_IMAGE = 'no intensities'
# Labels with at most this many pixels are measured again after each change.
SMALL = 1 << 22
PAUSE_MS = 800
ROWS_TIP = (
    'A click shows an object; a double click or Enter opens it for editing.\n'
    'Delete deletes the selected objects, Ctrl+C copies their rows.'
)
ROW_TIPS = {
    'Labels': 'Layer whose objects are measured.',
    'Intensities of': 'Image whose intensities are measured.',
    'Pixel size': 'Such as 20.2 nm; for a stack 0.8 0.2 0.2 µm.\n'
    'If empty, that of the layer or its file.',
}


class TableWidget(ViewerWidget):
    """Dock widget “Table”.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer, passed by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        show_focus(self)
        self._listened: Labels | None = None
        self._choosing = False
        # behind another tab, whose objects are looked at
        self._hidden = False
        # whether the labels have changed since they began to be measured
        self._stale = False
        # range selected in the histogram
        self._span: tuple[float, float] | None = None
        # label of the open object, whose outline comes from the prompts
        self._open_label = 0
        # labels whose objects may have moved since they were measured
        self._repainted: weakref.WeakSet[Labels] = weakref.WeakSet()
        self.measuring = Measuring(MainThread())
        self.close_with_dock(self.measuring)
        self._later = DelayedCall(self._measure_again, PAUSE_MS, self)
        self.marked = MarkedObjects(self.viewer, self.measuring)
        self._build()
        self._on_disk = DiskObjects(self, self.cancel_button)
        self._connect()
        self.attach()

    def _build(self) -> None:
        self._layers = LayerChoices(self, NO_IMAGE)
        self.labels_combo = self._layers.labels
        self.image_combo = self._layers.image
        self.size_edit = QLineEdit()
        self.size_edit.setPlaceholderText('of the layer or file')
        self.measure_button = wide_button('Measure')
        self.cancel_button = wide_button('Cancel')
        self.follow_box = QCheckBox('Keep up to date')
        self.follow_box.setToolTip(
            'Measure again after each change of the labels, unless they are '
            'large.'
        )
        self.rows = ObjectRows()
        self.rows.setToolTip(ROWS_TIP)
        self.column_combo = narrow(QComboBox())
        self.plot = HistogramPlot()
        self.count_label = MessageLabel()
        self.delete_button = wide_button('Delete selected')
        self.delete_button.setToolTip(
            'Delete the selected objects, as one step that can be undone.\n'
            'Delete in the table does the same.'
        )
        self.undo_button = wide_button('Undo')
        self.status = StatusLine()
        self.exporting = TableExport(
            self, self._layers, self.measuring, self.status
        )
        data, form = group_form('Measure')
        form.addRow('Labels', self.labels_combo)
        form.addRow('Intensities of', self.image_combo)
        form.addRow('Pixel size', self.size_edit)
        explain_rows(form, ROW_TIPS)
        form.addRow(self.follow_box)
        form.addRow(row(self.measure_button, self.cancel_button))
        chosen, form = group_form('Select')
        form.addRow('Histogram of', self.column_combo)
        form.addRow(self.plot)
        form.addRow(self.count_label)
        buttons = row(
            self.delete_button, self.undo_button, self.exporting.button
        )
        contents = column(data, self.rows, chosen)
        contents.setStretchFactor(self.rows, 1)
        scrollable(self, contents, self.status, buttons)

    def _connect(self) -> None:
        self.labels_combo.layer_changed.connect(self._labels_chosen)
        self.measure_button.clicked.connect(self.measure)
        self.size_edit.returnPressed.connect(self.measure)
        self.cancel_button.clicked.connect(self.measuring.cancel)
        self.follow_box.toggled.connect(self._changed)
        self.rows.chosen.connect(self._row_chosen)
        self.rows.edit_asked.connect(self._edit)
        self.rows.delete_asked.connect(self.delete)
        self.rows.copy_asked.connect(self.copy)
        self.column_combo.activated.connect(self._show_histogram)
        self.plot.brushed.connect(self._brushed)
        self.delete_button.clicked.connect(self.delete)
        self.undo_button.clicked.connect(self.undo)

    def attach(self) -> None:
        """Listen to viewer and session."""
        super().attach()
        self.listen_all(
            (self.session.editor.opened, self._opened),
            (self.session.navigation.restored, self.status.say),
            (self.session.editor.changed, self._follow_editor),
            (self.measuring.progress, self._progress),
            (self.measuring.finished, self._finish),
            (self.measuring.stopped, self._stopped),
            (self.measuring.failed, self._fail),
        )
        self._on_disk.attach()
        self._layers.attach()
        self._labels_chosen(self.labels_combo.layer)
        self._end()

    def detach(self) -> None:
        """Stop measuring, and remove the overlay."""
        self._later.cancel()
        self.measuring.close()
        self._listen_to(None)
        self.marked.remove()
        super().detach()

    def follow_dock(self, docked: bool) -> None:
        """Attach in a dock, and follow whether it is seen."""
        super().follow_dock(docked)
        dock = self.parent()
        if isinstance(dock, QDockWidget):
            dock.visibilityChanged.connect(self._seen)

    def _seen(self, visible: bool) -> None:
        self._hidden = not visible
        if visible:
            self._show_marks()
        else:
            self.marked.hide()

    @property
    def pending(self) -> bool:
        """True if objects are, or will soon be, measured."""
        idle = self.measuring.wait(0.01)
        return bool(self._later.pending or self.measuring.running or not idle)

    # layers

    def _labels_chosen(self, labels: Labels | None) -> None:
        if labels is not self._listened:
            # others may have pixels of another size
            self.size_edit.clear()
        self._listen_to(labels)
        self.marked.hide()
        self._follow_editor()
        self._show_table()
        if labels is None:
            self.status.say(NO_LABELS)
        elif not self.measuring.running:
            self.status.say(SORT if self.rows.count else HINT)

    def _listen_to(self, labels: Labels | None) -> None:
        before, self._listened = self._listened, labels
        callbacks = {
            'data': self._changed,
            'labels_update': self._changed,
            'features': self._features_changed,
            'selected_label': self._label_selected,
            'paint': self._repaint,
            REPLAYED: self._repaint,
        }
        if labels is not None:
            replayed_event(labels)
        self.listen_instead(before, labels, callbacks)

    def _changed(self, event: Any = None) -> None:
        """Schedule another measurement, if enabled."""
        labels = self.labels_combo.layer
        self._stale = True
        if labels is None or not self.follow_box.isChecked():
            return
        if int(np.prod(data_of(labels).shape)) <= SMALL:
            self._later.restart()

    def _repaint(self, event: Any = None) -> None:
        """Note a stroke of the brush, or its undo."""
        if self._listened is not None:
            self._repainted.add(self._listened)
        self._changed()

    def _features_changed(self, event: Any = None) -> None:
        self._show_table()
        self._changed()

    # measuring

    def measure(self) -> None:
        """Measure the objects of the chosen labels."""
        labels, image = self.labels_combo.layer, self.image_combo.layer
        if labels is None:
            self.status.fail(NO_LABELS)
            return
        with self.status.errors():
            self.session.erasing.check_idle()
            request = request_of(labels, image, self.scene)
            request = with_entered_scale(request, self.size_edit.text())
            self._later.cancel()
            self._stale = False
            self.measuring.start(request)
            self.measure_button.setEnabled(False)
            self.cancel_button.setEnabled(True)
            self.status.say('Measuring …', busy=True)

    def _measure_again(self) -> None:
        # after a deletion on disk, the features change
        if not (self.measuring.running or self.session.erasing.running):
            self.measure()

    def _progress(self, done: int, total: int, text: str) -> None:
        self.status.say(f'{text} …', busy=True)
        self.status.show_progress(done, total)

    def _end(self) -> None:
        self.measure_button.setEnabled(True)
        self.cancel_button.setEnabled(self.session.erasing.running)

    def _finish(
        self,
        request: MeasureRequest,
        table: pd.DataFrame,
        frames: pd.DataFrame | None,
    ) -> None:
        self._end()
        labels = request.owner
        if labels not in self.viewer.layers:
            self.status.say('The labels were removed.')
            return
        if self._stale and labels is self.labels_combo.layer:
            # measured partly before and partly after a change of the labels
            self.measure()
            return
        self._repainted.discard(labels)
        self.exporting.note_frames(labels, frames)
        self._choosing = True
        try:
            labels.features = merged(labels.features, table)
        finally:
            self._choosing = False
        self._later.cancel()
        if labels is self.labels_combo.layer:
            self._show_table()
        text = f'{counted(len(table), "object")} measured. {request.note}'
        self.status.say(text.strip() if len(table) else NOTHING)

    def _stopped(self) -> None:
        self._end()
        self.status.say('Stopped; the table is unchanged.')

    def _fail(self, text: str) -> None:
        self._end()
        if self._stale and self.labels_combo.layer is not None:
            # an object disappeared during the measurement
            self.measure()
            return
        self.status.fail(text)

    # the table

    @property
    def table(self) -> pd.DataFrame:
        """The feature table of the chosen labels, without background."""
        return object_rows(self.labels_combo.layer)

    def _show_table(self) -> None:
        if self._choosing:
            return
        table = self.table
        self.rows.show_table(table)
        before = self.column_combo.currentText()
        names = [n for n in histogram_columns(table) if n != LABEL]
        self.column_combo.clear()
        self.column_combo.addItems(names)
        for name in (before, 'area'):
            if name in names:
                self.column_combo.setCurrentText(name)
                break
        self._show_histogram()
        self.exporting.refresh()

    def _show_histogram(self, index: int = 0) -> None:
        name, table = self.column_combo.currentText(), self.table
        values = numbers_of(table, name) if name else np.zeros(0)
        self.plot.show_histogram(histogram(values))
        self._brushed(None)

    def _brushed(self, span: tuple[float, float] | None) -> None:
        """Select the objects within a range of the histogram."""
        table, name = self.table, self.column_combo.currentText()
        chosen = np.zeros(len(table), bool)
        if span is not None and name in table:
            chosen = within(numbers_of(table, name), *span)
        self.rows.mark(chosen)
        self._span = span
        self._show_selection()

    def _show_selection(self) -> None:
        """Outline the selected objects, and report which they are."""
        selected, span = self.rows.selected, self._span
        self.delete_button.setEnabled(len(selected) > 0)
        objects = counted(self.rows.count, 'object')
        text = f'{len(selected):,} of {objects} selected'
        if span is not None:
            name = self.column_combo.currentText()
            text += f': {name} from {span[0]:.4g} to {span[1]:.4g}'
        elif len(selected):
            text += f': object {selected[0]}'
        if not self._show_marks():
            text += '; the labels are too large, or not in memory, to '
            text += 'highlight them'
        table = self.table
        if len(selected):
            table = table[table['index'].isin(selected)]
        classes = class_counts(table)
        self.count_label.setText(f'{text}.\n{classes}'.strip())

    def _show_marks(self) -> bool:
        """Outline the selected objects and the object of the current row."""
        labels = self.labels_combo.layer
        if labels is None or self._hidden:
            return True
        chosen, current = self.rows.marked, self.rows.current
        if self._open_label:
            chosen = chosen[chosen != self._open_label]
            current = 0 if current == self._open_label else current
        return self.marked.show(labels, chosen, current)

    def select(self, column: str, low: float, high: float) -> None:
        """Select objects by a range of a column, like the brush.

        Parameters
        ----------
        column : str
            A column of numbers.
        low, high : float
            Ends of the range, inclusive.
        """
        number = self.column_combo.findText(column)
        if number < 0:
            self.status.fail(f'The table has no column “{column}” of numbers.')
            return
        self.column_combo.setCurrentIndex(number)
        self._show_histogram()
        self.plot.select((low, high))
        self._brushed((low, high))

    # rows and objects

    def _row_chosen(self, label: int) -> None:
        """Show the object of a row."""
        labels = self.labels_combo.layer
        if labels is None or self._choosing:
            return
        self._choosing = True
        try:
            labels.selected_label = label
            here = slider_pixels(self.viewer, labels)
            box = box_to_look_at(labels, label, self.scene, here)
            if box is None:
                self.status.say(
                    'Measure first: the position of the object is unknown.'
                )
            else:
                look_at(self.viewer, labels, *box)
        finally:
            self._choosing = False
        self._show_selection()

    def _label_selected(self, event: Any = None) -> None:
        """Choose the row of the label picked on the canvas."""
        labels = self.labels_combo.layer
        if labels is not None and not self._choosing:
            self.rows.choose(int(labels.selected_label))
            self._show_selection()

    def _opened(self, record: Any = None) -> None:
        """Choose the row of the object opened for editing."""
        label = getattr(record, 'label', 0)
        labels = self.labels_combo.layer
        if label and labels is self.scene.labels:
            self.rows.choose(int(label))
            self._show_selection()

    def _follow_editor(self) -> None:
        """Do not outline the labelled pixels of the open object."""
        editor, labels = self.session.editor, self.labels_combo.layer
        label = 0
        if editor.base is not None and labels is self.scene.labels:
            label = int(editor.record.label)
        if label != self._open_label:
            self._open_label = label
            self._show_marks()

    def _edit(self, label: int) -> None:
        """Open an object for editing, as in Prompts and the review."""
        labels = self.labels_combo.layer
        if labels is None:
            return
        with self.status.errors():
            if self.scene.labels is not labels:
                self.scene.labels = labels
            objects = self.scene.objects_of(labels)
            records = [record for record in objects if record.label == label]
            if records:
                self.session.navigation.open(records[0].number)
                self.session.navigation.edited.emit()
                return
            place = pixel_near(self.viewer, labels, label, self.scene)
            # on any plane, whichever is shown by now
            move_sliders(self.viewer, labels, place, place)
            plane = self.scene.layer_plane()
            positions, _ = plane.image_points(labels, place)
            self.session.navigation.open_at(plane.source(), *positions[0])
            self.session.navigation.edited.emit()

    def delete(self) -> None:
        """Delete the selected objects, as one step."""
        labels, chosen = self.labels_combo.layer, self.rows.selected
        if labels is None or not len(chosen):
            return
        if self._on_disk.delete(labels, chosen.tolist()):
            # also if it is cancelled
            self._stale = True
            return
        in_memory = isinstance(data_of(labels), np.ndarray)
        if labels in self._repainted and not in_memory:
            self.status.fail(
                f'“{labels.name}” was painted since it was measured: press '
                'Measure, then delete.'
            )
            return
        with self.status.errors():
            delete_labels(labels, chosen.tolist(), self.scene)
            if self._open_label in chosen:
                # it is no longer an object that could be accepted
                self.session.editor.reject()
            self.status.say(f'Deleted {counted(len(chosen), "object")}.')

    def undo(self) -> None:
        """Undo the last step; if there is none, the last deletion on disk."""
        if not self._on_disk.undo_earlier(self.labels_combo.layer):
            super().undo()

    def copy(self) -> None:
        """Copy the selected rows as tab-separated text."""
        chosen = self.rows.selected
        clipboard = QApplication.clipboard()
        if not len(chosen) or clipboard is None:
            return
        table = for_export(self.table).set_index('label', drop=False)
        rows = table.loc[chosen]
        clipboard.setText(rows.to_csv(sep='\t', index=False))
        self.status.say(f'{counted(len(rows), "row")} copied.')
