"""A Labels layer as the target for writing objects."""

from __future__ import annotations

import math
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.sparse_labels import (
    SparseLabels,
    write_levels,
)
from napari_mobilesam.session.objects.targets import (
    Indices,
    LabelsError,
    Pixels,
)
from napari_mobilesam.types import Box
from napari_mobilesam.widgets.viewer.brush_history import (
    grown_labels,
    replayed_event,
)
from napari_mobilesam.widgets.viewer.label_writer import (
    channel_axis_of,
    highest_label,
    labels_present,
    layer_pixels,
    seen_on_plane,
)
from napari_mobilesam.widgets.viewer.layers import (
    DISPLAY,
    data_of,
    refresh_pixels,
    rows_by_label,
    with_class_text,
)

if TYPE_CHECKING:
    import pandas as pd

# Above this number of pixels and this share of a plane, one full refresh is
# cheaper than napari's partial update, which also copies every index.
# Measured; labels of up to 16 bits are drawn directly, others are mapped.
PARTIAL_PIXELS = 1 << 15
PARTIAL_SHARE, PARTIAL_SHARE_MAPPED = 1 / 64, 1 / 8
# Labels method that adds a change to napari's undo history
_SAVE_HISTORY = '_save_history'
# Lazy labels with more bytes are not edited, as napari would read all of them.
LARGEST_LAZY = 1 << 30
# Arrays up to this size are searched whenever a new label is needed.
COUNTED_PIXELS = 1 << 22


