"""Points without a mouse: move the view, and click its centre."""

from __future__ import annotations

import numpy as np

from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.hover_view import HoverView
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.prompt_layers import POSITIVE
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
from napari_mobilesam.widgets.viewer.layer_plane import camera_of

# Screen pixels per step of the view.
STEP = 24


class KeyCursor:
    """Move the view with keys, and add points at its centre.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the viewer.
    panel : PromptPanel
        Status line.
    tools : PromptTools
        Takes the points.
    hover : HoverView
        Preview of the mask that a point at the centre would give.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: PromptPanel,
        tools: PromptTools,
        hover: HoverView,
    ) -> None:
        self._viewer = dock.viewer
        self._panel = panel
        self._tools = tools
        self._scene = dock.scene
        self._hover = hover

    def left(self) -> None:
        """Move the view to the left."""
        self._move(0, -1)

    def right(self) -> None:
        """Move the view to the right."""
        self._move(0, 1)

    def up(self) -> None:
        """Move the view up."""
        self._move(-1, 0)

    def down(self) -> None:
        """Move the view down."""
        self._move(1, 0)

    def add_point(self) -> None:
        """Add a point at the centre of the view, like a left click."""
        self._tools.use_points_tool()
        self._tools.add_point(self.position, self._tools.polarity == POSITIVE)

    def _move(self, rows: int, columns: int) -> None:
        camera = camera_of(self._viewer)
        center = np.array(camera.center)
        center[-2:] += np.array([rows, columns]) * STEP / camera.zoom
        camera.center = tuple(center)
        position = self.position
        self._viewer.cursor.position = position
        self._hover.look()
        try:
            plane = self._scene.layer_plane()
        except SegmentationError as error:
            self._panel.status.fail(str(error))
            return
        row, column = plane.at(position)
        add = self._panel.buttons['point_here'].text()
        self._panel.status.say(
            f'Middle of the view: row {row:.0f}, column {column:.0f}. {add}.',
            keep=True,
        )

    @property
    def position(self) -> tuple[float, ...]:
        """Centre of the view, in world coordinates."""
        position = np.array(self._viewer.dims.point, float)
        shown = list(self._viewer.dims.displayed)[-2:]
        position[shown] = camera_of(self._viewer).center[-2:]
        return tuple(position)
