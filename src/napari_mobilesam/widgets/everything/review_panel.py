"""Review of objects, least certain first: keep, reject, edit."""

from __future__ import annotations

from collections import Counter

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QLabel, QWidget

from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.targets import LabelsError
from napari_mobilesam.widgets.everything.review_table import (
    ReviewRow,
    ReviewTable,
)
from napari_mobilesam.widgets.parts.controls import wide_button
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.layouts import stack, two_columns

REVIEW_KEYS = NEXT_KEY, KEEP_KEY, REJECT_KEY, EDIT_KEY = (
    'Shift+N',
    'Shift+Y',
    'Shift+R',
    'Shift+E',
)
KEPT = 'kept'
NO_OBJECTS = 'There are no objects.'
ALL_REVIEWED = 'Every object has been reviewed.'


class ReviewPanel(QWidget):
    """Table of the objects of labels, and buttons to keep or reject them.

    Each decision is one step in the history of the labels, and moves on to the
    next least certain object.

    Attributes
    ----------
    chosen : Signal(ObjectRecord)
        Object to show.
    edit_asked : Signal(ObjectRecord)
        Object to open for editing.
    undo_asked : Signal
        Emitted to undo the last step.
    said : Signal(str)
        Message for the status line.
    refreshed : Signal
        The table was updated after objects changed.
    lost : Signal
        The displayed object is gone.
    """

    chosen = Signal(object)
    edit_asked = Signal(object)
    undo_asked = Signal()
    said = Signal(str)
    refreshed = Signal()
    lost = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._objects: Objects | None = None
        self._decided: list[int] = []
        self.current = 0
        self.count = QLabel()
        self.table = ReviewTable()
        self.next_button = wide_button(f'Next least certain ({NEXT_KEY})')
        self.keep_button = wide_button(f'Keep ({KEEP_KEY})')
        self.reject_button = wide_button(f'Reject ({REJECT_KEY})')
        self.edit_button = wide_button(f'Edit ({EDIT_KEY})')
        self.undo_button = wide_button('Undo')
        self._refresh_later = DelayedCall(self._refresh, parent=self)
        self._arrange()
        self.table.chosen.connect(self.go_to)
        self.next_button.clicked.connect(self.next)
        self.keep_button.clicked.connect(self.keep)
        self.reject_button.clicked.connect(self.reject)
        self.edit_button.clicked.connect(self.edit)
        self.undo_button.clicked.connect(self.undo_asked)

    def _arrange(self) -> None:
        tips = {
            self.next_button: 'Show the least certain unreviewed object.',
            self.keep_button: 'Keep the object, whatever the filters.',
            self.reject_button: 'Delete the object. Undo brings it back.',
            self.edit_button: 'Edit the object and its prompts in “Segment '
            'by prompts”.',
            self.undo_button: 'Undo the last step.',
        }
        for button, tip in tips.items():
            button.setToolTip(tip)
        grid = two_columns(
            (self.next_button,),
            (self.keep_button, self.reject_button),
            (self.edit_button, self.undo_button),
        )
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        stack(self, self.count, grid, self.table, spacing=6)

    @property
    def pending(self) -> bool:
        """True if the table has yet to be refreshed."""
        return self._refresh_later.pending

    @property
    def objects(self) -> Objects | None:
        """Objects under review."""
        return self._objects

    def review(self, objects: Objects | None) -> None:
        """Review other objects, or none."""
        if self._objects is not None:
            self._objects.changed.disconnect(self._refresh_later.restart)
        self._objects = objects
        self.current = 0
        self._decided.clear()
        if objects is not None:
            objects.changed.connect(self._refresh_later.restart)
        self._refresh()

    def next(self) -> None:
        """Go to the next least certain object."""
        if self._objects is not None:
            self._go_on(self._objects.least_certain(self.current))

    def keep(self) -> None:
        """Keep the current object and go to the next one."""
        record = self._idle_record()
        if record is not None and self._objects is not None:
            self._objects.review(record.number)
            self._decided.append(record.number)
            following = self._objects.least_certain(record.number)
            self._go_on(following, f'{record.text.capitalize()} is kept. ')

    def reject(self) -> None:
        """Delete the current object and go to the next one."""
        record = self._idle_record()
        if record is not None and self._objects is not None:
            # searched while its place in the order is still known
            following = self._objects.least_certain(record.number)
            self._objects.delete(record.number)
            self._decided.append(record.number)
            if following is None or following.number == record.number:
                following = self._objects.least_certain()
            self.current = 0
            self._go_on(
                following,
                f'{record.text.capitalize()} deleted. '
                f'{self.undo_button.text()} brings it back. ',
            )

    def _go_on(self, following: ObjectRecord | None, said: str = '') -> None:
        """Show the next object, and ask for a decision on it."""
        if following is None:
            left = ALL_REVIEWED if self._objects else NO_OBJECTS
            self.said.emit(f'{said}{left}')
        else:
            self._show(following)
            self.said.emit(f'{said}{_question(following)}')

    def edit(self) -> None:
        """Request that the current object be opened for prompts."""
        record = self._record()
        if record is not None:
            self.edit_asked.emit(record)

    def show_undo_key(self, key: str) -> None:
        """Show the key that undoes the last step."""
        self.undo_button.setText(f'Undo ({key})' if key else 'Undo')

    def leave(self) -> None:
        """Choose no object."""
        self.current = 0
        self.table.choose(0)

    def go_to(self, number: int) -> None:
        """Show an object, if it exists."""
        record = None if self._objects is None else self._objects.get(number)
        if record is not None:
            self._show(record)

    def go_to_label(self, label: int) -> None:
        """Show the object of a label; of several, the least certain."""
        objects = self._objects or ()
        members = [record for record in objects if record.label == label]
        if members:
            self._show(min(members, key=lambda record: record.score))

    def _record(self) -> ObjectRecord | None:
        record = self._objects and self._objects.get(self.current)
        if not record:
            self.said.emit(
                'Choose an object first: click it on the canvas or in the '
                f'table, or press {NEXT_KEY}.'
            )
            return None
        return record

    def _idle_record(self) -> ObjectRecord | None:
        """Return the current object, unless it cannot be changed."""
        record = self._record()
        if record is not None and self._objects is not None:
            try:
                self._objects.target.check()
                self._objects.check_idle(record)
            except LabelsError as error:
                self.said.emit(str(error))
                return None
        return record

    def _show_undone(self) -> None:
        """Go back to the object whose decision was undone."""
        if self._objects is None:
            return
        found = [self._objects.get(number) for number in self._decided]
        undone = [x for x in found if x is not None and not x.reviewed]
        if undone:
            for record in undone:
                self._decided.remove(record.number)
            self._show(undone[-1])

    def _show(self, record: ObjectRecord) -> None:
        self.current = record.number
        self.table.choose(record.number)
        self.chosen.emit(record)

    def _refresh(self) -> None:
        objects = self._objects
        if self.current and (objects is None or self.current not in objects):
            self.current = 0
            self.lost.emit()
        self._show_undone()
        records = [] if objects is None else list(objects)
        areas = {} if objects is None else _areas_in(objects)
        rows = [
            ReviewRow(
                record.number,
                record.score,
                record.stability,
                areas.get(record.label, record.area),
                KEPT if record.reviewed else '',
            )
            for record in records
        ]
        self.table.show_rows(rows, self.current)
        kept = sum(record.reviewed for record in records)
        self.count.setText(
            f'{len(records):,} objects, {kept:,} kept by you'
            if len(records) != 1
            else f'1 object{", kept by you" if kept else ""}'
        )
        self.refreshed.emit()


def _areas_in(objects: Objects) -> dict[int, int]:
    """Return the known areas of labels from the feature table.

    Of overlapping objects, only one has the pixels. Labels shared by several
    objects are left out.
    """
    table = objects.target.features()
    if 'area' not in table:
        return {}
    shared = Counter(record.label for record in objects)
    known = table[['index', 'area']].dropna()
    return {
        int(label): int(area)
        for label, area in zip(known['index'], known['area'], strict=True)
        if shared[int(label)] == 1
    }


def _question(record: ObjectRecord) -> str:
    score = f', score {record.score:.2f}' if record.score >= 0 else ''
    return f'{record.text.capitalize()}{score}: keep or reject it.'
