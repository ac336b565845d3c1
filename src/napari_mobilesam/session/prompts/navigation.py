"""Navigation between objects: open, next, least certain, undo, redo."""

from __future__ import annotations

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.targets import LabelsError, mask_of_label
from napari_mobilesam.session.prompts.editor import Editor
from napari_mobilesam.types import Prompts


class Navigation:
    """Opens objects of the labels; undo and redo.

    An open object that was changed is accepted before another one is opened.

    Parameters
    ----------
    editor : Editor
        Holds the open object.
    """

    def __init__(self, editor: Editor) -> None:
        self._editor = editor

    def open(self, number: int) -> ObjectRecord:
        """Open an object for editing, with its prompts and candidates.

        Raises
        ------
        LabelsError
            There is no such object.
        """
        objects = self._objects
        if objects is None:
            raise LabelsError('There are no objects yet.')
        record = objects[number]
        return self._editor.bring_back(objects, record)

    def open_at(
        self, plane: ImagePlane, row: float, column: float
    ) -> ObjectRecord | None:
        """Open the object at a position, None if there is none.

        Labelled pixels without an object become one: the connected pixels of
        the label, with the mask as the prompt.

        Parameters
        ----------
        plane : ImagePlane
            Plane that was clicked.
        row, column : float
            Data pixels.
        """
        objects = self._objects
        if objects is None:
            return None
        self._editor.put_aside()
        record = objects.at(plane, row, column)
        if record is None:
            record = adopted(objects, plane, row, column)
        return self._open(objects, record)

    def next(self, by: int = 1) -> ObjectRecord | None:
        """Open the object after the open one, cyclically.

        Parameters
        ----------
        by : int
            -1 for the one before.

        Returns
        -------
        ObjectRecord or None
            None if there is no object.
        """
        objects, here = self._objects, self._editor.record.number
        if objects is None:
            return None
        self._editor.put_aside()
        return self._open(objects, objects.following(here, by))

    def previous(self) -> ObjectRecord | None:
        """Open the object before the open one; see `next`."""
        return self.next(-1)

    def next_uncertain(self) -> ObjectRecord | None:
        """Open the least certain object that was not reviewed yet."""
        objects, here = self._objects, self._editor.record.number
        if objects is None:
            return None
        self._editor.put_aside()
        return self._open(objects, objects.least_certain(here))

    def undo(self) -> str | None:
        """Undo the last step; return its title, None if there is none."""
        return self._through_history(-1)

    def redo(self) -> str | None:
        """Redo the step undone last; return its title, if there is one."""
        return self._through_history(1)

    def _through_history(self, direction: int) -> str | None:
        objects = self._objects
        if objects is None:
            return None
        title = objects.undo() if direction < 0 else objects.redo()
        self._editor.forget_undone()
        return title

    @property
    def _objects(self) -> Objects | None:
        return self._editor.objects

    def _open(
        self, objects: Objects, record: ObjectRecord | None
    ) -> ObjectRecord | None:
        if record is None:
            return None
        return self._editor.bring_back(objects, record)


def adopted(
    objects: Objects, plane: ImagePlane, row: float, column: float
) -> ObjectRecord | None:
    """Make an object of labelled pixels that were not written by a session.

    The connected pixels of the label at a position become the mask and the
    prompt. None if there is no label.
    """
    mask = mask_of_label(objects.target, plane, row, column)
    if mask is None:
        return None
    place = (round(row) - mask.box[0], round(column) - mask.box[1])
    assert mask.data[place]
    picture = objects.target.picture(plane, mask.box)
    label = int(picture[place])
    view = ObjectView(plane, Prompts(region=mask), ObjectCandidates((mask,)))
    return ObjectRecord(
        objects.number_for(label),
        label,
        {plane.place: view},
        origin='labels',
    )
