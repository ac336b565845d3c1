"""napari's own undo and redo of painted labels."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np
from napari.layers import Labels

UNDO, REDO = '_undo_history', '_redo_history'


def grown_labels(changes: Iterable[Any], sign: int = 1) -> dict[int, int]:
    """Return the labels that gained or lost pixels, and how many.

    Parameters
    ----------
    changes : iterable
        Changes in napari's history; each ends with the values before and
        after.
    sign : {1, -1}
        -1 if the changes were undone.

    Returns
    -------
    dict of int to int
        Number of pixels by which each label has grown.
    """
    grown: dict[int, int] = defaultdict(int)
    for *_, old, new in changes:
        before = np.atleast_1d(old)
        after = np.broadcast_to(new, before.shape)
        for values, way in ((before, -sign), (after, sign)):
            labels, counts = np.unique(values, return_counts=True)
            for label, count in zip(labels, counts, strict=True):
                grown[int(label)] += way * int(count)
    grown.pop(0, None)
    return dict(grown)


class BrushHistory:
    """Detect when napari has undone or redone a brush stroke.

    napari emits an event when something is painted, but not when that is
    undone, so its history is compared whenever the layer is drawn.

    Parameters
    ----------
    layer : napari.layers.Labels
        Labels; not kept alive.
    told : callable
        Called with the labels that gained or lost pixels, and how many.
    """

    def __init__(
        self, layer: Labels, told: Callable[[dict[int, int]], None]
    ) -> None:
        self._layer = weakref.ref(layer)
        self._told = told
        self._known = self._lengths()
        layer.events.paint.connect(self._note)
        layer.events.set_data.connect(self._look)

    def close(self) -> None:
        """Stop listening."""
        layer = self._layer()
        if layer is not None:
            layer.events.paint.disconnect(self._note)
            layer.events.set_data.disconnect(self._look)

    def _lengths(self) -> tuple[int, int]:
        # private names; without them, nothing is reported
        layer = self._layer()
        undo, redo = (len(getattr(layer, name, ())) for name in (UNDO, REDO))
        return undo, redo

    def _note(self, event: Any) -> None:
        self._known = self._lengths()

    def _look(self, event: Any) -> None:
        (undo, redo), now = self._known, self._lengths()
        steps = now[1] - redo
        self._known = now
        # napari forgets its history when another plane is shown
        if steps and now[0] == undo - steps:
            items = getattr(self._layer(), REDO if steps > 0 else UNDO)
            newest = islice(reversed(items), abs(steps))
            changes = [change for item in newest for change in item]
            self._told(grown_labels(changes, -1 if steps > 0 else 1))
