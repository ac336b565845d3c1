"""The open object: prompts, candidates, accept and reject."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectRecord,
    ObjectView,
    count_prompts,
)
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    WriteOptions,
)
from napari_mobilesam.session.objects.writing import finished, write_object
from napari_mobilesam.session.prompts.prompt_messages import PromptResult
from napari_mobilesam.session.prompts.prompting import Prompting, refining
from napari_mobilesam.session.prompts.recorder import Recorder
from napari_mobilesam.types import PromptError, Prompts, SegmentationError

T = TypeVar('T')


class FindObjects(Protocol):
    """Finds the objects of the labels that accepted objects go to."""

    def __call__(self, create: bool) -> Objects | None:
        """Return the objects; None if there are none and none are made."""


class Editor:
    """The open object of a session, from the first prompt to accepting it.

    One object is open at a time; it may have prompts on several planes.

    Parameters
    ----------
    prompting : Prompting
        Answers prompts.
    find_objects : FindObjects
        Finds the labels that accepted objects go to.
    model_name : callable
        Returns the name of the model that is to answer.
    recorder : Recorder
        Records replay code of objects.

    Attributes
    ----------
    changed : Signal()
        Emitted when the open object or its prompts, candidates or choice
        change.
    accepted : Signal(ObjectRecord)
        The object was written, and a new one is open.
    opened : Signal(ObjectRecord)
        An object of the labels was opened for editing.
    failed : Signal(str)
        Message: an object that waited for its mask was not accepted.
    options : WriteOptions
        Options of writing.
    record : ObjectRecord
        The open object; its number is 0 if it is new.
    """

    changed = Signal()
    accepted = Signal(object)
    opened = Signal(object)
    failed = Signal(str)

    def __init__(
        self,
        prompting: Prompting,
        find_objects: FindObjects,
        model_name: Callable[[], str],
        recorder: Recorder,
    ) -> None:
        self._prompting = prompting
        self._find_objects = find_objects
        self._model_name = model_name
        self._recorder = recorder
        self.options = WriteOptions()
        self._waiting: dict[Hashable, ObjectView] = {}
        self._asked = 0
        self._accept_when_ready = False
        self._modified = False
        # the object when it was opened, and the objects that it belongs to
        self._base: ObjectRecord | None = None
        self._home: Objects | None = None
        self.record = ObjectRecord()
        prompting.failed.connect(self._no_answer)

    @property
    def pending(self) -> bool:
        """Whether an answer is pending."""
        return bool(self._waiting)

    @property
    def objects(self) -> Objects | None:
        """Objects that the open object belongs to, or will."""
        return self._find_objects(False) if self._home is None else self._home

    def view(self, plane: ImagePlane) -> ObjectView | None:
        """Return prompts and candidates of the open object on a plane."""
        return self._waiting.get(plane.place) or self.record.view(plane)

    # prompts

    def ask(self, plane: ImagePlane, prompts: Prompts) -> None:
        """Set the prompts of the open object on a plane and ask the model.

        The session passes the answer to `take_answer`. Empty prompts take
        the object off the plane. Where prompts were added to the last ones,
        the chosen mask is fed back.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the prompts.
        prompts : Prompts
            All prompts on this plane, not only the new ones.

        Raises
        ------
        PromptError
            A prompt is outside the plane, or a box without area.
        """
        self._accept_when_ready = False
        self._waiting.pop(plane.place, None)
        if count_prompts(prompts) == 0 and prompts.mask_input is None:
            self._prompting.forget()
            self._modified |= self.record.view(plane) is not None
            self.record = self.record.without(plane)
            self.changed.emit()
            self._ask_next()
            return
        view = self._to_ask(plane, prompts)
        # registered first: the answer may come at once
        self._waiting[plane.place] = view
        try:
            self._asked = self._submit(view, self._prompting.ask)
        except PromptError:
            # invalid prompts change nothing
            del self._waiting[plane.place]
            raise
        self._modified = True
        self.changed.emit()

    def expect(self, plane: ImagePlane, prompts: Prompts) -> None:
        """Precompute the answer to prompts that are likely to follow."""
        self._submit(self._to_ask(plane, prompts), self._prompting.expect)

    def _to_ask(self, plane: ImagePlane, prompts: Prompts) -> ObjectView:
        before = self.record.view(plane)
        shown = None if before is None else before.candidates
        view = ObjectView(plane, prompts, shown)
        return refining(before, view) if self.options.refine else view

    def _submit(self, view: ObjectView, how: Callable[..., T]) -> T:
        objects, name = [view.prompts], self._model_name()
        return how(view.plane, objects, name, [view.previous])

    def add(
        self,
        plane: ImagePlane,
        points: NDArray[np.float64] | None = None,
        labels: NDArray[np.int64] | None = None,
        box: NDArray[np.float64] | None = None,
    ) -> None:
        """Add points, or a box instead of the last one; see `ask`.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the prompts.
        points : ndarray, optional
            (N, 2) (row, column) in data pixels.
        labels : ndarray, optional
            (N,) 1 positive, 0 negative; all positive if None.
        box : ndarray, optional
            (4,) (row0, column0, row1, column1).
        """
        view = self.view(plane)
        old = Prompts() if view is None else view.prompts
        new_points = np.zeros((0, 2)) if points is None else points
        kinds = np.ones(len(new_points)) if labels is None else labels
        prompts = replace(
            old,
            points=np.concatenate([old.points, new_points]),
            labels=np.concatenate([old.labels, kinds]).astype(np.int64),
            box=old.box if box is None else np.asarray(box, np.float64),
        )
        self.ask(plane, prompts)

    def ask_again(self) -> None:
        """Predict all planes again, after a change of model or clean-up."""
        for view in self.record.views.values():
            self._waiting.setdefault(view.plane.place, view)
        self._prompting.forget()
        self._ask_next()

    # candidates

    def choose(self, plane: ImagePlane, index: int) -> None:
        """Choose the mask with this index of the candidates on a plane.

        Raises
        ------
        PromptError
            There are no candidates on the plane.
        """
        view = self.record.view(plane)
        if view is None or view.candidates is None:
            raise PromptError(
                f'There is no mask on {plane.name} yet: click an object, or '
                'draw a box.'
            )
        candidates = view.candidates.choose(index)
        self.record = self.record.with_view(
            replace(view, candidates=candidates)
        )
        self._modified = True
        self.changed.emit()

    def cycle(self, plane: ImagePlane, by: int = 1) -> None:
        """Choose the next candidate on a plane, cyclically."""
        view = self.record.view(plane)
        chosen = view.candidates.chosen if view and view.candidates else 0
        self.choose(plane, chosen + by)

    def set_class(self, class_name: str) -> None:
        """Assign the open object and the following ones to a class."""
        self.options = replace(self.options, class_name=class_name)
        self.record = replace(self.record, class_name=class_name)
        self._modified |= self._base is not None
        self.changed.emit()

    # accepting and rejecting

    def accept(self) -> ObjectRecord | None:
        """Write the open object as one step and open a new one.

        Returns
        -------
        ObjectRecord or None
            The object as written; None if an answer is pending: the object
            is written when it arrives.

        Raises
        ------
        PromptError
            There is no mask.
        LabelsError
            The labels cannot be written.
        """
        if self.pending:
            self._accept_when_ready = True
            return None
        if not self.record.masks:
            raise PromptError(
                'There is no mask to keep yet: click an object, or draw a box.'
            )
        objects = self._home
        if objects is None:
            objects = self._find_objects(True)
        if objects is None:
            raise LabelsError('There are no labels to write the object to.')
        base = self._base
        if base is not None and not self._modified and base.number in objects:
            # unchanged: only marked as reviewed
            record = objects.review(base.number)
        else:
            record = finished(self.record, base, objects, self.options)
            opened = (
                base if base is not None and base.number in objects else None
            )
            replay_code = self._recorder.object(record, opened, self.options)
            write_object(
                objects, record, base, self.options.policy, replay_code
            )
        self._start_anew()
        self.accepted.emit(record)
        return record

    def reject(self) -> None:
        """Close the open object without writing it."""
        self._prompting.forget()
        self._start_anew()

    def delete(self) -> int:
        """Erase the open object from the labels, on all its planes.

        Returns
        -------
        int
            Its number.

        Raises
        ------
        PromptError
            The open object is new: there is nothing to delete.
        """
        if self._base is None or self._home is None:
            raise PromptError(
                'The open object is not in the labels yet: reject it, or '
                'open the one to delete.'
            )
        base, home = self._base, self._home
        self.reject()
        home.delete(base)
        return base.number

    def forget_undone(self) -> None:
        """Close the open object if an undo or redo has replaced it."""
        base, home = self._base, self._home
        if base is None or home is None:
            return
        if home.get(base.number) is not base and base.origin != 'labels':
            self.reject()

    # opening and closing

    def put_aside(self) -> None:
        """Accept the open object if it was changed, else close it.

        A pending answer is dropped.
        """
        if self._modified and self.record.masks:
            self._waiting.clear()
            self.accept()
        self.reject()

    def bring_back(
        self, objects: Objects, record: ObjectRecord
    ) -> ObjectRecord:
        """Open an object with its prompts and candidates.

        Parameters
        ----------
        objects : Objects
            Objects of the labels.
        record : ObjectRecord
            The object. If it is not one of them yet, accepting adds it.
        """
        self.put_aside()
        self._home, self._base, self.record = objects, record, record
        self.opened.emit(record)
        self.changed.emit()
        return record

    def _start_anew(self) -> None:
        self._waiting.clear()
        self._accept_when_ready = self._modified = False
        self._base = self._home = None
        self.record = ObjectRecord()
        self.changed.emit()

    def _ask_next(self) -> None:
        """Repeat a request whose answer was dropped for a newer one."""
        for view in self._waiting.values():
            self._asked = self._submit(view, self._prompting.ask)
            return

    def take_answer(self, result: PromptResult) -> None:
        """Show the candidates that the model has answered.

        Ignored unless these prompts wait for an answer. An object that was
        accepted meanwhile is written now.

        Parameters
        ----------
        result : PromptResult
            Answer to the newest prompts.
        """
        place = result.request.plane.place
        view = self._waiting.get(place)
        if view is None or view.prompts is not result.request.objects[0]:
            return
        del self._waiting[place]
        view = replace(view, candidates=result.candidates[0])
        self.record = self.record.with_view(view)
        self._ask_next()
        self.changed.emit()
        if self._accept_when_ready and not self.pending:
            self._accept_when_ready = False
            try:
                self.accept()
            except SegmentationError as error:
                self.failed.emit(str(error))

    def _no_answer(self, generation: int) -> None:
        if generation == self._asked:
            self._waiting.clear()
            self._accept_when_ready = False
            self.changed.emit()
