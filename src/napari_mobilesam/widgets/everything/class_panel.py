"""Classes proposed for the objects of labels, least certain first."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import (  # type: ignore[attr-defined]
    QModelIndex,
    Signal,
)
from qtpy.QtWidgets import QComboBox, QWidget

from napari_mobilesam.widgets.parts.controls import (
    explain_rows,
    form_layout,
    narrow,
    wide_button,
)
from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.parts.layouts import row
from napari_mobilesam.widgets.parts.object_list import (
    ObjectListModel,
    ObjectTable,
)
from napari_mobilesam.widgets.viewer.layers import is_output

HEADERS = ('Object', 'Class', 'Certainty')
TIPS = (
    'Label of the object.',
    'Proposed class; choose another one below.',
    'Probability of the proposed class.',
)
LIST_ROWS = 5
NONE = 'none'
ROW_TIPS = {
    'Labels': 'Layer whose objects get classes.',
}


class _ClassesModel(ObjectListModel):
    """Rows (label, class, probability)."""

    def __init__(self) -> None:
        super().__init__(HEADERS, TIPS, words=(1,))

    def change(self, row: int, name: str, chance: float = 1.0) -> None:
        """Set the class of a row, which is certain if chosen by a user."""
        self.rows[row] = (self.rows[row][0], name, chance)
        last = len(HEADERS) - 1
        self.dataChanged.emit(self.index(row, 0), self.index(row, last))


class ClassPanel(QWidget):
    """Buttons to propose and accept classes, and the list of proposals.

    Attributes
    ----------
    proposed : Signal
        Emitted to request proposals.
    accepted : Signal
        Emitted to accept the proposals.
    chosen : Signal(int)
        Label of the row that the user chose.
    """

    proposed = Signal()
    accepted = Signal()
    chosen = Signal(int)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.labels_combo = LayerCombo(viewer, is_output)
        self.button = wide_button('Propose classes')
        self.button.setToolTip(
            'Propose a class for each object of the plane without one.\n'
            'Assign classes to a few objects first, in Segment by prompts.'
        )
        self.table = ObjectTable()
        self._model = _ClassesModel()
        self.table.list_objects(self._model, 2, LIST_ROWS)
        header: Any = self.table.horizontalHeader()
        header.setSectionResizeMode(header.ResizeMode.Stretch)
        self.table.chosen.connect(self._row_chosen)
        self.class_combo = narrow(QComboBox())
        self.class_combo.setToolTip('Correct the class of the chosen row.')
        self.class_combo.activated.connect(self._correct)
        self.accept_button = wide_button('Accept classes')
        self.accept_button.setToolTip('Assign the classes, as one step.')
        form = form_layout(self)
        form.addRow('Labels', self.labels_combo)
        explain_rows(form, ROW_TIPS)
        form.addRow(self.button)
        form.addRow(self.table)
        form.addRow(row(self.class_combo, self.accept_button))
        self.button.clicked.connect(self.proposed)
        self.accept_button.clicked.connect(self.accepted)
        self.show_proposals([], [])

    @property
    def classes(self) -> dict[int, str]:
        """Class of each label; empty to leave it unchanged."""
        return {
            label: '' if name == NONE else name
            for label, name, _ in self._model.rows
        }

    def show_proposals(
        self, rows: list[tuple[int, str, float]], names: list[str]
    ) -> None:
        """Show (label, class, probability) of each object.

        Parameters
        ----------
        rows : list of tuple
            The proposals.
        names : list of str
            Classes to choose from.
        """
        self.table.choose(None)
        self._model.show(rows)
        self.class_combo.clear()
        self.class_combo.addItems([*names, NONE] if rows else [])
        for part in (self.table, self.class_combo, self.accept_button):
            part.setVisible(bool(rows))

    def rename(self, name: str, new: str) -> None:
        """Follow a class that was renamed, or removed if `new` is empty."""
        for place, (_, given, chance) in enumerate(self._model.rows):
            if given == name:
                self._model.change(place, new or NONE, chance)
        old = self.class_combo.findText(name)
        if old < 0:
            return
        if new and self.class_combo.findText(new) < 0:
            self.class_combo.setItemText(old, new)
        else:
            self.class_combo.removeItem(old)
            self._show_class(self.table.currentIndex())

    def _show_class(self, row: QModelIndex) -> None:
        if row.isValid():
            self.class_combo.setCurrentText(self._model.rows[row.row()][1])

    def _row_chosen(self, label: int) -> None:
        self._show_class(self.table.currentIndex())
        self.chosen.emit(label)

    def _correct(self, index: int) -> None:
        row = self.table.currentIndex().row()
        if row >= 0:
            self._model.change(row, self.class_combo.itemText(index))
