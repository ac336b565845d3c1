"""Hide the old pixels of an object that is being edited."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray

from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.widgets.viewer.label_writer import layer_pixels
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import DISPLAY, refresh_pixels
from napari_mobilesam.widgets.viewer.look_at import slider_pixels


class HiddenObject:
    """Show a labels layer without the pixels of one object.

    Only the displayed picture changes: the labels stay in the array, so
    nothing is lost whatever happens while the object is edited. Pyramids, of
    which napari shows part of one level, are left unchanged.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self._layer: weakref.ref[Labels] | None = None
        self._record: ObjectRecord | None = None
        self._pixels: tuple[NDArray[np.intp], ...] = ()
        # the function that made the picture before
        self._make_picture: Callable[..., Any] | None = None

    def hide(self, layer: Labels, record: ObjectRecord) -> None:
        """Hide an object, and show the previously hidden one."""
        if self._record is record:
            return
        self.show()
        if layer.multiscale or not hasattr(layer, DISPLAY):
            return
        self._pixels = _pixels_of(layer, record)
        if not self._pixels:
            return
        self._layer, self._record = weakref.ref(layer), record
        self._make_picture = vars(layer).get(DISPLAY)
        setattr(layer, DISPLAY, self._displayed)
        refresh_pixels(layer)

    def show(self) -> None:
        """Show the hidden object again."""
        layer = None if self._layer is None else self._layer()
        self._layer = self._record = None
        self._pixels = ()
        if layer is not None:
            with contextlib.suppress(AttributeError):
                delattr(layer, DISPLAY)
            if self._make_picture is not None:
                setattr(layer, DISPLAY, self._make_picture)
            refresh_pixels(layer)

    def _displayed(
        self, raw: NDArray[Any], data_slice: tuple[slice, ...] | None = None
    ) -> NDArray[Any]:
        layer = None if self._layer is None else self._layer()
        assert layer is not None and self._record is not None
        shown = self._shown(layer, raw.shape)
        if shown is not None:
            # a copy: raw may be a view of the array of the layer
            raw = np.array(raw)
            own = raw[shown] == self._record.label
            raw[tuple(index[own] for index in shown)] = 0
        standard = getattr(type(layer), DISPLAY).__get__(layer)
        make = self._make_picture or standard
        picture: NDArray[Any] = make(raw, data_slice)
        return picture

    def _shown(
        self, layer: Labels, shape: tuple[int, ...]
    ) -> tuple[NDArray[np.intp], ...] | None:
        """Return the hidden pixels in the displayed slice."""
        viewer = self._viewer()
        if viewer is None:
            return None
        skip = viewer.dims.ndim - layer.ndim
        axes = [axis - skip for axis in viewer.dims.displayed]
        if min(axes) < 0 or len(axes) != len(shape):
            return None
        at = slider_pixels(viewer, layer)
        here = np.ones(len(self._pixels[0]), dtype=bool)
        for axis in range(layer.ndim):
            if axis not in axes:
                here &= self._pixels[axis] == at[axis]
        shown = tuple(self._pixels[axis][here] for axis in axes)
        for index, size in zip(shown, shape, strict=True):
            if len(index) and index.max() >= size:
                return None
        return shown


def _pixels_of(
    layer: Labels, record: ObjectRecord
) -> tuple[NDArray[np.intp], ...]:
    """Return the pixels of the masks of an object in a layer."""
    parts: list[Sequence[NDArray[np.intp]]] = []
    for view in record.views.values():
        plane, mask = view.plane.geometry, view.mask
        if isinstance(plane, LayerPlane) and mask is not None:
            picture = mask.data.astype(np.uint8)
            parts.append(layer_pixels(layer, plane, picture, mask.box[:2])[0])
    if not parts:
        return ()
    return tuple(
        np.concatenate([part[axis] for part in parts])
        for axis in range(layer.ndim)
    )
