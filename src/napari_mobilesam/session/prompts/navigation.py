"""Navigation between objects: open, next, least certain, undo, redo."""

from __future__ import annotations

import bisect
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.measure.table_columns import numbers_of
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.history import Undoable
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    classes_of,
    mask_of_label,
    rows_of,
)
from napari_mobilesam.session.prompts.editor import Editor
from napari_mobilesam.types import Prompts, SegmentationError

if TYPE_CHECKING:
    import pandas as pd

# Label and number of an object, or a place between objects.
_Key: TypeAlias = tuple[int, float]
# Pixels of a plane whose labels are listed within a tenth of a second.
READ_AT_ONCE = 1 << 24
# Step title of an accepted object whose mask is pending.
WAITING_ACCEPT = 'accept, the object is open again'


class Navigation:
    """Open objects of the labels; undo and redo.

    A changed open object is kept aside while another one is open.

    Parameters
    ----------
    editor : Editor
        Editor of the open object.
    histories : callable
        Returns everything undoable: objects of labels, and tracks.
    shown : callable
        Returns the displayed plane; may raise `SegmentationError`.

    Attributes
    ----------
    restoring : Signal()
        Emitted before an undo or redo.
    restored : Signal(str)
        Message about an undo or redo, or that there was nothing to undo.
    edited : Signal()
        An object was opened elsewhere, to be edited with prompts.
    """

    restoring = Signal()
    restored = Signal(str)
    edited = Signal()

    def __init__(
        self,
        editor: Editor,
        histories: Callable[[], Sequence[Undoable]],
        shown: Callable[[], ImagePlane],
    ) -> None:
        self._editor = editor
        self._histories = histories
        self._shown = shown
        # the object opened or accepted last, and its labels
        self._last: _Key = (0, 0)
        self._last_home: Callable[[], Objects | None] = lambda: None

    def open(self, number: int) -> ObjectRecord:
        """Open an object for editing, with its prompts and candidates.

        Raises
        ------
        LabelsError
            There is no such object.
        """
        objects = self._editor.target_objects
        if objects is None:
            raise LabelsError('There are no objects yet.')
        return self._bring_back(objects, objects[number])

    def open_at(
        self, plane: ImagePlane, row: float, column: float
    ) -> ObjectRecord | None:
        """Open the object at a position; return None if there is none.

        Labelled pixels without an object become one: the connected pixels of
        the label, with their mask as the prompt.

        Parameters
        ----------
        plane : ImagePlane
            Plane that was clicked.
        row, column : float
            Data pixels.
        """
        objects = self._editor.target_objects
        if objects is None:
            return None
        return self._open(objects, object_at(objects, plane, row, column))

    def next(self, by: int = 1) -> ObjectRecord | None:
        """Open the object after the open one, cyclically.

        In the order of labels; on the displayed plane, those written by other
        programs are objects, too.

        Parameters
        ----------
        by : int
            -1 for the previous one.

        Returns
        -------
        ObjectRecord or None
            None if there is no object.
        """
        objects, record = self._editor.target_objects, self._editor.record
        if objects is None:
            return None
        known = [(each.label, each.number) for each in objects.remaining()]
        foreign = [(label, 0) for label in self._foreign_labels(objects)]
        if not (known or foreign):
            return None
        here: _Key = record.label, record.number
        if record.empty and self._last_home() is objects:
            here = self._last
        label, number = _following(sorted([*known, *foreign]), here, by)
        if number:
            return self._open(objects, objects[int(number)])
        plane = self._shown()
        row, column = np.argwhere(_picture(objects, plane) == label)[0]
        return self._open(objects, object_at(objects, plane, row, column))

    def previous(self) -> ObjectRecord | None:
        """Open the object before the open one; see `next`."""
        return self.next(-1)

    def next_uncertain(self) -> ObjectRecord | None:
        """Open the least certain object that was not reviewed yet."""
        objects, here = self._editor.target_objects, self._editor.record.number
        if objects is None:
            return None
        return self._open(objects, objects.least_certain(here))

    def undo(self) -> str | None:
        """Undo the newest step, in whichever labels it was made.

        An accepted object that waits for its mask is reopened.

        Returns
        -------
        str or None
            Title of the step, with the labels if there are several; None if
            there is no step.
        """
        self.restoring.emit()
        if self._editor.take_back_accept():
            return self._tell('Undone', WAITING_ACCEPT)
        newest = self.next_undo
        title = self._named(newest, None if newest is None else newest.undo())
        return self._tell('Undone', title)

    @property
    def next_undo(self) -> Undoable | None:
        """Labels or tracks of the step to undo; None if none."""
        waiting = self._editor.queue.last
        if waiting is not None:
            return waiting.home
        known = self._histories()
        newest = max(known, key=_undo_order, default=None)
        if newest is None or not _undo_order(newest):
            return None
        return newest

    def redo(self) -> str | None:
        """Redo the step undone last; see `undo`.

        As usual, nothing can be redone after a new step.
        """
        self.restoring.emit()
        newest = self.next_redo
        title = self._named(newest, None if newest is None else newest.redo())
        return self._tell('Redone', title)

    @property
    def next_redo(self) -> Undoable | None:
        """Labels or tracks of the step to redo; None if none."""
        known = self._histories()
        newest = max(known, key=_redo_order, default=None)
        last_step = max((each.history.push_order for each in known), default=0)
        if newest is None or _redo_order(newest) <= last_step:
            return None
        return newest

    def _tell(self, done: str, title: str | None) -> str | None:
        nothing = 'undo' if done == 'Undone' else 'redo'
        self.restored.emit(
            f'{done}: {title}.' if title else f'Nothing to {nothing}.'
        )
        return title

    def _named(self, undone: Undoable | None, title: str | None) -> str | None:
        """Return the title of a step, with its labels if there are several."""
        if undone is None or title is None:
            return None
        self._editor.forget_undone()
        several = len(self._histories()) > 1
        return f'{title} in “{undone.name}”' if several else title

    def note_accepted(self, record: ObjectRecord) -> None:
        """Go on from an accepted object."""
        objects = self._editor.target_objects
        if objects is not None:
            self._note(objects, record)

    def _note(self, objects: Objects, record: ObjectRecord) -> None:
        self._last_home = weakref.ref(objects)
        # once it is closed, “previous” opens it again
        self._last = record.label, record.number + 0.5

    def _foreign_labels(self, objects: Objects) -> list[int]:
        """Return the labels without an object on the displayed plane.

        None on planes that would take long to read.
        """
        try:
            plane = self._shown()
        except SegmentationError:
            return []
        if math.prod(plane.shape) > READ_AT_ONCE:
            return []
        import pandas as pd

        labels = pd.unique(_picture(objects, plane).ravel()).tolist()
        return list({*labels} - {0, *(record.label for record in objects)})

    def _open(
        self, objects: Objects, record: ObjectRecord | None
    ) -> ObjectRecord | None:
        return None if record is None else self._bring_back(objects, record)

    def _bring_back(
        self, objects: Objects, record: ObjectRecord
    ) -> ObjectRecord:
        self._note(objects, record)
        return self._editor.bring_back(objects, record)


