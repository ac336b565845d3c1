"""Classes of objects, as methods: assigned, coloured, shown."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from napari_mobilesam.session.objects.classes import Classes
from napari_mobilesam.session.objects.writing import (
    assign_class,
    reassign_class,
)
from napari_mobilesam.session.prompt_commands import PromptCommands
from napari_mobilesam.types import SegmentationError


class ClassCommands(PromptCommands):
    """Methods of a session that deal with classes; see `PromptCommands`."""

    @cached_property
    def classes(self) -> Classes:
        """Names and colours of the classes that objects can be assigned to."""
        return Classes()

    def assign_class(self, class_name: str, number: int | None = None) -> None:
        """Assign an object to a class.

        Parameters
        ----------
        class_name : str
            Name of the class, or empty for none.
        number : int, optional
            Number of the object, which is one step; by default the open
            object and those to come, when they are accepted.
        """
        if number is None:
            self.editor.set_class(class_name)
        else:
            objects = self._scene().objects(False)
            if objects is None:
                raise SegmentationError(f'There is no object {number} yet.')
            assign_class(objects, number, class_name)
        self.classes.add(class_name)

    def rename_class(self, class_name: str, new: str) -> None:
        """Rename a class, and with it its objects, as one step.

        Parameters
        ----------
        class_name : str
            What it is called. Its objects are those in the labels that are
            written to; those in other labels keep what they are called.
        new : str
            What it is to be called. If that is another class, the two become
            one.

        Raises
        ------
        SegmentationError
            There is no such class, or the new name is empty.
        """
        # told once objects are of it: who colours them adds what they are of
        with self.classes.changed.paused():
            self.classes.rename(class_name, new)
            if new != class_name:
                self._reassign(class_name, new)

    def remove_class(self, class_name: str) -> None:
        """Remove a class; its objects have none then, which is one step.

        Parameters
        ----------
        class_name : str
            Name of the class; of its objects see `rename_class`.

        Raises
        ------
        SegmentationError
            There is no such class.
        """
        with self.classes.changed.paused():
            self.classes.remove(class_name)
            self._reassign(class_name, '')

    def _reassign(self, class_name: str, new: str) -> None:
        editor = self.editor
        if editor.options.class_name == class_name:
            editor.options = replace(editor.options, class_name=new)
        if editor.record.class_name == class_name:
            editor.record = replace(editor.record, class_name=new)
        editor.changed.emit()
        objects = self._scene().objects(False)
        if objects is not None:
            reassign_class(objects, class_name, new)

    def set_class_color(self, class_name: str, color: str) -> None:
        """Give a class a colour; the class is added if it is not there.

        Parameters
        ----------
        class_name : str
            Name of the class.
        color : str
            ``'#rrggbb'``, or a name such as ``'orange'``.

        Raises
        ------
        SegmentationError
            It is no colour.
        """
        self.classes.set_color(class_name, color)

    def color_by_class(self, shown: bool = True) -> None:
        """Show objects in the colour of their class.

        Parameters
        ----------
        shown : bool
            False gives the labels the colours back that they had.
        """
        self.classes.shown = shown
