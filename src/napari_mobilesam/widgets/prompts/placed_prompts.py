"""Prompts of the open object in their layers, plane by plane."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.objects.records import ObjectView
from napari_mobilesam.types import Prompts
from napari_mobilesam.widgets.prompts.collection import (
    Collected,
    PromptReader,
    drawn_box,
    put_points,
    put_shapes,
    remove_prompts,
)
from napari_mobilesam.widgets.prompts.prompt_history import PromptHistory
from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import CLOSED_SHAPES


class PlacedPrompts:
    """Reads the prompts of the open object, puts them back, removes them.

    Parameters
    ----------
    tools : PromptTools
        Layers of the prompts.
    reader : PromptReader
        Finds the prompts.

    Attributes
    ----------
    planes : dict of LayerPlane
        Planes of the open object, by their places.
    drawn : dict of Prompts
        Its prompts in the layers there.
    history : PromptHistory
        Changes of its prompts, for undo and redo.
    reopened : bool
        True for an object whose prompts were drawn into the layers: a closed
        shape that is drawn now replaces its own.
    """

    def __init__(self, tools: PromptTools, reader: PromptReader) -> None:
        self._tools = tools
        self._reader = reader
        # box, region or mask of a reopened object that no layer shows
        self._carried: dict[Hashable, Prompts] = {}
        self.planes: dict[Hashable, LayerPlane] = {}
        self.drawn: dict[Hashable, Prompts] = {}
        self.history = PromptHistory(tools)
        self.reopened = False

    def collect(
        self,
        plane: LayerPlane,
        place: Hashable,
        coming: tuple[NDArray[np.float64], int] | None = None,
    ) -> Collected:
        """Read the prompts on a plane; see `PromptReader.collect`."""
        return self._reader.collect(
            plane,
            self._tools.points,
            self._tools.shapes,
            self._carried.get(place),
            coming,
            single=self.reopened,
        )

    def leave(self, place: Hashable) -> None:
        """Forget the prompts on a plane."""
        self.planes.pop(place, None)
        self.drawn.pop(place, None)

    def forget(self) -> None:
        """Forget all prompts; those in the layers stay there."""
        self.planes.clear()
        self.drawn.clear()
        self._carried.clear()
        self.reopened = False
        self.history.forget()

    def remove(self) -> None:
        """Remove the prompts from their layers."""
        points: set[int] = set()
        shapes: set[int] = set()
        for place, plane in self.planes.items():
            collected = self.collect(plane, place)
            points |= set(collected.points)
            shapes |= set(collected.shapes)
        self.forget()
        with self._tools.blocked():
            remove_prompts(self._tools.points, points)
            remove_prompts(self._tools.shapes, shapes)

    def put_back(self, plane: LayerPlane, view: ObjectView) -> None:
        """Draw the prompts of an object into the layers."""
        prompts, place = view.prompts, view.plane.place
        self.planes[place] = plane
        self.drawn[place] = prompts
        self.reopened = True
        drawn = prompts.drawn
        if not any(shape.kind in CLOSED_SHAPES for shape in drawn):
            rest = Prompts(
                box=prompts.box,
                mask_input=prompts.mask_input,
                region=prompts.region,
            )
            unseen = rest.region is not None or rest.mask_input is not None
            if unseen or (rest.box is not None and view.automatic):
                self._carried[place] = rest
            elif rest.box is not None:
                drawn = (drawn_box(rest.box), *drawn)
        with self._tools.blocked():
            if prompts.clicked.any():
                put_points(self._tools.points_for(plane), plane, prompts)
            if drawn:
                put_shapes(self._tools.shapes_for(plane), plane, drawn)
