"""Commands to assign, propose, rename and colour classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from napari_mobilesam.argument_checks import check_class_name, check_flag
from napari_mobilesam.segmentation.prompt_checks import checked_path
from napari_mobilesam.session.class_jobs import (
    ProposedClasses,
    accept_classes,
)
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.session.objects.writing import (
    assign_class,
    reassign_class,
)
from napari_mobilesam.session.prompts.edited_object import write_class
from napari_mobilesam.session.prompts.navigation import object_at
from napari_mobilesam.session.session_parts import SessionParts
from napari_mobilesam.types import SegmentationError


class ClassCommands:
    """Classes of objects."""

    def __init__(self, parts: SessionParts) -> None:
        self._parts = parts
        # name, new name (empty: removed or merged) and colour
        self._renamed: list[tuple[str, str, str]] = []
        # names before an undo or redo; colouring by class adds those it finds
        self._before: set[str] = set()
        parts.navigation.restoring.connect(self._note_names)
        parts.navigation.restored.connect(self.follow_history)

    def assign_class(
        self,
        class_name: str,
        number: int | None = None,
        at: tuple[float, float] | None = None,
    ) -> ObjectRecord | None:
        """Assign an object to a class.

        By default, the open object and those accepted after it; with a number
        or a position, an object of the labels, as one undoable step.

        Parameters
        ----------
        class_name : str
            Name of the class, or empty for none.
        number : int, optional
            Number of an object in the labels, which keeps its label.
        at : (row, column), optional
            Position on an object, on the displayed plane. If labels are class
            numbers, its pixels get the number of the class.

        Returns
        -------
        ObjectRecord or None
            The object; None if there is none at the position.

        Raises
        ------
        SegmentationError
            The name is not text, both number and position are given, there is
            no such object, or the labels cannot be written.
        """
        check_class_name('class_name', class_name)
        record: ObjectRecord | None
        if number is not None and at is not None:
            raise SegmentationError('Give either number or at, not both.')
        if number is not None:
            objects = self._parts.scene().objects(False)
            if objects is None:
                raise SegmentationError(f'There is no object {number} yet.')
            assign_class(objects, number, class_name)
            record = objects[number]
        elif at is not None:
            record = self._assign_at(class_name, at)
        else:
            self._parts.editor.set_class(class_name)
            record = self._parts.editor.record
        if record is not None:
            self._parts.classes.add(class_name)
        return record

    def _assign_at(
        self, class_name: str, at: tuple[float, float]
    ) -> ObjectRecord | None:
        ((row, column),) = checked_path([at], 'at')
        objects = self._parts.scene().objects(False)
        if objects is None:
            return None
        plane = self._parts.scene().plane()
        record = object_at(objects, plane, row, column)
        if record is None:
            return None
        options = self._options_for(class_name)
        return write_class(objects, record, options, self._parts.recorder)

    def _options_for(self, class_name: str) -> WriteOptions:
        """Return the options of writing, for a class."""
        options, names = self._parts.editor.options, self._parts.classes.names
        if not options.by_class or class_name == options.class_name:
            return replace(options, class_name=class_name)
        # a new class gets the next number
        label = [*names, class_name].index(class_name) + 1
        return replace(
            options, class_name=class_name, label=label if class_name else None
        )

    def rename_class(self, class_name: str, new: str) -> None:
        """Rename a class and reassign its objects.

        That is one step in each labels layer that has some.

        Parameters
        ----------
        class_name : str
            Present name.
        new : str
            New name; if another class has it, the two are merged.

        Raises
        ------
        SegmentationError
            There is no such class, the new name is empty, labels with an
            object of the class are not editable, or a job is writing it.
        """
        check_class_name('new', new)
        self._check_writable(class_name)
        # emitted once the objects are reassigned: listeners that colour
        # objects add the classes that they find
        color = self._parts.classes.colors.get(class_name, '')
        merged = new in self._parts.classes
        with self._parts.classes.changed.paused():
            self._parts.classes.rename(class_name, new)
            self._renamed.append((class_name, '' if merged else new, color))
            if new != class_name:
                self._reassign(class_name, new)

    def remove_class(self, class_name: str) -> None:
        """Remove a class and unassign its objects.

        That is one step in each labels layer that has some.

        Parameters
        ----------
        class_name : str
            Name of the class.

        Raises
        ------
        SegmentationError
            There is no such class, labels with an object of it are not
            editable, or a job is writing it.
        """
        self._check_writable(class_name)
        color = self._parts.classes.colors.get(class_name, '')
        with self._parts.classes.changed.paused():
            self._parts.classes.remove(class_name)
            self._renamed.append((class_name, '', color))
            self._reassign(class_name, '')

    def _note_names(self) -> None:
        self._before = set(self._parts.classes.names)

    def follow_history(self) -> None:
        """Follow undo and redo in the classes.

        A renamed class gets its former name back if no object has the new one;
        other classes are added.
        """
        # without a viewer there is nothing to follow
        used = self._used() if self._renamed else set()
        for name, new, color in reversed(self._renamed):
            for lost, other in ((name, new), (new, name)):
                if lost not in used or lost in self._before:
                    continue
                if other in self._parts.classes and other not in used:
                    self._parts.classes.take_back(other, lost)
                    self._rename_in_editor(other, lost)
                else:
                    self._parts.classes.update({lost: color})
                self._before.add(lost)

    def _used(self) -> set[str]:
        """Return the names of the classes of objects and rows of labels."""
        return set().union(*map(_classes_in, self._all_objects())) - {''}

    def _all_objects(self) -> list[Objects]:
        """Objects of all labels of the viewer."""
        every = self._parts.scene().undoables()
        return [each for each in every if isinstance(each, Objects)]

    def _check_writable(self, class_name: str) -> None:
        """Raise `LabelsError` if objects of a class cannot be reassigned.

        In that case nothing is changed, not even in other labels.
        """
        for objects in self._all_objects():
            if class_name in _classes_in(objects):
                objects.target.check()
            for record in objects:
                if record.class_name == class_name:
                    objects.check_idle(record)

    def _reassign(self, class_name: str, new: str) -> None:
        self._rename_in_editor(class_name, new)
        for objects in self._all_objects():
            reassign_class(objects, class_name, new)

    def _rename_in_editor(self, class_name: str, new: str) -> None:
        """Rename the class of the open object and of those after it."""
        editor = self._parts.editor
        if editor.options.class_name == class_name:
            editor.options = replace(editor.options, class_name=new)
        if editor.record.class_name == class_name:
            editor.record = replace(editor.record, class_name=new)
        editor.changed.emit()

    def propose_classes(self) -> ProposedClasses:
        """Propose classes for unclassified objects of the plane.

        Objects with a class are the examples: a few for each of at least two
        classes. Nothing is changed; see `accept_classes`. Needs scikit-learn:
        ``pip install "napari-mobilesam[classify]"``.

        Returns
        -------
        ProposedClasses
            ``proposals.table()`` has one row per object, least certain first.

        Raises
        ------
        SegmentationError
            There are no labels, or fewer than two classes.
        """
        objects = self._parts.scene().objects(False)
        if objects is None:
            raise SegmentationError(
                'There are no labels: label objects, then assign classes to a '
                'few of them.'
            )
        plane = self._parts.scene().plane()
        return self._parts.waiter.answer(
            self._parts.classifying.finished,
            lambda: self._parts.classifying.start(objects, plane),
        )

    def accept_classes(
        self,
        proposed: ProposedClasses,
        classes: Mapping[int, str] | None = None,
    ) -> int:
        """Assign proposed classes to the objects, as one step.

        Parameters
        ----------
        proposed : ProposedClasses
            Result of `propose_classes`.
        classes : mapping of int to str, optional
            Corrected classes, by label.

        Returns
        -------
        int
            Number of objects that got a class.
        """
        return accept_classes(proposed, classes)

    def set_class_color(self, class_name: str, color: str) -> None:
        """Set the colour of a class, adding it if it is missing.

        Parameters
        ----------
        class_name : str
            Name of the class.
        color : str
            ``'#rrggbb'``, or a name such as ``'orange'``.

        Raises
        ------
        SegmentationError
            The colour is unknown.
        """
        self._parts.classes.set_color(class_name, color)

    def color_by_class(self, shown: bool = True) -> None:
        """Show objects in the colours of their classes.

        Parameters
        ----------
        shown : bool
            False restores the previous colours of the labels.
        """
        check_flag('shown', shown)
        self._parts.classes.shown = shown


def _classes_in(objects: Objects) -> set[str]:
    """Return the class names of objects, or of rows of other labels."""
    rows = objects.target.features().get('class', ())
    return {record.class_name for record in objects} | {
        name for name in rows if isinstance(name, str)
    }
