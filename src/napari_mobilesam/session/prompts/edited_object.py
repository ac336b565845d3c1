"""Objects that are being made or changed, and writing them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView
from napari_mobilesam.session.objects.targets import LabelsError, WriteOptions
from napari_mobilesam.session.objects.writing import (
    assign_class,
    finished,
    write_object,
)
from napari_mobilesam.session.prompts.prompt_messages import PromptResult
from napari_mobilesam.session.prompts.recorder import Recorder
from napari_mobilesam.types import PromptError


@dataclass(eq=False)
class EditedObject:
    """An object that is open, is kept aside, or waits to be written.

    Attributes
    ----------
    record : ObjectRecord
        The object.
    base : ObjectRecord or None
        The object when opened; None if it is new.
    home : Objects or None
        Objects that it belongs to; None if that is not decided yet.
    modified : bool
        Whether it was changed since it was opened.
    waiting : dict
        Views whose answers are pending, by place.
    options : WriteOptions
        Options of writing, of an object that was accepted.
    """

    record: ObjectRecord = field(default_factory=ObjectRecord)
    base: ObjectRecord | None = None
    home: Objects | None = None
    modified: bool = False
    waiting: dict[Hashable, ObjectView] = field(default_factory=dict)
    options: WriteOptions = field(default_factory=WriteOptions)

    def view(self, plane: ImagePlane) -> ObjectView | None:
        """Return prompts and candidates on a plane, as they were asked."""
        return self.waiting.get(plane.place) or self.record.view(plane)

    @property
    def asked(self) -> ObjectRecord:
        """The record, including views that are not answered yet."""
        record = self.record
        for view in self.waiting.values():
            record = record.with_view(view)
        return record

    @property
    def undone(self) -> bool:
        """True if it was replaced or removed since it was opened.

        But for its class, and for planes that were added.
        """
        base, home = self.base, self.home
        if base is None or home is None or not base.number:
            return False
        now = home.get(base.number)
        return now is None or any(
            now.views.get(place) is not view
            for place, view in base.views.items()
        )

    def take(self, result: PromptResult) -> bool:
        """Take an answer; return whether a view has waited for it."""
        place = result.request.plane.place
        view = self.waiting.get(place)
        if view is None or view.prompts is not result.request.objects[0]:
            return False
        del self.waiting[place]
        self.record = self.record.with_answer(view, result.candidates[0])
        return True

    def release(self, gone: Objects) -> bool:
        """Make it a new object if the labels that it was in are gone.

        Returns
        -------
        bool
            Whether they are.
        """
        if self.home is not gone:
            return False
        self.record = replace(self.record, number=0, label=0)
        self.base = self.home = None
        self.modified = True
        return True


def home_of(
    edited: EditedObject, find_objects: Callable[[bool], Objects | None]
) -> Objects:
    """Return the objects that an object is written to.

    Raises
    ------
    LabelsError
        There are no labels, and none can be created.
    """
    # not `or`: `Objects` without an object are false
    home = find_objects(True) if edited.home is None else edited.home
    if home is None:
        raise LabelsError('There are no labels to write the object to.')
    return home


def write_edited(
    edited: EditedObject,
    find_objects: Callable[[bool], Objects | None],
    recorder: Recorder,
) -> ObjectRecord:
    """Write an object to its labels, as one step.

    Parameters
    ----------
    edited : EditedObject
        The object.
    find_objects : callable
        Returns the objects of the labels to write to if its own are gone.
    recorder : Recorder
        Records replay code.

    Returns
    -------
    ObjectRecord
        The object as written. Unchanged labelled pixels are not written and
        have no number.

    Raises
    ------
    PromptError
        The object has no mask.
    LabelsError
        The labels cannot be written.
    """
    base, record = edited.base, edited.record
    # its labels may have been removed while it waited
    objects = home_of(edited, find_objects)
    if not record.masks:
        raise PromptError(
            'The model found nothing here: add a point or draw a box.'
        )
    now = None if base is None else objects.now(base)
    if base is not None and not edited.modified and (now or not base.number):
        # only marked as reviewed; labelled pixels are there already
        return base if now is None else objects.review(now.number)
    if base is not None and now is not None:
        record, base = _with_changes(record, base, now), now
    record = finished(record, base, objects, edited.options)
    replay_code = recorder.object(record, now, edited.options)
    write_object(objects, record, base, edited.options.policy, replay_code)
    return record


def write_class(
    objects: Objects,
    record: ObjectRecord,
    options: WriteOptions,
    recorder: Recorder,
) -> ObjectRecord:
    """Give an object of labels the class of the options, as one step.

    Pixels are only written if labels are class numbers, and only its own.
    Labelled pixels of others become an object, as when they are accepted.

    Parameters
    ----------
    objects : Objects
        Objects of the labels.
    record : ObjectRecord
        One of them, or labelled pixels as an object without a number.
    options : WriteOptions
        The class and, if labels are class numbers, its label.
    recorder : Recorder
        Records replay code.

    Returns
    -------
    ObjectRecord
        The object as written.

    Raises
    ------
    LabelsError
        The labels are not editable, a job is writing the object, or another
        class uses the label.
    """
    objects.target.check()
    objects.check_idle(record)
    class_name = options.class_name
    if record.class_name == class_name:
        return record
    # a label has one class: other pixels of the label of an object follow it
    numbers = [each.number for each in objects.namesakes(record)]
    number = record.number or min(numbers, default=0)
    if number and not options.by_class:
        assign_class(objects, number, class_name)
        return objects[number]
    changed = EditedObject(
        replace(record, class_name=class_name),
        record,
        objects,
        modified=True,
        # other objects may cover parts of its mask
        options=replace(options, policy='keep'),
    )
    return write_edited(changed, lambda create: objects, recorder)


def _with_changes(
    record: ObjectRecord, base: ObjectRecord, now: ObjectRecord
) -> ObjectRecord:
    """Return the current object, with the changes made while it was open.

    A job may have written it on other planes in the meantime.
    """
    views = dict(now.views)
    for place in {**base.views, **record.views}:
        view = record.views.get(place)
        if view is base.views.get(place):
            continue
        if view is None:
            views.pop(place, None)
        else:
            views[place] = view
    changed = record.class_name != base.class_name
    class_name = record.class_name if changed else now.class_name
    return replace(now, views=views, class_name=class_name)
