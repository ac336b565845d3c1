"""Labels changed by napari's brush, and by its own undo and redo."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from types import MethodType
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
        size = np.size(old)
        if not size:
            continue
        for pixels, way in ((old, -1), (new, 1)):
            values = np.ravel(pixels)
            if (values == values[0]).all():
                # sorting those of a large fill would take seconds
                grown[int(values[0])] += way * size
                continue
            labels, counts = np.unique(values, return_counts=True)
            for label, count in zip(labels, counts, strict=True):
                grown[int(label)] += way * int(count)
    grown.pop(0, None)
    return dict(grown)


def replayed_event(layer: Labels) -> EventEmitter:
    """Return the event of a layer for strokes that napari undid or redid.

    napari has an event for strokes only. The value is like that of its
    ``paint``: a list of a tuple with the slices around the changed pixels and
    their values before and after. These were compared, since objects may have
    been written over the stroke.
    """
    if REPLAYED not in layer.events.emitters:
        layer.events.add(**{REPLAYED: None})
        for name in _HISTORIES:
            # hides the method of the class; a copy of the layer has its own
            vars(layer)[name] = MethodType(partial(_replay, name), layer)
    event: EventEmitter = layer.events[REPLAYED]
    return event


def _replay(name: str, layer: Labels) -> None:
    """Undo or redo a stroke, and emit the event."""
    # private names; if they have changed, nothing is told
    strokes = getattr(layer, _HISTORIES[name], ())
    box = None
    if strokes:
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            box = _box_of(strokes[-1])
    before = None if box is None else np.array(layer.data[box])
    getattr(type(layer), name)(layer)
    if before is None:
        return
    after = np.asarray(layer.data[box])
    changed = before != after
    if changed.any():
        layer.events[REPLAYED](value=[(box, before[changed], after[changed])])


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
