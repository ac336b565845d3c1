"""Closed shapes of later objects, kept while another object is edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_mobilesam.types import DrawnShape
from napari_mobilesam.widgets.prompts.collection import (
    PromptReader,
    put_shapes,
    remove_drawn,
)
from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane


class ShapesAside:
    """Move closed shapes out of their layer, and back.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer of the layers.
    tools : PromptTools
        Layer of the shapes.
    reader : PromptReader
        Reader that finds the shapes.
    """

    def __init__(
        self, viewer: Any, tools: PromptTools, reader: PromptReader
    ) -> None:
        self._viewer = viewer
        self._tools = tools
        self._reader = reader
        self._kept: list[tuple[LayerPlane, list[DrawnShape]]] = []

    def __len__(self) -> int:
        """Return the number of shapes kept."""
        return sum(len(drawn) for _, drawn in self._kept)

    def take(self, planes: Sequence[LayerPlane]) -> None:
        """Take the closed shapes on planes out of their layer."""
        for plane in planes:
            if self._tools.shapes is None:
                break
            waiting, _ = self._reader.one_each(plane, self._tools.shapes)
            drawn = [shape for prompts in waiting for shape in prompts.drawn]
            if drawn:
                self._kept.append((plane, drawn))
                with self._tools.blocked():
                    remove_drawn(self._tools.shapes, plane, drawn)

    def put_back(self) -> bool:
        """Add the shapes to their layer again; return whether any were."""
        kept, self._kept = self._kept, []
        for plane, drawn in kept:
            if plane.layer in self._viewer.layers:
                with self._tools.blocked():
                    put_shapes(self._tools.shapes_for(plane), plane, drawn)
        return bool(kept)