def _following(keys: Sequence[_Key], here: _Key, by: int) -> _Key:
    """Return one of sorted keys, some steps after another, cyclically."""
    place = bisect.bisect_left(keys, here)
    if keys[place : place + 1] != [here] and by > 0:
        # it is the next one already
        by -= 1
    return keys[(place + by) % len(keys)]


def _picture(objects: Objects, plane: ImagePlane) -> NDArray[Any]:
    return objects.target.picture(plane, (0, 0, *plane.shape))


def _undo_order(each: Undoable) -> int:
    return each.history.undo_order


def _redo_order(each: Undoable) -> int:
    return each.history.redo_order


def object_at(
    objects: Objects, plane: ImagePlane, row: float, column: float
) -> ObjectRecord | None:
    """Return the object at a position, or labelled pixels as one.

    None if there is neither; see `_adopted` for labelled pixels.
    """
    found = objects.at(plane, row, column)
    return found or _adopted(objects, plane, row, column)


def _adopted(
    objects: Objects, plane: ImagePlane, row: float, column: float
) -> ObjectRecord | None:
    """Return an object for labelled pixels not written by a session.

    The connected pixels of the label at a position become both mask and
    prompt; class and scores come from the feature table. The object has no
    number until it is written. None if there is no label.
    """
    mask = mask_of_label(objects.target, plane, row, column)
    if mask is None:
        return None
    place = (round(row) - mask.box[0], round(column) - mask.box[1])
    assert mask.data[place]
    picture = objects.target.picture(plane, mask.box)
    label = int(picture[place])
    rows = rows_of(objects.target, {label})
    mask = replace(
        mask,
        score=_first_of(rows, 'score'),
        stability=_first_of(rows, 'stability'),
    )
    view = ObjectView(plane, Prompts(region=mask), ObjectCandidates((mask,)))
    return ObjectRecord(
        0,
        label,
        {plane.place: view},
        classes_of(objects.target, {label}).get(label, ''),
        'labels',
    )


def _first_of(rows: pd.DataFrame, name: str) -> float:
    """Return the first number in a column, NaN if there is none."""
    known = len(rows) and name in rows
    return float(numbers_of(rows, name)[0]) if known else math.nan
