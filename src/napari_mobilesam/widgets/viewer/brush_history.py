"""Labels changed by napari's brush, and by its own undo and redo."""

from __future__ import annotations

import contextlib
import weakref
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.events import EventEmitter

# event of a layer; see `replayed_event`
REPLAYED = 'napari_mobilesam_replayed'
# methods of a layer, and where they take a stroke from
_HISTORIES = {'undo': '_undo_history', 'redo': '_redo_history'}


def grown_labels(changes: Iterable[Any]) -> dict[int, int]:
    """Return the labels that gained or lost pixels, and how many.

    Parameters
    ----------
    changes : iterable
        Changes, as in napari's history; each ends with the values before and
        after.

    Returns
    -------
    dict of int to int
        Number of pixels by which each label has grown.
    """
    grown: dict[int, int] = defaultdict(int)
    for *_, old, new in changes:
        before = np.atleast_1d(old)
        after = np.broadcast_to(new, before.shape)
        for values, way in ((before, -1), (after, 1)):
            labels, counts = np.unique(values, return_counts=True)
            for label, count in zip(labels, counts, strict=True):
                grown[int(label)] += way * int(count)
    grown.pop(0, None)
    return dict(grown)


def replayed_event(layer: Labels) -> EventEmitter:
    """Return the event of a layer for strokes that napari undid or redid.

    napari has an event for strokes only. The value is like that of its
    ``paint``: a list of tuples with the indices of changed pixels and their
    values before and after. These were compared, since objects may have been
    written over the stroke.
    """
    if REPLAYED not in layer.events.emitters:
        layer.events.add(**{REPLAYED: None})
        for name in _HISTORIES:
            _tell_after(layer, name)
    event: EventEmitter = layer.events[REPLAYED]
    return event


def _tell_after(layer: Labels, name: str) -> None:
    """Emit the event after each call of a method of a layer."""
    find_layer = weakref.ref(layer)

    def replay() -> None:
        own = find_layer()
        assert own is not None
        # private names; if they have changed, nothing is told
        strokes = getattr(own, _HISTORIES[name], ())
        box = None
        if strokes:
            with contextlib.suppress(AttributeError, TypeError, ValueError):
                box = _box_of(strokes[-1])
        before = None if box is None else np.array(own.data[box])
        getattr(type(own), name)(own)
        if box is None or before is None:
            return
        after = np.asarray(own.data[box])
        changed = np.nonzero(before != after)
        indices = tuple(
            found + part.start
            for found, part in zip(changed, box, strict=True)
        )
        own.events[REPLAYED](
            value=[(indices, before[changed], after[changed])]
        )

    # hides the method of the class
    vars(layer)[name] = replay


def _box_of(stroke: Sequence[Any]) -> tuple[slice, ...]:
    """Return the slices around a stroke of napari's history."""
    boxes = [
        [(int(np.min(part)), int(np.max(part)) + 1) for part in change[0]]
        if type(change) is tuple
        else [(part.start, part.stop) for part in change.slice_key]
        for change in stroke
    ]
    low, high = np.min(boxes, axis=0)[:, 0], np.max(boxes, axis=0)[:, 1]
    return tuple(map(slice, low.tolist(), high.tolist()))
