"""Object diameter in the form, which belongs to one image."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from weakref import WeakKeyDictionary, ref

from napari.layers import Image

from napari_mobilesam.types import EverythingParameters, SegmentationError
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm


class ImageDiameter:
    """Restore the diameter entered for the selected image.

    It is automatic for an image not selected before, since the diameter of
    another image may be wrong by any factor.
    """

    def __init__(self, form: ParameterForm[EverythingParameters]) -> None:
        self._form = form
        self._image: ref[Image] | None = None
        self._diameters: WeakKeyDictionary[Image, float | None] = (
            WeakKeyDictionary()
        )

    def follow(self, image: Image | None) -> None:
        """Show the diameter of another image."""
        before = None if self._image is None else self._image()
        if image is None or image is before:
            return
        # invalid values are reported when they are used
        with contextlib.suppress(SegmentationError):
            value = self._form.value
            if before is not None:
                self._diameters[before] = value.diameter
            wanted = self._diameters.get(image)
            if self._image is not None and value.diameter != wanted:
                self._form.value = replace(value, diameter=wanted)
        # until it is estimated for this image
        self._form.hide_typical('diameter')
        self._image = ref(image)
