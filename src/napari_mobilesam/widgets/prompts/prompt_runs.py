"""What takes longer: a batch of prompts, an object through a stack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from napari.layers import Points, Shapes

from napari_mobilesam.session.prompts.batch import BatchItem, BatchResult
from napari_mobilesam.session.prompts.propagation import (
    Direction,
    PropagationOptions,
)
from napari_mobilesam.session.prompts.propagation_run import PropagationResult
from napari_mobilesam.types import PromptError, Prompts
from napari_mobilesam.widgets.prompts.collection import (
    planes_with,
    points_on,
)
from napari_mobilesam.widgets.prompts.prompt_saving import PromptSaving
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import is_ours


class PromptRuns(PromptSaving):
    """Batches and propagation: begun, shown, stopped."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._batch_is_ours = False

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
        if self._update_timer.isActive():
            self._update()

        def start() -> None:
            self.session.start_propagation(
                PropagationOptions(direction=direction)
            )
            self._begin('Following the object …')

        self._try(start)

    def run_batch(self) -> None:
        """Segment one object for each box, or each point, of a layer."""

        def start() -> None:
            layer = self._batch_layer()
            items = self._items(layer)
            if not items:
                raise PromptError(
                    f'“{layer.name}” has neither box nor positive point: '
                    'select a layer that has some.'
                )
            self._batch_is_ours = is_ours(layer)
            for plane in planes_with(self.plane(), layer):
                self._planes[plane.source().place] = plane
            self.session.start_batch(items)
            self._begin(f'{len(items)} prompts of “{layer.name}” …')

        self._try(start)

    def accept(self) -> None:
        """Write the mask, or one object per closed shape, as one step."""
        if self._update_timer.isActive():
            self._update()
        several = self._several
        if several is None:
            super().accept()
            return

        def start() -> None:
            self._batch_is_ours = True
            self._planes[several.plane.source().place] = several.plane
            self.session.start_batch(several.collected.objects)
            self._begin('Writing the objects …')

        self._try(start)

    def _batch_layer(self) -> Points | Shapes:
        active = self.viewer.layers.selection.active
        for layer in (active, self._shapes, self._points):
            if isinstance(layer, Points | Shapes) and len(layer.data):
                return layer
        raise PromptError(
            'There is no box or point: draw some, or select a layer that '
            'has some.'
        )

    def _items(self, layer: Points | Shapes) -> list[BatchItem]:
        items = []
        for plane in planes_with(self.plane(), layer):
            source = plane.source()
            for prompts in self._prompts_on(plane, layer):
                items.append(BatchItem(source, prompts))
        return items

    def _prompts_on(
        self, plane: LayerPlane, layer: Points | Shapes
    ) -> Iterable[Prompts]:
        if isinstance(layer, Shapes):
            return self._reader.collect(plane, None, layer).objects
        _, positions, labels = points_on(plane, layer)
        one = np.ones(1, dtype=np.int64)
        return [
            Prompts(position[None], one) for position in positions[labels == 1]
        ]

    def _begin(self, text: str) -> None:
        self.cancel_button.show()
        self.status.say(text, busy=True)

    def cancel(self) -> None:
        """Stop a batch or a propagation, keeping what was found."""
        self.session.background.cancel()
        self.status.say('Stopping, keeping what was found …', busy=True)

    def _batch_finished(self, result: BatchResult) -> None:
        if self._batch_is_ours:
            self._remove_prompts()
        self._end(result.text)

    def _propagated(self, result: PropagationResult) -> None:
        self._end(result.text)

    def _end(self, text: str) -> None:
        self.cancel_button.hide()
        self.status.say(f'{text} {self.buttons["undo"].text()} takes it back.')