class LabelsTarget:
    """Write to a Labels layer with any transform; see `LabelTarget`.

    It keeps no reference to the layer.

    Parameters
    ----------
    layer : napari.layers.Labels
        Output layer.

    Attributes
    ----------
    written : Signal(Indices or None)
        Emitted when pixels are written; None if unknown which.
    edited : Signal(dict of int to int)
        See `LabelTarget`.
    """

    written = Signal(object)
    edited = Signal(object)

    def __init__(self, layer: Labels) -> None:
        self._layer = weakref.ref(layer)
        self._highest: int | None = None
        if not layer.multiscale and not _is_native(layer):
            show_copies(layer)
        layer.events.paint.connect(self._painted)
        layer.events.data.connect(self._replaced)
        replayed_event(layer).connect(self._painted)

    @property
    def layer(self) -> Labels:
        """The layer.

        Raises
        ------
        LabelsError
            The layer is gone.
        """
        layer = self._layer()
        if layer is None:
            raise LabelsError('The labels layer is gone: choose another one.')
        return layer

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(self.layer.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(int(size) for size in data_of(self.layer).shape)

    @property
    def limit(self) -> int:
        """Largest label that the array holds."""
        dtype = np.dtype(self.layer.data.dtype)
        return 1 if dtype.kind == 'b' else int(np.iinfo(dtype).max)

    @property
    def preserved(self) -> bool:
        """True if *preserve labels* of the layer is on."""
        return bool(self.layer.preserve_labels)

    def check(self) -> None:
        """Raise `LabelsError` if the layer cannot be edited."""
        layer = self.layer
        if layer.multiscale and not can_be_edited(layer):
            raise LabelsError(
                f'“{layer.name}” is a pyramid, which napari cannot edit: '
                'choose or create another labels layer.'
            )
        if not can_be_edited(layer):
            raise LabelsError(
                f'“{layer.name}” cannot be edited: choose or create another '
                'labels layer, or set its “editable” to True in the console.'
            )
        data = layer.data
        if hasattr(data, 'dask') and data.nbytes > LARGEST_LAZY:
            raise LabelsError(
                f'“{layer.name}” is computed part by part and has '
                f'{data.nbytes / 1e9:.1f} GB, all of which would be read to '
                'be edited: save it as zarr and open that, or choose or '
                'create another labels layer.'
            )
        if isinstance(data, np.ndarray) and not data.flags.writeable:
            raise LabelsError(
                f'“{layer.name}” is read-only: choose or create another '
                'labels layer.'
            )

    def highest(self) -> int:
        """Return the largest label; cached for large arrays."""
        layer = self.layer
        if self._highest is None or data_of(layer).size <= COUNTED_PIXELS:
            self._highest = highest_label(layer)
        return self._highest

    def present(self, labels: Collection[int]) -> set[int]:
        """Return the labels that have pixels; reads the whole array."""
        return labels_present(self.layer, labels)

    def locate(
        self, plane: ImagePlane, picture: NDArray[Any], corner: tuple[int, int]
    ) -> Pixels:
        """Find the pixels of the layer covered by an array of labels."""
        return Pixels(
            *layer_pixels(self.layer, plane.geometry, picture, corner)
        )

    def channels(self, plane: ImagePlane) -> int:
        """Return the number of image channels that share the labels."""
        axis = channel_axis_of(self.layer, plane.geometry)
        return 1 if axis is None else int(data_of(self.layer).shape[axis])

    def picture(
        self, plane: ImagePlane, box: Box, data: Any = None
    ) -> NDArray[Any]:
        """Return the labels in a box of a plane, in the plane's pixels."""
        return seen_on_plane(self.layer, plane.geometry, box, data)

    def read(self, indices: Indices) -> NDArray[Any]:
        """Return the values of pixels."""
        data = data_of(self.layer)
        if hasattr(data, 'dask'):
            return np.asarray(data.vindex[indices])
        return np.asarray(data[indices])

    def write(self, indices: Indices, values: NDArray[Any]) -> None:
        """Set the values of pixels, and redraw them."""
        layer = self.layer
        if len(values) == 0:
            return
        if self._highest is not None:
            self._highest = max(self._highest, int(values.max()))
        highest = self._highest
        if layer.multiscale:
            write_levels(list(layer.data), indices, values)
            refresh_pixels(layer)
        elif hasattr(layer.data, 'dask'):
            # dask arrays cannot be assigned to in place
            array = np.array(layer.data)
            array[indices] = values
            layer.data = array
        elif (
            not layer.visible
            or _refresh_pays(layer.data, len(values))
            or not _is_native(layer)
        ):
            # napari's setter changes the picture of the displayed plane, which
            # a hidden layer does not have, and reverses the bytes of arrays in
            # the other byte order
            layer.data[indices] = values
            refresh_pixels(layer)
        else:
            with without_history(layer):
                layer.data_setitem(indices, values)
        self._highest = highest
        self.written.emit(indices)

    def array(self) -> NDArray[Any] | None:
        """Return all pixels; None if they are not a single array in memory."""
        data = self.layer.data
        return data if isinstance(data, np.ndarray) else None

    def row(self, pixels: int) -> NDArray[Any] | None:
        """Return all pixels as a 1D view if memory is contiguous."""
        data = self.layer.data
        if (
            self.layer.multiscale
            or not isinstance(data, np.ndarray)
            or not data.flags.c_contiguous
            or not _refresh_pays(data, pixels)
        ):
            return None
        return data.reshape(-1)

    def refresh(self, highest: int) -> None:
        """Redraw after writing into `row`."""
        if self._highest is not None:
            self._highest = max(self._highest, highest)
        refresh_pixels(self.layer)
        self.written.emit(None)

    def features(self) -> pd.DataFrame:
        """Return the feature table."""
        return rows_by_label(self.layer.features)

    def set_features(self, table: pd.DataFrame) -> None:
        """Set the feature table."""
        self.layer.features = with_class_text(table)

    def _painted(self, event: Any) -> None:
        labels = grown_labels(event.value)
        if self._highest is not None:
            self._highest = max(self._highest, *labels, 0)
        self.edited.emit(labels)

    def _replaced(self, event: Any) -> None:
        self._highest = None


def _refresh_pays(data: Any, pixels: int) -> bool:
    """Return True if redrawing the whole plane is cheaper."""
    mapped = np.dtype(data.dtype).itemsize > 2
    share = PARTIAL_SHARE_MAPPED if mapped else PARTIAL_SHARE
    plane = math.prod(sorted(data.shape)[-2:])
    return bool(pixels > max(PARTIAL_PIXELS, share * plane))


@contextmanager
def without_history(layer: Labels) -> Iterator[None]:
    """Keep writes out of napari's undo history of a layer.

    napari's undo would change the pixels of an object, but not its record.
    """
    # hides the method of the class
    vars(layer)[_SAVE_HISTORY] = lambda change: None
    try:
        yield
    finally:
        del vars(layer)[_SAVE_HISTORY]


def _is_native(layer: Labels) -> bool:
    """Return True for arrays in native byte order."""
    return bool(np.dtype(layer.data.dtype).isnative)


def show_copies(layer: Labels) -> None:
    """Show a copy of the labels in native byte order.

    The picture of 16-bit labels is their array itself. napari paints into
    both, and reverses the bytes of an array in the other byte order, even on
    disk if it is memory-mapped.
    """
    find_layer = weakref.ref(layer)

    def displayed(
        raw: NDArray[Any], data_slice: tuple[slice, ...] | None = None
    ) -> NDArray[Any]:
        own = find_layer()
        assert own is not None
        native = np.array(raw, dtype=raw.dtype.newbyteorder('='))
        picture: NDArray[Any] = getattr(type(own), DISPLAY)(
            own, native, data_slice
        )
        return picture

    if hasattr(layer, DISPLAY):
        setattr(layer, DISPLAY, displayed)
        refresh_pixels(layer)


def can_be_edited(layer: Labels) -> bool:
    """Return False for pyramids of others, and if *editable* is off."""
    if layer.multiscale:
        # those of `empty_labels` are writable
        return isinstance(layer.data[0], SparseLabels)
    return bool(layer.editable)
