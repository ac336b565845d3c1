"""Long tasks: batches of prompts, and propagation through a stack."""

from __future__ import annotations

import numpy as np
from napari.layers import Points, Shapes

from napari_mobilesam.session.prompts.batch import BatchItem, BatchResult
from napari_mobilesam.session.prompts.propagation import (
    Direction,
    PropagationOptions,
)
from napari_mobilesam.session.prompts.propagation_run import PropagationResult
from napari_mobilesam.types import PromptError, Prompts
from napari_mobilesam.widgets.parts.controls import ViewerWidget
from napari_mobilesam.widgets.prompts.collection import (
    planes_with,
    points_on,
)
from napari_mobilesam.widgets.prompts.open_object import OpenObject
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import is_ours
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene


class PromptRuns:
    """Starts and stops batches and propagation.

    Parameters
    ----------
    dock : ViewerWidget
        Gives session and viewer.
    panel : PromptPanel
        Stop button and status line.
    tools : PromptTools
        Layers of the prompts.
    scene : ViewerScene
        Finds the plane that is shown.
    object : OpenObject
        The object to propagate.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: PromptPanel,
        tools: PromptTools,
        scene: ViewerScene,
        object: OpenObject,  # noqa: A002
    ) -> None:
        self._viewer = dock.viewer
        self._session = dock.session
        self._panel = panel
        self._tools = tools
        self._scene = scene
        self._object = object
        self._removes_prompts = False
        # lines and paths among the shapes of a batch
        self._skipped = 0
        panel.cancel_button.clicked.connect(self.cancel)

    # propagation

    def propagate_back(self) -> None:
        """Follow the object through the planes before this one."""
        self._propagate('backward')

    def propagate_forward(self) -> None:
        """Follow the object through the planes after this one."""
        self._propagate('forward')

    def propagate_both(self) -> None:
        """Follow the object in both directions."""
        self._propagate('both')

    def _propagate(self, direction: Direction) -> None:
        self._object.catch_up()
        with self._panel.status.errors():
            self._session.start_propagation(
                PropagationOptions(direction=direction)
            )
            self._begin('Following the object …')

    # batches

    def accept(self) -> None:
        """Write the mask, or one object per closed shape, as one step."""
        self._object.catch_up()
        several = self._object.several
        if several is None:
            self._object.accept()
            return
        with self._panel.status.errors():
            self._removes_prompts = True
            self._skipped = 0
            self._object.add_planes({several.place: several.plane})
            self._session.start_batch(several.collected.objects)
            self._begin('Writing the objects …')

    def run_batch(self) -> None:
        """Segment one object for each box, or each point, of a layer."""
        with self._panel.status.errors():
            layer = self._batch_layer()
            planes = {
                (source := plane.source()).place: (plane, source)
                for plane in planes_with(self._scene.layer_plane(), layer)
            }
            items, skipped = [], 0
            for plane, source in planes.values():
                found, others = self._prompts_on(plane, layer)
                items += [BatchItem(source, prompts) for prompts in found]
                skipped += others
            if not items:
                raise PromptError(
                    f'“{layer.name}” has neither boxes nor positive points: '
                    'select a layer that has some.'
                )
            self._removes_prompts = is_ours(layer)
            self._skipped = skipped
            self._object.add_planes(
                {place: plane for place, (plane, _) in planes.items()}
            )
            self._session.start_batch(items)
            self._begin(f'{len(items)} prompts of “{layer.name}” …')

    def _batch_layer(self) -> Points | Shapes:
        active = self._viewer.layers.selection.active
        for layer in (active, self._tools.shapes, self._tools.points):
            if isinstance(layer, Points | Shapes) and len(layer.data):
                return layer
        raise PromptError(
            'There is no box or point: draw some, or select a layer that '
            'has some.'
        )

    def _prompts_on(
        self, plane: LayerPlane, layer: Points | Shapes
    ) -> tuple[list[Prompts], int]:
        """Return prompts of one object each, and the number of others."""
        if isinstance(layer, Shapes):
            return self._object.collect_shapes(plane, layer)
        _, positions, labels = points_on(plane, layer)
        one = np.ones(1, dtype=np.int64)
        found = [
            Prompts(position[None], one) for position in positions[labels == 1]
        ]
        # negative points are nobody's object, and need no mention
        return found, 0

    # beginning and end

    def _begin(self, text: str) -> None:
        self._panel.cancel_button.show()
        self._panel.status.say(text, busy=True)

    def cancel(self) -> None:
        """Stop, and keep the objects so far."""
        self._session.background.cancel()
        self._panel.status.say('Stopping …', busy=True)

    def batch_finished(self, result: BatchResult) -> None:
        """Report a batch, and remove its prompts."""
        if self._removes_prompts:
            self._object.remove_prompts()
        text = result.text
        if self._skipped:
            paths = 'path is' if self._skipped == 1 else 'paths are'
            text += f' {self._skipped} {paths} no box, and skipped.'
        self._end(text)

    def propagated(self, result: PropagationResult) -> None:
        """Report a propagation."""
        self._end(result.text)

    def _end(self, text: str) -> None:
        self._panel.cancel_button.hide()
        undo = self._panel.buttons['undo'].text()
        # “Ready” must not replace what failed
        self._panel.status.say(f'{text} {undo} takes it back.', keep=True)
