"""Outline of the object under review, following its corrections."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Labels

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.prompts.editor import Editor
from napari_mobilesam.types import Mask
from napari_mobilesam.widgets.parts.preview import Preview
from napari_mobilesam.widgets.viewer.viewer_scene import ShownPlane

NAME, COLOR = 'least certain object', '#ffea00'


class ReviewOutline:
    """Outline of an object as labelled, or as currently corrected.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    editor : Editor
        Editor that provides the mask if the object is open.
    """

    def __init__(self, viewer: ViewerModel, editor: Editor) -> None:
        self._preview = Preview(viewer, NAME, COLOR, 1, contour=2)
        self._editor = editor
        self._shown: ShownPlane | None = None
        self._objects: Objects | None = None
        self._record = ObjectRecord()

    @property
    def visible(self) -> bool:
        """True if an object is outlined."""
        return self._preview.visible

    @property
    def layer(self) -> Labels | None:
        """The layer; None before the first object."""
        return self._preview.layer

    def show(
        self, shown: ShownPlane, objects: Objects, record: ObjectRecord
    ) -> None:
        """Outline an object.

        Parameters
        ----------
        shown : ShownPlane
            Displayed plane.
        objects : Objects
            Objects of the labels.
        record : ObjectRecord
            The object, which is open.
        """
        self.hide()
        self._shown, self._objects, self._record = shown, objects, record
        objects.changed.connect(self.follow)
        self.follow()

    def follow(self) -> None:
        """Outline the object in its current state."""
        if self._shown is None:
            return
        mask = self._mask(self._shown.source)
        self._preview.show(self._shown.plane, [] if mask is None else [mask])

    def _mask(self, plane: ImagePlane) -> Mask | None:
        base, record = self._editor.base, self._record
        if base is not None and base.same_object(record):
            view = self._editor.view(plane)
            return None if view is None else view.mask
        now = None if self._objects is None else self._objects.now(record)
        if now is None and not record.number:
            # labelled pixels only become an object when they are written
            now = record
        view = None if now is None else now.view(plane)
        return None if view is None else view.mask

    def hide(self) -> None:
        """Hide the outline; the layer stays for the next object."""
        if self._objects is not None:
            self._objects.changed.disconnect(self.follow)
        self._shown = self._objects = None
        self._preview.hide()

    def remove(self) -> None:
        """Remove the layer from the viewer."""
        self.hide()
        self._preview.remove()
