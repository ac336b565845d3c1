"""Layers of tracks in a viewer, following corrections."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.layers import Tracks as TracksLayer
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.readers.unread_views import Reordered
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.targets import Indices, LabelTarget
from napari_mobilesam.session.track.tracked_labels import (
    TrackedLabels,
    TrackResult,
)
from napari_mobilesam.tracking.pixel_size import PixelSize
from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.viewer.brush_history import (
    REPLAYED,
    replayed_event,
)
from napari_mobilesam.widgets.viewer.labels_target import LabelsTarget
from napari_mobilesam.widgets.viewer.layers import (
    PIXEL,
    axis_name,
    data_of,
    insert_below_prompts,
    is_output,
    pixel_sizes,
    placement,
    refresh_pixels,
    unwrap,
)
from napari_mobilesam.widgets.viewer.look_at import move_sliders

# key in the metadata of labels with one number per track
TRACKED_MARK = 'napari-mobilesam-tracked'
# events of a labels layer whose pixels are edited
EDITS = ('paint', 'data', 'labels_update', REPLAYED)
# napari opens a label image of 8 or 16 bit as an image
NO_LABELS = (
    'There is no labels layer: open or create labels first. If napari shows '
    'labels as an image, right-click it in the layer list and choose Convert '
    'to Labels.'
)


def can_be_tracked(layer: Any) -> bool:
    """Return True for labels that are not a tracking result."""
    return is_output(layer) and TRACKED_MARK not in layer.metadata


def time_axis(layer: Labels) -> int:
    """Return the time axis: the first axis with several positions.

    Raises
    ------
    ImageError
        The layer has one frame, or too many axes.
    """
    shape = data_of(layer).shape
    axes = [a for a in range(len(shape) - 2) if shape[a] > 1]
    if not axes:
        raise ImageError(
            f'“{layer.name}” has one frame {tuple(shape)}: objects are '
            'followed through two or more.'
        )
    if len(shape) - axes[0] > 4:
        raise ImageError(
            f'“{layer.name}” has the shape {tuple(shape)}: a time series is '
            '(frame, row, column) or (frame, plane, row, column).'
        )
    return axes[0]


def describe_time(layer: Labels) -> str:
    """Describe the time axis and the number of frames for the user."""
    axis = time_axis(layer)
    return f'{axis_name(layer, axis)}, {data_of(layer).shape[axis]:,} frames'


def _inner_axes(data: Any, skip: int) -> Any:
    """Array without its first axes, which have one position each."""
    return Reordered(data, range(skip, len(data.shape))) if skip else data


class ShownTracks:
    """Tracks and the layers that show them, which it does not keep alive.

    Parameters
    ----------
    tracked : TrackedLabels
        The tracks.
    source, labels : napari.layers.Labels
        The tracked labels, and those with one number per track.
    tracks : napari.layers.Tracks
        The tracks as lines.
    edited : bool
        Whether the source was edited while being tracked.

    Attributes
    ----------
    edited : bool
        Whether the source was edited since tracking was requested.
    was_edited : bool
        Whether pixels of the tracked labels were edited.
    source_edited : Signal()
        Emitted when the source is first edited.
    """

    source_edited = Signal()

    def __init__(
        self,
        tracked: TrackedLabels,
        source: Labels,
        labels: Labels,
        tracks: TracksLayer,
        edited: bool = False,
    ) -> None:
        self.tracked = tracked
        self.edited = edited
        self.was_edited = False
        self._source = weakref.ref(source)
        self._labels = weakref.ref(labels)
        self._tracks = weakref.ref(tracks)
        tracked.changed.connect(self._update)
        replayed_event(source)
        for name in EDITS:
            getattr(source.events, name).connect(self._edit)
        self._written: set[int] = set()
        self._brushed: set[int] = set()
        # undo names them
        labels.events.name.connect(self._renamed)
        labels.events.paint.connect(self._brush)
        replayed_event(labels).connect(self._brush)
        # napari reports a stroke before or after it writes the pixels
        labels.events.labels_update.connect(self._drawn)
        labels.events.set_data.connect(self._drawn)
        labels.events.data.connect(self._replaced)

    @property
    def source(self) -> Labels | None:
        """The tracked layer."""
        return self._source()

    @property
    def labels(self) -> Labels | None:
        """Layer with one number per track."""
        return self._labels()

    @property
    def tracks(self) -> TracksLayer | None:
        """Layer with the tracks."""
        return self._tracks()

    def _renamed(self, event: Any = None) -> None:
        if self.labels is not None:
            self.tracked.name = self.labels.name

    def _edit(self, event: Any = None) -> None:
        if not self.edited:
            self.edited = True
            if self.source is not None:
                # it has objects that its tracks do not show
                self.source.visible = True
            self.source_edited.emit()

    # edits of the tracked labels: by an object step, by a brush or its undo,
    # or with another array

    def watch_source(self, objects: Objects) -> None:
        """Note objects written to the source.

        napari has no event for what is written to a hidden layer.
        """
        target = objects.target
        assert isinstance(target, LabelsTarget)
        target.written.connect(self._edit)

    def watch(self, objects: Objects) -> None:
        """Follow objects written to the tracked labels."""
        target = objects.target
        assert isinstance(target, LabelsTarget)
        target.written.connect(self._note)
        objects.changed.connect(self._follow)

    def _note(self, indices: Indices | None) -> None:
        frames = self._all_frames if indices is None else indices[0]
        self._written.update(np.unique(frames).tolist())

    def _follow(self) -> None:
        written, self._written = self._written, set()
        self.tracked.follow(written)

    def _brush(self, event: Any) -> None:
        for atom in event.value:
            place = atom if type(atom) is tuple else atom.slice_key
            first = place[0][0] if type(atom) is tuple else place[0]
            self._brushed.update(self._all_frames[first].ravel().tolist())
        self.tracked.follow(self._brushed)

    def _drawn(self, event: Any) -> None:
        brushed, self._brushed = self._brushed, set()
        if brushed:
            self.tracked.follow(brushed)

    def _replaced(self, event: Any) -> None:
        layer = self.labels
        if layer is None or layer.data is self.tracked.pixels:
            return
        if isinstance(layer.data, np.ndarray) and (
            layer.data.shape == self.tracked.pixels.shape
        ):
            self.tracked.pixels = layer.data
            self.tracked.follow(self._all_frames.tolist())

    @property
    def _all_frames(self) -> NDArray[np.int64]:
        return np.arange(len(self.tracked.pixels))

    def _update(self, frames: tuple[int, ...]) -> None:
        """Show a correction that changed pixels in some frames."""
        self.was_edited |= not frames
        layer = self.tracks
        if layer is not None:
            layer.data = napari_tracks(self.tracked.tracks)
            layer.graph = napari_graph(self.tracked.tracks)
        if self.labels is not None and frames:
            refresh_pixels(self.labels)


class TrackLayers:
    """Labels to track, and layers of their tracks; see `TrackScene`.

    It keeps neither the viewer nor a layer alive.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    clock : callable
        Clock of the histories of the viewer.
    write_to : callable
        Makes a layer the target of objects; returns the image axis along the
        first axis of the layer.
    known_objects : callable
        Returns the objects of a layer; None if it has none yet.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        clock: Callable[[], int],
        write_to: Callable[[Labels], int],
        known_objects: Callable[[Labels], Objects | None],
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self._clock = clock
        self._write_to = write_to
        self._known_objects = known_objects
        self._shown: list[ShownTracks] = []

    @property
    def _layers(self) -> Any:
        viewer = self._viewer()
        if viewer is None:
            raise ImageError('The viewer was closed.')
        return viewer.layers

    def find(self, layer: Any) -> Labels:
        """Return a layer to track; for None, the active or only one."""
        if layer is not None:
            return self._checked(unwrap(layer))
        layers = self._layers
        active = layers.selection.active
        known = [each for each in layers if can_be_tracked(each)]
        if active in known:
            known = [active]
        if not known:
            raise ImageError(NO_LABELS)
        if len(known) > 1:
            names = ', '.join(f'“{each.name}”' for each in known)
            raise ImageError(f'Which labels? There are {names}.')
        return self._checked(known[0])

    @staticmethod
    def _checked(layer: Any) -> Labels:
        if not isinstance(layer, Labels):
            raise ImageError(
                f'{layer!r} is not a labels layer: pass one of the labels '
                'layers of the viewer.'
            )
        return layer

    def labels_of(self, layer: Labels) -> Any:
        """Return the (T, [Z,] H, W) labels of a layer."""
        data, axis = data_of(layer), time_axis(layer)
        if isinstance(data, np.ndarray):
            return data[(0,) * axis]
        return _inner_axes(data, axis)

    def images_of(self, labels: Any) -> Any:
        """Return the topmost visible image with the shape of labels."""
        for image in reversed(self._layers):
            if isinstance(image, Image) and image.visible and not image.rgb:
                data = data_of(image)
                skip = len(data.shape) - len(labels.shape)
                if tuple(data.shape) == (1,) * skip + tuple(labels.shape):
                    return _inner_axes(data, skip)
        raise ImageError(
            'trackastra compares objects in the image: show the image of the '
            f'labels, of their shape {tuple(labels.shape)}.'
        )

    def add(self, labels: NDArray[Any], name: str) -> Labels:
        """Add labels at the position of the topmost image of their shape."""
        viewer = self._viewer()
        assert viewer is not None
        images = (
            each
            for each in reversed(viewer.layers)
            if isinstance(each, Image)
            and data_of(each).shape[-labels.ndim :] == labels.shape
        )
        image = next(images, None)
        place = {} if image is None else _place(image, labels.ndim)
        layer = Labels(labels, name=name, **place)
        insert_below_prompts(viewer, layer)
        return layer

    def show(
        self, layer: Labels, labels: Any, result: TrackResult
    ) -> TrackedLabels:
        """Show tracks above the labels, which are hidden unless edited."""
        viewer = self._viewer()
        assert viewer is not None
        self._clear_former(layer)
        name = f'tracked {layer.name}'
        tracked = TrackedLabels(name, labels, result, self._clock)
        place = _place(layer, result.pixels.ndim)
        shown = Labels(
            result.pixels,
            name=name,
            metadata={TRACKED_MARK: True},
            **place,
        )
        lines = TracksLayer(
            napari_tracks(result.tracks),
            graph=napari_graph(result.tracks),
            name=f'tracks of {layer.name}',
            colormaps_dict={'track_id': shown.colormap},
            **place,
        )
        found = ShownTracks(tracked, layer, shown, lines, result.edited)
        # first: others may ask about the layer as soon as it is inserted
        self._shown.append(found)
        objects = self._known_objects(layer)
        if objects is not None:
            found.watch_source(objects)
        layer.visible = result.edited
        insert_below_prompts(viewer, shown)
        viewer.layers.append(lines)
        viewer.layers.selection.active = shown
        return tracked

    def open_object(self, tracked: TrackedLabels, index: int) -> int:
        """Show an object of tracks, and write to their labels from now on."""
        viewer, layer = self._viewer(), self._layer_of(tracked)
        if viewer is None or layer is None:
            raise ImageError(
                f'“{tracked.name}” is not in the viewer any more: track again.'
            )
        axis = self._write_to(layer)
        move_sliders(viewer, layer, *corners_of(tracked, index))
        return axis

    def _layer_of(self, tracked: TrackedLabels) -> Labels | None:
        found = [s.labels for s in self._in_viewer() if s.tracked is tracked]
        return found[0] if found else None

    def tracked(self, target: LabelTarget) -> TrackedLabels | None:
        """Return the tracks whose labels a target holds; None for others."""
        if not isinstance(target, LabelsTarget):
            return None
        shown = self.shown_by(target.layer)
        return None if shown is None else shown.tracked

    def shown_by(self, layer: Labels) -> ShownTracks | None:
        """Return the tracks shown by a layer; None for other layers."""
        found = (each for each in self._in_viewer() if each.labels is layer)
        return next(found, None)

    def watch(self, layer: Labels, objects: Objects) -> None:
        """Follow new objects of tracked labels, or of their source."""
        for shown in self._in_viewer():
            if shown.labels is layer:
                shown.watch(objects)
            elif shown.source is layer:
                shown.watch_source(objects)

    def _clear_former(self, layer: Labels) -> None:
        """Remove former tracks of a layer; hide those that were changed.

        Lines whose labels are gone are removed in any case.
        """
        layers = self._layers
        for former in list(self._shown):
            if former.source is not layer:
                continue
            history = former.tracked.history
            corrected = history.done or history.undone or former.was_edited
            kept = corrected and former.labels in layers
            if not kept:
                self._shown.remove(former)
            for each in (former.labels, former.tracks):
                if each is None or each not in layers:
                    continue
                if kept:
                    each.visible = False
                else:
                    layers.remove(each)

    def layers_of(self, layer: Labels) -> list[Labels | TracksLayer]:
        """Return the layers that show the newest tracks of labels."""
        found = [each for each in self._shown if each.source is layer]
        parts = (found[-1].labels, found[-1].tracks) if found else ()
        return [
            each for each in parts if each is not None and each in self._layers
        ]

    def former_of(self, layer: Labels | None) -> ShownTracks | None:
        """Return the tracks that a layer had before the newest ones."""
        found = [each for each in self._in_viewer() if each.source is layer]
        return found[-2] if len(found) > 1 else None

    def all_tracks(self) -> Sequence[TrackedLabels]:
        """Return the tracks in the viewer, newest last."""
        return [shown.tracked for shown in self._in_viewer()]

    def _in_viewer(self) -> list[ShownTracks]:
        """Tracks whose labels are in the viewer; others are dropped."""
        self._shown = [
            each
            for each in self._shown
            if each.labels is not None or each.tracks is not None
        ]
        viewer = self._viewer()
        if viewer is None:
            return []
        return [each for each in self._shown if each.labels in viewer.layers]

    def shown_of(self, layer: Labels | None) -> ShownTracks | None:
        """Return the newest tracks of a layer; None if there are none.

        For labels that show tracks, these are their tracks.
        """
        found = [
            each
            for each in self._in_viewer()
            if layer is not None and layer in (each.source, each.labels)
        ]
        return found[-1] if found else None

    def can_be_chosen(self, layer: Any) -> bool:
        """Return True for labels to track, and for independent tracks.

        Independent are tracks whose labels are gone or were tracked again.
        """
        if can_be_tracked(layer):
            return True
        shown = self.shown_by(layer)
        return shown is not None and (
            shown.source not in self._layers
            or shown is not self.shown_of(shown.source)
        )


