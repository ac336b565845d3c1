"""Write objects and assign classes, each as one step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.objects.history import Entry
from napari_mobilesam.session.objects.measured_rows import pixel_changes
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.step import Step, labelled_pixels
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    WriteOptions,
    WritePolicy,
    rows_of,
)
from napari_mobilesam.text import counted

# When an object is overwritten, its remainder is dropped if it is at most this
# share of the object and no pixel lies deeper than this: the rim around a
# slightly smaller mask is not an object.
MOST_CRUMBS, CRUMB_DEPTH = 0.15, 2


def finished(
    record: ObjectRecord,
    base: ObjectRecord | None,
    objects: Objects,
    options: WriteOptions,
) -> ObjectRecord:
    """Return an open object as it will be written, with number and label.

    Parameters
    ----------
    record : ObjectRecord
        The object.
    base : ObjectRecord or None
        The object when opened. It keeps its number and label, unless labels
        are class numbers and its class has changed.
    objects : Objects
        Objects of the labels.
    options : WriteOptions
        Label and class of a new object.

    Raises
    ------
    LabelsError
        The labels are not editable, are full, cannot hold the label, or use it
        for objects of another class.
    """
    label = record.label
    class_name = record.class_name
    objects.target.check()
    if base is None:
        class_name = options.class_name
        check_class_label(objects, options)
        chosen = options.label
        label = objects.free_label() if chosen is None else chosen
    elif record.class_name != base.class_name:
        check_class_label(objects, options, base)
        # labels that are class numbers follow the class
        label = options.label or label
    check_label(objects, label)
    views = {place: _kept(view) for place, view in record.views.items()}
    return replace(
        record,
        views=views,
        label=label,
        number=record.number or objects.number_for(label),
        class_name=class_name,
        reviewed=True,
    )


def check_label(objects: Objects, label: int) -> None:
    """Raise `LabelsError` if labels cannot hold a label."""
    if not 0 < label <= objects.target.limit:
        raise LabelsError(
            f'Label {label} cannot be written to “{objects.target.name}”: '
            f'choose one from 1 to {objects.target.limit}.'
        )


def check_class_label(
    objects: Objects, options: WriteOptions, base: ObjectRecord | None = None
) -> None:
    """Check that no other class uses the label of a class.

    Parameters
    ----------
    objects : Objects
        Objects of the labels.
    options : WriteOptions
        Label and class of the object.
    base : ObjectRecord, optional
        The previous object, which may use the label.

    Raises
    ------
    LabelsError
        If another class uses it, or no class is chosen.
    """
    if not options.by_class:
        return
    label, target = options.label, objects.target
    if label is None:
        raise LabelsError(
            'Choose a class, or type the name of a new one: with “one label '
            'per class”, objects are written with the number of their class.'
        )
    others = {
        record.class_name
        for record in objects
        if record.label == label and (not base or record.number != base.number)
    }
    rows = rows_of(target, {label})
    own = base is not None and base.label == label
    if len(rows) and not own and target.present({label}):
        names = rows.get('class', [None])
        others |= {name if isinstance(name, str) else '' for name in names}
    others.discard(options.class_name)
    if others:
        name = min(others)
        whose = f'class “{name}”' if name else 'an object without a class'
        raise LabelsError(
            f'Label {label} of “{target.name}” already stands for {whose}, so '
            f'it cannot stand for class “{options.class_name}”: choose '
            'another labels layer, or “one label per object”.'
        )


def _kept(view: ObjectView) -> ObjectView:
    """Return a view without the logits of masks that were not chosen."""
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

    Objects of which nothing or only crumbs remain are removed in the same
    step.

    Parameters
    ----------
    objects : Objects
        Objects of the labels.
    record : ObjectRecord
        The object.
    base : ObjectRecord or None
        The previous object, whose pixels are erased.
    policy : {'overwrite', 'keep'}
        Treatment of existing labels.
    replay_code : ReplayCode, optional
        Code that repeats the step.

    Raises
    ------
    LabelsError
        The labels are not editable or do not cover the object, labels that are
        kept cover all of it, or a job is writing it. Nothing is written then.
    """
    title = record.text if base is None else f'change of {record.text}'
    with objects.step(title) as step:
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
        if not step.resize(record):
            raise LabelsError(
                'Nothing was written: other labels of '
                f'“{objects.target.name}” cover the object and are kept. '
                'Allow overwriting, or delete them first.'
            )
        if base is not None and objects.is_painted(base):
            objects.note_painted({record.label})
        clear_beneath(objects, step, record, policy)


