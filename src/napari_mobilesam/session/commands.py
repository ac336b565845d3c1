"""What a person does, as methods: the console has the buttons' names.

Each returns when it is done, so that a script is a list of lines. The widgets
call the parts of the session instead, and never wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_mobilesam.session.class_commands import ClassCommands
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.prompts.batch import (
    BatchItem,
    BatchResult,
    BatchSegmentation,
    Overlaps,
)
from napari_mobilesam.session.prompts.navigation import Navigation
from napari_mobilesam.session.prompts.propagation import (
    Direction,
    PropagationOptions,
)
from napari_mobilesam.session.prompts.propagation_run import (
    Propagation,
    PropagationResult,
)
from napari_mobilesam.session.prompts.recorder import Recorder
from napari_mobilesam.types import Prompts, SegmentationError


class Commands(ClassCommands):
    """Methods of a session for people who type; see `PromptCommands`."""

    navigation: Navigation
    batching: BatchSegmentation
    propagation: Propagation

    recorder: Recorder

    def accept(self, label: int | None = None) -> ObjectRecord:
        """Write the open object as one step, and open a new one.

        Parameters
        ----------
        label : int, optional
            Label of a new object; by default as the options say.

        Raises
        ------
        SegmentationError
            There is no mask, or the labels cannot be written.
        """
        self._finish()
        before = self.editor.options
        if label is not None:
            self.editor.options = replace(before, label=label)
        try:
            record = self.editor.accept()
        finally:
            self.editor.options = before
        assert record is not None, 'nothing was awaited'
        return record

    def reject(self) -> None:
        """Close the open object as if it had never been opened."""
        self.editor.reject()

    def delete(self) -> int:
        """Erase the open object from the labels; returns its number."""
        return self.editor.delete()

    def open(
        self,
        number: int | None = None,
        at: tuple[float, float] | None = None,
    ) -> ObjectRecord | None:
        """Bring an object back for editing, by its number or a position.

        Parameters
        ----------
        number : int, optional
            Its number.
        at : (row, column), optional
            A position on it, on the plane that is shown.

        Returns
        -------
        ObjectRecord or None
            None if there is no object at the position.
        """
        if number is not None:
            return self.navigation.open(number)
        if at is None:
            raise SegmentationError(
                'Which object? Give its number, or a position: open(5) or '
                'open(at=(row, column)).'
            )
        return self.navigation.open_at(self._scene().plane(), *at)

    def next(self) -> ObjectRecord | None:
        """Open the next object of the labels; None if there is none."""
        return self.navigation.next()

    def previous(self) -> ObjectRecord | None:
        """Open the object before; None if there is none."""
        return self.navigation.previous()

    def next_uncertain(self) -> ObjectRecord | None:
        """Open the next least certain object that nobody has reviewed."""
        return self.navigation.next_uncertain()

    def undo(self) -> str | None:
        """Take back the last step; returns its title."""
        return self.navigation.undo()

    def redo(self) -> str | None:
        """Repeat the step undone last; returns its title."""
        return self.navigation.redo()

    def propagate(
        self,
        direction: Direction = 'both',
        axis: int | None = None,
        **options: Any,
    ) -> PropagationResult:
        """Follow the open object through z or t, as one step.

        An object that is not written yet is accepted first; it stays open
        afterwards, to be corrected.

        Parameters
        ----------
        direction : {'both', 'forward', 'backward'}
            Where to follow it beyond the planes with prompts.
        axis : int, optional
            Axis of the image; by default the last one that is not shown.
        **options
            Others of `PropagationOptions`.

        Returns
        -------
        PropagationResult
            Planes that it was followed to, and why it ended.

        Raises
        ------
        SegmentationError
            No object is open, the image is a single plane, or the model
            cannot answer.
        """
        self._finish()
        chosen = PropagationOptions(direction=direction, **options)
        return self._wait_for(
            self.propagation.finished,
            lambda: self.start_propagation(chosen, axis),
        )

    def batch(
        self,
        prompts: Sequence[Prompts | BatchItem],
        overlaps: Overlaps = 'best',
    ) -> BatchResult:
        """Make one object of each of a list of prompts, as one step.

        Parameters
        ----------
        prompts : sequence of Prompts or BatchItem
            On the plane that is shown, or on the item's own.
        overlaps : {'best', 'first', 'last'}
            Whose a pixel is that several of them claim.

        Returns
        -------
        BatchResult
            The objects, and which prompts gave none.
        """
        return self._wait_for(
            self.batching.finished,
            lambda: self.start_batch(prompts, overlaps),
        )

    # what they are made of

    def start_propagation(
        self,
        options: PropagationOptions | None = None,
        axis: int | None = None,
    ) -> None:
        """Begin what `propagate` does; `Propagation.finished` ends it."""
        if self.editor.record.empty:
            raise SegmentationError(
                'No object is open: click one, or open one, to propagate it.'
            )
        shown, planes = self._scene().plane(), self._scene().stack(axis)
        options = options or PropagationOptions()
        record = self.editor.accept()
        objects = self._scene().objects(False)
        if record is None or objects is None:
            raise SegmentationError(
                'The mask is not there yet: propagate when it is.'
            )
        self.propagation.start(
            record.number,
            objects,
            planes,
            self.model_name,
            options,
            self.editor.options.policy,
            self.prompting.clean_up,
            self.recorder.propagation(
                record.number, shown, axis, options, self.editor.options
            ),
        )

    def start_batch(
        self,
        prompts: Sequence[Prompts | BatchItem],
        overlaps: Overlaps = 'best',
    ) -> None:
        """Begin what `batch` does; `BatchSegmentation.finished` ends it."""
        shown = self._scene().plane()
        items = [
            item if isinstance(item, BatchItem) else BatchItem(shown, item)
            for item in prompts
        ]
        objects = self._scene().objects(True)
        assert objects is not None
        self.batching.start(
            items,
            objects,
            self.editor.options,
            self.model_name,
            overlaps,
            self.prompting.clean_up,
            self.recorder.batch(items, overlaps, self.editor.options),
        )