def corners_of(tracked: TrackedLabels, index: int) -> NDArray[np.intp]:
    """Return (2, D) first and last pixel of an object, frame first."""
    frame, _ = tracked.place(index)
    sides = [(side.start, side.stop - 1) for side in tracked.box(index)]
    return np.array([(frame, frame), *sides]).T


def napari_tracks(tracks: Tracks) -> NDArray[np.float64]:
    """Return (N, 2 + D) rows of track number, frame and centroid."""
    return np.column_stack([tracks.ids, tracks.frames, tracks.positions])


def napari_graph(tracks: Tracks) -> dict[int, list[int]]:
    """Return the parents of each track that results from a division."""
    return {child: [parent] for child, parent in tracks.parents.items()}


def pixel_size(layer: Labels) -> PixelSize:
    """Return size and unit of a pixel, and the time between frames.

    Unknown ones are left out.
    """
    units = [str(unit) for unit in layer.units]
    sizes = [float(size) for size in abs(pixel_sizes(layer))]
    found = PixelSize.of_axes(sizes, units)
    return PixelSize(interval=found.interval) if PIXEL in units[1:] else found


def _place(layer: Labels | Image, ndim: int) -> dict[str, Any]:
    """Return the transforms of the last axes of a layer."""
    return placement(layer, range(layer.ndim - ndim, layer.ndim))
