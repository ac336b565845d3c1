"""Objects into labels: written, deleted, assigned, each as one step."""

from __future__ import annotations

from dataclasses import replace

from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    WriteOptions,
    WritePolicy,
)


def finished(
    record: ObjectRecord,
    base: ObjectRecord | None,
    objects: Objects,
    options: WriteOptions,
) -> ObjectRecord:
    """Return an open object as it will be kept, with number and label.

    Parameters
    ----------
    record : ObjectRecord
        The object.
    base : ObjectRecord or None
        What it was when it was opened, whose number and label it keeps.
    objects : Objects
        Where it will be written to.
    options : WriteOptions
        Which label a new object gets.

    Raises
    ------
    LabelsError
        The labels cannot be edited or are full, or do not hold the label.
    """
    number, label = record.number, record.label
    class_name = record.class_name
    objects.target.check()
    if base is None:
        class_name = options.class_name
        chosen = options.label
        label = objects.free_label() if chosen is None else chosen
        if not 0 < label <= objects.target.limit:
            raise LabelsError(
                f'Label {label} cannot be written to '
                f'“{objects.target.name}”: choose one from 1 to '
                f'{objects.target.limit}.'
            )
        number = objects.number_for(label)
    views = {place: _kept(view) for place, view in record.views.items()}
    return replace(
        record,
        views=views,
        label=label,
        number=number,
        class_name=class_name,
        reviewed=True,
    )


def _kept(view: ObjectView) -> ObjectView:
    """A view as it is kept, the same one if it was kept before."""
    if view.candidates is None:
        return view
    kept = view.candidates.for_keeps()
    return view if kept is view.candidates else replace(view, candidates=kept)


def write_object(
    objects: Objects,
    record: ObjectRecord,
    base: ObjectRecord | None,
    policy: WritePolicy,
    replay_code: ReplayCode | None = None,
) -> None:
    """Write an object as one step.

    Parameters
    ----------
    objects : Objects
        Where to.
    record : ObjectRecord
        The object.
    base : ObjectRecord or None
        What it was before; its pixels are given up.
    policy : {'overwrite', 'keep'}
        What happens to labels that are there already.
    replay_code : ReplayCode, optional
        How the object was made.

    Raises
    ------
    LabelsError
        The labels cannot be edited, or do not meet the object. Nothing is
        written then.
    """
    with objects.step(f'object {record.number}') as step:
        step.replay_code = replay_code
        if base is not None:
            step.erase(base)
        covered = 0
        for view in record.views.values():
            if view.mask is not None:
                covered += step.paint(
                    view.plane, view.mask, record.label, policy
                )
        if not covered:
            raise LabelsError(
                f'“{objects.target.name}” does not cover the object: choose '
                'or create another labels layer.'
            )
        step.put(record)


def assign_class(objects: Objects, number: int, class_name: str) -> None:
    """Assign an object to a class, as one step.

    Raises
    ------
    LabelsError
        There is no such object.
    """
    with objects.step(f'the class of object {number}') as step:
        step.replay_code = ReplayCode(
            (f'session.assign_class({class_name!r}, {number})',)
        )
        step.put(replace(objects[number], class_name=class_name))


def reassign_class(objects: Objects, class_name: str, new: str) -> None:
    """Assign all objects of a class to another, or to none, as one step."""
    members = [r for r in objects if r.class_name == class_name]
    if not members:
        return
    with objects.step(f'the class of {len(members)} objects') as step:
        step.replay_code = ReplayCode(
            tuple(
                f'session.assign_class({new!r}, {record.number})'
                for record in members
            )
        )
        for record in members:
            step.put(replace(record, class_name=new))
