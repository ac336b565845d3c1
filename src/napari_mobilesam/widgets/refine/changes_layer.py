"""Layer that shows the pixels changed by *Refine all*."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from psygnal import Signal

from napari_mobilesam.session.objects.history import Entry
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.sparse_labels import write_levels
from napari_mobilesam.session.prompts.refine_all import RefineResult
from napari_mobilesam.widgets.viewer.label_writer import (
    layer_pixels,
    new_labels,
)
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import (
    PREVIEW_MARK,
    insert_below_prompts,
    refresh_pixels,
)

NAME = 'changes'
ADDED, REMOVED, EXCHANGED = 1, 2, 3
COLORS: dict[int | None, str] = {
    None: 'transparent',
    0: 'transparent',
    ADDED: '#00e676',
    REMOVED: '#ff1744',
    EXCHANGED: '#ffea00',
}
# names of the colours, for the legend
MEANINGS = {
    ADDED: 'added',
    REMOVED: 'removed',
    EXCHANGED: 'given to another object',
}
LEGEND = '&nbsp; '.join(
    f'<span style="color:{COLORS[kind]}">■</span>&nbsp;{meaning}'
    for kind, meaning in MEANINGS.items()
)


class ChangesLayer:
    """Show added and removed pixels until the step is undone.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).

    Attributes
    ----------
    shown : Signal(bool)
        Emitted with whether the changes are visible.
    """

    shown = Signal(bool)

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Labels | None = None
        self._objects: weakref.ref[Objects] | None = None
        self._entry: Entry | None = None
        self._wanted = True
        # whether the step is done and not undone
        self._done = True

    @property
    def layer(self) -> Labels | None:
        """The layer; None if nothing is shown or it was removed."""
        if self._layer is not None and self._layer in self._viewer.layers:
            return self._layer
        return None

    def show(self, result: RefineResult, objects: Objects) -> None:
        """Show the changes of a run in place of previous ones."""
        self.remove()
        if not result.changes:
            return
        first: LayerPlane = result.changes[0].plane.geometry
        layer = new_labels(first, NAME, np.uint8)
        layer.metadata[PREVIEW_MARK] = True
        layer.colormap = DirectLabelColormap(color_dict=COLORS)
        for change in result.changes:
            kind = np.full(change.before.shape, EXCHANGED, np.uint8)
            kind[change.before == 0] = ADDED
            kind[change.after == 0] = REMOVED
            kind[change.before == change.after] = 0
            indices, values = layer_pixels(
                layer, change.plane.geometry, kind, change.corner
            )
            if layer.multiscale:
                write_levels(list(layer.data), indices, values)
            else:
                layer.data[indices] = values
        layer.opacity = 0.6
        layer.visible = self._wanted
        refresh_pixels(layer)
        self._layer = layer
        insert_below_prompts(self._viewer, layer)
        self._entry, self._done = objects.history.last, True
        self._objects = weakref.ref(objects)
        objects.changed.connect(self.follow)
        self.shown.emit(bool(layer.visible))

    def removed(self, event: Any = None) -> None:
        """Handle removal of the layer by hand."""
        if self._layer is not None and self.layer is None:
            self.shown.emit(False)

    def switch(self, wanted: bool) -> None:
        """Show or hide the changes."""
        self._wanted = wanted
        self._show()

    def follow(self) -> None:
        """Hide the changes while their step is undone."""
        objects = None if self._objects is None else self._objects()
        if objects is None:
            return
        done = any(entry is self._entry for entry in objects.history.done)
        if done != self._done:
            self._done = done
            self._show()

    def _show(self) -> None:
        layer = self.layer
        if layer is not None:
            layer.visible = self._wanted and self._done
            self.shown.emit(bool(layer.visible))

    def remove(self) -> None:
        """Remove the layer."""
        objects = None if self._objects is None else self._objects()
        if objects is not None:
            objects.changed.disconnect(self.follow)
        layer = self.layer
        self._layer = self._objects = self._entry = None
        if layer is not None:
            self._viewer.layers.remove(layer)
        self.shown.emit(False)
