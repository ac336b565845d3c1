"""Objects that are no longer open, and writing them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView
from napari_mobilesam.session.objects.targets import LabelsError, WriteOptions
from napari_mobilesam.session.objects.writing import finished, write_object
from napari_mobilesam.session.prompts.recorder import Recorder
from napari_mobilesam.types import PromptError


@dataclass(eq=False)
class ClosedObject:
    """An object that is no longer open, with all that is needed to write it.

    Attributes
    ----------
    record : ObjectRecord
        The object.
    base : ObjectRecord or None
        The object when it was opened; None if it is new.
    home : Objects or None
        Objects that it belongs to; None if that is not decided yet.
    options : WriteOptions
        Options of writing.
    modified : bool
        Whether it was changed since it was opened.
    waiting : dict
        Views whose answers are pending, by place.
    """

    record: ObjectRecord
    base: ObjectRecord | None
    home: Objects | None
    options: WriteOptions
    modified: bool
    waiting: dict[Hashable, ObjectView] = field(default_factory=dict)

    def release(self) -> None:
        """Make it a new object: the labels that it was in are gone."""
        self.record = replace(self.record, number=0, label=0)
        self.base = self.home = None
        self.modified = True

    @property
    def asked(self) -> ObjectRecord:
        """The record with the views that are not answered yet."""
        record = self.record
        for view in self.waiting.values():
            record = record.with_view(view)
        return record


def home_of(
    closed: ClosedObject, find_objects: Callable[[bool], Objects | None]
) -> Objects:
    """Return the objects that a closed object is written to.

    Raises
    ------
    LabelsError
        There are no labels, and none can be made.
    """
    # not `or`: `Objects` without an object are false
    home = find_objects(True) if closed.home is None else closed.home
    if home is None:
        raise LabelsError('There are no labels to write the object to.')
    return home


def write_closed(
    closed: ClosedObject,
    find_objects: Callable[[bool], Objects | None],
    recorder: Recorder,
) -> ObjectRecord:
    """Write a closed object to its labels, as one step.

    Parameters
    ----------
    closed : ClosedObject
        The object.
    find_objects : callable
        Returns the objects of the labels to write to, if its own are gone.
    recorder : Recorder
        Records replay code.

    Returns
    -------
    ObjectRecord
        The object as written. Labelled pixels that were not changed are not
        written, and have no number.

    Raises
    ------
    PromptError
        It has no mask.
    LabelsError
        The labels cannot be written.
    """
    base, record = closed.base, closed.record
    # its labels may have been removed while it waited
    objects = home_of(closed, find_objects)
    if not record.masks:
        raise PromptError(
            'The model found nothing here: add a point or draw a box.'
        )
    now = None if base is None else objects.now(base)
    if base is not None and not closed.modified and (now or not base.number):
        # only marked as reviewed; labelled pixels are there already
        return base if now is None else objects.review(now.number)
    if base is not None and now is not None:
        record, base = _with_changes(record, base, now), now
    record = finished(record, base, objects, closed.options)
    replay_code = recorder.object(record, now, closed.options)
    write_object(objects, record, base, closed.options.policy, replay_code)
    return record


def _with_changes(
    record: ObjectRecord, base: ObjectRecord, now: ObjectRecord
) -> ObjectRecord:
    """Return an object as it is now, with what was changed while it was open.

    A job may have written it on other planes meanwhile.
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


def is_undone(base: ObjectRecord | None, home: Objects | None) -> bool:
    """Return whether an object was replaced or removed since it was opened."""
    if base is None or home is None or not base.number:
        return False
    return not is_same(base, home.get(base.number))


def is_same(base: ObjectRecord | None, now: ObjectRecord | None) -> bool:
    """Return whether an object is as it was opened.

    But for its class, and for planes that were added.
    """
    return (
        base is not None
        and now is not None
        and all(now.views.get(p) is view for p, view in base.views.items())
    )
