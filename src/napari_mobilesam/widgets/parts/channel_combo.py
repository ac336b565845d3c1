"""Choice of the channels that the model sees as colours."""

from __future__ import annotations

import itertools
import weakref
from dataclasses import dataclass
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QLabel

from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.parts.controls import narrow
from napari_mobilesam.widgets.viewer.layer_plane import check_composed
from napari_mobilesam.widgets.viewer.layers import (
    CHANNEL,
    channel_axes,
    data_of,
    slider_name,
)

# limits the number of pairs that are offered
MOST_OTHERS = 4
_LOOKS = ('contrast_limits', 'gamma', 'colormap', 'data')


@dataclass(frozen=True)
class _Choice:
    """A channel axis, or other layers to compose with."""

    axis: int | None = None
    others: tuple[weakref.ref[Image], ...] = ()


class ChannelCombo(QComboBox):
    """Choice of a channel axis, or of layers as colours; hidden if none.

    Attributes
    ----------
    changed : Signal
        Emitted when the choice or the display of a composed layer changes.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        narrow(self)
        self.label = QLabel('Channels')
        self._image: weakref.ref[Image] | None = None
        self._choices: weakref.WeakKeyDictionary[Image, _Choice] = (
            weakref.WeakKeyDictionary()
        )
        # axis and other channels chosen for each channel of a series
        self._in_series: dict[int, tuple[int | None, list[int | None]]] = {}
        self._heard: list[weakref.ref[Image]] = []
        self.activated.connect(self._chosen)
        self.offer(None)

    @property
    def axis(self) -> int | None:
        """Chosen axis; None to segment the displayed plane."""
        return self._choice.axis

    @property
    def composed(self) -> tuple[Image, ...]:
        """Chosen layers, added to the image in their colours."""
        layers = (reference() for reference in self._choice.others)
        return tuple(layer for layer in layers if layer is not None)

    @property
    def _choice(self) -> _Choice:
        return self.currentData() or _Choice()

    def offer(
        self, image: Image | None, viewer: ViewerModel | None = None
    ) -> None:
        """Offer the axes of an image, and layers that align with it.

        The choice for an image is restored when it is offered again, and
        applied to the next image of a series.
        """
        self._image = None if image is None else weakref.ref(image)
        wanted = _Choice() if image is None else self._wanted(image, viewer)
        self.clear()
        axes = image is not None and bool(channel_axes(image))
        alone = 'single plane, as shown' if axes else 'this layer only'
        self.addItem(alone, _Choice())
        if image is not None and viewer is not None:
            self._add_axes(image, viewer)
            self._add_layers(image, viewer, wanted)
        choices: list[Any] = [
            self.itemData(number) for number in range(self.count())
        ]
        self.setCurrentIndex(choices.index(wanted) if wanted in choices else 0)
        self._listen()
        self.setVisible(self.count() > 1)
        self.label.setVisible(self.count() > 1)

    def choose(self, axis: int | None, composed: tuple[Image, ...]) -> None:
        """Choose what a script has set, if available."""
        if (self.axis, self.composed) == (axis, composed):
            return
        for index in range(self.count()):
            choice: _Choice = self.itemData(index)
            others = tuple(reference() for reference in choice.others)
            if (choice.axis, others) == (axis, composed):
                self.setCurrentIndex(index)
                self._chosen()

    def _add_axes(self, image: Image, viewer: ViewerModel) -> None:
        for axis in channel_axes(image):
            count = min(3, data_of(image).shape[axis])
            name = slider_name(viewer, image, axis)
            self.addItem(f'first {count} of {name} as colours', _Choice(axis))

    def _add_layers(
        self, image: Image, viewer: ViewerModel, wanted: _Choice
    ) -> None:
        """Offer layers; wanted ones in their order, wherever they lie."""
        found = (reference() for reference in wanted.others)
        last = tuple(layer for layer in found if layer is not None)
        others = [
            layer
            for layer in viewer.layers
            if isinstance(layer, Image) and _composable(image, layer)
        ]
        first = sorted(others, key=lambda layer: layer not in last)
        others = [each for each in others if each in first[:MOST_OTHERS]]
        for count in (1, 2):
            for chosen in itertools.combinations(others, count):
                layers = last if set(chosen) == set(last) else chosen
                names = ' + '.join(str(layer.name) for layer in layers)
                references = tuple(weakref.ref(layer) for layer in layers)
                self.addItem(f'with {names}', _Choice(None, references))

    def _chosen(self) -> None:
        image = None if self._image is None else self._image()
        if image is not None:
            self._remember(image, self._choice)
        self._listen()
        self.changed.emit()

    def _remember(self, image: Image, choice: _Choice) -> None:
        channel = image.metadata.get(CHANNEL)
        if channel is None:
            self._choices[image] = choice
            return
        others = [layer.metadata.get(CHANNEL) for layer in self.composed]
        self._in_series[channel] = choice.axis, others

    def _wanted(self, image: Image, viewer: ViewerModel | None) -> _Choice:
        """Return the choice for an image, or for its channel in a series."""
        channel = image.metadata.get(CHANNEL)
        if channel is None or viewer is None:
            return self._choices.get(image, _Choice())
        axis, others = self._in_series.get(channel, (None, []))
        here = {
            layer.metadata.get(CHANNEL): weakref.ref(layer)
            for layer in viewer.layers
            if isinstance(layer, Image)
            and layer.source.path == image.source.path
        }
        found = (here.get(other) for other in others if other is not None)
        return _Choice(axis, tuple(each for each in found if each))

    def _listen(self) -> None:
        """Follow how the composed layers are displayed."""
        for reference in self._heard:
            layer = reference()
            if layer is not None:
                for name in _LOOKS:
                    getattr(layer.events, name).disconnect(self._redrawn)
        self._heard = [weakref.ref(layer) for layer in self.composed]
        for layer in self.composed:
            for name in _LOOKS:
                getattr(layer.events, name).connect(self._redrawn)

    def _redrawn(self, event: Any = None) -> None:
        self.changed.emit()


def _composable(image: Image, other: Image) -> bool:
    if other is image:
        return False
    try:
        check_composed(image, [other], None, max(image.ndim, other.ndim))
    except ImageError:
        return False
    return True
