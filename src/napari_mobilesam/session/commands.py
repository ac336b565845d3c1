"""What a person does, as methods: the console has the buttons' names.

Each returns when it is done, so that a script is a list of lines. The widgets
call the parts of the session instead, and never wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from psygnal import Signal

from napari_mobilesam.segmentation.shapes import (
    box_of,
    points_along,
    region_of,
)
from napari_mobilesam.session.batch import (
    Batch,
    BatchItem,
    BatchResult,
    Overlaps,
)
from napari_mobilesam.session.editor import Editor
from napari_mobilesam.session.engine import ImagePlane
from napari_mobilesam.session.prompting import Prompting
from napari_mobilesam.session.propagation import Direction, PropagationOptions
from napari_mobilesam.session.propagation_run import (
    Propagation,
    PropagationResult,
)
from napari_mobilesam.session.records import ObjectCandidates, ObjectRecord
from napari_mobilesam.session.scene import Scene
from napari_mobilesam.session.walk import Walk
from napari_mobilesam.types import Prompts, SegmentationError

if TYPE_CHECKING:
    from psygnal import SignalInstance


class Commands:
    """Methods of a session for people who type.

    Positions are (row, column) in data pixels of the plane that is shown, or
    of the one that is given.
    """

    scene: Scene | None
    prompting: Prompting
    editor: Editor
    walk: Walk
    batching: Batch
    propagation: Propagation
    failed: ClassVar[Signal]

    @property
    def model_name(self) -> str:
        """Name or path of the model that answers."""
        raise NotImplementedError

    def finish(self, timeout: float | None = None) -> bool:
        """Block until all that was asked is answered."""
        raise NotImplementedError

    def click(
        self,
        row: float,
        column: float,
        positive: bool = True,
        plane: ImagePlane | None = None,
    ) -> ObjectCandidates | None:
        """Add a point to the open object.

        Parameters
        ----------
        row, column : float
            Data pixels; pixel centres are integers.
        positive : bool
            On the object, or on what does not belong to it.
        plane : ImagePlane, optional
            By default the plane that is shown.

        Returns
        -------
        ObjectCandidates or None
            Masks with scores, the best chosen; None if there is none.

        Raises
        ------
        SegmentationError
            There is no image, the point is outside it, or there is no
            positive prompt yet.
        """
        return self._add(
            plane,
            points=np.array([[row, column]], dtype=np.float64),
            labels=np.array([int(positive)]),
        )

    def box(
        self,
        row0: float,
        column0: float,
        row1: float,
        column1: float,
        plane: ImagePlane | None = None,
    ) -> ObjectCandidates | None:
        """Give the open object a box, instead of the one it has.

        Parameters
        ----------
        row0, column0, row1, column1 : float
            Data pixels, half open: ``0, 0, 10, 10`` are 100 pixels.
        plane : ImagePlane, optional
            By default the plane that is shown.

        Returns and errors are as of `click`.
        """
        box = np.array([row0, column0, row1, column1], dtype=np.float64)
        return self._add(plane, box=box)

    def scribble(
        self,
        path: ArrayLike,
        positive: bool = True,
        plane: ImagePlane | None = None,
    ) -> ObjectCandidates | None:
        """Add points along a path to the open object.

        Parameters
        ----------
        path : array-like
            (N, 2) vertices in data pixels.
        positive : bool
            Over the object, or over what does not belong to it.
        plane : ImagePlane, optional
            By default the plane that is shown.

        Returns and errors are as of `click`.
        """
        points = points_along(np.asarray(path, dtype=np.float64))
        labels = np.full(len(points), int(positive), dtype=np.int64)
        return self._add(plane, points=points, labels=labels)

    def outline(
        self, vertices: ArrayLike, plane: ImagePlane | None = None
    ) -> ObjectCandidates | None:
        """Give the open object a drawn outline: its box and its inside.

        Parameters
        ----------
        vertices : array-like
            (N, 2) vertices in data pixels.
        plane : ImagePlane, optional
            By default the plane that is shown.

        Returns and errors are as of `click`.
        """
        plane = plane or self._scene().plane()
        drawn = np.asarray(vertices, dtype=np.float64)
        prompts = Prompts(
            box=box_of(drawn, plane.shape),
            region=region_of(drawn, plane.shape),
        )
        self.editor.ask(plane, prompts)
        return self._candidates(plane)

    def choose(self, index: int, plane: ImagePlane | None = None) -> None:
        """Choose the mask with this index of the candidates."""
        self.editor.choose(plane or self._scene().plane(), index)

    def accept(self) -> ObjectRecord:
        """Write the open object as one step, and open a new one.

        Raises
        ------
        SegmentationError
            There is no mask, or the labels cannot be written.
        """
        self._finish()
        record = self.editor.accept()
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
            return self.walk.open(number)
        if at is None:
            raise SegmentationError(
                'Which object? Give its number, or a position: open(5) or '
                'open(at=(row, column)).'
            )
        return self.walk.open_at(self._scene().plane(), *at)

    def next(self) -> ObjectRecord | None:
        """Open the next object of the labels; None if there is none."""
        return self.walk.next()

    def previous(self) -> ObjectRecord | None:
        """Open the object before; None if there is none."""
        return self.walk.previous()

    def next_uncertain(self) -> ObjectRecord | None:
        """Open the next least certain object that nobody has reviewed."""
        return self.walk.next_uncertain()

    def undo(self) -> str | None:
        """Take back the last step; returns its title."""
        return self.walk.undo()

    def redo(self) -> str | None:
        """Repeat the step undone last; returns its title."""
        return self.walk.redo()

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
        planes = self._scene().stack(axis)
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
        )

    def start_batch(
        self,
        prompts: Sequence[Prompts | BatchItem],
        overlaps: Overlaps = 'best',
    ) -> None:
        """Begin what `batch` does; `Batch.finished` ends it."""
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
        )

    def _scene(self) -> Scene:
        if self.scene is None:
            raise SegmentationError(
                'This session has no viewer: give the plane.'
            )
        return self.scene

    def _add(
        self, plane: ImagePlane | None, **prompts: Any
    ) -> ObjectCandidates | None:
        plane = plane or self._scene().plane()
        self.editor.add(plane, **prompts)
        return self._candidates(plane)

    def _candidates(self, plane: ImagePlane) -> ObjectCandidates | None:
        self._finish()
        view = self.editor.view(plane)
        return None if view is None else view.candidates

    def _finish(self) -> None:
        """Wait for all answers, and raise what goes wrong meanwhile."""
        problems: list[str] = []

        def note(text: str, whom: str) -> None:
            problems.append(text)

        self.failed.connect(note)
        try:
            self.finish()
        finally:
            self.failed.disconnect(note)
        if problems:
            raise SegmentationError(problems[0])

    def _wait_for(
        self, signal: SignalInstance, start: Callable[[], None]
    ) -> Any:
        """Start something and wait for the answer that a signal brings."""
        answers: list[Any] = []
        signal.connect(answers.append)
        try:
            start()
            self._finish()
        finally:
            signal.disconnect(answers.append)
        return answers[0]
