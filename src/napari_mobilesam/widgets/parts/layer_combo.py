"""Combo box of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import (  # type: ignore[attr-defined]
    Signal,
)
from qtpy.QtWidgets import QComboBox

from napari_mobilesam.widgets.parts.controls import narrow


class LayerCombo(QComboBox):
    """Combo box of layers, held by identity.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    accepts : callable
        Returns whether a layer is offered.
    nothing : str
        Text of the entry for no layer; no such entry if empty.
    """

    layer_changed = Signal(object)

    def __init__(
        self,
        viewer: ViewerModel,
        accepts: Callable[[Layer], bool],
        nothing: str = '',
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._accepts = accepts
        self._nothing = nothing
        self._layers: list[Layer | None] = []
        narrow(self)
        self.currentIndexChanged.connect(self._tell)
        self.refresh()

    @property
    def layers(self) -> list[Layer]:
        """The layers offered."""
        return [layer for layer in self._layers if layer is not None]

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        if layer not in self._layers:
            self.refresh()
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer))

    def refresh(self, event: Any = None) -> None:
        """Offer the layers now in the viewer, keeping the choice."""
        before = self.layer
        layers: list[Layer | None] = [
            layer for layer in self._viewer.layers if self._accepts(layer)
        ]
        if self._nothing:
            layers.insert(0, None)
        self.blockSignals(True)
        self._layers = layers
        self.clear()
        self.addItems([self._nothing if x is None else x.name for x in layers])
        if before in layers:
            self.setCurrentIndex(layers.index(before))
        self.blockSignals(False)
        if self.layer is not before:
            self._tell()

    def _tell(self, index: int = 0) -> None:
        self.setToolTip(self.currentText())
        self.layer_changed.emit(self.layer)
