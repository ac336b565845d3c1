"""Hand-over of an object to “Segment by prompts”."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from napari.layers import Image, Labels


@runtime_checkable
class ObjectEditor(Protocol):
    """Dock widget in which an object can be edited."""

    def take_over(self, image: Image, labels: Labels, number: int) -> None:
        """Open an object of a labels layer for editing."""


def object_editor(viewer: Any) -> ObjectEditor:
    """Return the open “Segment by prompts” of a viewer, or open it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer with a window, no proxy.
    """
    window = viewer.window
    for widget in window.dock_widgets.values():
        if isinstance(widget, ObjectEditor):
            return widget
    _, widget = window.add_plugin_dock_widget(
        'napari-mobilesam', 'Segment by prompts', tabify=True
    )
    assert isinstance(widget, ObjectEditor)
    return widget
