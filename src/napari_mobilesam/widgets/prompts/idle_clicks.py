"""Clicks that add no prompt because another layer is selected."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.viewer.layers import RIGHT_BUTTON
from napari_mobilesam.widgets.viewer.mouse_clicks import is_click


class IdleClicks:
    """Tell the user what to press if a click adds no prompt.

    After another layer is selected, for example to save it, clicks only pan.

    Parameters
    ----------
    dock : ViewerWidget
        Form of the prompts.
    panel : PromptPanel
        Tools and status line.
    """

    def __init__(self, dock: ViewerWidget, panel: PromptPanel) -> None:
        self._dock = dock
        self._panel = panel

    def attach(self) -> None:
        """Listen to clicks."""
        self._dock.viewer.mouse_drag_callbacks.append(self._press)

    def detach(self) -> None:
        """Stop listening."""
        callbacks = self._dock.viewer.mouse_drag_callbacks
        if self._press in callbacks:
            callbacks.remove(self._press)

    def _press(self, viewer: Any, event: Any) -> Generator[None]:
        """Respond to a click; drags pan as usual."""
        taken = event.handled or event.button == RIGHT_BUTTON
        if taken or not self._idle:
            return
        if not (yield from is_click(event)):
            return
        active = self._dock.viewer.layers.selection.active
        where = 'No layer is' if active is None else f'“{active.name}” is'
        self._panel.status.say(f'{where} selected. {self._panel.press_points}')

    @property
    def _idle(self) -> bool:
        """True if neither the plugin nor napari uses a click."""
        panel, viewer = self._panel, self._dock.viewer
        active = viewer.layers.selection.active
        return (
            self._dock.isVisible()
            and panel.tool is None
            and not panel.status.busy
            and viewer.dims.ndisplay == 2
            and str(getattr(active, 'mode', 'pan_zoom')) == 'pan_zoom'
        )
