"""Objects that others overwrite entirely while a job is writing them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_mobilesam.session.objects.history import Entry, History
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.targets import labels_in, with_rows


def is_overwritten(objects: Objects, record: ObjectRecord) -> bool:
    """Return whether others have all pixels of an object.

    False if it was erased by hand.
    """
    painted = objects.painted_pixels(record)
    if painted is not None and len(painted[0]):
        return False
    found = {
        int(value)
        for view in record.views.values()
        if view.mask
        for value in np.unique(
            labels_in(objects.target, view.plane, view.mask)
        )
    }
    return record.label not in found and bool(found - {0})


def move_removal(objects: Objects, before: ObjectRecord) -> None:
    """Move the removal of an object to the step that has overwritten it.

    The last step was writing the object meanwhile, so the other could not
    remove it. Without this, an undo of the last step alone would leave an
    object without pixels.

    Parameters
    ----------
    objects : Objects
        Objects of the labels.
    before : ObjectRecord
        The object before the last step, all of it overwritten since.
    """
    history, label = objects.history, before.label
    last, other = history.last, _overwriting(history, before)
    if last is None or other is None or _takes_from(last, label):
        return
    number = before.number
    history.replace(
        other,
        replace(
            other,
            records_before={**other.records_before, number: before},
            records_after={**other.records_after, number: None},
            rows_after=_without(other, label).rows_after,
            labels=tuple(sorted({*other.labels, label})),
        ),
    )
    history.replace(
        last,
        replace(
            _without(last, label),
            records_before={**last.records_before, number: None},
            rows_after=last.rows_after,
            # a script does not have the object any more
            replay_code=None,
        ),
    )


def _overwriting(history: History, record: ObjectRecord) -> Entry | None:
    """Return the step before the last that has overwritten an object."""
    for entry in reversed(history.done[:-1]):
        if record.number in entry.records_after:
            return None
        if _takes_from(entry, record.label):
            return entry
    return None


def _takes_from(entry: Entry, label: int) -> bool:
    """Return whether a step takes pixels from a label."""
    return any((patch.before == label).any() for patch in entry.patches)


def _without(entry: Entry, label: int) -> Entry:
    """Return a step without the rows of a label."""
    before, after = (
        None if rows is None else with_rows(rows, [label], rows[:0])
        for rows in (entry.rows_before, entry.rows_after)
    )
    return replace(entry, rows_before=before, rows_after=after)
