"""Current image, plane and output labels of a viewer."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeVar

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from psygnal import Signal

from napari_mobilesam.argument_checks import check_instance
from napari_mobilesam.lru_cache import LeastRecentlyUsed
from napari_mobilesam.session.images.planes import ImagePlane, Viewport
from napari_mobilesam.session.objects.history import History, Undoable
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.viewer.label_writer import new_labels
from napari_mobilesam.widgets.viewer.labels_target import (
    LabelsTarget,
    can_be_edited,
)
from napari_mobilesam.widgets.viewer.layer_plane import (
    LayerPlane,
    lies_on,
    plane_of,
    shows,
)
from napari_mobilesam.widgets.viewer.layers import (
    channel_axes,
    data_of,
    insert_below_prompts,
    is_ours,
    is_output,
    unwrap,
)
from napari_mobilesam.widgets.viewer.look_at import move_sliders
from napari_mobilesam.widgets.viewer.plane_source import (
    Identity,
    has_data,
    has_same_pixels,
)
from napari_mobilesam.widgets.viewer.track_layers import TrackLayers

U = TypeVar('U', bound=Undoable)

LABELS_NAME = 'objects'


class ShownPlane(NamedTuple):
    """A plane of an image as seen by the viewer and by the session.

    Attributes
    ----------
    plane : LayerPlane
        The plane with its layer.
    source : ImagePlane
        The plane as read by the session.
    """

    plane: LayerPlane
    source: ImagePlane


class ViewerScene:
    """Planes and labels of a viewer; see `Scene`.

    It keeps neither the viewer nor a layer alive.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).

    Attributes
    ----------
    tracks : TrackLayers
        Tracks of labels, and their layers.
    image_changed : Signal(Image or None)
        Another image was set.
    channels_changed : Signal()
        A script has set other channels or layers to compose.
    labels_changed : Signal()
        The output layer may have changed.
    labels_removed : Signal(Objects)
        A labels layer with objects was removed.
    planes_gone : Signal(callable)
        An image was removed; emitted with a function that tells whether a
        plane shows it.
    """

    image_changed = Signal(object)
    channels_changed = Signal()
    labels_changed = Signal()
    labels_removed = Signal(object)
    planes_gone = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self._image: weakref.ref[Image] | None = None
        self._labels: weakref.ref[Labels] | None = None
        # labels chosen for each image
        self._labels_of: weakref.WeakKeyDictionary[
            Image, weakref.ref[Labels]
        ] = weakref.WeakKeyDictionary()
        # images whose labels are yet to be created
        self._unlabelled: weakref.WeakSet[Image] = weakref.WeakSet()
        self._objects: weakref.WeakKeyDictionary[Labels, Objects] = (
            weakref.WeakKeyDictionary()
        )
        # one for all labels: steps are undone in the order in which they were
        # made
        self._clock = itertools.count(1).__next__
        self.tracks = TrackLayers(
            viewer, self._clock, self._write_to, self._objects.get
        )
        # results that are not objects of labels
        self._others: list[Undoable] = []
        # removed images that will come back
        self._kept: weakref.WeakSet[Image] = weakref.WeakSet()
        # of planes whose image has other data by now
        self._same_pixels: LeastRecentlyUsed[bool] = LeastRecentlyUsed(512)
        self._channels: tuple[int | None, tuple[Image, ...]] = None, ()
        viewer.layers.events.removed.connect(self._removed)
        viewer.layers.events.inserted.connect(self._inserted)

    @property
    def viewer(self) -> ViewerModel:
        """The viewer.

        Raises
        ------
        ImageError
            The viewer was closed.
        """
        viewer = self._viewer()
        if viewer is None:
            raise ImageError('The viewer was closed.')
        return viewer

    @property
    def image(self) -> Image | None:
        """Image to segment: the one that was set, else the selected one.

        Without either, it is the topmost one. Images created by this plugin,
        such as edges, must be set explicitly.
        """
        layers, images = self.viewer.layers, self._images
        chosen = None if self._image is None else self._image()
        if chosen is not None and chosen in layers:
            return chosen
        active = layers.selection.active
        if active in images:
            return active
        return images[-1] if images else None

    @image.setter
    def image(self, layer: Image | None) -> None:
        check_instance('image', unwrap(layer), Image)
        if unwrap(layer) is not self.image:
            self._channels = None, ()
        self._image = None if layer is None else weakref.ref(unwrap(layer))
        self.image_changed.emit(unwrap(layer))
        self.labels_changed.emit()

    @property
    def _images(self) -> list[Image]:
        """Images not created by this plugin."""
        return [
            layer
            for layer in self.viewer.layers
            if isinstance(layer, Image) and not is_ours(layer)
        ]

    @property
    def channel_axis(self) -> int | None:
        """Data axis of the image used as colours instead of being sliced."""
        return self._channels[0]

    @channel_axis.setter
    def channel_axis(self, axis: int | None) -> None:
        self.use_channels(axis, self.composed)
        self.channels_changed.emit()

    @property
    def composed(self) -> tuple[Image, ...]:
        """Layers added to the image in their colours."""
        return self._channels[1]

    @composed.setter
    def composed(self, layers: tuple[Image, ...]) -> None:
        self.use_channels(self.channel_axis, layers)
        self.channels_changed.emit()

    def use_channels(
        self, axis: int | None, composed: tuple[Image, ...]
    ) -> None:
        """Use channels, or layers to compose, chosen in a list."""
        self._channels = axis, composed

    @property
    def which_image(self) -> str:
        """Name of the image in quotes after a space; empty if the only one.

        For messages about the image.
        """
        image = self.image
        others = any(each is not image for each in self._images)
        return f' “{image.name}”' if image and others else ''

    @property
    def labels(self) -> Labels | None:
        """Output layer that was set, now or for the image; else one of ours.

        “Ours” means created for the image.
        """
        layers = self.viewer.layers
        chosen = None if self._labels is None else self._labels()
        if chosen is not None and chosen in layers:
            return chosen
        image = self.image
        if image is None or image in self._unlabelled:
            return None
        last = self.labels_of(image)
        if last is not None:
            return last
        ours = (
            layer
            for layer in layers
            if is_output(layer) and is_ours(layer, image)
        )
        return next(filter(can_be_edited, ours), None)

    @labels.setter
    def labels(self, layer: Labels | None) -> None:
        self._labels = None if layer is None else weakref.ref(unwrap(layer))
        image = self.image
        if self._labels is not None and image is not None:
            self._labels_of[image] = self._labels
            self._unlabelled.discard(image)
        self.labels_changed.emit()

    def labels_of(self, image: Image) -> Labels | None:
        """Return the labels last chosen for an image."""
        used = self._labels_of.get(image)
        labels = None if used is None else used()
        return labels if labels in self.viewer.layers else None

    def has_choice(self, image: Image) -> bool:
        """Return whether labels, or new ones, were chosen for an image."""
        return image in self._unlabelled or self.labels_of(image) is not None

    def is_taken(self, labels: Labels) -> bool:
        """Return whether labels were created or chosen for an image."""
        chosen = (used() for used in self._labels_of.values())
        return is_ours(labels) or any(each is labels for each in chosen)

    def choose_labels(self, layer: Labels, images: Sequence[Image]) -> None:
        """Write to labels whenever one of some images is chosen."""
        for image in images:
            self._labels_of[image] = weakref.ref(layer)
            self._unlabelled.discard(image)

    def use_new_labels(self) -> None:
        """Write to labels that the next object in the image will create."""
        self._labels, image = None, self.image
        if image is not None:
            self._labels_of.pop(image, None)
            self._unlabelled.add(image)
        self.labels_changed.emit()

    def _write_to(self, labels: Labels) -> int:
        """Write to labels; return the image axis along their first axis."""
        image = self.layer_plane().layer
        self.labels = labels
        return image.ndim - labels.ndim

    def layer_plane(self) -> LayerPlane:
        """Return the displayed plane of the image, with its layer.

        Raises
        ------
        ImageError
            There is none; the message says why.
        """
        image = self.image
        if image is None:
            raise ImageError('Open or choose an image to start.')
        return plane_of(self.viewer, image, self.channel_axis, self.composed)

    def shown(self) -> ShownPlane:
        """Return the displayed plane of the image; see `layer_plane`."""
        plane = self.layer_plane()
        return ShownPlane(plane, plane.source())

    def plane(self) -> ImagePlane:
        """Return the displayed plane of the image."""
        return self.layer_plane().source()

    def stack(self, axis: int | None = None) -> Sequence[ImagePlane]:
        """Return the planes parallel to the displayed one."""
        return Stack(self.layer_plane(), axis)

    def objects(self, create: bool) -> Objects | None:
        """Return the objects of the labels that are written to."""
        labels = self.labels
        if labels is None and create:
            labels = self._make_labels(self._labels_name())
            if self.image in self._unlabelled:
                self.labels = labels
        return None if labels is None else self.objects_of(labels)

    def objects_of(self, labels: Labels) -> Objects:
        """Return the objects of a layer, always the same for one layer."""
        layer = unwrap(labels)
        objects = self._objects.get(layer)
        if objects is None:
            objects = self._objects[layer] = Objects(
                LabelsTarget(layer), clock=self._clock
            )
            self.tracks.watch(layer, objects)
        return objects

    def labels_with(self, record: ObjectRecord) -> Labels | None:
        """Return the labels that contain an object; None if none do."""
        for layer in self.viewer.layers:
            objects = self._objects.get(layer)
            if objects is not None and objects.get(record.number) is record:
                return layer
        return None

    def labels_layers(self) -> list[Labels]:
        """Return the labels that are, or were, written to."""
        current = self.labels
        return [
            layer
            for layer in self.viewer.layers
            if layer is current or layer in self._objects
        ]

    def undoables(self) -> Sequence[Undoable]:
        """Return the objects of all labels in the viewer, and outlines."""
        objects = [
            self._objects[layer]
            for layer in self.viewer.layers
            if layer in self._objects
        ]
        self._others = [
            other
            for other in self._others
            if other.history.undoable or other.history.redoable
        ]
        return [*objects, *self._others]

    def with_history(self, make: Callable[[History], U]) -> U:
        """Create something undoable, with its history."""
        made = make(History(clock=self._clock))
        self._others.append(made)
        return made

    def keep(self, image: Image) -> None:
        """Keep the prompts on an image that is removed and will come back."""
        self._kept.add(image)

    def release(self, image: Image) -> None:
        """Drop the prompts on an image that will not come back."""
        self._kept.discard(image)
        if image not in self.viewer.layers:
            self._forget(image)

    def _forget(self, image: Image) -> None:
        for objects in self._objects.values():
            objects.forget_planes(lambda plane: lies_on(plane, image))
        self.planes_gone.emit(lambda plane: shows(plane, image))

    def show(self, plane: ImagePlane) -> None:
        """Move the sliders to a plane, if its image is in the viewer."""
        shown: LayerPlane = plane.geometry
        if shown.layer in self.viewer.layers:
            place = shown.position[shown.offset :]
            move_sliders(self.viewer, shown.layer, place, place)

    def add_labels(self, name: str = LABELS_NAME) -> Labels:
        """Add labels aligned with the image, and write to them from now on.

        Raises
        ------
        ImageError
            There is no image to create them for.
        """
        self.labels = labels = self._make_labels(name)
        return labels

    def is_of_image(self, plane: ImagePlane) -> bool:
        """Return whether a plane is one of the image that is worked on."""
        return lies_on(plane, self.image)

    def has_pixels(self, plane: ImagePlane) -> bool:
        """Return whether the image of a plane still has its pixels."""
        shown: LayerPlane = plane.geometry
        image = shown.layer
        return has_data(plane, image.data) or self._same_pixels.get(
            (plane.place, Identity(image.data)),
            lambda: has_same_pixels(plane, image),
        )

    def describe(self, plane: ImagePlane) -> dict[str, Any]:
        """Return what `find` needs to find a plane of the image again."""
        shown: LayerPlane = plane.geometry
        found: dict[str, Any] = {
            'index': shown.index,
            'axes': (shown.rows, shown.columns),
            'contrast_limits': plane.contrast_limits,
        }
        if channel_axes(shown.layer) or shown.channel_axis is not None:
            found['channel_axis'] = shown.channel_axis
        if plane.gamma != 1:
            found['gamma'] = plane.gamma
        if plane.viewport is not None:
            found['viewport'] = tuple(plane.viewport)
        if plane.pitch is not None:
            found['pitch'] = plane.pitch
        return found

    def find(
        self,
        index: Sequence[int],
        axes: Sequence[int],
        contrast_limits: Sequence[float] | None = None,
        gamma: float = 1.0,
        viewport: tuple[Sequence[float], float] | None = None,
        pitch: int | None = None,
        channel_axis: int | Literal['chosen'] | None = 'chosen',
    ) -> ImagePlane:
        """Return a plane of the image as it was shown.

        Parameters
        ----------
        index : sequence of int
            Index of the plane on every axis of the image.
        axes : (int, int)
            Axes of the image that were rows and columns.
        contrast_limits : (float, float) or None
            Values shown as black and white.
        gamma : float
            Exponent between the limits.
        viewport : ((row, column), float) or None
            Screen centre and data pixels per screen pixel, which determine the
            window of a large image.
        pitch : int or None
            Scale for clicks; see `ImagePlane`.
        channel_axis : int or None
            Axis of the image used as colours; by default the chosen one.

        Raises
        ------
        ImageError
            The image has no such plane, or shows other axes.
        """
        plane = self.layer_plane()
        if channel_axis != 'chosen' and channel_axis != plane.channel_axis:
            plane = plane_of(self.viewer, plane.layer, channel_axis)
        if len(index) != len(plane.index):
            raise ImageError(
                f'“{plane.layer.name}” is not the image of this session: it '
                f'has {len(plane.index)} axes, not {len(index)}. Open the '
                'image of the session and select it.'
            )
        if (plane.rows, plane.columns) != tuple(axes):
            raise ImageError(
                f'“{plane.layer.name}” is shown along axes other than '
                f'{tuple(axes)}: change the order of the axes back.'
            )
        for axis in plane.travel_axes:
            moved = plane.moved(axis, index[axis] - plane.index[axis])
            if moved is None:
                raise ImageError(
                    f'“{plane.layer.name}” has no plane {index[axis]} along '
                    f'axis {axis}: open the image of the session.'
                )
            plane = moved
        limits = None
        if contrast_limits is not None:
            low, high = contrast_limits
            limits = (float(low), float(high))
        found = plane.source((limits, gamma))
        seen = None
        if viewport is not None:
            (row, column), pixel = viewport
            seen = Viewport((row, column), pixel)
        return replace(found, viewport=seen, pitch=pitch)

    def setup_code(self) -> list[str]:
        """Return the lines of a script that set ``session`` and ``scene``."""
        image = self.layer_plane().layer
        lines = []
        if image.source.path:
            lines += [
                "if 'viewer' not in globals():",
                '    import napari',
                '',
                '    viewer = napari.Viewer()',
                f'    opened = viewer.open({str(image.source.path)!r})',
                '    if len(opened) == 1:',
                f'        opened[0].name = {image.name!r}',
                '',
            ]
        lines += [
            'session = nm.get_session(viewer)',
            'scene = session.scene',
            f'scene.image = viewer.layers[{image.name!r}]',
        ]
        # others may have been chosen in the viewer that runs it
        if channel_axes(image):
            lines.append(f'scene.channel_axis = {self.channel_axis}')
        if self.composed or len(self._images) > 1:
            names = ''.join(
                f'viewer.layers[{layer.name!r}], ' for layer in self.composed
            )
            lines.append(f'scene.composed = ({names.rstrip()})')
        labels = self.labels
        name = LABELS_NAME if labels is None else str(labels.name)
        return [*lines, f'scene.add_labels({name!r})']

    def _labels_name(self) -> str:
        """Return a name for new labels that distinguishes images."""
        image, layers = self.image, self.viewer.layers
        taken = any(layer.name == LABELS_NAME for layer in layers)
        if image is None or not (len(self._images) > 1 or taken):
            return LABELS_NAME
        return f'{image.name} {LABELS_NAME}'

    def _make_labels(self, name: str) -> Labels:
        labels = new_labels(self.layer_plane(), name)
        insert_below_prompts(self.viewer, labels)
        return labels

    def _removed(self, event: Any) -> None:
        gone: Layer = event.value
        if isinstance(gone, Image) and gone not in self._kept:
            self._forget(gone)
        if gone in self._objects:
            self.labels_removed.emit(self._objects[gone])
        if isinstance(gone, Image) or is_output(gone):
            self.labels_changed.emit()

    def _inserted(self, event: Any) -> None:
        if isinstance(event.value, Image) or is_output(event.value):
            self.labels_changed.emit()


class Stack(Sequence[ImagePlane]):
    """Parallel planes of an image, created on demand.

    Parameters
    ----------
    plane : LayerPlane
        One of them.
    axis : int, optional
        Axis of the image along which they are ordered; by default
        `LayerPlane.followed_axis`.

    Raises
    ------
    ImageError
        The image has no such axis.
    """

    def __init__(self, plane: LayerPlane, axis: int | None = None) -> None:
        axes, default = plane.stack_axes, plane.followed_axis
        if default is None:
            raise ImageError(
                f'“{plane.layer.name}” is a single plane: there is no axis '
                'to propagate along.'
            )
        self.axis = default if axis is None else axis
        if self.axis not in axes:
            raise ImageError(
                f'Axis {axis} of “{plane.layer.name}” is shown, holds '
                'channels, is a single plane or does not exist: choose one '
                f'of {list(axes)}.'
            )
        self._plane = plane

    def __len__(self) -> int:
        return int(data_of(self._plane.layer).shape[self.axis])

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        here = self._plane.index[self.axis]
        moved = self._plane.moved(self.axis, int(number) - here)
        if number < 0 or moved is None:
            raise IndexError(number)
        return moved.source()
