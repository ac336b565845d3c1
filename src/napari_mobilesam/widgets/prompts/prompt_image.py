"""The image that prompts refer to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet, ref

from napari.layers import Image
from psygnal import Signal

from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.image_header import ImageHeader
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layers import is_ours

_TRANSFORMS = ('scale', 'translate', 'rotate', 'shear', 'affine')


class PromptImage:
    """Follow the chosen image, its channels, contrast and position.

    Parameters
    ----------
    dock : ViewerWidget
        Form that listens to the image while docked.
    header : ImageHeader
        Choices of image and channels.

    Attributes
    ----------
    chosen : Signal(Image or None)
        Another image was chosen; emitted with the previous image.
    channels_changed : Signal()
        Another axis became the channel axis.
    pixels_changed : Signal()
        Data, contrast or gamma changed, for the image or one composed with it.
    moved : Signal()
        The transform of the image changed, or other channels were chosen.
    hidden : Signal()
        The image was hidden or shown.
    layer : napari.layers.Image or None
        The image.
    may_leave : callable
        Called with the image newly chosen in the list; returns False to keep
        the current one.
    """

    chosen = Signal(object)
    channels_changed = Signal()
    pixels_changed = Signal()
    moved = Signal()
    hidden = Signal()

    def __init__(self, dock: ViewerWidget, header: ImageHeader) -> None:
        self._dock = dock
        self._header = header
        self._scene = dock.scene
        # images that came into the viewer and were not chosen yet
        self._new: WeakSet[Image] = WeakSet()
        # selected since the current one was chosen
        self._selected: ref[Image] | None = None
        # choices when they were last applied
        self._channels: tuple[int | None, tuple[Image, ...]] = None, ()
        self.layer: Image | None = None
        self.may_leave: Callable[[Image], bool] = _always
        # deferred: a combo box changes several times while layers are added
        # and removed
        self._later = DelayedCall(self.enter, parent=dock)
        header.image_combo.layer_changed.connect(self._later.restart)
        header.channel_combo.changed.connect(self._use_channels)

    @property
    def pending(self) -> bool:
        """True while a choice remains to be applied."""
        return self._later.pending

    def enter(self, force: bool = False) -> None:
        """Switch to the chosen image.

        Parameters
        ----------
        force : bool
            Do not ask `may_leave`.
        """
        self._later.cancel()
        image = self._header.image_combo.layer
        if image is self.layer and image is not None:
            return
        asked = not force and self.layer in self._dock.viewer.layers
        if image is not None and asked and not self.may_leave(image):
            self._header.image_combo.layer = self.layer
            # continued once the open object is accepted or rejected
            self._selected = ref(image)
            return
        self._selected = None
        before, self.layer = self.layer, image
        self._dock.listen_instead(before, image, self._events())
        self._scene.image = image
        self._take_channels()
        self.chosen.emit(before)

    def follow_scene(self, image: Image | None) -> None:
        """Choose the image set by another form or a script."""
        if image is not None and image is not self.layer:
            self._header.image_combo.layer = image
            self.enter(force=True)

    @property
    def other_selected(self) -> Image | None:
        """The image selected since, if it is a different one."""
        other = None if self._selected is None else self._selected()
        gone = other is self.layer or other not in self._dock.viewer.layers
        return None if gone else other

    def note_selection(self) -> None:
        """Remember the selected image, as tools may deselect it."""
        active = self._dock.viewer.layers.selection.active
        if isinstance(active, Image) and not is_ours(active):
            self._selected = ref(active)

    def follow_selection(self) -> None:
        """Choose the selected image, unless the plugin created it."""
        selected = self.other_selected
        if selected is not None:
            self._header.image_combo.layer = selected

    def note_new(self, layer: Image) -> None:
        """Remember an image that was opened."""
        self._new.add(layer)

    def take_selected(self) -> bool:
        """Return whether the image was selected in the list of layers.

        False for a newly opened image, which napari selects automatically.
        """
        layer = self.layer
        active = self._dock.viewer.layers.selection.active
        by_hand = active is layer and layer not in self._new
        self._new.clear()
        return by_hand

    def release(self) -> None:
        """Forget the image."""
        self._later.cancel()
        self._selected = None
        self.layer = None

    def _use_channels(self) -> None:
        before = self._channels
        self._take_channels()
        self.channels_changed.emit()
        if before == self._channels:
            # the display of the other layers, which is dragged
            self.pixels_changed.emit()
        else:
            # the display no longer matches what would be written
            self.moved.emit()

    def _take_channels(self) -> None:
        combo = self._header.channel_combo
        self._channels = combo.axis, combo.composed
        self._scene.use_channels(*self._channels)

    def _events(self) -> dict[str, Callable[..., None]]:
        return {
            **dict.fromkeys(
                ('contrast_limits', 'gamma', 'data'), self._pixels
            ),
            **dict.fromkeys(_TRANSFORMS, self._moved),
            'visible': self._hidden,
        }

    def _pixels(self, event: Any = None) -> None:
        self.pixels_changed.emit()

    def _moved(self, event: Any = None) -> None:
        self.moved.emit()

    def _hidden(self, event: Any = None) -> None:
        self.hidden.emit()


def _always(image: Image) -> bool:
    return True
