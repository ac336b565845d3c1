"""Layers of the open image of a series, and of the next ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.layers._source import layer_source

from napari_mobilesam.series.series_entry import SeriesEntry
from napari_mobilesam.series.series_files import file_state
from napari_mobilesam.series.series_images import ImageArray, SavedLabels
from napari_mobilesam.session.images.planes import ImagePlane, Viewport
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.series.series_jobs import ReadImage
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layers import (
    CHANNEL,
    MARK,
    PREVIEW_MARK,
    SERIES_MARK,
    insert_below_prompts,
    is_ours,
)
from napari_mobilesam.widgets.viewer.plane_source import PlaneAxes, image_plane

LABELS_NAME = 'labels'
# colormaps of channels, which are blended additively
CHANNEL_COLORS = ('green', 'magenta', 'cyan', 'yellow', 'red', 'blue')
# Number of images whose layers are kept after another is opened, so that steps
# can be undone, and maximum bytes of their labels.
BEHIND, MOST_BYTES = 3, 1 << 25
# screen pixels that an image fills when opened
SHOWN = 800


class _Left(NamedTuple):
    """Layers of an image that is no longer open."""

    state: list[int] | None
    images: list[Image]
    labels: Labels
    tracks: Sequence[Layer]


class SeriesLayers:
    """Layers of one image of a series at a time.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the viewer, and the scene, which is told what is worked on.

    Attributes
    ----------
    labels : napari.layers.Labels or None
        Labels of the open image.
    image : ImageArray or None
        The open image.
    channel : int
        Channel for prompts in images that have it, from 0.
    """

    def __init__(self, dock: ViewerWidget) -> None:
        self._viewer = dock.viewer
        self._scene = dock.scene
        self._images: list[Image] = []
        self._ahead: dict[int, list[Image]] = {}
        self._behind: dict[int, _Left] = {}
        self._open: tuple[int, list[int] | None] | None = None
        self.channel = 0
        self.labels: Labels | None = None
        self.image: ImageArray | None = None

    def choose_channel(self, channel: int) -> None:
        """Use a channel for prompts, in images that have it."""
        self.channel = channel
        if self.shown and len(self._images) > 1:
            self._scene.image = self._chosen(self._images)

    def follow_channel(self, image: Image | None) -> int | None:
        """Keep a channel of the open image that was chosen elsewhere.

        Returns
        -------
        int or None
            The channel, also for the next images; None if it has not changed.
        """
        if image not in self._images:
            return None
        # not a choice: another one replaces a removed layer
        before = self._chosen(self._images)
        if image is before or before not in self._viewer.layers:
            return None
        self.channel = self._images.index(image)
        return self.channel

    def _chosen(self, images: list[Image]) -> Image:
        return images[min(self.channel, len(images) - 1)]

    @property
    def shown(self) -> bool:
        """True if image and labels are in the viewer."""
        layers = self._viewer.layers
        return (
            self.labels is not None
            and self.labels in layers
            and bool(self._images)
            and self._images[0] in layers
        )

    @property
    def image_shown(self) -> bool:
        """True if the image is in the viewer; its labels may be removed."""
        return any(image in self._viewer.layers for image in self._images)

    def contain(self, record: ObjectRecord) -> bool:
        """Return whether an object lies on the open image."""
        planes = [view.plane.geometry for view in record.views.values()]
        return any(
            plane is not None and plane.layer in self._images
            for plane in planes
        )

    @property
    def unsaved_output(self) -> str:
        """Why objects of the image would not be saved; empty if they are."""
        labels, output = self.labels, self._scene.labels
        if labels is None or not self.image_shown:
            return ''
        if output is labels or output in self._tracks:
            return ''
        if labels not in self._viewer.layers:
            return (
                'The labels of this image were removed, and new objects are '
                'not saved: open the image again by a click in the table.'
            )
        if self._scene.image not in self._images:
            return ''
        where = 'a new layer' if output is None else f'“{output.name}”'
        return (
            f'New objects go to {where}, which the series does not save: '
            f'choose “{labels.name}” as the labels.'
        )

    @property
    def _tracks(self) -> Sequence[Layer]:
        """Layers of the tracks of the labels."""
        if self.labels is None:
            return []
        return self._scene.tracks.layers_of(self.labels)

    def forget(self) -> None:
        """Drop other images, and show even the open one anew."""
        self._open = None
        self.forget_others()

    def forget_others(self) -> None:
        """Drop the layers prepared for next images, and those left behind."""
        self._ahead.clear()
        for number in list(self._behind):
            self._release(number)

    def let_go(self) -> None:
        """Forget the layers of the open image, too."""
        self.forget()
        self._images, self.labels, self.image = [], None, None

    def _release(self, number: int) -> None:
        for image in self._behind.pop(number).images:
            self._scene.release(image)

    def planes_ahead(
        self, found: ReadImage, entry: SeriesEntry
    ) -> list[ImagePlane]:
        """Return the planes that will be shown when an image is opened.

        Parameters
        ----------
        found : ReadImage
            The image.
        entry : SeriesEntry
            Files of the image.
        """
        if found.image is None:
            return []
        layers = self._layers(found.number, found.image, entry)
        ahead = list(self._ahead)
        for number in ahead[: max(0, len(ahead) - 4)]:
            del self._ahead[number]
        layer = self._chosen(layers)
        shape = found.image.label_shape
        height, width = shape[-2:]
        index = (*(size // 2 for size in shape[:-2]), 0, 0)
        ndim = len(index)
        seen = self._viewport() if shape == self._shape() else None
        if seen is None:
            center = (height - 1) / 2, (width - 1) / 2
            seen = Viewport(center, max(height, width) / SHOWN)
        axes = PlaneAxes(ndim - 2, ndim - 1, index, None)
        plane = image_plane([layer], axes)
        return [replace(plane, name=layer.name, viewport=seen)]

    def _layers(
        self, number: int, image: ImageArray, entry: SeriesEntry
    ) -> list[Image]:
        """Return the image layers of an image, created once."""
        known = self._ahead.get(number)
        if known is None:
            known = self._ahead[number] = _image_layers(image, entry)
        return known

    def show(self, found: ReadImage, entry: SeriesEntry) -> Labels:
        """Show an image and its labels in place of the previous ones."""
        assert found.image is not None
        state = file_state(entry.files.image)
        if self.labels is not None and self.shown:
            same = self._open == (found.number, state)
            if same and _is_saved(self.labels, found.labels):
                return self.labels
        self._leave_behind(found.number)
        left = self._taken_back(found, state)
        if left is None:
            images = self._layers(found.number, found.image, entry)
            chosen = self._chosen(images)
            labels = _labels_layer(found.image, found.labels, chosen)
            left = _Left(state, images, labels, ())
        _, images, labels, tracks = left
        image = self._chosen(images)
        self._ahead.pop(found.number, None)
        self._open = found.number, state
        new: list[Layer] = [*images, labels, *tracks]
        names = [layer.name for layer in new]
        tracks_before = self._tracks
        before: list[Layer] = [*self._images, *tracks_before]
        shape = self._shape()
        if self.labels is not None:
            before.append(self.labels)
        units = self._make_way(image, before)
        # napari draws and collects garbage once, not after each layer
        with self._viewer.layers.batched_update():
            for layer in new:
                insert_below_prompts(self._viewer, layer)
            for layer in images:
                self._scene.release(layer)
            active = self._viewer.layers.selection.active
            if self.labels is not None:
                _continue(labels, self.labels)
            to_select: Layer = labels if active is self.labels else image
            # instead of tracks, the prompts select their own layer
            follow = active is None or (
                active in before and active not in tracks_before
            )
            self._images, self.labels, self.image = images, labels, found.image
            self._scene.choose_labels(labels, images)
            # before the others are removed: the chosen layer is not removed
            self._scene.image = image
            self._scene.labels = labels
            self._remove(before)
        for layer, own in units:
            layer.units = own
        # while the previous layers existed, names were different
        for layer, name in zip(new, names, strict=True):
            layer.name = name
        selection = self._viewer.layers.selection
        if follow or selection.active is None:
            selection.active = to_select
        if shape != self._shape():
            self._viewer.reset_view()
        return labels

    def _make_way(
        self, image: Image, before: list[Layer]
    ) -> list[tuple[Layer, Any]]:
        """Prepare the viewer for an image with another place or other units.

        napari draws as soon as a layer is inserted, and warns about layers
        with different units. Hidden previews would widen the view on reset.

        Returns
        -------
        list of (Layer, units)
            Units to restore for the removed layers.
        """
        layers = list(self._viewer.layers)
        old = next((layer for layer in before if layer in layers), None)
        if old is None or _same_place(old, image):
            return []
        units = [(layer, layer.units) for layer in before]
        self._remove(
            [each for each in layers if PREVIEW_MARK in each.metadata]
        )
        for layer in self._viewer.layers:
            if layer in before or is_ours(layer):
                layer.units = _units_of(image, layer)
        return units

    def _leave_behind(self, following: int) -> None:
        """Keep the layers of the open image, so that steps can be undone."""
        labels = self.labels
        if self._open is None or labels is None or not self.shown:
            return
        number, state = self._open
        large = np.asarray(labels.data).nbytes > MOST_BYTES
        if large or number == following:
            return
        self._behind.pop(number, None)
        self._behind[number] = _Left(state, self._images, labels, self._tracks)
        for image in self._images:
            self._scene.keep(image)
        for old in list(self._behind)[:-BEHIND]:
            self._release(old)

    def _taken_back(
        self, found: ReadImage, state: list[int] | None
    ) -> _Left | None:
        """Return the layers left behind; None if the files changed."""
        left = self._behind.get(found.number)
        if left is None:
            return None
        if state == left.state and _is_saved(left.labels, found.labels):
            del self._behind[found.number]
            return left
        self._release(found.number)
        return None

    def _shape(self) -> tuple[int, ...] | None:
        return None if self.image is None else self.image.label_shape

    def _viewport(self) -> Viewport | None:
        """Return the visible part, kept for the next image of this shape."""
        try:
            return self._scene.layer_plane().viewport
        except ImageError:
            return None

    def _remove(self, layers: list[Any]) -> None:
        for layer in layers:
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)


def _same_place(layer: Layer, image: Image) -> bool:
    """Return True if a layer has the axes, extent and units of an image."""
    return (
        layer.units == image.units
        and np.array_equal(layer.scale, image.scale)
        and np.array_equal(layer.extent.data, image.extent.data)
    )


def _units_of(image: Image, layer: Layer) -> tuple[Any, ...]:
    """Return the units of an image's last axes, preceded by a layer's."""
    count = min(layer.ndim, image.ndim)
    own = tuple(layer.units)
    return own[: layer.ndim - count] + tuple(image.units)[-count:]


def _is_saved(labels: Labels, saved: SavedLabels | None) -> bool:
    """Return True if labels equal those in the file."""
    data = np.asarray(labels.data)
    if saved is None:
        return not data.any()
    return np.array_equal(data, saved.labels)


def _continue(labels: Labels, before: Labels) -> None:
    """Keep the drawing settings of the previous labels."""
    for name in ('brush_size', 'contour', 'opacity', 'preserve_labels'):
        setattr(labels, name, getattr(before, name))
    labels.mode = before.mode


def _image_layers(image: ImageArray, entry: SeriesEntry) -> list[Image]:
    """Return an Image layer for each channel."""
    channels = image.channels
    path = entry.files.image
    options = {
        'rgb': image.rgb,
        **_placement(image),
    }
    layers = []
    # the private context is used by napari's own readers
    with layer_source(path=str(path)):
        for number, pixels in enumerate(channels):
            own: dict[str, Any] = {'name': path.stem}
            if len(channels) > 1:
                own = {
                    'name': f'{path.stem} channel {number}',
                    'colormap': CHANNEL_COLORS[number % len(CHANNEL_COLORS)],
                    'blending': 'additive',
                }
            own['metadata'] = {SERIES_MARK: True, CHANNEL: number}
            layers.append(Image(pixels, **own, **options))
    return layers


def _placement(image: ImageArray) -> dict[str, Any]:
    """Return scale, units and axis names for layers."""
    placed: dict[str, Any] = {'axis_labels': tuple(image.label_axes)}
    scale = image.of_label_axes(image.scale)
    units = image.of_label_axes(image.units)
    if scale and all(size > 0 for size in scale):
        placed['scale'] = scale
        if units and all(units):
            placed['units'] = units
    return placed


def _labels_layer(
    image: ImageArray, saved: SavedLabels | None, layer: Image
) -> Labels:
    data = np.zeros(image.label_shape, np.uint16)
    features = None
    if saved is not None:
        # the layer writes into it
        native = saved.labels.dtype.newbyteorder('=')
        data = np.array(saved.labels, native)
        if saved.table is not None:
            features = saved.table.drop(columns='index', errors='ignore')
            features = features.rename(columns={'label': 'index'})
    return Labels(
        data,
        name=LABELS_NAME,
        features=features,
        metadata={MARK: str(layer.unique_id), SERIES_MARK: True},
        **_placement(image),
    )
