"""Objects of tracks chosen by clicks, to be linked or divided."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.widgets.viewer.layers import (
    PREVIEW_MARK,
    RIGHT_BUTTON,
    data_of,
    mouse_position,
    placement,
)
from napari_mobilesam.widgets.viewer.mouse_clicks import (
    clicked_label,
    is_click,
)
from napari_mobilesam.widgets.viewer.track_layers import ShownTracks

NAME = 'chosen objects'
COLORS = ('#ffd54f', '#4dd0e1')
# rings are this many pixels larger than their objects
MARGIN = 6
# Maximum number of objects chosen at the same time.
MOST = 2


class ChosenObjects:
    """Choose objects of tracks on the canvas, and mark them.

    Two objects in different frames can be chosen; a third click drops the
    first, and a click in the same frame replaces the object there.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).

    Attributes
    ----------
    indices : tuple of int
        Indices of the objects in the tracks, by frame.
    changed : Signal()
        The choice of objects changed.
    missed : Signal()
        Background was clicked.
    """

    changed = Signal()
    missed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._shown: ShownTracks | None = None
        self._clicked: list[int] = []
        self._rings: Points | None = None

    @property
    def shown(self) -> ShownTracks | None:
        """The tracks from which objects are chosen."""
        return self._shown

    @property
    def indices(self) -> tuple[int, ...]:
        """Indices of the objects in the tracks, by frame."""
        if self._shown is None:
            return ()
        frames = self._shown.tracked.tracks.frames
        return tuple(sorted(self._clicked, key=lambda i: int(frames[i])))

    @property
    def last(self) -> int:
        """Index of the object clicked last."""
        return self._clicked[-1]

    def follow(self, shown: ShownTracks | None) -> None:
        """Listen to clicks on other tracks, or on none."""
        callbacks = self._viewer.mouse_drag_callbacks
        if self._click in callbacks:
            callbacks.remove(self._click)
        if shown is not self._shown:
            self._clicked = []
            if self._shown is not None:
                self._shown.tracked.objects_changed.disconnect(self._renumber)
            if shown is not None:
                shown.tracked.objects_changed.connect(self._renumber)
        self._shown = shown
        if shown is None:
            self._remove_rings()
        else:
            callbacks.append(self._click)
            self._mark()
        self.changed.emit()

    def choose(self, *indices: int) -> None:
        """Choose objects, last clicked at the end."""
        self._clicked = list(indices)
        self._mark()
        self.changed.emit()

    def _renumber(self, new: NDArray[np.int64]) -> None:
        """Keep the chosen objects that still exist."""
        kept = [int(new[i]) for i in self._clicked]
        self.choose(*[index for index in kept if index >= 0])

    def _add(self, index: int) -> None:
        assert self._shown is not None
        frames = self._shown.tracked.tracks.frames
        others = [i for i in self._clicked if frames[i] != frames[index]]
        self.choose(*[*others, index][-MOST:])

    def _click(
        self, viewer: ViewerModel, event: Any
    ) -> Generator[None, None, None]:
        """Choose the object under a click, not under a drag."""
        shown, active = self._shown, viewer.layers.selection.active
        if shown is None or event.button == RIGHT_BUTTON:
            return
        layer = shown.labels
        ours = active in (layer, shown.source, shown.tracks)
        free = ours or active is None or isinstance(active, Image)
        if layer is None or layer not in viewer.layers or not free:
            return
        mode = str(getattr(active, 'mode', 'pan_zoom'))
        if event.handled or mode not in ('pan_zoom', 'pick'):
            return
        if (yield from is_click(event)):
            self._choose_at(layer, event)

    def _choose_at(self, layer: Labels, event: Any) -> None:
        assert self._shown is not None
        track = clicked_label(self._viewer, layer, event)
        position = mouse_position(self._viewer, layer, event.position)
        frame = round(float(layer.world_to_data(position)[0]))
        tracks = self._shown.tracked.tracks
        here = tracks.frames == frame
        found = np.flatnonzero(here & (tracks.ids == track))
        if len(found):
            layer.selected_label = track
            self._add(int(found[0]))
        else:
            self.missed.emit()

    # rings

    def _mark(self) -> None:
        """Draw a ring around each object, in its frame."""
        if self._shown is None or not self._clicked:
            if self._rings is not None:
                self._rings.data = np.zeros((0, self._rings.ndim))
            return
        tracked = self._shown.tracked
        tracks = tracked.tracks
        layer = self._ring_layer(self._shown)
        if layer is None:
            return
        chosen = list(self.indices)
        sides = [
            max(side.stop - side.start for side in tracked.box(i)[-2:])
            for i in chosen
        ]
        layer.selected_data = set()
        layer.data = np.column_stack(
            [tracks.frames[chosen], tracks.positions[chosen]]
        )
        layer.size = np.array(sides, float) + MARGIN
        layer.border_color = list(COLORS[: len(chosen)])
        layer.refresh()

    def _ring_layer(self, shown: ShownTracks) -> Points | None:
        labels = shown.labels
        if labels is None:
            return None
        if self._rings is not None and self._rings in self._viewer.layers:
            if self._rings.metadata[PREVIEW_MARK] is shown.tracked:
                return self._rings
            self._remove_rings()
        active = self._viewer.layers.selection.active
        self._rings = Points(
            np.zeros((0, data_of(labels).ndim)),
            name=NAME,
            face_color='transparent',
            border_color=COLORS[0],
            border_width=0.08,
            **placement(labels, range(labels.ndim)),
            metadata={PREVIEW_MARK: shown.tracked},
        )
        self._viewer.layers.append(self._rings)
        self._viewer.layers.selection.active = active
        return self._rings

    def _remove_rings(self) -> None:
        rings, self._rings = self._rings, None
        if rings is not None and rings in self._viewer.layers:
            # Mesa's renderer crashes when points are removed
            rings.data = np.zeros((0, rings.ndim))
            self._viewer.layers.remove(rings)
