"""Choice of an image and labels, following the scene and the selection."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

from napari.layers import Image, Labels, Layer
from psygnal import Signal

from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layers import (
    PREVIEW_MARK,
    is_of,
    is_output,
    suitability,
)


class LayerChoices:
    """Combo boxes for an image and for labels.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the viewer, and the scene whose image and labels are chosen when
        they change.
    no_image : str
        Text of the entry for no image; no such entry if empty.

    Attributes
    ----------
    image, labels : LayerCombo
        The combo boxes.
    changed : Signal()
        Layers came, went or got another name, or the scene changed.
    """

    changed = Signal()

    def __init__(self, dock: ViewerWidget, no_image: str = '') -> None:
        self._dock = dock
        self._scene = dock.scene
        self.image = LayerCombo(dock.viewer, is_of(Image), no_image)
        self.labels = LayerCombo(dock.viewer, is_output)
        # those of the scene that were followed: a choice of others stays
        self._followed: list[weakref.ref[Layer] | None] = [None, None]
        # active layer at the last look
        self._active: weakref.ref[Layer] | None = None

    def attach(self) -> None:
        """Follow the viewer and the scene until the dock closes."""
        self._dock.follow_layers(self.refresh, self.take_active)
        for signal in (self._scene.image_changed, self._scene.labels_changed):
            self._dock.listen(signal, self.follow_scene)
        self.refresh()
        # the labels that were selected before the dock was opened
        self.take_active()

    def refresh(self, event: Any = None) -> None:
        """Offer the layers that the viewer has now."""
        self.image.refresh()
        self.labels.refresh()
        self.follow_scene()

    def follow_scene(self) -> None:
        """Choose the image and labels of the scene if they have changed."""
        other_image = self._follow(0, self.image, self._scene.image)
        self._follow(1, self.labels, self._scene.labels)
        if other_image:
            self._choose_suitable()
        self.changed.emit()

    def _choose_suitable(self) -> None:
        """Choose labels of the image if those chosen do not suit it."""
        image, chosen = self.image.layer, self.labels.layer
        if image is None or chosen is None or suitability(chosen, image):
            return
        best = max(self.labels.layers, key=partial(suitability, image=image))
        if suitability(best, image):
            self.labels.layer = best

    def _follow(
        self, which: int, combo: LayerCombo, layer: Layer | None
    ) -> bool:
        """Choose a layer of the scene; return whether it is another one."""
        known = self._followed[which]
        before = None if known is None else known()
        if layer is not None and layer is not before:
            combo.layer = layer
            self._followed[which] = weakref.ref(layer)
            return True
        return False

    def take_active(self, event: Any = None) -> None:
        """Choose the active layer if it is labels to work on.

        This applies only if the user selected it: an added layer is active for
        a moment before the previous one is again.
        """
        active = self._dock.viewer.layers.selection.active
        before = None if self._active is None else self._active()
        if (
            active is None
            or active is before
            or PREVIEW_MARK in active.metadata
        ):
            return
        self._active = weakref.ref(active)
        if isinstance(active, Labels) and is_output(active):
            self.labels.layer = active