def clear_beneath(
    objects: Objects,
    step: Step,
    record: ObjectRecord,
    policy: WritePolicy,
    among: Collection[int] = (),
) -> tuple[ObjectRecord, ...]:
    """Remove objects that were overwritten entirely or up to a thin rim.

    The areas of partly covered objects are updated.

    Parameters
    ----------
    objects : Objects
        Objects of the labels.
    step : Step
        Step that wrote the object.
    record : ObjectRecord
        The written object.
    policy : {'overwrite', 'keep'}
        Treatment of existing labels.
    among : collection of int
        Numbers of objects that are overwritten even if others are kept.

    Returns
    -------
    tuple of ObjectRecord
        Objects that were removed.
    """
    kept = policy == 'keep' or objects.target.preserved
    if kept and not among:
        return ()
    removed = []
    for other in _beneath(objects, step, record):
        if kept and other.number not in among:
            continue
        if objects.written_by(other, step) is not None:
            continue
        if _is_crumbs(objects, other, step.resize(other)):
            step.erase(other)
            step.remove(other)
            removed.append(other)
    return tuple(removed)


def _is_crumbs(objects: Objects, record: ObjectRecord, left: int) -> bool:
    """Return whether nothing or only a thin rim is left of an object."""
    painted = objects.painted_pixels(record)
    if painted is not None and len(painted[0]) > left:
        # beside its mask
        return False
    masks = [(v.plane, v.mask) for v in record.views.values() if v.mask]
    return are_crumbs(
        [
            mask.data
            & (objects.target.picture(plane, mask.box) == record.label)
            for plane, mask in masks
        ],
        sum(mask.area for _, mask in masks),
    )


def are_crumbs(parts: Sequence[NDArray[np.bool_]], area: int) -> bool:
    """Return whether the rest of an object is nothing or a thin rim.

    Parameters
    ----------
    parts : sequence of ndarray
        (h, w) bool, the pixels left on each of its planes.
    area : int
        Number of pixels of the whole object.
    """
    from scipy.ndimage import binary_erosion

    left = sum(int(np.count_nonzero(part)) for part in parts)
    return left <= MOST_CRUMBS * area and not any(
        binary_erosion(part, iterations=CRUMB_DEPTH).any() for part in parts
    )


def is_unchanged(objects: Objects, record: ObjectRecord) -> bool:
    """Return whether accepting an object wrote nothing.

    At most, it was marked as reviewed.
    """
    last = objects.history.last
    if last is None or last.records_after.get(record.number) is not record:
        return True
    before = last.records_before[record.number]
    return before is not None and before.views is record.views


def covered_objects(objects: Objects) -> list[int]:
    """Return the numbers of objects removed by the last step.

    After `write_object`, these are the objects it overwrote completely.
    """
    last = objects.history.last
    if last is None:
        return []
    return [
        number
        for number, before in sorted(last.records_before.items())
        if before is not None and last.records_after[number] is None
    ]


def shrunken_labels(objects: Objects) -> list[int]:
    """Return labels overwritten to less than half their area.

    Only the last step is considered, without labels it wrote or removed, and
    only labels of objects or of known area.
    """
    last = objects.history.last
    if last is None:
        return []
    written = {r.label for r in last.records_after.values() if r is not None}
    measured, shrunken = _measured_areas(last)
    losses = Counter[int]()
    for patch in last.patches:
        losses.subtract(pixel_changes(patch))
    for label, lost in losses.items():
        if lost > 0 and label not in measured:
            masks = [r for r in objects if r.label == label]
            left = sum(labelled_pixels(objects.target, r)[1] for r in masks)
            if 0 < left < lost:
                shrunken.add(label)
    return sorted(shrunken - written)


def _measured_areas(entry: Entry) -> tuple[set[int], set[int]]:
    """Return labels of known area, and those that lost more than half."""
    before, after = entry.rows_before, entry.rows_after
    if before is None or after is None:
        return set(), set()
    if 'area' not in before or 'area' not in after:
        return set(), set()
    # tables from other programs may list a label several times
    old, new = (
        rows.drop_duplicates('index').set_index('index')['area'].dropna()
        for rows in (before, after)
    )
    common = old.index.intersection(new.index)
    shrunken = common[new[common] < old[common] / 2]
    return set(map(int, common)), set(map(int, shrunken))


def _beneath(
    objects: Objects, step: Step, record: ObjectRecord
) -> list[ObjectRecord]:
    """Return objects that lost pixels to a newly written one."""
    lost = step.overwritten - {record.label}
    return [
        other
        for other in objects
        if other.label in lost and record.overlaps(other)
    ]


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
    """Assign all objects of a class to another class or none, as one step.

    Labels that only have a class in the feature table form a separate step.
    """
    _reassign_rows(objects, class_name, new)
    members = [r for r in objects if r.class_name == class_name]
    if not members:
        return
    title = f'the class of {counted(len(members), "object")}'
    with objects.step(title) as step:
        step.replay_code = ReplayCode(
            tuple(
                f'session.assign_class({new!r}, {record.number})'
                for record in members
            )
        )
        for record in members:
            step.put(replace(record, class_name=new))


def _reassign_rows(objects: Objects, class_name: str, new: str) -> None:
    table = objects.target.features()
    if 'class' not in table:
        return
    own = {record.label for record in objects}
    rows = table[
        (table['class'] == class_name) & ~table['index'].isin(list(own))
    ]
    if not len(rows):
        return
    title = f'the class of {counted(len(rows), "label")}'
    with objects.step(title) as step:
        step.describe(
            set(rows['index'].tolist()), rows.assign(**{'class': new or None})
        )
