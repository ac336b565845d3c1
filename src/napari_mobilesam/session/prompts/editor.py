"""The open object: prompts, candidates, accept and reject."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TypeVar

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
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.session.prompts.accept_queue import AcceptQueue
from napari_mobilesam.session.prompts.doubt import (
    is_doubtful,
    is_doubtful_view,
)
from napari_mobilesam.session.prompts.edited_object import (
    EditedObject,
    home_of,
    write_edited,
)
from napari_mobilesam.session.prompts.prompt_messages import (
    PromptResult,
    check_prompts,
)
from napari_mobilesam.session.prompts.prompting import Prompting, refining
from napari_mobilesam.session.prompts.recorder import Recorder
from napari_mobilesam.types import DrawnShape, PromptError, Prompts

T = TypeVar('T')


class Editor:
    """The open object of a session, from the first prompt until accepted.

    One object is open at a time; it may have prompts on several planes.

    Parameters
    ----------
    prompting : Prompting
        Answers prompts.
    find_objects : callable
        Returns the objects of the labels that accepted objects go to. If
        called with True, it creates missing labels.
    recorder : Recorder
        Recorder of the replay code of objects.
    queue_prompting : Prompting
        Answers the prompts of objects accepted before their masks arrived.

    Attributes
    ----------
    changed : Signal()
        Emitted when the open object or its prompts, candidates or choice
        change.
    accepted : Signal(ObjectRecord)
        An object was written: the open one, or one from the queue.
    queue : AcceptQueue
        Accepted objects whose masks are still to come.
    aside : list of EditedObject
        Changed objects that were open when another one was opened; the last
        one is reopened afterwards.
    brought_back : Signal(ObjectRecord)
        An object kept aside was reopened.
    opened : Signal(ObjectRecord)
        An object of the labels was opened for editing.
    failed : Signal(str)
        Message that an object waiting for its mask was not accepted.
    options : WriteOptions
        Options of writing.
    least_score : float
        Predicted IoU below which an object is doubtful: it is not written
        unless the user has seen that.
    several : bool
        Whether a widget holds drawn prompts of several objects that are not
        accepted yet. They do not count as an open object.
    """

    changed = Signal()
    accepted = Signal(object)
    opened = Signal(object)
    brought_back = Signal(object)
    failed = Signal(str)

    def __init__(
        self,
        prompting: Prompting,
        find_objects: Callable[[bool], Objects | None],
        recorder: Recorder,
        queue_prompting: Prompting,
    ) -> None:
        self._prompting = prompting
        self._find_objects = find_objects
        self._recorder = recorder
        self.options = WriteOptions()
        self.least_score = 0.0
        self._open = EditedObject()
        # number of the newest request
        self._asked = 0
        self.aside: list[EditedObject] = []
        self.queue = AcceptQueue(queue_prompting, self._write_if_certain)
        self.queue.written.connect(self.accepted.emit)
        self.queue.failed.connect(self._not_written)
        self.several = False
        prompting.failed.connect(self._no_answer)
        prompting.cleaned.connect(self.ask_again)

    @property
    def record(self) -> ObjectRecord:
        """The open object; its number is 0 if it is new."""
        return self._open.record

    @record.setter
    def record(self, record: ObjectRecord) -> None:
        self._open.record = record

    @property
    def pending(self) -> bool:
        """True if an answer is pending."""
        return bool(self._open.waiting)

    @property
    def base(self) -> ObjectRecord | None:
        """The open object as it is in the labels; None if it is new."""
        return self._open.base

    @property
    def modified(self) -> bool:
        """True if the open object was changed since it was opened."""
        return self._open.modified

    @property
    def doubtful(self) -> bool:
        """True if the model is not certain of the open object."""
        return is_doubtful(self.record, self.base, self.least_score)

    def doubtful_on(self, plane: ImagePlane) -> bool:
        """Return whether the model is uncertain about it on a plane."""
        view = self.view(plane)
        return view is not None and is_doubtful_view(
            view, self.base, self.least_score
        )

    @property
    def objects(self) -> Objects | None:
        """Objects that the open object belongs to, or will."""
        home = self._open.home
        return self.target_objects if home is None else home

    @property
    def target_objects(self) -> Objects | None:
        """Objects of the labels to write to; None without labels.

        These differ from the open object's if it was opened in other labels.
        """
        return self._find_objects(False)

    def view(self, plane: ImagePlane) -> ObjectView | None:
        """Return prompts and candidates of the open object on a plane."""
        return self._open.view(plane)

    # prompts

    def ask(self, plane: ImagePlane, prompts: Prompts) -> None:
        """Set the prompts of the open object on a plane and query the model.

        The session passes the answer to `take_answer`. Empty prompts remove
        the object from the plane. If prompts were only added, the chosen mask
        is fed back.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the prompts.
        prompts : Prompts
            All prompts on this plane, not only the new ones.

        Raises
        ------
        PromptError
            A prompt is outside the plane or a box without area. Nothing is
            changed then.
        """
        if count_prompts(prompts) == 0 and prompts.mask_input is None:
            self._open.waiting.pop(plane.place, None)
            self._prompting.forget()
            self._open.modified |= self.record.view(plane) is not None
            self.record = self.record.without(plane)
            self.changed.emit()
            self._ask_next()
            return
        check_prompts(plane.shape, prompts)
        view = self._to_ask(plane, prompts)
        # registered first: the answer may come at once
        self._open.waiting[plane.place] = view
        self._open.modified = True
        self._asked = self._submit(view, self._prompting.ask)
        self.changed.emit()

    def leave(self, place: Hashable) -> None:
        """Remove the open object from a plane that is no longer shown so.

        Parameters
        ----------
        place : hashable
            `ImagePlane.place` of the plane.
        """
        view = self._open.asked.views.get(place)
        if view is not None:
            self.ask(view.plane, Prompts())

    def expect(self, plane: ImagePlane, prompts: Prompts) -> None:
        """Precompute the answer to prompts that are likely to follow."""
        self._submit(self._to_ask(plane, prompts), self._prompting.expect)

    def _to_ask(self, plane: ImagePlane, prompts: Prompts) -> ObjectView:
        before = self.record.view(plane)
        if before is not None and before.plane.pictures != plane.pictures:
            # a mask in other channels: the prompts are answered anew
            before = None
        shown = None if before is None else before.candidates
        view = ObjectView(plane, prompts, shown)
        return refining(before, view) if self.options.refine else view

    def _submit(self, view: ObjectView, how: Callable[..., T]) -> T:
        return how(view.plane, [view.prompts], [view.previous])

    def add(
        self,
        plane: ImagePlane,
        points: NDArray[np.float64] | None = None,
        labels: NDArray[np.int64] | None = None,
        box: NDArray[np.float64] | None = None,
        path: NDArray[np.float64] | None = None,
    ) -> None:
        """Add points, or replace the box; see `ask`.

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
        path : ndarray, optional
            (M, 2) vertices of the scribble along which the points lie.
        """
        view = self.view(plane)
        old = Prompts() if view is None else view.prompts
        new_points = np.zeros((0, 2)) if points is None else points
        kinds = np.ones(len(new_points)) if labels is None else labels
        drawn = old.drawn
        if box is not None:
            # the box replaces a closed shape
            drawn = tuple(shape for shape in drawn if shape.count)
        if path is not None:
            first, count = len(old.points), len(new_points)
            positive = bool(np.all(kinds))
            drawn += (DrawnShape('path', path, positive, first, count),)
        prompts = replace(
            old,
            drawn=drawn,
            points=np.concatenate([old.points, new_points]),
            labels=np.concatenate([old.labels, kinds]).astype(np.int64),
            box=old.box if box is None else np.asarray(box, np.float64),
        )
        self.ask(plane, prompts)

    def ask_again(self) -> None:
        """Predict all planes again after a change of model or clean-up.

        An object that was opened but not changed keeps its labelled pixels.
        """
        if self.base is not None and not self.modified:
            return
        for view in self.record.views.values():
            self._open.waiting.setdefault(view.plane.place, view)
        self._prompting.forget()
        self._ask_next()

    # candidates

    def choose(self, plane: ImagePlane, index: int) -> None:
        """Choose the candidate mask with this index on a plane.

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
        self._open.modified = True
        self.changed.emit()

    def cycle(self, plane: ImagePlane, by: int = 1) -> None:
        """Choose the next candidate on a plane, cyclically."""
        view = self.record.view(plane)
        chosen = view.candidates.chosen if view and view.candidates else 0
        self.choose(plane, chosen + by)

    @property
    def class_name(self) -> str:
        """Class of the open object of the labels, else of the next one."""
        chosen = self.record if self.record.label else self.options
        return chosen.class_name

    def set_class(self, class_name: str) -> None:
        """Assign the open object and subsequent ones to a class."""
        self.options = replace(self.options, class_name=class_name)
        self.record = replace(self.record, class_name=class_name)
        self._open.modified |= self.base is not None
        self.changed.emit()

    # accepting and rejecting

    def accept(self) -> ObjectRecord | None:
        """Write the open object as one step and open a new one.

        Returns
        -------
        ObjectRecord or None
            The object as written; None if its answer, or that of an object
            before it, is pending: it is then closed, and written when the
            answer arrives.

        Raises
        ------
        PromptError
            There is no mask.
        LabelsError
            The labels cannot be written, or a job is writing the object.
        """
        if not self.pending and not self.record.masks:
            raise PromptError(
                'There is no mask to accept yet: click an object, or draw a '
                'box.'
            )
        # decided now: the image may be another one when the answer comes
        home = home_of(self._open, self._find_objects)
        home.target.check()
        if self.base is not None:
            home.check_idle(self.base)
        accepted = replace(self._open, home=home, options=self.options)
        if self.pending or len(self.queue):
            self._prompting.forget()
            self._start_anew()
            self.queue.add(accepted)
            return None
        record = write_edited(accepted, self._find_objects, self._recorder)
        self._start_anew()
        self.accepted.emit(record)
        return record

    def _write_if_certain(self, accepted: EditedObject) -> ObjectRecord:
        if is_doubtful(accepted.record, accepted.base, self.least_score):
            raise PromptError(
                'An accepted object was not written, because the model is '
                f'not confident about it (score {accepted.record.score:.2f}): '
                'add a point, draw a box, or accept it now.'
            )
        return write_edited(accepted, self._find_objects, self._recorder)

    def _not_written(self, accepted: EditedObject, reason: str) -> None:
        """Open an object again that could not be written.

        This happens at once if none is open, else after the open one.
        """
        if self.record.empty and not self.pending:
            accepted.record = accepted.asked
            accepted.waiting.clear()
            self._show(accepted)
        else:
            self.aside.insert(0, accepted)
            reason = reason or (
                'An accepted object was not written, because its mask could '
                'not be computed.'
            )
            reason += ' It is open again after this one.'
        if reason:
            self.failed.emit(reason)

    def take_back_accept(self) -> bool:
        """Reopen the last accepted object if it is not written yet.

        Returns
        -------
        bool
            False if all accepted objects are already written.
        """
        accepted = self.queue.take_back()
        if accepted is None:
            return False
        if accepted.base is None:
            # the labels to write to may be others by then
            accepted.home = None
        self.put_aside()
        self._resume(accepted)
        return True

    def reject(self) -> None:
        """Close the open object without writing it.

        An object kept aside is reopened.
        """
        self._prompting.forget()
        self._start_anew()

    def drop_all(self) -> None:
        """Close the open object and drop those kept aside."""
        self.aside.clear()
        self.reject()

    def delete(self) -> int:
        """Erase the open object from the labels, on all its planes.

        Returns
        -------
        int
            Its number, or the label of labelled pixels.

        Raises
        ------
        PromptError
            The open object is new: there is nothing to delete.
        LabelsError
            The labels are not editable, or a job is writing the object.
        """
        base, home = self.base, self._open.home
        if base is None or home is None:
            raise PromptError(
                'The open object is not in the labels yet: reject it, or '
                'open the one to delete.'
            )
        # its pixels may have changed since it was opened
        home.delete(home.now(base) or base)
        self.reject()
        return base.number or base.label

    def forget_undone(self) -> None:
        """Close the open object if an undo or redo has replaced it."""
        if self._open.undone:
            self.reject()

    def release(self, gone: Objects) -> None:
        """Turn objects whose labels are gone into new ones, for other labels.

        This applies to the open object, those kept aside, and those that wait
        for their masks.
        """
        self.queue.release(gone)
        for each in self.aside:
            each.release(gone)
        if self._open.release(gone):
            self.changed.emit()

    # opening and closing

    def put_aside(self, new: bool = True) -> None:
        """Close the open object, keeping it aside if it was changed.

        It is reopened as soon as no other object is open. Without ``new``,
        only an object of the labels is kept.
        """
        before = self._open
        self._prompting.forget()
        self._open = EditedObject()
        kept = before.modified and (new or before.base is not None)
        if kept and not before.asked.empty:
            self.aside.append(before)
        self.changed.emit()

    def _take_from_aside(
        self, home: Objects, record: ObjectRecord
    ) -> EditedObject | None:
        """Return the changes to an object that were kept aside, if any."""
        for each in self.aside:
            base = each.base
            if each.home is home and base and base.same_object(record):
                self.aside.remove(each)
                return None if each.undone else each
        return None

    def _resume(self, edited: EditedObject) -> None:
        """Open an object again, and ask for the answers that it waits for."""
        edited.record = edited.asked
        self._show(edited)
        self._ask_next()

    def _show(self, edited: EditedObject) -> None:
        self._open = edited
        self.opened.emit(edited.record)
        self.changed.emit()

    def bring_back(
        self, objects: Objects, record: ObjectRecord
    ) -> ObjectRecord:
        """Open an object with its prompts and candidates.

        Parameters
        ----------
        objects : Objects
            Objects of the labels.
        record : ObjectRecord
            The object. If it is not one of `objects` yet, accepting adds it.
        """
        self.put_aside()
        kept = self._take_from_aside(objects, record)
        if kept is not None:
            self._resume(kept)
            return self.record
        self._show(EditedObject(record, record, objects))
        return record

    def _start_anew(self) -> None:
        """Close the open object, and open the one kept aside last."""
        self._open = EditedObject()
        self.changed.emit()
        while self.aside:
            last = self.aside.pop()
            if not last.undone:
                self._resume(last)
                self.brought_back.emit(self.record)
                return

    def _ask_next(self) -> None:
        """Repeat a request whose answer was dropped for a newer one."""
        for view in self._open.waiting.values():
            self._asked = self._submit(view, self._prompting.ask)
            return

    def take_answer(self, result: PromptResult) -> None:
        """Show the candidates from an answer of the model.

        Ignored unless these prompts wait for an answer.

        Parameters
        ----------
        result : PromptResult
            Answer to the newest prompts.
        """
        taken = self._open.take(result)
        # those of others may have been asked instead
        self._ask_next()
        if taken:
            self.changed.emit()

    def _no_answer(self, generation: int) -> None:
        if generation != self._asked:
            self._ask_next()
            return
        self._open.waiting.clear()
        self.changed.emit()
