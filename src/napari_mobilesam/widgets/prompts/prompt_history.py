"""Undo and redo of changes of the prompts of the open object."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from napari.layers import Points, Shapes
from numpy.typing import NDArray

from napari_mobilesam.types import DrawnShape, Prompts
from napari_mobilesam.widgets.prompts.collection import (
    points_on,
    put_points,
    put_shapes,
    remove_prompts,
    shapes_on,
)
from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.viewer_scene import ShownPlane

# places after the decimal point of pixels at which prompts are the same
DECIMALS = 6


class _KnownPoint(NamedTuple):
    row: float
    column: float
    label: int


class _KnownShape(NamedTuple):
    kind: str
    vertices: bytes
    positive: bool


# the prompts on a plane, with their indices in the layer
_Contents: TypeAlias = dict[
    Points | Shapes, dict[int, _KnownPoint | _KnownShape]
]


class _Step(NamedTuple):
    shown: ShownPlane
    contents: _Contents


class PromptHistory:
    """The prompts on planes of the open object before each change.

    Parameters
    ----------
    tools : PromptTools
        Layers of the prompts.
    """

    def __init__(self, tools: PromptTools) -> None:
        self._tools = tools
        self._known: dict[Hashable, _Contents] = {}
        self._steps: list[_Step] = []
        self._undone: list[_Step] = []

    def begin(self, shown: ShownPlane) -> None:
        """Note the prompts on a plane before they change."""
        known = self._known.get(shown.source.place, {})
        layers = self._tools.points, self._tools.shapes
        if any(each not in known for each in layers if each is not None):
            self.note(shown)

    def note(self, shown: ShownPlane) -> None:
        """Note the prompts on a plane; their change is a step.

        A layer that is read for the first time has not changed.
        """
        if self._tools.unfinished:
            return
        now, place = self._read(shown.plane), shown.source.place
        before = self._known.get(place, {})
        self._known[place] = now
        if _differing(before, now):
            self._steps.append(_Step(shown, before))
            self._undone.clear()

    def undo(self) -> ShownPlane | None:
        """Take back the last change; return its plane, None if none."""
        return self._restore_last(self._steps, self._undone)

    def redo(self) -> ShownPlane | None:
        """Repeat the change that was taken back last; see `undo`."""
        return self._restore_last(self._undone, self._steps)

    def forget_undone(self) -> None:
        """Forget what `redo` would repeat."""
        self._undone.clear()

    def leave(self, place: Hashable) -> None:
        """Forget the changes on a plane."""
        self._known.pop(place, None)
        for steps in (self._steps, self._undone):
            steps[:] = [s for s in steps if s.shown.source.place != place]

    def forget(self) -> None:
        """Forget all changes."""
        self._known.clear()
        self._steps.clear()
        self._undone.clear()

    def _restore_last(
        self, steps: list[_Step], opposite: list[_Step]
    ) -> ShownPlane | None:
        while steps:
            shown, contents = steps.pop()
            now = self._read(shown.plane)
            layers = _differing(now, contents)
            if layers:
                opposite.append(_Step(shown, now))
                with self._tools.blocked():
                    for layer in layers:
                        _restore(
                            layer, shown.plane, now[layer], contents[layer]
                        )
                self._known[shown.source.place] = self._read(shown.plane)
                return shown
        return None

    def _read(self, plane: LayerPlane) -> _Contents:
        contents: _Contents = {}
        points, shapes = self._tools.points, self._tools.shapes
        if points is not None:
            numbers, positions, labels = points_on(plane, points)
            rows, columns = _rounded(positions).T.tolist()
            items = map(_KnownPoint, rows, columns, labels.tolist())
            contents[points] = dict(zip(numbers, items, strict=True))
        if shapes is not None:
            contents[shapes] = {
                number: _KnownShape(
                    drawn.kind,
                    _rounded(drawn.vertices).tobytes(),
                    drawn.positive,
                )
                for number, drawn in shapes_on(plane, shapes).items()
            }
        return contents


def _rounded(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round positions, which a layer returns slightly changed."""
    # 0 has no sign
    return np.round(positions, DECIMALS) + 0.0


def _differing(one: _Contents, other: _Contents) -> list[Points | Shapes]:
    """Return the layers in both of which the prompts differ."""
    return [
        layer
        for layer, prompts in one.items()
        if layer in other
        and list(prompts.values()) != list(other[layer].values())
    ]


def _restore(
    layer: Points | Shapes,
    plane: LayerPlane,
    now: dict[int, _KnownPoint | _KnownShape],
    before: dict[int, _KnownPoint | _KnownShape],
) -> None:
    """Restore the prompts in their order: the last box is that of the object.

    Those that need neither go nor move stay as they are, with their features.
    """
    wanted = deque(before.values())
    gone = []
    for number, prompt in now.items():
        if wanted and prompt == wanted[0]:
            wanted.popleft()
        else:
            gone.append(number)
    remove_prompts(layer, gone)
    added = list(wanted)
    if isinstance(layer, Points):
        _put_points(
            layer, plane, [p for p in added if isinstance(p, _KnownPoint)]
        )
    else:
        drawn = [
            _drawn(each) for each in added if isinstance(each, _KnownShape)
        ]
        put_shapes(layer, plane, drawn)


def _put_points(
    layer: Points, plane: LayerPlane, points: Sequence[_KnownPoint]
) -> None:
    positions = np.array([(p.row, p.column) for p in points]).reshape(-1, 2)
    labels = np.array([p.label for p in points], np.int64)
    put_points(layer, plane, Prompts(points=positions, labels=labels))


def _drawn(shape: _KnownShape) -> DrawnShape:
    vertices = np.frombuffer(shape.vertices).reshape(-1, 2)
    return DrawnShape(shape.kind, vertices, shape.positive)
