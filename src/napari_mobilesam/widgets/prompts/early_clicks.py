"""Clicks on the canvas before the form is ready."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
from napari.components import ViewerModel
from napari.layers import Points, Shapes

from napari_mobilesam.text import counted
from napari_mobilesam.widgets.parts.controls import StatusLine
from napari_mobilesam.widgets.prompts.prompt_tools import (
    RIGHT_BUTTON,
    PromptTools,
)

# a press that moves further, in pixels of the screen, pans the canvas
CLICK_PIXELS = 4


class _EarlyClick(NamedTuple):
    position: tuple[float, ...]
    positive: bool


class EarlyClicks:
    """Keeps clicks until there is a Points layer that takes them.

    The libraries of the form take seconds to import; until then a click would
    only pan.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    status : StatusLine
        Told that clicks are kept.
    """

    def __init__(self, viewer: ViewerModel, status: StatusLine) -> None:
        self._viewer = viewer
        self._status = status
        self._clicks: list[_EarlyClick] = []

    def watch(self) -> None:
        """Keep clicks from now on."""
        self.stop()
        self._viewer.mouse_drag_callbacks.append(self._press)

    def stop(self) -> None:
        """Keep no more clicks, and forget those that were kept."""
        self._clicks.clear()
        if self._press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._press)

    def hand_over(self, tools: PromptTools) -> None:
        """Stop, and make the clicks points of the open object."""
        clicks = tuple(self._clicks)
        self.stop()
        for click in clicks:
            tools.add_point(click.position, click.positive)

    def _press(self, viewer: Any, event: Any) -> Generator[None]:
        """Keep a click; drags pan as they always do."""
        active = self._viewer.layers.selection.active
        if isinstance(active, Points | Shapes):
            # it takes the click itself
            return
        start, position = np.array(event.pos), tuple(event.position)
        other = event.button == RIGHT_BUTTON or 'Control' in event.modifiers
        yield
        while event.type == 'mouse_move':
            yield
        if np.abs(np.array(event.pos) - start).max() <= CLICK_PIXELS:
            self._clicks.append(_EarlyClick(position, not other))
            clicks = counted(len(self._clicks), 'click')
            self._status.say(
                f'Starting … {clicks} will be answered as soon as it is '
                'ready.',
                busy=True,
            )
